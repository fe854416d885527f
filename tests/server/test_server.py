"""The server as a process of its own: it starts, answers, swaps bundles and stops without losing a request."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small import train_small

from classtune.errors import SettingsError
from classtune.server.connections import HEADER_SECONDS
from classtune.server.options import KEYS_VARIABLE
from classtune.server.registry import ModelRegistry
from classtune.server.server import serve
from classtune.server.settings import check_exposure, read_keys, serve_settings

pytest_plugins = ["bundle_fixtures"]

SECONDS = 180
PROGRAM = """
import json, sys
from pathlib import Path
from classtune.server.server import serve
from classtune.server.settings import serve_settings
serve([Path(sys.argv[1])], serve_settings(json.loads(sys.argv[2])))
"""


# Before it: each batch takes so long.
SLOW = """
import time
from classtune.inference.predictor import Predictor
quick = Predictor.run
def run(self, items):
    if len(items[0]) > 100:
        time.sleep(3)
    return quick(self, items)
Predictor.run = run
"""
# Before it: as few descriptors as a server of a busy machine has left.
FEW_DESCRIPTORS = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
"""


# Before it: it is told to stop in the middle of the line of its log that speaks of a request.
STOPPED_AT_ITS_LOG = """
import os, signal, sys
class Log:
    def write(self, line):
        if '"/predict"' in line:
            os.kill(os.getpid(), signal.SIGTERM)
        return sys.__stderr__.write(line)
    def flush(self):
        sys.__stderr__.flush()
sys.stderr = Log()
"""


