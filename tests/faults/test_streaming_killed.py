"""SIGKILL at random moments of a run whose activations fit nowhere, so that each epoch runs the trunk again.

``make test-faults`` tries 25 moments; here one is tried.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from killed import TRIES, finish, kill_after, timed
from small import rows, write_csv
from test_kills import contents

pytest_plugins = ["bundle_fixtures"]

MOMENTS = TRIES if TRIES > 3 else 1

QUICK = ["--epochs", "4", "--depth", "2", "--split-by", "exact", "--set", "batch_size=8", "--set", "candidates=one"]


def no_disk() -> None:
    """Of this process: no disk has room."""
    import psutil

    psutil.disk_usage = lambda _: SimpleNamespace(free=10)


def test_a_streaming_run_goes_on_to_the_same_bytes(small_llama: Path, tmp_path: Path) -> None:
    table = write_csv(tmp_path / "messages.csv", rows(40))
    place, log = tmp_path / "place", tmp_path / "log"

    def train(target: Path, *more: str) -> list[Any]:
        told = ["--set", "store_limit_mb=0", "--set", "patience=0"]
        return ["train", table, "-o", target, "--model", small_llama, *QUICK, *told, *more]

    seconds = timed(train(tmp_path / "never-killed"), log, no_disk)
    assert "the trunk runs again for each" in log.read_text(encoding="utf-8")
    expected, drawn = contents(tmp_path / "never-killed"), random.Random(5)
    killed = same = 0
    for _ in range(MOMENTS):
        shutil.rmtree(place, ignore_errors=True)
        killed += kill_after(drawn.uniform(0.02, 1.0) * seconds, train(place / "bundle"), log, no_disk)
        again = ["--resume", "--force"]  # it may have been put in place before
        code, _, said = finish(train(place / "bundle", *again), log, no_disk)
        assert code == 0, said
        same += contents(place / "bundle") == expected
        assert [path.name for path in place.iterdir()] == ["bundle"]
    print(f"\nstreaming: {killed} of {MOMENTS} killed under way, {same} ended in the same bytes")
    assert same == MOMENTS
