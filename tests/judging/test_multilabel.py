"""Figures of several labels a text, against scikit-learn's or a sum done by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as oracle

from classtune.errors import DataError
from classtune.judging.metrics import judge
from classtune.stats import SMALLEST_PROBABILITY


def random_case(rows: int, labels: int, seed: int, present: int | None = None) -> tuple[Any, Any, list[str]]:
    """Probabilities that tell something, and labels from frequent to rare; those from ``present`` on never hold."""
    rng = np.random.default_rng(seed)
    truth = rng.random((rows, labels)) < np.linspace(0.6, 0.05, labels)
    truth[:, labels if present is None else present :] = False
    probabilities = 1 / (1 + np.exp(-rng.normal(size=truth.shape) - 3 * truth + 2))
    return probabilities, truth, [f"label {i}" for i in range(labels)]


@pytest.mark.parametrize(
    ("rows", "labels", "present"),
    [(400, 5, 5), (400, 28, 28), (300, 6, 4), (3, 5, 5), (1, 2, 2), (50, 1, 1)],
    ids=["five", "many", "labels-absent", "few-rows", "one-row", "one-label"],
)
def test_figures_equal_scikit_learns(rows: int, labels: int, present: int) -> None:
    probabilities, truth, names = random_case(rows, labels, seed=rows, present=present)
    given = probabilities >= 0.5
    figures = judge(probabilities, truth, names).document()
    assert figures["rows"] == rows
    assert figures["confusion"] is None
    assert figures["accuracy"] == pytest.approx((truth == given).all(1).mean())
    assert figures["hamming_loss"] == pytest.approx((truth != given).mean())
    per_label = [
        oracle.precision_recall_fscore_support(truth[:, i], given[:, i], average="binary", zero_division=0)[:3]
        for i in range(labels)
    ]
    occurs = (truth | given).any(0)
    assert figures["macro_f1"] == pytest.approx(np.array(per_label)[occurs, 2].mean())
    hits = (truth & given).sum()
    assert figures["micro_f1"] == pytest.approx(2 * hits / (truth.sum() + given.sum()))
    assert figures["log_loss"] == pytest.approx(
        np.mean([oracle.log_loss(truth[:, i], probabilities[:, i], labels=[False, True]) for i in range(labels)])
    )
    assert list(figures["per_label"]) == names
    for i, row in enumerate(figures["per_label"].values()):
        assert [row["precision"], row["recall"], row["f1"]] == pytest.approx(per_label[i])
        assert row["support"] == truth[:, i].sum()
        area = oracle.average_precision_score(truth[:, i], probabilities[:, i]) if truth[:, i].any() else 0.0
        assert row["average_precision"] == pytest.approx(area)


def test_intervals_are_scipys_and_those_of_drawn_rows() -> None:
    probabilities, truth, names = random_case(300, 4, seed=3)
    given, rng = probabilities >= 0.5, np.random.default_rng(0)
    figures = judge(probabilities, truth, names).document()
    exact = binomtest(int((truth == given).all(1).sum()), 300).proportion_ci(method="wilson")
    assert figures["accuracy_ci95"] == pytest.approx([exact.low, exact.high])
    draws = rng.integers(0, 300, (1000, 300))
    scores = [oracle.f1_score(truth[draw], given[draw], average="macro", zero_division=0) for draw in draws]
    assert figures["macro_f1_ci95"] == pytest.approx(np.quantile(scores, [0.025, 0.975]).tolist(), abs=0.012)
    assert figures == judge(probabilities, truth, names).document()
    assert figures["macro_f1_ci95"] != judge(probabilities, truth, names, seed=7).document()["macro_f1_ci95"]


def test_bootstrap_in_parts_draws_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    case = random_case(300, 4, seed=3)
    together = judge(*case).document()
    monkeypatch.setattr("classtune.judging.metrics._DRAWN_TOGETHER", 1000)
    assert judge(*case).document() == together


def test_given_answers_are_judged_instead_of_one_half() -> None:
    probabilities, truth, names = random_case(300, 4, seed=5)
    thresholds = np.array([0.5, 0.3, 0.2, 0.1])
    figures, usual = (
        judge(probabilities, truth, names, answers=answers).document()
        for answers in (probabilities >= thresholds, None)
    )
    expected = oracle.f1_score(truth, probabilities >= thresholds, average="macro")
    assert figures["macro_f1"] == pytest.approx(expected)
    assert figures["macro_f1"] != usual["macro_f1"]
    assert (figures["log_loss"], figures["ece"]) == (usual["log_loss"], usual["ece"])


def test_ece_is_the_gap_between_probability_and_frequency() -> None:
    # 30 decisions, two to a bin: 20 at 0.1, of which 5 hold, and 10 at 0.8, of which all do.
    probabilities = np.repeat([0.1, 0.8], [20, 10]).reshape(-1, 2)
    truth = (np.array([True] * 5 + [False] * 15 + [True] * 10)).reshape(-1, 2)
    figures = judge(probabilities, truth, ["a", "b"]).document()
    assert figures["ece"] == pytest.approx((20 * 0.15 + 10 * 0.2) / 30)


def test_all_right_and_all_wrong_stay_finite() -> None:
    truth = np.array([[True, False], [False, False]])
    names = ["a", "b"]
    figures = judge(truth.astype(np.float32), truth, names).document()
    assert (figures["accuracy"], figures["macro_f1"], figures["micro_f1"], figures["hamming_loss"]) == (1, 1, 1, 0)
    figures = judge(1 - truth.astype(np.float32), truth, names).document()
    assert figures["log_loss"] == pytest.approx(-math.log(SMALLEST_PROBABILITY))
    nothing = judge(np.zeros((2, 2)), np.zeros((2, 2), dtype=bool), names).document()
    assert (nothing["accuracy"], nothing["macro_f1"], nothing["macro_f1_ci95"]) == (1, 0, [0, 0])
    assert json.loads(json.dumps(nothing)) == nothing


def test_what_cannot_be_judged_is_said_at_once() -> None:
    with pytest.raises(DataError, match="there are none"):
        judge(np.empty((0, 2)), np.empty((0, 2), dtype=bool), ["a", "b"])
    with pytest.raises(DataError) as caught:
        judge(np.array([[math.nan, 1.5, 0.0]]), np.array([[1, 0]]), ["a", "b"])
    shape, kind, finite = caught.value.problems
    assert "probabilities: shape (1, 3)" in shape
    assert "truth: int64" in kind
    assert "2 are not between 0 and 1" in finite