class Process:
    """A server on a free port; its log is read as it comes. before: what its program does first."""

    def __init__(
        self, folder: Path, environment: dict[str, str] | None = None, *, before: str = "", **told: Any
    ) -> None:
        arguments = json.dumps({"port": 0, "threads": 1, **told})
        self.child = subprocess.Popen(
            [sys.executable, "-c", before + PROGRAM, str(folder), arguments],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self.lines: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.url = self.wait_for("listening")["url"]

    def _read(self) -> None:
        assert self.child.stderr is not None
        for line in self.child.stderr:
            self.lines.append(json.loads(line) if line.startswith("{") else {"event": "text", "line": line})

    def wait_for(self, event: str, **particulars: Any) -> dict[str, Any]:
        line = self.logged(event, SECONDS, **particulars)
        assert line is not None, f"no {event}: {self.lines}"
        return line

    def logged(self, event: str, seconds: float, **particulars: Any) -> dict[str, Any] | None:
        """The line of an event, once it is there; None where it does not come in that time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for line in list(self.lines):
                if line.items() >= {"event": event, **particulars}.items():
                    return line
            if self.child.poll() is not None:
                break
            time.sleep(0.02)
        return None

    def ask(self, text: str, **headers: str) -> Any:
        body = json.dumps({"inputs": text}).encode()
        request = urllib.request.Request(f"{self.url}/predict", body, {"Content-Type": "application/json", **headers})
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return json.load(answer)

    def end(self) -> int:
        self.child.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        code = self.child.wait(SECONDS)
        self._reader.join(SECONDS)
        assert self.child.stderr is not None
        self.child.stderr.close()
        return code


@pytest.fixture
def started() -> Iterator[list[Process]]:
    """Processes that a test has started; none outlives it."""
    processes: list[Process] = []
    yield processes
    for process in processes:
        if process.child.poll() is None:
            process.child.kill()
            process.ended()


def test_it_answers_with_a_key_and_stops_when_what_is_under_way_has_its_answer(
    small_bundle: Path, started: list[Process]
) -> None:
    process = Process(small_bundle, {KEYS_VARIABLE: "k1 k2"})
    started.append(process)
    assert process.wait_for("listening")["keys"] == 2
    with pytest.raises(urllib.error.HTTPError, match="401"):
        process.ask("a")
    key = {"Authorization": "Bearer k2"}
    assert len(process.ask("call now", **key)) == 2
    body = json.dumps({"inputs": ["see you at the station " * 6] * 1000}).encode()
    host, port = process.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
        head = (
            f"POST /predict HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer k1\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body[:-1])
        time.sleep(0.2)  # the request is under way, and its last byte comes only after the signal
        process.child.send_signal(signal.SIGTERM)
        process.wait_for("stopping", signal="SIGTERM")
        connection.sendall(body[-1:])
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    head_, _, answer = received.partition(b"\r\n\r\n")
    assert head_.startswith(b"HTTP/1.1 200"), head_
    assert len(json.loads(answer)) == 1000
    assert process.ended() == 0
    assert process.lines[-1]["event"] == "stopped"
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((host, int(port)), timeout=1)


def test_a_signal_in_the_middle_of_a_line_of_the_log_stops_it(small_bundle: Path, started: list[Process]) -> None:
    process = Process(small_bundle, before=STOPPED_AT_ITS_LOG)
    started.append(process)
    assert process.ask("call now")
    assert process.ended() == 0
    assert [line["event"] for line in process.lines[-2:]] == ["stopping", "stopped"]


def test_what_is_under_way_when_the_grace_period_ends_is_refused_in_the_dialect(
    small_bundle: Path, started: list[Process]
) -> None:
    process = Process(small_bundle, before=SLOW, grace=1)
    started.append(process)
    connection = http.client.HTTPConnection(process.url.removeprefix("http://"), timeout=SECONDS)
    body = json.dumps({"inputs": "a long text " * 12}).encode()
    connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
    time.sleep(0.5)
    process.child.send_signal(signal.SIGTERM)
    answer = connection.getresponse()
    assert answer.status == 503
    assert json.load(answer) == {
        "error": "The server stopped before this was done. Send it again.",
        "error_type": "unhealthy",
    }
    connection.close()
    assert process.ended() == 0
    process.wait_for("request", status=503)


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are limited on Unix")
def test_with_every_descriptor_in_use_the_server_answers_and_its_log_says_so(
    small_bundle: Path, started: list[Process]
) -> None:
    process = Process(small_bundle, before=FEW_DESCRIPTORS)
    started.append(process)
    host, port = process.url.removeprefix("http://").split(":")
    idle: list[socket.socket] = []
    try:
        # On a busy machine the first may be closed, their headers overdue, before the last is seen: then again.
        for _ in range(10):
            idle += [socket.create_connection((host, int(port)), timeout=SECONDS) for _ in range(150)]
            if process.logged("too_many_connections", HEADER_SECONDS + 5):
                break
            while idle:
                idle.pop().close()
        process.wait_for("too_many_connections")
        with urllib.request.urlopen(f"{process.url}/health", timeout=SECONDS) as answer:
            assert answer.status == 200
        assert len(process.ask("call now")) == 2
    finally:
        for connection in idle:
            connection.close()
    assert process.end() == 0


def test_a_short_text_is_not_held_back(small_bundle: Path, started: list[Process]) -> None:
    process = Process(small_bundle)
    started.append(process)
    connection = http.client.HTTPConnection(process.url.removeprefix("http://"), timeout=SECONDS)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        connection.request("POST", "/predict", b'{"inputs": "call now"}', {"Content-Type": "application/json"})
        assert len(json.load(connection.getresponse())) == 2
        times.append(time.perf_counter() - start)
    connection.close()
    assert min(times) < 0.03  # Nagle's algorithm alone would make it 0.04
    assert process.end() == 0


def test_a_new_version_is_swapped_in_without_losing_a_request(
    small_bundle: Path, small_llama: Path, tmp_path: Path, started: list[Process]
) -> None:
    live, new = tmp_path / "live", tmp_path / "new"
    shutil.copytree(small_bundle, live)
    train_small(small_llama, new, epochs=1, seed=5)
    process = Process(live, watch=0.1)
    started.append(process)

    def asked() -> dict[str, float]:
        """To four digits: what is answered together differs in the last ones."""
        return {entry["label"]: round(entry["score"], 4) for entry in process.ask("call now")}

    before = asked()
    answers: list[Any] = []
    done = threading.Event()

    def keep_asking() -> None:
        while not done.is_set():
            answers.append(asked())

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        damaged = (new / "model.safetensors").read_bytes()[:-40]
        (live / "model.safetensors").write_bytes(damaged)  # in place: the served model must not stand in this file
        refused = process.wait_for("bundle_refused", model="live")
        assert "changed or truncated" in refused["error"]
        assert asked() == before
        shutil.copytree(new, live, copy_function=shutil.copy, dirs_exist_ok=True)
        process.wait_for("bundle_swapped", model="live")
        after = asked()
    finally:
        done.set()
        asking.join(SECONDS)
    assert after != before
    assert all(answer in (before, after) for answer in answers)
    assert len(answers) > 2
    assert process.end() == 0


def test_a_folder_that_is_half_copied_is_not_read(small_bundle: Path, tmp_path: Path) -> None:
    live = tmp_path / "live"
    shutil.copytree(small_bundle, live)
    registry = ModelRegistry([live])
    events: list[str] = []

    def tell(event: str, **_: object) -> None:
        events.append(event)

    registry.refresh(tell)
    for part in (b"a", b"ab", b"abc"):  # it grows between looks
        (live / "head.part").write_bytes(part)
        registry.refresh(tell)
    assert events == []
    (live / "classtune.json").write_text("{", encoding="utf-8")
    for _ in range(4):
        registry.refresh(tell)
    assert events == ["bundle_refused"]  # once, not at every look
    shutil.rmtree(live)
    for _ in range(3):
        registry.refresh(tell)
    assert events == ["bundle_refused"] * 2
    assert registry["live"].predictor.predict(["a"])


@pytest.mark.parametrize(
    ("host", "keys", "insecure", "refused"),
    [
        ("127.0.0.1", (), False, False),
        ("localhost", (), False, False),
        ("::1", (), False, False),
        ("0.0.0.0", (), False, True),
        ("::", (), False, True),
        ("", (), False, True),
        ("0.0.0.0", ("k",), False, False),
        ("0.0.0.0", (), True, False),
    ],
)
def test_strangers_are_kept_out_unless_told(host: str, keys: tuple[str, ...], insecure: bool, refused: bool) -> None:
    settings = serve_settings({"host": host, "insecure": insecure})
    if not refused:
        return check_exposure(settings, keys)
    with pytest.raises(SettingsError, match=r"--keys FILE .*--insecure"):
        check_exposure(settings, keys)
    return None


def test_keys_come_from_a_file_and_a_slip_never_opens_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEYS_VARIABLE, "e1\ne2")
    file = tmp_path / "keys"
    file.write_text("# ours\n\n  f1 \nf2\n", encoding="utf-8")
    assert read_keys(serve_settings({"keys": file})) == ("e1", "e2", "f1", "f2")
    file.write_text("# none yet\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="holds no key"):
        read_keys(serve_settings({"keys": file}))
    with pytest.raises(SettingsError, match="cannot be read"):
        read_keys(serve_settings({"keys": tmp_path / "missing"}))


def test_settings_report_every_problem_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        serve_settings({"port": 70000, "timeout": 0, "keyz": 1})
    assert len(caught.value.problems) == 3
    assert "--port 70000: " in str(caught.value)
    assert "Did you mean 'keys'?" in str(caught.value)
    with pytest.raises(SettingsError, match="would never fit"):
        serve_settings({"queue": 10})


def test_a_port_that_is_taken_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"--port {port}: cannot be listened on .*in use"):
            serve([tmp_path / "missing"], serve_settings({"port": port}))


def test_importing_the_settings_loads_no_server() -> None:
    program = "import classtune.server.settings, classtune.server.server, sys; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert not {"fastapi", "uvicorn", "prometheus_client", "torch"} & set(shown.split())
