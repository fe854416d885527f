"""Prior correction against Bayes' rule on populations whose shares are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from classtune.decisions.prior import correct_prior, estimate_prior, wanted_prior
from classtune.errors import DataError, SettingsError

PLACES = np.array([-1.0, 1.0, 3.0])


def drawn(prior: Any, count: int, seed: int = 0, spread: float = 1.0) -> tuple[Any, Any]:
    """Points of normal classes with these shares: (n,) and the class densities at each (n, k)."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(len(prior), size=count, p=prior)
    points = rng.normal(PLACES[truth], spread)
    return truth, norm.pdf(points[:, None], PLACES[: len(prior)], spread)


def bayes(densities: Any, prior: Any) -> Any:
    joint = densities * np.asarray(prior)
    return joint / joint.sum(axis=1, keepdims=True)


def test_correction_is_bayes_rule_with_the_new_shares() -> None:
    trained, deployed = np.array([0.5, 0.3, 0.2]), np.array([0.9, 0.02, 0.08])
    _, densities = drawn(trained, 200)
    np.testing.assert_allclose(
        correct_prior(bayes(densities, trained), trained, deployed), bayes(densities, deployed), rtol=1e-10
    )


def test_each_of_many_labels_is_corrected_by_itself() -> None:
    trained, deployed = np.array([0.5, 0.2]), np.array([0.1, 0.2])
    given = np.array([[0.7, 0.4], [0.01, 0.99]])
    odds = given / (1 - given) * deployed / (1 - deployed) / (trained / (1 - trained))
    np.testing.assert_allclose(correct_prior(given, trained, deployed, multi=True), odds / (1 + odds), rtol=1e-12)


def test_a_label_that_was_never_trained_stays_impossible_and_shapes_must_fit() -> None:
    given = np.array([[0.6, 0.4 - 1e-9, 1e-9]])
    corrected = correct_prior(given, np.array([0.5, 0.5, 0.0]), np.array([0.2, 0.8, 0.0]))
    assert corrected[0, 2] == 0
    assert corrected.sum() == pytest.approx(1)
    with pytest.raises(DataError, match="3 labels"):
        correct_prior(given, np.array([0.5, 0.5]), np.array([0.5, 0.5]))


@pytest.mark.parametrize("deployed", [(0.866, 0.134), (0.98, 0.02), (0.1, 0.2, 0.7)])
def test_shares_are_estimated_from_unlabelled_texts(deployed: tuple[float, ...]) -> None:
    trained = np.full(len(deployed), 1 / len(deployed))
    _, densities = drawn(deployed, 5000)
    found = estimate_prior(bayes(densities, trained), trained)
    assert found.converged
    assert found.reliable
    assert found.prior.sum() == pytest.approx(1)
    np.testing.assert_allclose(found.prior, deployed, atol=0.03)
    record = found.record([f"class {number}" for number in range(len(deployed))])
    assert record["shares"]["class 0"] == found.prior[0]


def test_the_interval_of_an_estimate_holds_the_truth_as_often_as_it_says() -> None:
    trained, deployed = np.array([0.5, 0.5]), np.array([0.7, 0.3])
    held = 0
    for seed in range(100):
        _, densities = drawn(deployed, 300, seed)
        low, high = estimate_prior(bayes(densities, trained), trained).ci95[1]
        held += low <= 0.3 <= high
    assert 88 <= held <= 100


def test_labels_of_a_multi_label_task_are_estimated_one_by_one() -> None:
    _, densities = drawn((0.9, 0.1), 3000)
    even = bayes(densities, (0.5, 0.5))[:, 1]
    same = bayes(densities, (0.9, 0.1))[:, 1]
    found = estimate_prior(np.stack([even, same], axis=1), np.array([0.5, 0.1]), multi=True)
    np.testing.assert_allclose(found.prior, [0.1, 0.1], atol=0.03)
    assert found.reliable


def test_an_estimate_that_texts_cannot_carry_says_so() -> None:
    trained = np.array([0.5, 0.5])
    _, densities = drawn((0.7, 0.3), 40)
    few = estimate_prior(bayes(densities, trained), trained)
    assert not few.reliable
    assert "40 texts: few" in few.notes[0]
    blind = estimate_prior(np.full((500, 2), 0.5), trained)  # knows nothing
    assert not blind.reliable
    assert "uncertain" in blind.notes[-1]
    with pytest.raises(DataError, match="there are none"):
        estimate_prior(np.empty((0, 2)), trained)


def test_a_wish_names_some_shares_and_the_others_share_the_rest() -> None:
    assert wanted_prior({"spam": 0.134}, ["ham", "spam"], np.array([0.5, 0.5])) == pytest.approx([0.866, 0.134])
    found = wanted_prior({"b": 0.1}, ["a", "b", "c"], np.array([0.6, 0.2, 0.2]))
    assert found == pytest.approx([0.675, 0.1, 0.225])
    full = wanted_prior({"a": 0.2, "b": 0.8}, ["a", "b"], np.array([0.5, 0.5]))
    assert full == pytest.approx([0.2, 0.8])
    marks = wanted_prior({"a": 0.2}, ["a", "b"], np.array([0.5, 0.7]), multi=True)
    assert marks == pytest.approx([0.2, 0.7])


def test_every_problem_of_a_wish_is_said_at_once() -> None:
    trained = np.array([0.5, 0.5, 0.0])
    with pytest.raises(SettingsError) as caught:
        wanted_prior({"spma": 0.1, "ham": 1.2, "never": 0.1}, ["ham", "spam", "never"], trained)
    unknown, outside, untrained = caught.value.problems
    assert "Did you mean 'spam'?" in unknown
    assert "--deploy-prior ham=1.2: a share lies from 0 to below 1" in outside
    assert "no training row" in untrained
    for shares in ({"ham": 0.7, "spam": 0.6}, {"ham": 0.2, "spam": 0.6}):
        with pytest.raises(SettingsError, match="must make 1 together"):
            wanted_prior(shares, ["ham", "spam"], np.array([0.5, 0.5]))
    with pytest.raises(SettingsError, match="names no label"):
        wanted_prior({}, ["ham", "spam"], np.array([0.5, 0.5]))


@pytest.mark.parametrize("multi", [False, True])
def test_an_estimate_of_all_or_none_still_leaves_room_for_each_label_that_was_taught(multi: bool) -> None:
    given, trained = np.tile([1.0, 0.0, 0.0], (200, 1)), np.array([0.5, 0.5, 0.0])
    found = estimate_prior(given, trained, multi=multi)
    assert found.prior[0] == pytest.approx(1)
    wish = found.as_wish(["a", "b", "never"], trained, multi=multi)
    assert wish["never"] == 0
    assert 0 < wish["b"] < 0.001
    assert 0.999 < wish["a"] < 1
    assert wanted_prior(wish, list(wish), trained, multi=multi) == pytest.approx(list(wish.values()))
