"""How an export and its bundle are compared."""

from __future__ import annotations

import numpy as np

from classtune.export.check import compare


def test_scores_that_are_no_numbers_count_as_changed() -> None:
    expected, found = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[np.nan, np.nan], [0.3, 0.7]])
    assert compare(expected, found, lambda scores: scores == scores.max(1, keepdims=True))["changed_labels"] == 1
