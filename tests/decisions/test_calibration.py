"""Calibration against known temperatures, scikit-learn's logistic and isotonic regression, and the ece of metrics."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from scipy.special import softmax as scipys_softmax
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from classtune.decisions.calibration import METHODS, Calibration, fit_calibration
from classtune.errors import DataError, SettingsError
from classtune.judging.metrics import expected_calibration_error, judge, reliability
from classtune.stats import best_scale, sigmoid, softmax


def rows(count: int, classes: int, *, too_sure: float = 1.0, bias: float = 0.0, seed: int = 0) -> tuple[Any, Any]:
    """Logits ``too_sure`` times those that the truth was drawn from; ``bias`` is added to the last class after."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2.0, size=(count, classes))
    truth = (scipys_softmax(logits, axis=1).cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    return too_sure * logits + bias * np.eye(classes)[-1], truth


def many_labels(count: int, labels: int, *, too_sure: float = 1.0, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 2.0, size=(count, labels))
    return too_sure * logits, rng.random((count, labels)) < expit(logits)


def log_loss(probabilities: Any, truth: Any) -> float:
    return float(-np.log(probabilities[np.arange(len(truth)), truth]).mean())


@pytest.mark.parametrize("too_sure", [0.5, 1.0, 3.0, 20.0])
def test_temperature_is_found(too_sure: float) -> None:
    logits, truth = rows(4000, 4, too_sure=too_sure)
    fitted = fit_calibration(logits, truth, method="temperature", seed=1)
    assert fitted.record()["temperature"] == pytest.approx(too_sure, rel=0.08)
    marked, facts = many_labels(4000, 3, too_sure=too_sure)
    found = fit_calibration(marked, facts, method="temperature", multi=True, seed=1)
    assert found.record()["temperature"] == pytest.approx(too_sure, rel=0.08)


def test_temperature_keeps_the_top_label_and_mends_the_calibration_of_unseen_rows() -> None:
    logits, truth = rows(4000, 4, too_sure=3.0)
    fitted = fit_calibration(logits[:1000], truth[:1000], seed=1)
    before, after = softmax(logits[1000:]), fitted.apply(logits[1000:])
    assert (before.argmax(axis=1) == after.argmax(axis=1)).all()
    errors = [judge(each, truth[1000:], list("abcd")).values["ece"] for each in (before, after)]
    assert errors[0] > 0.1
    assert errors[1] < 0.03


def test_platt_scaling_is_scikit_learns_logistic_regression() -> None:
    logits, truth = many_labels(5000, 2, too_sure=2.0)
    fitted = fit_calibration(logits, truth, method="vector", multi=True, seed=1)
    for label in range(2):
        oracle = LogisticRegression(C=np.inf).fit(logits[:, [label]], truth[:, label])
        expected = oracle.predict_proba(logits[:, [label]])[:, 1]
        np.testing.assert_allclose(fitted.apply(logits)[:, label], expected, atol=0.003)


def test_isotonic_is_scikit_learns_off_zero_and_one() -> None:
    logits, truth = rows(800, 2, too_sure=3.0)
    fitted = fit_calibration(logits, truth, method="isotonic", seed=1)
    odds = logits[:, 1] - logits[:, 0]
    oracle = IsotonicRegression(y_min=1 / 802, y_max=1 - 1 / 802, out_of_bounds="clip").fit(odds, truth)
    np.testing.assert_allclose(fitted.apply(logits)[:, 1], oracle.predict(odds), atol=1e-9)
    extreme = fitted.apply(np.array([[800.0, -800.0], [-800.0, 800.0]]))
    assert 0 < extreme.min() < extreme.max() < 1


def test_auto_takes_the_simplest_unless_another_is_clearly_better() -> None:
    logits, truth = rows(600, 3)
    assert fit_calibration(logits * best_scale(logits, truth), truth, seed=1).method in ("none", "temperature")
    plain = fit_calibration(3 * logits, truth, seed=1)
    assert plain.method == "temperature"
    assert plain.candidates is not None
    assert set(plain.candidates) == set(METHODS)
    logits, truth = rows(2000, 3, bias=2.5)  # one class too likely: no temperature mends that
    biased = fit_calibration(logits, truth, seed=1)
    assert biased.method == "vector"
    assert log_loss(biased.apply(logits), truth) < log_loss(softmax(logits), truth) - 0.1
    assert biased.bias[-1] - biased.bias[0] == pytest.approx(-2.5, abs=0.3)
    bent, hot = many_labels(3000, 2)
    assert fit_calibration(np.sign(bent) * bent**6, hot, multi=True, seed=1).method == "isotonic"


def test_losses_are_of_rows_that_were_not_fitted() -> None:
    rng = np.random.default_rng(0)
    logits, truth = rng.normal(size=(600, 8)), rng.integers(0, 8, 600)  # nothing to learn
    found = fit_calibration(logits, truth, seed=1)
    assert found.candidates is not None
    isotonic = fit_calibration(logits, truth, method="isotonic", seed=1)
    assert log_loss(isotonic.apply(logits), truth) < np.log(8) < found.candidates["isotonic"]


def test_few_rows_and_absent_classes_get_no_more_than_a_temperature() -> None:
    logits, truth = rows(40, 3)
    found = fit_calibration(logits, truth, seed=1)
    assert set(found.candidates or {}) == {"none", "temperature"}
    assert "40 held-out rows are few" in found.notes[0]
    logits, truth = rows(300, 3)
    asked = fit_calibration(logits, np.minimum(truth, 1), method="isotonic", seed=1)
    assert asked.method == "temperature"
    assert "1 label is on none" in asked.notes[0]
    nothing = fit_calibration(logits[:9], truth[:9], seed=1)
    assert nothing.method == "none"
    assert "too few" in nothing.notes[0]
    np.testing.assert_array_equal(nothing.apply(logits), softmax(logits))


def test_without_a_mistake_nothing_becomes_certain() -> None:
    truth = np.arange(60) % 2
    for method in METHODS[1:]:
        found = fit_calibration(2.0 * np.eye(2)[truth], truth, method=method, seed=1)
        assert 0.9 < found.apply(np.array([[0.0, 2.0]])).max() < 0.9999


@pytest.mark.parametrize("multi", [False, True], ids=["one-label", "many-labels"])
@pytest.mark.parametrize("method", [*METHODS, "auto"])
def test_a_row_by_itself_a_second_fit_and_json_give_the_same(method: str, multi: bool) -> None:
    logits, truth = many_labels(300, 3) if multi else rows(300, 3, too_sure=2.0)
    fitted = fit_calibration(logits, truth, method=method, multi=multi, seed=1)
    whole = fitted.apply(logits)
    assert whole.dtype == np.float64
    single = np.concatenate([fitted.apply(logits[[row]]) for row in range(20)])
    np.testing.assert_allclose(single, whole[:20], rtol=1e-14)
    assert fitted == fit_calibration(logits, truth, method=method, multi=multi, seed=1)
    assert Calibration.from_record(json.loads(json.dumps(fitted.record()))) == fitted
    assert multi or whole.sum(axis=1) == pytest.approx(np.ones(300))


def test_softmax_and_sigmoid_are_scipys_at_any_size() -> None:
    logits = np.array([[800.0, -800.0, 0.0], [-3.0, 0.5, 2.0]])
    np.testing.assert_allclose(softmax(logits), scipys_softmax(logits, axis=1), rtol=1e-14)
    np.testing.assert_allclose(sigmoid(logits), expit(logits), rtol=1e-14)


def test_reliability_adds_up_to_the_calibration_error() -> None:
    logits, truth = rows(700, 3, too_sure=3.0)
    probabilities = softmax(logits)
    bins = reliability(probabilities, truth)
    assert len(bins) == 15
    assert [each.confidence for each in bins] == sorted(each.confidence for each in bins)
    gap = sum(each.rows * abs(each.confidence - each.accuracy) for each in bins) / 700
    expected = expected_calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == truth)
    assert gap == pytest.approx(expected)
    marked, facts = many_labels(200, 3)
    bins = reliability(expit(marked), facts)
    assert sum(each.rows for each in bins) == 600
    assert sum(each.rows * each.accuracy for each in bins) == pytest.approx(facts.sum())
    assert len(reliability(probabilities[:4], truth[:4])) == 4


