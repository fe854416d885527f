"""Which candidates become the classifier: what helps stays, what costs much must help much."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from classtune.candidates.blend import Option, Weight, blended, choose
from classtune.stats import best_scale, log_probabilities, row_losses

ROWS = 600


def logits_of(truth: NDArray[np.int64], strength: float, seed: int) -> NDArray[np.float64]:
    """Logits [rows, 3] that know the truth so well; the noise of each seed is its own."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(len(truth), 3)) + strength * np.eye(3)[truth]


@pytest.fixture
def truth() -> NDArray[np.int64]:
    return np.random.default_rng(0).integers(0, 3, ROWS)


def test_two_that_err_on_different_rows_are_blended(truth: NDArray[np.int64]) -> None:
    options = [Option(name, logits_of(truth, 1.5, seed), 1.0) for name, seed in (("a", 1), ("b", 2))]
    choice = choose(options, truth)
    assert set(choice.members) == {"a", "b"}
    assert choice.loss < min(choice.losses.values()) - 0.05
    assert sum(part.weight for part in choice.members.values()) == pytest.approx(1)


def test_the_choice_is_never_worse_than_each_option(truth: NDArray[np.int64]) -> None:
    for seed in range(8):
        options = [Option(str(k), logits_of(truth, 0.5 * k, 10 * seed + k), 1.0) for k in range(1, 5)]
        choice = choose(options, truth)
        assert choice.loss <= min(choice.losses.values()) + 1e-9


def test_a_dear_one_must_help_beyond_noise_and_a_cheap_one_need_not(truth: NDArray[np.int64]) -> None:
    cheap = logits_of(truth, 2.5, 1)
    dear = cheap + 0.3 * np.random.default_rng(2).normal(size=cheap.shape) + 0.02 * np.eye(3)[truth]
    equal = [Option("cheap", cheap, 1.0), Option("dear", dear, 100.0)]
    assert list(choose(equal, truth).members) == ["cheap"]
    helpful = logits_of(truth, 1.0, 3)
    kept = choose([Option("main", cheap, 100.0), Option("almost free", helpful, 1.0)], truth)
    assert set(kept.members) == {"main", "almost free"}


def test_a_single_member_keeps_its_own_logits(truth: NDArray[np.int64]) -> None:
    own = logits_of(truth, 2.0, 1)
    choice = choose([Option("one", 3 * own, 1.0)], truth)
    assert choice.members == {"one": Weight(1.0, 1.0)}
    assert blended([own], list(choice.members.values()), multi=False) is own
    options = [Option(name, logits_of(truth, 1.5, seed), 1.0) for name, seed in (("a", 1), ("b", 2))]
    assert len(choose(options, truth, single=True).members) == 1


def test_a_limit_of_time_holds_for_the_sum(truth: NDArray[np.int64]) -> None:
    options = [Option(name, logits_of(truth, 1.5, seed), 1.0, 4.0) for name, seed in (("a", 1), ("b", 2))]
    assert len(choose(options, truth, most_ms=7.9).members) == 1
    assert len(choose(options, truth, most_ms=8.1).members) == 2


def test_a_blend_is_the_weighted_sum_of_calibrated_log_probabilities(truth: NDArray[np.int64]) -> None:
    one, other = logits_of(truth, 2.0, 1), logits_of(truth, 1.0, 2)
    weights = [Weight(0.75, 0.5), Weight(0.25, 2.0)]
    expected = 0.75 * log_probabilities(0.5 * one, multi=False) + 0.25 * log_probabilities(2 * other, multi=False)
    np.testing.assert_allclose(blended([one, other], weights, multi=False), expected)
    np.testing.assert_allclose(blended([one, other], weights, multi=True), 0.75 * 0.5 * one + 0.25 * 2 * other)


def test_several_labels_are_blended_too() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((400, 4)) < 0.3
    options = [Option(n, rng.normal(size=(400, 4)) + 3 * truth - 1.5, 1.0) for n in ("a", "b")]
    choice = choose(options, truth)
    assert set(choice.members) == {"a", "b"}


def test_a_scale_is_no_surer_than_the_rows_can_show() -> None:
    """40 rows, all right: a temperature without a bound makes every answer certain."""
    truth = np.arange(40) % 2
    logits = np.where(np.eye(2)[truth] > 0, 1.0, -1.0)
    scale = best_scale(logits, truth)
    sure = 1 / (1 + np.exp(-2 * scale))
    assert sure == pytest.approx(41 / 42, abs=1e-3)
    rng = np.random.default_rng(1)
    many = rng.integers(0, 3, 5000)
    noisy = rng.normal(size=(5000, 3)) + 2 * np.eye(3)[many]
    assert best_scale(3 * noisy, many) == pytest.approx(best_scale(noisy, many) / 3, rel=0.01)
    assert row_losses(best_scale(noisy, many) * noisy, many).mean() <= row_losses(noisy, many).mean()


@pytest.mark.parametrize("several", [False, True])
def test_of_rows_that_did_not_judge_all_nothing_is_said(truth: NDArray[np.int64], several: bool) -> None:
    known = np.eye(3, dtype=bool)[truth] if several else truth
    all_rows, half = logits_of(truth, 1.5, 1), logits_of(truth, 2.5, 2)
    half[: ROWS // 2] = np.nan
    choice = choose([Option("all", all_rows, 1.0), Option("half", half, 1.0)], known)
    assert choice.rows == ROWS // 2
    assert choice.losses["half"] < choice.losses["all"]
