"""64 clients at once while a new version and a broken one come: every request is answered.

`make test-faults` runs the long form, two minutes; it prints its figures.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from small import Run, train_small
from test_server import SECONDS, Process

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads the server's memory in /proc")

CLIENTS = 64
LOAD_SECONDS = float(os.environ.get("CLASSTUNE_LOAD_SECONDS", "2"))
TEXTS = [f"win a prize, call now {number} today" * (1 + number % 4) for number in range(40)]


def memory_mb(process: Process) -> int:
    """Resident memory of the server."""
    status = Path(f"/proc/{process.child.pid}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


def test_no_request_is_lost_while_versions_come(small_bundle: Path, small_llama: Path, tmp_path: Path) -> None:
    live, new = tmp_path / "live", tmp_path / "new"
    shutil.copytree(small_bundle, live)
    train_small(small_llama, new, epochs=1, seed=5)
    process = Process(live, watch=0.1)
    at_start = memory_mb(process)
    seen: Counter[str] = Counter()
    done = threading.Event()

    def client(number: int) -> None:
        connection = http.client.HTTPConnection(process.url.removeprefix("http://"), timeout=SECONDS)
        while not done.is_set():
            number += 1
            body = json.dumps({"inputs": TEXTS[number % len(TEXTS)]}).encode()
            try:
                connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                total = sum(entry["score"] for entry in json.load(answer))
                seen["answered" if answer.status == 200 and abs(total - 1) < 1e-5 else f"status {answer.status}"] += 1
            except (OSError, ValueError, TypeError, http.client.HTTPException) as error:
                seen[repr(error)] += 1
                connection.close()
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    try:
        time.sleep(LOAD_SECONDS / 2)
        weights = (live / "model.safetensors").read_bytes()
        (live / "model.safetensors").write_bytes(weights[:-40])
        process.wait_for("bundle_refused", model="live")
        shutil.copytree(new, live, copy_function=shutil.copy, dirs_exist_ok=True)
        process.wait_for("bundle_swapped", model="live")
        time.sleep(LOAD_SECONDS / 2)
    finally:
        done.set()
        for thread in threads:
            thread.join(SECONDS)
    seconds, at_end = time.monotonic() - began, memory_mb(process)
    assert process.end() == 0
    print(f"\n{CLIENTS} clients, {seconds:.0f} s: {dict(seen)}; memory {at_start} MB at the start, {at_end} at the end")
    assert set(seen) == {"answered"}


def test_a_bundle_that_is_trained_anew_in_its_place_is_served_when_it_is_whole(
    small_bundle: Path, small_llama: Path, small_csv: Path, tmp_path: Path, command: Run
) -> None:
    live = Path(shutil.copytree(small_bundle, tmp_path / "live"))
    process, seen, done = Process(live, watch=0.05), Counter[int](), threading.Event()

    def client() -> None:
        connection = http.client.HTTPConnection(process.url.removeprefix("http://"), timeout=SECONDS)
        while not done.is_set():
            connection.request("POST", "/predict", b'{"inputs": "win a prize"}', {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            seen[answer.status] += 1
        connection.close()

    thread = threading.Thread(target=client)
    thread.start()
    try:
        told = ["--model", small_llama, "--depth", "1", "--epochs", "1", "--set", "candidates=one", "--force", "-q"]
        ran = command("train", small_csv, "-o", live, "--split-by", "exact", *told)
        assert ran.code == 0, ran.err
        process.wait_for("bundle_swapped", model="live")
    finally:
        done.set()
        thread.join(SECONDS)
    assert process.end() == 0
    assert not any(line["event"] == "bundle_refused" for line in process.lines)
    assert set(seen) == {200}