def test_what_cannot_be_calibrated_is_said() -> None:
    logits, truth = rows(60, 3)
    with pytest.raises(SettingsError, match="Did you mean 'temperature'"):
        fit_calibration(logits, truth, method="temprature", seed=1)
    with pytest.raises(DataError, match="do not fit"):
        fit_calibration(logits, truth[:50], seed=1)
    with pytest.raises(DataError, match="1 logits are not finite"):
        fit_calibration(np.where(np.eye(60, 3)[:, [0]] * np.eye(1, 3), np.nan, logits), truth, seed=1)
    with pytest.raises(DataError, match="class numbers"):
        fit_calibration(logits, truth + 1, seed=1)


def test_numbers_for_thousands_of_labels_are_not_fitted_to_a_few_rows_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classtune.decisions.calibration._scale_and_bias", None)
    monkeypatch.setattr("classtune.decisions.calibration._rising_curves", None)
    truth = np.arange(1200) % 200
    logits = np.random.default_rng(0).normal(size=(1200, 200)) + 3 * np.eye(200)[truth]
    found = fit_calibration(logits, truth, seed=0)
    assert found.method in ("none", "temperature")
    assert "1,200 held-out rows are few for 200 labels, so nothing richer" in found.notes[0]


def test_the_choice_of_a_method_divides_no_copies() -> None:
    """Curves that fit noise look good where a copy of each row is in the other folds; kept together they do not."""
    rng = np.random.default_rng(0)
    rows, copies = 130, 4
    logits = np.repeat(rng.normal(size=(rows, 2)), copies, axis=0)
    truth = np.repeat(rng.integers(0, 2, rows), copies)
    groups = np.repeat(np.arange(rows), copies)
    divided = fit_calibration(logits, truth, seed=1)
    together = fit_calibration(logits, truth, seed=1, groups=groups)
    assert divided.candidates is not None
    assert together.candidates is not None
    assert divided.candidates["isotonic"] < together.candidates["isotonic"] - 0.02
    assert together.method != "isotonic"
