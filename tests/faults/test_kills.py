"""SIGKILL at random moments: nothing half made is ever found, and what goes on ends in the same bytes.

``make test-faults`` tries 25 moments of each; here a few are tried.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from killed import TRIES, finish, kill_after, timed
from small import rows, write_csv

from classtune.errors import ClasstuneError
from classtune.inference.predictor import load_predictor

pytest_plugins = ["bundle_fixtures"]

LONG = ["--depth", "2", "--epochs", "12", "--split-by", "exact", "--set", "patience=0", "--set", "batch_size=4"]
# One network with its checkpoints, or candidates in cross-validation, of which a cheap one is chosen.
RUNS = {
    "one network": ["--set", "candidates=one"],
    "candidates": ["--effort", "best", "--set", "least_steps=10", "--epochs", "4"],
}


def moments(seconds: float, seed: int) -> Iterator[float]:
    """Anywhere in a run that takes so long."""
    drawn = random.Random(seed)
    return (drawn.uniform(0.02, 1.0) * seconds for _ in range(TRIES))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but those that tell how long it took."""
    timed = {"classtune.json", "README.md", "report.html"}
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in timed
    }


def beside(place: Path, name: str) -> list[str]:
    """Whatever is left in a folder but what has this name."""
    left = (path.relative_to(place) for path in sorted(place.rglob("*")))
    return [path.as_posix() for path in left if path.parts[0] != name]


def told(what: str, killed: int, same: int, lost: int) -> None:
    print(f"\n{what}: {killed} of {TRIES} killed under way, {same} ended in the same bytes, {lost} lost")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "messages.csv", rows(200))


def train(table: Path, model: Path, target: Path, *more: Any, run: str = "one network") -> list[Any]:
    return ["train", table, "-o", target, "--model", model, *LONG, *RUNS[run], "-q", *more]


def whole(folder: Path) -> dict[str, bytes] | None:
    """The files of a bundle that loads and scores as it did; None where there is no folder. Half a bundle raises."""
    if not folder.exists():
        return None
    load_predictor(folder)
    return contents(folder)


@pytest.mark.parametrize("run", RUNS)
def test_train_goes_on_to_the_same_bytes(run: str, small_llama: Path, table: Path, tmp_path: Path) -> None:
    place, log = tmp_path / "place", tmp_path / "log"
    seconds = timed(train(table, small_llama, tmp_path / "never-killed", run=run), log)
    expected = contents(tmp_path / "never-killed")
    killed = same = 0
    for moment in moments(seconds, 1):
        shutil.rmtree(place, ignore_errors=True)
        killed += kill_after(moment, train(table, small_llama, place / "bundle", run=run), log)
        if whole(place / "bundle") is None:
            code, _, said = finish(train(table, small_llama, place / "bundle", "--resume", run=run), log)
            assert code == 0, said
        else:  # it was put in place already: what is left of the run goes with the next one
            code, _, said = finish(train(table, small_llama, place / "bundle", "--force", "--resume", run=run), log)
            assert code == 0, said
        same += whole(place / "bundle") == expected
        assert beside(place, "bundle") == []
    told(f"train, {run}", killed, same, TRIES - same)
    assert same == TRIES


def test_replacing_a_bundle_leaves_the_old_or_the_new_one(
    small_llama: Path, small_bundle: Path, table: Path, tmp_path: Path
) -> None:
    place, log = tmp_path / "place", tmp_path / "log"
    seconds = timed(train(table, small_llama, tmp_path / "never-killed"), log)
    old, new = contents(small_bundle), contents(tmp_path / "never-killed")
    killed = same = lost = 0
    for moment in moments(seconds, 2):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(small_bundle, place / "bundle")
        killed += kill_after(moment, train(table, small_llama, place / "bundle", "--force"), log)
        try:
            lost += whole(place / "bundle") not in (old, new)
        except ClasstuneError:
            lost += 1
        code, _, said = finish(train(table, small_llama, place / "bundle", "--force", "--resume"), log)
        assert code == 0, said
        same += whole(place / "bundle") == new
        assert beside(place, "bundle") == []
    told("train --force", killed, same, lost)
    assert (same, lost) == (TRIES, 0)


def test_bulk_goes_on_to_the_same_shards(small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, log = write_csv(tmp_path / "many.csv", rows(24_000)), tmp_path / "log"
    (place := tmp_path / "place").mkdir()

    def bulk(output: Path, *more: str) -> list[Any]:
        return ["predict", small_bundle, table, "--text", "text", "-q", "-o", f"{output}/", *more]

    table.write_text(table.read_text(encoding="utf-8").replace("text,label", "text,given"), encoding="utf-8")
    seconds = timed(bulk(tmp_path / "never-killed"), log)
    expected = contents(tmp_path / "never-killed")
    assert len(expected) == 4  # three shards and the manifest
    killed = same = 0
    for moment in moments(seconds, 3):
        shutil.rmtree(place / "out", ignore_errors=True)
        killed += kill_after(moment, bulk(place / "out"), log)
        code, _, said = finish(bulk(place / "out", "--resume"), log)
        assert code == 0, said
        same += contents(place / "out") == expected
        assert beside(place, "out") == []
    told("bulk", killed, same, TRIES - same)
    assert same == TRIES
