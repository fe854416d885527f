"""A further backbone is gone on with where its probe adds something on the rows that chose its depth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from classtune.candidates.cost import duration
from classtune.candidates.sample import (
    BUDGET_SECONDS,
    LARGE_BUDGET_SECONDS,
    LEAST_ROWS,
    gain_of_further,
    weigh_further,
)
from classtune.config import resolve
from classtune.data.dataset import Material, prepare
from classtune.data.reading.tables import table_from_rows

ROWS = 400


@pytest.fixture(scope="module")
def material() -> Material:
    """Texts whose words tell nothing of their labels."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.permutation(list("abcdefghij"))) + f" {number}" for number in range(ROWS)]
    labels = rng.choice(["left", "right"], ROWS).tolist()
    return prepare(table_from_rows(texts, labels, name="rows"), resolve())


def states(material: Material, rows: NDArray[np.int64], strength: float, seed: int) -> tuple[Any, Any]:
    """Rows with features of which one knows the label so well."""
    features = np.random.default_rng(seed).normal(size=(len(rows), 8)).astype(np.float32)
    features[:, 0] += strength * material.truth[rows]
    return rows, features


def test_what_knows_more_is_gone_on_with_and_noise_is_not(material: Material) -> None:
    rows = material.splits.train
    small = states(material, rows, 1.0, 1)
    helpful, noise = states(material, rows[20:], 2.0, 2), states(material, rows[20:], 0.0, 3)
    settings = resolve()
    gain = gain_of_further(material, [small], helpful, settings, lexical=True)
    assert gain is not None
    assert gain.shown
    assert gain.rows == len(rows) - 20  # those that both have
    assert gain.with_it < gain.without - 0.05
    assert gain.large
    nothing = gain_of_further(material, [small], noise, settings, lexical=False)
    assert nothing is not None
    assert not nothing.shown


def test_a_copy_of_what_is_known_adds_nothing(material: Material) -> None:
    small = states(material, material.splits.train, 1.0, 1)
    gain = gain_of_further(material, [small], small, resolve(), lexical=False)
    assert gain is not None
    assert not gain.shown
    assert gain.without == pytest.approx(gain.with_it)


def test_few_rows_tell_nothing(material: Material) -> None:
    rows = material.splits.train[: LEAST_ROWS - 1]
    small = states(material, rows, 1.0, 1)
    assert gain_of_further(material, [small], small, resolve(), lexical=True) is None


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
    material: Material, strength: float, seconds: float, said: str
) -> None:
    rows = material.splits.train[:150]
    known, further = states(material, rows, 1.0, 1), states(material, rows, strength, 2)
    goes_on, sentence = weigh_further(
        material, [known], further, resolve(), name="second", seconds=seconds, lexical=True
    )
    assert goes_on == (not said)
    assert (said or f"second: about {duration(seconds)} more, for it adds something") in sentence
    assert goes_on or "--effort best goes on." in sentence


def test_a_sample_of_most_rows_has_cost_what_the_trunk_costs(material: Material) -> None:
    rows = material.splits.train
    known = states(material, rows, 1.0, 1)
    told: dict[str, Any] = {"name": "second", "seconds": LARGE_BUDGET_SECONDS + 1, "lexical": True}
    assert weigh_further(material, [known], known, resolve(), **told) == (True, "")
