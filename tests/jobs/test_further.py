"""What a further backbone costs is weighed against what its sample shows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from classtune.candidates.folds import HeldOut
from classtune.config import resolve
from classtune.data.dataset import prepare
from classtune.data.reading.tables import table_from_rows
from classtune.jobs.contest import BUDGET_SECONDS, LARGE_BUDGET_SECONDS, Contest
from classtune.jobs.steps import Clock


@pytest.fixture(scope="module")
def contest() -> Contest:
    """400 rows whose words say nothing, and a first backbone that knows a little."""
    rng = np.random.default_rng(0)
    texts = [f"{' '.join(rng.permutation(list('abcdefghij')))} {number}" for number in range(400)]
    table = table_from_rows(texts, rng.choice(["left", "right"], 400).tolist(), name="rows")
    settings = resolve()
    material = prepare(table, settings)
    told: list[str] = []
    found = Contest(material, settings, HeldOut.of(material, settings), Clock(), told.append, lambda *_: None)
    found.add_cheap()
    first: Any = SimpleNamespace(name="first probe", kind="probe", backbone=SimpleNamespace(sample=sample(found, 1.0)))
    found.entries.append(first)
    return found


def sample(contest: Contest, strength: float) -> tuple[Any, Any]:
    """150 training rows with features of which one knows the label so well."""
    rows = contest.material.splits.train[:150]
    features = np.random.default_rng(int(10 * strength)).normal(size=(len(rows), 8)).astype(np.float32)
    features[:, 0] += strength * contest.material.truth[rows]
    return rows, features


@pytest.mark.parametrize(
    ("strength", "seconds", "said"),
    [
        (3.0, 10.0, ""),
        (3.0, BUDGET_SECONDS + 1, ""),  # a large gain is worth minutes
        (3.0, LARGE_BUDGET_SECONDS + 1, "would take about 20 min more"),
        (0.0, 10.0, "adds nothing beyond noise"),
    ],
)
def test_minutes_are_spent_where_the_sample_shows_a_gain(
    contest: Contest, strength: float, seconds: float, said: str
) -> None:
    further: Any = SimpleNamespace(sample=sample(contest, strength))
    line = contest._adds_too_little(further, "second", seconds)
    assert said in line
    assert bool(line) == bool(said)
    assert not line or "--effort best goes on." in line


def test_a_sample_of_most_rows_has_cost_what_the_trunk_costs(contest: Contest) -> None:
    rows = contest.material.splits.train
    features = np.zeros((len(rows), 8), np.float32)
    further: Any = SimpleNamespace(sample=(rows, features))
    assert contest._adds_too_little(further, "second", LARGE_BUDGET_SECONDS + 1) == ""
