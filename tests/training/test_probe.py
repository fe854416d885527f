"""The probe: scikit-learn's logistic regression, honest out of sample, and with rows of a group together."""

from __future__ import annotations

import numpy as np
import pytest

from classtune.data.folds import deal, strata
from classtune.stats import softmax
from classtune.training.probe import LEAST_SPREAD, fit_probe, out_of_sample, spread


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    """Features [600, 30] of 5 classes that overlap, and the class numbers; the last class is rare."""
    rng = np.random.default_rng(11)
    truth = rng.choice(5, 600, p=[0.3, 0.3, 0.2, 0.17, 0.03])
    return rng.normal(size=(5, 30))[truth] * 0.6 + rng.normal(size=(600, 30)) + 3, truth


@pytest.mark.parametrize("strength", [0.01, 0.3])
def test_it_is_scikit_learns_logistic_regression(data: tuple[np.ndarray, np.ndarray], strength: float) -> None:
    from sklearn.linear_model import LogisticRegression

    features, truth = data
    probe = fit_probe(features, truth, classes=5, seed=1, strength=strength)
    standard = (features - features.mean(0)) / features.std(0)
    theirs = LogisticRegression(C=strength, tol=1e-8, max_iter=5000).fit(standard, truth)
    logits = probe.logits(features)
    centred = logits - logits.mean(1, keepdims=True)
    expected = theirs.decision_function(standard)
    np.testing.assert_allclose(centred, expected - expected.mean(1, keepdims=True), atol=0.02)


def test_several_labels_are_a_regression_each(data: tuple[np.ndarray, np.ndarray]) -> None:
    from sklearn.linear_model import LogisticRegression

    features, classes = data
    truth = np.column_stack([classes < 2, classes == 1])
    probe = fit_probe(features, truth, classes=2, seed=1, strength=0.1)
    standard = (features - features.mean(0)) / features.std(0)
    for label in range(2):
        theirs = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000).fit(standard, truth[:, label])
        expected = theirs.decision_function(standard)
        np.testing.assert_allclose(probe.logits(features)[:, label], expected, atol=0.03)


def test_a_probe_without_a_bias_adds_nothing(data: tuple[np.ndarray, np.ndarray]) -> None:
    features, truth = data
    probe = fit_probe(features, truth, classes=5, seed=1, bias=False)
    assert not probe.bias.any()
    assert (probe.logits(features).argmax(1) == truth).mean() > 0.7


def test_the_strength_is_chosen_on_rows_that_were_not_learned() -> None:
    """Many features of noise: only a strong regularisation does no harm."""
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, 150)
    features = rng.normal(size=(150, 300))
    features[:, 0] += truth
    assert fit_probe(features, truth, classes=2, seed=1).strength <= 0.01
    easy = rng.normal(size=(150, 2)) + 4 * truth[:, None]
    assert fit_probe(easy, truth, classes=2, seed=1).strength >= 0.1


