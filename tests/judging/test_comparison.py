"""Candidates side by side: each is tested against the one before it, on the same rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from classtune.errors import DataError
from classtune.judging.comparison import Candidate, side_by_side
from classtune.judging.figures import Figures
from classtune.stats import wilson

NAMES = ("majority class", "one-line rule", "tf-idf", "last block")


def candidate(name: str, errors: int = 0, rows: int = 1000) -> Candidate:
    values = {"accuracy": 1 - errors / rows, "macro_f1": 0.9, "log_loss": 0.2, "ece": 0.01}
    figures = Figures(values, {"accuracy": wilson(rows - errors, rows)}, rows, name=name)
    return Candidate(figures, train_seconds=1.0, ms_per_text=2.0, bytes=0)


def test_each_candidate_is_tested_against_the_one_before() -> None:
    errors, right = dict(zip(NAMES, (130, 60, 15, 12), strict=True)), {}
    for name, wrong in errors.items():
        right[name] = np.ones(1000, dtype=bool)
        right[name][:wrong] = False
    found = side_by_side([candidate(*one) for one in errors.items()], right, chosen="tf-idf")
    first, second, *_, last = found.document()["candidates"]
    assert (first["p_value"], first["difference"], first["difference_ci95"]) == (None, None, None)
    assert second["difference"] == pytest.approx(7.0)
    assert last["p_value"] == pytest.approx(2 * binom.cdf(0, 3, 0.5))
    assert last["difference_ci95"][0] < 0.3 < last["difference_ci95"][1]
    assert set(last) >= {"accuracy_ci95", "macro_f1", "log_loss", "ece", "train_seconds", "ms_per_text", "bytes"}
    assert (found.recommended, found.rows) == ("tf-idf", 1000)


def test_rows_must_agree_and_names_differ() -> None:
    right = np.ones(200, dtype=bool)
    with pytest.raises(DataError, match="same rows"):
        side_by_side([candidate("a"), candidate("b")], {"a": right, "b": right[:5]}, chosen="a")
    with pytest.raises(DataError, match="name of its own"):
        side_by_side([candidate("a"), candidate("a")], {"a": right}, chosen="a")
