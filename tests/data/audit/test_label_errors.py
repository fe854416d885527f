"""Planted label errors are found, far better than by chance."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from classtune.data.audit.label_errors import find_label_errors
from classtune.errors import DataError, UserError

LABELS = ["ham", "spam", "offer", "unused"]


@pytest.fixture
def judged() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities [400, 4] of rows of three classes, given labels, and the rows whose label was changed."""
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, 400)
    scores = rng.normal(size=(400, 4)) + 4 * np.eye(4)[truth]
    scores[:, 3] = -9
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    planted = rng.choice(400, 20, replace=False)
    given = truth.copy()
    given[planted] = (truth[planted] + 1) % 3
    return probabilities, given, planted


def test_planted_errors_are_found_and_mended(judged: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    pytest.importorskip("cleanlab")
    probabilities, given, planted = judged
    found = find_label_errors(probabilities, given, LABELS)
    first = found[: len(planted)]
    right = [finding for finding in first if finding["row"] in planted]
    assert len(right) >= 17
    assert [finding["score"] for finding in found] == sorted(finding["score"] for finding in found)
    for finding in found:
        row = finding["row"]
        assert finding["label"] == LABELS[given[row]] != finding["suggested"]
        assert finding["score"] == pytest.approx(probabilities[row, given[row]], rel=1e-4)
    mended = [finding for finding in right if finding["suggested"] == LABELS[(given[finding["row"]] - 1) % 3]]
    assert len(mended) >= 16


def test_clean_labels_raise_few_alarms(judged: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    pytest.importorskip("cleanlab")
    probabilities, _, _ = judged
    assert find_label_errors(probabilities, probabilities.argmax(1), LABELS) == []


def test_classes_of_one_row_and_a_table_of_one_class_do_not_matter() -> None:
    pytest.importorskip("cleanlab")
    probabilities = np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.9, 0.1, 0.0]])
    assert find_label_errors(probabilities, np.array([0, 0, 0]), ["a", "b", "c"]) == []
    found = find_label_errors(np.repeat(probabilities, 20, axis=0), np.array([0] * 59 + [2]), ["a", "b", "c"])
    assert {finding["suggested"] for finding in found} <= {"a"}


def test_without_cleanlab_the_error_says_what_to_install(
    judged: tuple[np.ndarray, np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    with pytest.raises(UserError, match=r'pip install "classtune\[audit\]"'):
        find_label_errors(judged[0], judged[1], LABELS)


def test_everything_that_does_not_fit_is_told_at_once() -> None:
    with pytest.raises(DataError) as raised:
        find_label_errors(np.full((2, 3), np.nan), np.array([0, 7, 1]), ["a", "b"])
    assert [problem.partition(":")[0] for problem in raised.value.problems] == [
        "probabilities",
        "truth",
        "probabilities",
    ]
