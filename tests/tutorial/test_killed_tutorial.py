"""SIGKILL of `classtune tutorial` between rows and within them, and two at once: --resume ends in the same table.

``make test-faults`` tries 25 moments; here a few are tried.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from killed import TRIES, finish, kill_after, one_of_two, timed
from small import rows, write_csv

pytest_plugins = ["bundle_fixtures", "gpt2_fixture"]

ROWS = (1, 3, 5, 16)
FILES = [*(f"rows/{row:02}.json" for row in ROWS), *(f"tutorial.{suffix}" for suffix in ("csv", "html", "json", "md"))]


@pytest.fixture
def tutorial(gpt2: Callable[[str], Path], tmp_path: Path) -> Callable[..., list[Any]]:
    """The words of a command that writes to a folder."""
    table, asked = write_csv(tmp_path / "rows.csv", rows(60)), ",".join(map(str, ROWS))
    return lambda to, *more: ["tutorial", table, "--model", gpt2("gpt2"), "--rows", asked, "-q", "-o", to, *more]


def figures(folder: Path) -> list[dict[str, Any]]:
    """Each row of the table, without its times."""
    document = json.loads((folder / "tutorial.json").read_text(encoding="utf-8"))
    return [{key: value for key, value in row.items() if not key.endswith("seconds")} for row in document["rows"]]


def test_a_killed_tutorial_goes_on_to_the_same_table(tutorial: Callable[..., list[Any]], tmp_path: Path) -> None:
    log, place, drawn = tmp_path / "log", tmp_path / "place", random.Random(11)
    seconds = timed(tutorial(tmp_path / "whole"), log)
    expected, killed = figures(tmp_path / "whole"), 0
    for _ in range(TRIES):
        shutil.rmtree(place, ignore_errors=True)
        for more in ((), ("--resume",)):  # a resumed run is killed too
            killed += kill_after(drawn.uniform(0.02, 0.8) * seconds, tutorial(place / "out", *more), log)
        code, _, said = finish(tutorial(place / "out", "--resume"), log)
        assert code == 0, said
        assert figures(place / "out") == expected
        left = [path.relative_to(place / "out").as_posix() for path in place.rglob("*") if path.is_file()]
        assert sorted(left) == FILES
    print(f"\ntutorial: {killed} of {2 * TRIES} killed under way, {TRIES} of {TRIES} ended in the same table")


def test_of_two_at_once_one_writes(tutorial: Callable[..., list[Any]], tmp_path: Path) -> None:
    one_of_two(tutorial(tmp_path / "out"), tmp_path)
    assert [row["row"] for row in figures(tmp_path / "out")] == list(ROWS)
