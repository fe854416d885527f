"""Out-of-sample probabilities: scikit-learn's ridge on the same folds, honest, and with rows of a group together."""

from __future__ import annotations

import numpy as np
import pytest

from classtune.training import probes
from classtune.training.probes import deal, out_of_sample


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    """Features [600, 30] of 5 classes that overlap, and the class numbers; the last class is rare."""
    rng = np.random.default_rng(11)
    truth = rng.choice(5, 600, p=[0.3, 0.3, 0.2, 0.17, 0.03])
    return rng.normal(size=(5, 30))[truth] * 0.6 + rng.normal(size=(600, 30)) + 3, truth


def test_scores_are_those_of_scikit_learn(data: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.linear_model import Ridge

    features, truth = data
    monkeypatch.setattr(probes, "PENALTIES", (50.0,))
    probabilities = out_of_sample(features, truth, seed=3)
    standard = (features - features.mean(0)) / features.std(0)
    fold = deal(truth, 5, seed=3)
    scores = np.empty((600, 5))
    for number in range(5):
        fit, held = fold != number, fold == number
        scores[held] = Ridge(alpha=50.0).fit(standard[fit], np.eye(5)[truth[fit]]).predict(standard[held])
    ours = np.log(probabilities) - np.log(probabilities).mean(1, keepdims=True)
    theirs = scores - scores.mean(1, keepdims=True)
    factor = (ours * theirs).sum() / (theirs**2).sum()
    assert np.abs(ours - factor * theirs).max() < 0.02 * np.abs(ours).max()
    assert (probabilities.argmax(1) == scores.argmax(1)).mean() > 0.99


def test_probabilities_mean_what_they_say(data: tuple[np.ndarray, np.ndarray]) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import cross_val_predict

    features, truth = data
    probabilities = out_of_sample(features, truth)
    assert probabilities.sum(1) == pytest.approx(1)
    expected = cross_val_predict(LogisticRegression(max_iter=2000), features, truth, method="predict_proba")
    assert log_loss(truth, probabilities) < log_loss(truth, expected) + 0.05
    right = probabilities.argmax(1) == truth
    assert right.mean() > (expected.argmax(1) == truth).mean() - 0.03
    assert probabilities.max(1).mean() == pytest.approx(right.mean(), abs=0.05)


def test_no_row_is_judged_by_a_model_that_saw_it() -> None:
    rng = np.random.default_rng(0)
    features, truth = rng.normal(size=(200, 150)), rng.integers(0, 2, 200)
    right = out_of_sample(features, truth).argmax(1) == truth
    assert right.mean() < 0.62  # nothing can be known of noise; a model that saw the rows has more than 0.9


def test_copies_stay_in_one_fold(data: tuple[np.ndarray, np.ndarray]) -> None:
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


def test_a_class_of_one_row_and_a_class_of_none_are_taken() -> None:
    rng = np.random.default_rng(8)
    truth = np.array([0, 1] * 30 + [2])
    probabilities = out_of_sample(rng.normal(size=(61, 5)) + truth[:, None], truth, classes=4)
    assert probabilities.shape == (61, 4)
    assert np.isfinite(probabilities).all()
    assert probabilities[:, 3].max() < probabilities[:, :2].mean()


def test_seventy_seven_classes_take_seconds() -> None:
    import time

    rng = np.random.default_rng(6)
    truth = rng.integers(0, 77, 4000)
    features = (rng.normal(size=(77, 256)) * 0.4)[truth] + rng.normal(size=(4000, 256))
    start = time.process_time()
    probabilities = out_of_sample(features, truth)
    assert time.process_time() - start < 10
    assert (probabilities.argmax(1) == truth).mean() > 0.8