def test_a_feature_that_hardly_varies_gets_no_huge_weight() -> None:
    """A state that differs by a millionth would get a weight of a million, and one step of training break all."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 200)
    features = rng.normal(size=(200, 20)) + truth[:, None]
    features[:, 7] = 1 + 1e-6 * rng.normal(size=200)
    _, scale = spread(features)
    assert scale[7] == pytest.approx(LEAST_SPREAD * np.median(features.std(0)), rel=1e-5)
    assert np.abs(fit_probe(features, truth, classes=2, seed=1).weight).max() < 5


def test_balanced_classes_weigh_the_same() -> None:
    rng = np.random.default_rng(2)
    truth = (np.arange(400) < 20).astype(int)
    features = rng.normal(size=(400, 3)) + 0.7 * truth[:, None]
    plain, balanced = (
        fit_probe(features, truth, classes=2, seed=1, strength=0.1, balanced=told).logits(features).argmax(1).mean()
        for told in (False, True)
    )
    assert plain < 0.05
    assert balanced > 0.2


def test_probabilities_mean_what_they_say(data: tuple[np.ndarray, np.ndarray]) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import cross_val_predict

    features, truth = data
    probabilities = softmax(out_of_sample(features, truth))
    assert probabilities.sum(1) == pytest.approx(1)
    expected = cross_val_predict(LogisticRegression(max_iter=2000), features, truth, method="predict_proba")
    assert log_loss(truth, probabilities) < log_loss(truth, expected) + 0.05
    right = probabilities.argmax(1) == truth
    assert right.mean() > (expected.argmax(1) == truth).mean() - 0.03
    assert probabilities.max(1).mean() == pytest.approx(right.mean(), abs=0.08)


def test_no_row_is_judged_by_a_model_that_saw_it() -> None:
    rng = np.random.default_rng(0)
    features, truth = rng.normal(size=(200, 150)), rng.integers(0, 2, 200)
    right = out_of_sample(features, truth).argmax(1) == truth
    assert right.mean() < 0.62  # nothing can be known of noise; a model that saw the rows has more than 0.9


def test_copies_stay_in_one_fold() -> None:
    rng = np.random.default_rng(1)
    features, truth = rng.normal(size=(100, 90)), rng.integers(0, 2, 100)
    copies, labels, groups = np.repeat(features, 4, axis=0), np.repeat(truth, 4), np.repeat(np.arange(100), 4)
    assert (out_of_sample(copies, labels, groups=groups).argmax(1) == labels).mean() < 0.65
    assert (out_of_sample(copies, labels).argmax(1) == labels).mean() > 0.8
    fold = deal(labels, 5, seed=9, groups=groups)
    assert all(len(set(fold[groups == group])) == 1 for group in range(100))


def test_folds_hold_each_class_evenly(data: tuple[np.ndarray, np.ndarray]) -> None:
    _, truth = data
    fold = deal(truth, 5, seed=4)
    for label in range(5):
        counts = np.bincount(fold[truth == label], minlength=5)
        assert np.ptp(counts) <= 1
    assert np.ptp(np.bincount(fold)) <= 1
    assert np.array_equal(fold, deal(truth, 5, seed=4))
    assert not np.array_equal(fold, deal(truth, 5, seed=5))


def test_folds_spread_the_rarest_label_of_a_row() -> None:
    truth = np.zeros((50, 3), dtype=bool)
    truth[:, 0] = True
    truth[:10, 2] = True  # all rows have the frequent label, ten a rare one too; label 1 has none
    truth[49] = False
    assert strata(truth).tolist() == [2] * 10 + [0] * 39 + [3]
    fold = deal(truth, 5, seed=3)
    assert [truth[fold == number, 2].sum() for number in range(5)] == [2] * 5


def test_a_class_of_one_row_and_a_class_of_none_are_taken() -> None:
    rng = np.random.default_rng(8)
    truth = np.array([0, 1] * 30 + [2])
    probabilities = softmax(out_of_sample(rng.normal(size=(61, 5)) + truth[:, None], truth, classes=4))
    assert probabilities.shape == (61, 4)
    assert np.isfinite(probabilities).all()
    assert probabilities[:, 3].max() < probabilities[:, :2].mean()


def test_weights_of_rows_are_scikit_learns(data: tuple[np.ndarray, np.ndarray]) -> None:
    from sklearn.linear_model import LogisticRegression

    features, truth = data
    weights = np.random.default_rng(3).uniform(0.1, 5, len(truth)).astype(np.float32)
    probe = fit_probe(features, truth, classes=5, seed=1, strength=0.1, weights=7 * weights)
    standard = (features - features.mean(0)) / features.std(0)
    theirs = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000).fit(standard, truth, weights / weights.mean())
    logits, expected = probe.logits(features), theirs.decision_function(standard)
    centred = logits - logits.mean(1, keepdims=True)
    np.testing.assert_allclose(centred, expected - expected.mean(1, keepdims=True), atol=0.02)
    assert fit_probe(features, truth, classes=5, seed=1, weights=weights).strength > 0  # chosen under them
