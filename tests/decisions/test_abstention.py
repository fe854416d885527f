"""The promise: exact against scipy's binomial test, and kept at its stated rate over many draws."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from classtune.decisions.abstention import (
    Abstention,
    allowed_errors,
    error_bound,
    promise,
    risk_coverage,
    rows_needed,
)
from classtune.errors import DataError

DRAWS = 200
# P(Binomial(200, 0.05) > 18) < 0.5 %.
MOST_BROKEN = 18


POPULATIONS: dict[str, Any] = {
    # Rank from 0 to 1, the surest, to the chance of a wrong answer in units of the promise.
    "wrong where unsure": lambda rank: 8 * (1 - rank) ** 3,
    "wrong labels among the surest": lambda rank: 0.7 + 6 * (1 - rank) ** 2,
    "confidence in steps": lambda rank: 8 * (1 - np.round(rank, 1)) ** 3,
    "a little too wrong everywhere": lambda rank: np.full(len(rank), 1.05),
    "worst where surest": lambda rank: np.where(rank > 0.95, 4.0, 0.9),
    "up and down": lambda rank: 1 + 0.9 * np.sin(25 * rank),
}


@pytest.mark.parametrize("kind", POPULATIONS)
@pytest.mark.parametrize(("max_error", "rows"), [(0.01, 900), (0.02, 557), (0.05, 200)])
def test_a_promise_is_broken_in_no_more_than_its_five_per_cent(kind: str, max_error: float, rows: int) -> None:
    rng = np.random.default_rng(7)
    rank = rng.random(200_000)
    confidence = np.round(rank, 1) if kind == "confidence in steps" else rank
    wrong = rng.random(len(rank)) < max_error * POPULATIONS[kind](rank)
    order = np.argsort(confidence)
    ranked, errors_above = confidence[order], np.cumsum(wrong[order][::-1])[::-1]

    def true_error(threshold: float) -> float:
        start = int(np.searchsorted(ranked, threshold))
        return float(errors_above[start] / (len(ranked) - start)) if start < len(ranked) else 0.0

    broken = careless = made = 0
    for _ in range(DRAWS):
        drawn = rng.integers(0, len(confidence), rows)
        kept = promise(confidence[drawn], wrong[drawn], max_error)
        if kept.threshold is not None:
            made += 1
            broken += true_error(kept.threshold) > max_error
        best = _without_a_bound(confidence[drawn], wrong[drawn], max_error)
        careless += best is not None and true_error(best) > max_error
    assert broken <= MOST_BROKEN, f"{broken} of {made}"
    if kind == "wrong where unsure":
        assert made > DRAWS / 2
        assert careless > 2 * MOST_BROKEN  # what the bound is for


def _without_a_bound(confidence: Any, wrong: Any, max_error: float) -> float | None:
    """The lowest threshold at which these very rows keep the error."""
    order = np.argsort(-confidence)
    errors = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    fine = np.flatnonzero(errors <= max_error)
    return float(confidence[order][fine[-1]]) if len(fine) else None


@pytest.mark.parametrize(("errors", "rows"), [(0, 299), (1, 473), (7, 400), (3, 3), (0, 1)])
def test_bound_is_the_exact_binomial_one(errors: int, rows: int) -> None:
    # scipy's two-sided 90 % interval has 5 % on either side.
    expected = binomtest(errors, rows).proportion_ci(0.9, method="exact").high
    assert error_bound(errors, rows) == pytest.approx(expected)


def test_allowed_errors_are_those_whose_bound_is_within_the_promise() -> None:
    for max_error in (0.01, 0.05, 0.3):
        allowed = allowed_errors(700, max_error)
        for rows in (1, 10, 59, 299, 298, 473, 700):
            bounds = [error_bound(errors, rows) for errors in range(rows + 1)]
            assert allowed[rows] == sum(bound <= max_error for bound in bounds) - 1
    assert rows_needed(0.01) == 299 == int(np.argmax(allowed_errors(700, 0.01) == 0))


def test_the_most_lenient_threshold_that_passes_is_taken() -> None:
    confidence = np.linspace(0.999, 0.5, 500)
    perfect = promise(confidence, np.zeros(500, dtype=bool), 0.01)
    assert (perfect.threshold, perfect.answered, perfect.errors) == (0.0, 500, 0)
    assert perfect.error_bound == pytest.approx(error_bound(0, 500))
    one_late = promise(confidence, np.arange(500) == 400, 0.01)
    assert one_late.answered == 500
    two = promise(confidence, np.isin(np.arange(500), [400, 480]), 0.01)
    assert (two.answered, two.errors) == (480, 1)
    assert two.threshold is not None
    assert (confidence >= two.threshold).sum() == 480
    assert two.answered_share == 480 / 500
    assert two.answered_ci95[0] < 480 / 500 < two.answered_ci95[1]
    assert "96 % of texts" in two.sentence


def test_rows_of_equal_confidence_are_answered_together_in_any_order() -> None:
    rng = np.random.default_rng(0)
    confidence = np.repeat([0.99, 0.9, 0.6], [400, 300, 300])
    wrong = np.concatenate([np.zeros(400), np.arange(300) < 1, np.arange(300) % 3 == 0]).astype(bool)
    kept = promise(confidence, wrong, 0.02)
    assert (kept.answered, kept.errors) == (700, 1)
    shuffled = rng.permutation(1000)
    assert promise(confidence[shuffled], wrong[shuffled], 0.02) == kept


def test_what_rows_cannot_show_is_not_promised() -> None:
    few = promise(np.full(200, 0.99), np.zeros(200, dtype=bool), 0.01)
    assert (few.threshold, few.error_bound, few.rows_needed) == (None, None, 299)
    assert few.record()["promise"] is None
    assert "at least 299 held-out rows" in few.sentence
    assert "200 could be used" in few.sentence
    bad = promise(np.linspace(0.5, 1, 1000), np.arange(1000) % 5 == 0, 0.01)
    assert bad.threshold is None
    assert "even the most confident" in bad.sentence
    assert promise(np.empty(0), np.empty(0, dtype=bool), 0.01).threshold is None


def test_rows_without_an_answer_are_never_counted_as_answered() -> None:
    confidence = np.concatenate([np.full(300, -np.inf), np.linspace(0.6, 1, 400)])
    wrong = np.arange(700) < 300
    kept = promise(confidence, wrong, 0.01)
    assert (kept.answered, kept.errors, kept.rows) == (400, 0, 700)
    assert kept.answered_share == 400 / 700


def test_a_smaller_risk_asks_for_more_rows_and_json_keeps_it() -> None:
    confidence, right = np.linspace(0.5, 1, 400), np.zeros(400, dtype=bool)
    assert promise(confidence, right, 0.01).promised
    assert not promise(confidence, right, 0.01, level=0.05 / 4).promised
    kept = promise(confidence, right, 0.01)
    record = json.loads(json.dumps(kept.record()))
    assert record["promise"] == {"max_error": 0.01, "confidence": 0.95}
    assert Abstention.from_record(record) == kept


def test_risk_over_coverage() -> None:
    rng = np.random.default_rng(0)
    top = rng.uniform(0.5, 1, 1000)
    probabilities = np.stack([top, 1 - top], axis=1)
    truth = (rng.random(1000) > top).astype(int)
    curve = risk_coverage(probabilities, truth)
    assert len(curve["answered"]) == len(curve["error"]) == 100
    assert curve["answered"][-1] == 1
    assert curve["error"][-1] == pytest.approx((truth == 1).mean())
    middle = curve["answered"][49]
    surest = np.argsort(-top)[: round(middle * 1000)]
    assert curve["error"][49] == pytest.approx((truth[surest] == 1).mean())
    tied = risk_coverage(np.full((4, 2), 0.5), np.array([0, 1, 0, 0]))
    assert tied == {"answered": [1.0], "error": [0.25]}
    with pytest.raises(DataError, match="there are none"):
        risk_coverage(np.empty((0, 2)), np.empty(0, dtype=int))
