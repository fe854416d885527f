"""The sentence says what the counts say: better, worse or equal, beyond noise or not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from classtune.errors import DataError
from classtune.judging.paired import PairedAnswers, Verdict, verdict

NAME = "TF-IDF"


def compare(rows: int, both_wrong: int, gained: int, lost: int, cost_ratio: float | None = None) -> Verdict:
    """``gained`` rows that only the model has right, ``lost`` rows that only the baseline has right."""
    model, baseline = np.ones(rows, dtype=bool), np.ones(rows, dtype=bool)
    model[: both_wrong + lost] = False
    baseline[:both_wrong] = False
    baseline[both_wrong + lost : both_wrong + lost + gained] = False
    return verdict(model, baseline, baseline=NAME, ms_per_text=cost_ratio, baseline_ms_per_text=1.0)


@pytest.mark.parametrize(
    ("case", "outcome", "significant", "sentence"),
    [
        (
            (1115, 5, 9, 4, None), "better", False,
            "The classifier makes 9 errors on 1,115 test texts where TF-IDF makes 14: 0.4 points "
            "better, within noise (p = 0.27). TF-IDF is enough unless a larger test shows a gain.",
        ),
        (
            (1115, 5, 9, 4, 40.3), "better", False,
            "The classifier makes 9 errors on 1,115 test texts where TF-IDF makes 14: 0.4 points "
            "better, within noise (p = 0.27). TF-IDF is enough unless a larger test shows a gain, "
            "and answers 40 times faster.",
        ),
        (
            (500, 15, 48, 4, 12.0), "better", True,
            "The classifier makes 19 errors on 500 test texts where TF-IDF makes 63: 8.8 points "
            "better, beyond noise (p < 0.001). The classifier earned its cost of 12 times the time per text.",
        ),
        (
            (100_000, 9000, 200, 100, 2.0), "better", True,
            "The classifier makes 9,100 errors on 100,000 test texts where TF-IDF makes 9,200: "
            "0.1 points better, beyond noise (p < 0.001). The gain is real but small: weigh it against the cost of "
            "2.0 times the time per text.",
        ),
        (
            (300, 2, 3, 5, None), "worse", False,
            "The classifier makes 7 errors on 300 test texts where TF-IDF makes 5: 0.7 points "
            "worse, within noise (p = 0.73). TF-IDF is enough.",
        ),
        (
            (100, 0, 0, 10, 1.1), "worse", True,
            "The classifier makes 10 errors on 100 test texts where TF-IDF makes none: 10.0 points "
            "worse, beyond noise (p = 0.002). Use TF-IDF: it is more accurate.",
        ),
        (
            (300, 1, 3, 3, 20.0), "equal", False,
            "The classifier and TF-IDF make 4 errors each on 300 test texts. "
            "TF-IDF is enough, and answers 20 times faster.",
        ),
        (
            (1, 0, 0, 0, None), "equal", False,
            "The classifier and TF-IDF make no errors on 1 test text. "
            "That is too few texts to tell: test on more.",
        ),
        (
            (60, 10, 16, 6, 30.0), "better", False,
            "The classifier makes 16 errors on 60 test texts where TF-IDF makes 26: 16.7 points "
            "better, within noise (p = 0.052). That is too few texts to tell: test on more.",
        ),
        (
            (100, 0, 1, 0, None), "better", False,
            "The classifier makes no errors on 100 test texts where TF-IDF makes 1: 1.0 point "
            "better, within noise (p = 1). TF-IDF is enough unless a larger test shows a gain.",
        ),
    ],
)  # fmt: skip
def test_sentence(case: tuple[Any, ...], outcome: str, significant: bool, sentence: str) -> None:
    result = compare(*case)
    assert (result.outcome, result.significant, result.sentence) == (outcome, significant, sentence)


def test_mcnemar_is_the_exact_two_sided_test() -> None:
    assert compare(1115, 5, 9, 4).p_value == pytest.approx(2 * binom.cdf(4, 13, 0.5))
    assert compare(1115, 5, 4, 9).p_value == pytest.approx(2 * binom.cdf(4, 13, 0.5))
    assert compare(1115, 500, 9, 4).p_value == compare(100, 0, 9, 4).p_value


def test_difference_and_interval_by_hand() -> None:
    result = compare(200, 5, 14, 4)
    assert result.difference == pytest.approx(5.0)
    # Bonett and Price: shares 15/202 and 5/202, centre 10/202, variance (20/202 - (10/202)**2) / 202.
    half = 1.959964 * ((20 / 202 - (10 / 202) ** 2) / 202) ** 0.5
    assert result.difference_ci95 == pytest.approx([100 * (10 / 202 - half), 100 * (10 / 202 + half)], rel=1e-5)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng, truth, held = np.random.default_rng(0), 2.0, 0
    for gained, lost, _ in rng.multinomial(400, [0.05, 0.03, 0.92], size=300):
        low, high = compare(400, 0, int(gained), int(lost)).difference_ci95
        held += low <= truth <= high
    assert 0.92 <= held / 300 <= 0.98


def test_different_rows_are_refused() -> None:
    right = np.ones(3, dtype=bool)
    with pytest.raises(DataError, match="same rows"):
        verdict(right, right[:2])


def test_a_baseline_without_a_name_is_still_named_well() -> None:
    right = np.ones(200, dtype=bool)
    sentence = verdict(right, right).sentence
    assert sentence == "The classifier and the baseline make no errors on 200 test texts. The baseline is enough."


@pytest.mark.parametrize(
    ("gained", "lost", "size"),
    [
        (9, 4, "0.4 points better, within noise (p = 0.27); 95 % interval of the difference -0.2 to +1.1 points."),
        (4, 9, "0.4 points worse, within noise (p = 0.27); 95 % interval of the difference -1.1 to +0.2 points."),
        (3, 3, "as many errors; 95 % interval of the difference -0.5 to +0.5 points."),
    ],
)
def test_two_versions_in_words(gained: int, lost: int, size: str) -> None:
    old, new = np.ones(1115, dtype=bool), np.ones(1115, dtype=bool)
    old[:gained] = new[gained : gained + lost] = False
    answers = PairedAnswers.of(old, new, ["v1", "v2"])
    facts = f"v2 is right on {gained} texts that v1 has wrong, and wrong on {lost} that it has right"
    assert answers.sentence == f"{facts}: {size}"
    assert (answers.old_right, answers.new_right) == (1115 - gained, 1115 - lost)
