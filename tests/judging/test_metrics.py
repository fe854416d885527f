"""Every figure against scikit-learn's, scipy's or a sum done by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as oracle

from classtune.errors import DataError
from classtune.judging.figures import Confused
from classtune.judging.metrics import average_precision, expected_calibration_error, judge
from classtune.stats import SMALLEST_PROBABILITY, wilson


def random_case(rows: int, classes: int, seed: int, present: int | None = None) -> tuple[Any, Any, list[str]]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, present or classes, rows)
    logits = rng.normal(size=(rows, classes)) + 1.5 * np.eye(classes)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probabilities, truth, [f"class {i}" for i in range(classes)]


@pytest.mark.parametrize(
    ("rows", "classes", "present"),
    [(400, 2, 2), (400, 6, 6), (60, 6, 4), (3, 5, 5), (1, 2, 2), (2000, 77, 77)],
    ids=["binary", "six", "classes-absent", "fewer-rows-than-classes", "one-row", "many"],
)
def test_figures_equal_scikit_learns(rows: int, classes: int, present: int) -> None:
    probabilities, truth, labels = random_case(rows, classes, seed=rows, present=present)
    predicted, every = probabilities.argmax(axis=1), range(classes)
    figures = judge(probabilities, truth, labels).document()
    assert figures["rows"] == rows
    assert figures["accuracy"] == pytest.approx(oracle.accuracy_score(truth, predicted))
    assert figures["macro_f1"] == pytest.approx(oracle.f1_score(truth, predicted, average="macro", zero_division=0))
    assert figures["log_loss"] == pytest.approx(oracle.log_loss(truth, probabilities, labels=every))
    assert figures["confusion"] == oracle.confusion_matrix(truth, predicted, labels=every).tolist()
    expected = oracle.precision_recall_fscore_support(truth, predicted, labels=every, zero_division=0)
    found = [list(row.values()) for row in figures["per_label"].values()]
    np.testing.assert_allclose([row[:4] for row in found], np.transpose(expected))
    for number, row in enumerate(found):
        positive = truth == number
        area = oracle.average_precision_score(positive, probabilities[:, number]) if positive.any() else 0.0
        assert row[4] == pytest.approx(area)
    assert list(figures["per_label"]) == labels


def test_rows_of_equal_score_come_together_in_average_precision() -> None:
    rng = np.random.default_rng(2)
    scores, truth = rng.choice([0.1, 0.5, 0.9], 200), rng.random(200) < 0.3
    assert average_precision(scores, truth) == pytest.approx(oracle.average_precision_score(truth, scores))
    assert average_precision(scores, np.zeros(200, dtype=bool)) == 0


def test_given_answers_are_judged_instead_of_the_most_probable_class() -> None:
    probabilities, truth, labels = random_case(300, 3, seed=4)
    answers = probabilities[:, 0] < 0.2  # class 1 or 0: another rule than argmax
    figures, usual = (
        judge(probabilities, truth, labels, answers=answers.astype(int)).document(),
        judge(probabilities, truth, labels).document(),
    )
    assert figures["accuracy"] == pytest.approx((answers == truth).mean())
    assert figures["confusion"] == oracle.confusion_matrix(truth, answers.astype(int), labels=range(3)).tolist()
    assert figures["accuracy"] != usual["accuracy"]
    for name in ("log_loss", "ece"):
        assert figures[name] == usual[name]
    assert figures.keys() == usual.keys()  # nothing was withheld
    assert judge(probabilities, truth, labels, answers=probabilities.argmax(1)).document() == usual


def test_withheld_answers_leave_the_figures_of_the_answered_rows() -> None:
    probabilities, truth, labels = random_case(300, 3, seed=4)
    sure = probabilities.max(1) > 0.7
    answers = np.where(sure, probabilities.argmax(1), -1)
    figures, of_sure = (
        judge(probabilities, truth, labels, answers=answers).document(),
        judge(probabilities[sure], truth[sure], labels).document(),
    )
    for name in ("accuracy", "accuracy_ci95", "macro_f1", "macro_f1_ci95", "confusion"):
        assert figures[name] == of_sure[name]
    assert figures["rows"] == 300
    assert figures["answered"] == sure.mean()
    assert figures["error_of_answered"] == pytest.approx(1 - of_sure["accuracy"])
    wrong = round((1 - of_sure["accuracy"]) * sure.sum())
    interval = binomtest(wrong, int(sure.sum())).proportion_ci(method="wilson")
    assert figures["error_of_answered_ci95"] == pytest.approx([interval.low, interval.high])
    assert figures["log_loss"] == judge(probabilities, truth, labels).document()["log_loss"]


def test_a_classifier_that_answers_nothing_promises_nothing() -> None:
    probabilities, truth, labels = random_case(5, 2, seed=4)
    figures = judge(probabilities, truth, labels, answers=np.full(5, -1)).document()
    assert figures["answered"] == figures["accuracy"] == figures["macro_f1"] == 0
    for name in ("accuracy_ci95", "macro_f1_ci95", "error_of_answered_ci95"):
        assert figures[name] == [0, 1]


def test_answers_that_are_no_classes_are_an_error() -> None:
    probabilities, truth, labels = random_case(5, 2, seed=4)
    for answers in (np.full(5, 2), np.zeros(4, dtype=int)):
        with pytest.raises(DataError, match=r"^answers: \d class numbers up to \d for 5 rows and 2 labels\."):
            judge(probabilities, truth, labels, answers=answers).document()


def test_figures_survive_json_unchanged() -> None:
    figures = judge(*random_case(50, 3, seed=1)).document()
    assert json.loads(json.dumps(figures)) == figures


def test_of_many_classes_the_largest_confusions_are_kept() -> None:
    labels = [f"class {i}" for i in range(201)]
    truth = np.repeat(np.arange(201), 10)
    answers = truth.copy()
    answers[truth == 7] = 9
    answers[:3] = 200
    probabilities = np.full((2010, 201), 1 / 201)
    figures = judge(probabilities, truth, labels, answers=answers)
    assert figures.confusion is None
    assert figures.largest_confusions == [Confused("class 7", "class 9", 10), Confused("class 0", "class 200", 3)]
    document = figures.document()
    assert document["largest_confusions"][0] == {"true": "class 7", "predicted": "class 9", "texts": 10}
    assert document["per_label"]["class 9"]["precision"] == 0.5
    kept = truth < 200
    few = judge(probabilities[kept, :200], truth[kept], labels[:200]).document()
    assert len(few["confusion"]) == 200
    assert "largest_confusions" not in few


def test_perfect_predictions() -> None:
    truth = np.array([0, 1, 2, 1])
    figures = judge(np.eye(3, dtype=np.float32)[truth], truth, ["a", "b", "c"]).document()
    assert (figures["accuracy"], figures["macro_f1"], figures["log_loss"], figures["ece"]) == (1, 1, 0, 0)
    assert figures["accuracy_ci95"] == [pytest.approx(4 / (4 + 1.959964**2)), 1.0]
    assert figures["macro_f1_ci95"] == [1, 1]


def test_certain_and_wrong_costs_the_same_finite_loss_in_float32_and_float64() -> None:
    for kind in (np.float32, np.float64):
        loss = judge(np.array([[1.0, 0.0]], dtype=kind), np.array([1]), ["a", "b"]).values["log_loss"]
        assert loss == pytest.approx(-math.log(SMALLEST_PROBABILITY))


@pytest.mark.parametrize(
    ("right", "rows"), [(0, 1), (1, 1), (0, 50), (50, 50), (7, 10), (1106, 1115), (999_999, 1_000_000)]
)
def test_wilson_equals_scipys(right: int, rows: int) -> None:
    expected = binomtest(right, rows).proportion_ci(method="wilson")
    assert wilson(right, rows) == pytest.approx([expected.low, expected.high], abs=1e-12)
    assert wilson(right, rows)[0] <= right / rows <= wilson(right, rows)[1]


def test_bootstrap_interval_equals_one_from_drawn_rows() -> None:
    probabilities, truth, labels = random_case(300, 4, seed=3)
    predicted, rng = probabilities.argmax(axis=1), np.random.default_rng(0)
    draws = rng.integers(0, 300, (1000, 300))
    scores = [oracle.f1_score(truth[draw], predicted[draw], average="macro", zero_division=0) for draw in draws]
    figures = judge(probabilities, truth, labels).document()
    assert figures["macro_f1_ci95"] == pytest.approx(np.quantile(scores, [0.025, 0.975]).tolist(), abs=0.012)
    assert figures == judge(probabilities, truth, labels).document()
    assert figures["macro_f1_ci95"] != judge(probabilities, truth, labels, seed=7).document()["macro_f1_ci95"]


def test_ece_by_hand() -> None:
    # 30 rows: two to a bin. Twenty at 0.9, of which 15 are right; ten at 0.6, of which 9 are right.
    confidence = np.repeat([0.9, 0.6], [20, 10])
    right = np.array([True] * 15 + [False] * 5 + [True] * 9 + [False])
    assert expected_calibration_error(confidence, right) == pytest.approx((20 * 0.15 + 10 * 0.3) / 30)


def test_ece_bins_have_equal_mass() -> None:
    # Rising confidence, each row alone in its bin: the mean of |confidence - right|.
    confidence, right = np.linspace(0.5, 0.99, 15), np.arange(15) % 2 == 0
    assert expected_calibration_error(confidence, right) == pytest.approx(np.abs(confidence - right).mean())
    # Twice the rows in the same bins: gaps within a bin cancel, those between bins do not.
    pairs = np.repeat(confidence, 2)
    assert expected_calibration_error(pairs, np.tile([True, False], 15)) == pytest.approx(
        np.abs(confidence - 0.5).mean()
    )


def test_ece_ignores_the_order_of_rows() -> None:
    rng = np.random.default_rng(5)
    confidence, right = rng.choice([0.5, 0.7, 1.0], 100), rng.random(100) < 0.8
    shuffled = rng.permutation(100)
    in_order = expected_calibration_error(confidence, right)
    assert expected_calibration_error(confidence[shuffled], right[shuffled]) == pytest.approx(in_order, abs=1e-12)


def test_what_cannot_be_judged_is_said_at_once() -> None:
    with pytest.raises(DataError, match="there are none"):
        judge(np.empty((0, 2)), np.empty(0, dtype=int), ["a", "b"])
    with pytest.raises(DataError) as caught:
        judge(np.array([[math.nan, 1.0, 0.0]]), np.array([2]), ["a", "b"])
    shape, classes, finite = caught.value.problems
    assert "(1, 3)" in shape
    assert "2 … 2" in classes
    assert "1 are not finite" in finite
