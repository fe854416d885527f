"""When not to answer: the lowest confidence at which the error among answered texts stays within a promise.

The promise, ``max_error`` with 95 % confidence, is that of a finite number of rows, not of a large-sample formula:

- For a threshold that the rows did not choose, the number of errors among m answered rows is binomial; the threshold
  passes where so few errors would be seen at most 5 % of the time if the true error were ``max_error`` (Clopper &
  Pearson 1934).
- The rows do choose. So thresholds are tried in an order fixed beforehand, from strict to lenient, and the first that
  does not pass ends it (fixed-sequence testing: Bauer 1991; Learn then Test: Angelopoulos et al. 2021). Then the 5 %
  hold for all of them together.
- The order is one of ranks: the n-th most confident row sets a threshold, and the n rows above it are, given that
  threshold, plain draws from all texts above it. The row that sets it is not counted.

Assumed: live texts are drawn like these rows; the rows neither trained the network nor fitted what ranks them (see
decisions.py); and the error among answered texts rises above the promise once as the threshold is lowered.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from classtune.errors import DataError
from classtune.stats import BoolArray, FloatArray, IntArray, wilson

CONFIDENCE = 0.95
CURVE_POINTS = 100
# Trying starts where as many errors are allowed as fit into this share of the rows (at most MOST_AT_START): a start
# that allows no error at all is lost to the first row with a wrong label.
SHARE_AT_START, MOST_AT_START = 1 / 3, 5


@dataclass(frozen=True)
class Abstention:
    """What was promised, and what the rows said; made by ``promise``.

    threshold: an answer is given where its probability is at least this; None: every text is answered.
    rows, answered, errors: of the rows that made the promise. error_bound: the error among answered texts is below
        this with 95 % confidence; None: nothing is promised.
    answered_share, answered_ci95: the share of texts answered and its Wilson interval.
    rows_needed: with so many answered rows, none of them wrong, there would be a promise.
    """

    max_error: float
    threshold: float | None
    rows: int
    answered: int
    errors: int
    error_bound: float | None
    answered_share: float
    answered_ci95: tuple[float, float]
    rows_needed: int
    sentence: str

    @property
    def promised(self) -> bool:
        """Is ``max_error`` promised?"""
        return self.error_bound is not None

    def record(self) -> dict[str, Any]:
        """For JSON; ``promise`` is None where nothing is promised."""
        kept = None if not self.promised else {"max_error": self.max_error, "confidence": CONFIDENCE}
        return {"promise": kept, **asdict(self)}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """What ``record`` gave, also after a journey through JSON."""
        values = {key: value for key, value in record.items() if key != "promise"}
        return cls(**{**values, "answered_ci95": tuple(record["answered_ci95"])})


def promise(confidence: FloatArray, wrong: BoolArray, max_error: float, *, level: float = 1 - CONFIDENCE) -> Abstention:
    """The most lenient threshold of which ``max_error`` can be promised.

    ``confidence`` (n,): probability of the answer given to each row, -inf for a row without an answer; ``wrong`` (n,):
    was that answer wrong? ``max_error`` and ``level``, the risk of a false promise, in 0 … 1.
    Where no threshold passes, ``threshold`` is None and ``sentence`` says how many rows would be needed.
    """
    order = np.argsort(-confidence, kind="stable")
    levels = confidence[order].astype(np.float64)
    errors = np.concatenate([[0], np.cumsum(wrong[order])])
    answerable, rows = int(np.isfinite(levels).sum()), len(levels)
    allowed = allowed_errors(rows, max_error, level)
    threshold, answered = None, 0
    for rank in _ranks(allowed, rows):
        # Rows of equal confidence are answered together.
        above = min(answerable, int(np.searchsorted(-levels, -levels[rank - 1], side="right")))
        if errors[above] > allowed[above]:
            break
        # Just above the next row; where every row may be answered, every text may.
        threshold = float(np.nextafter(levels[above], 2)) if above < answerable else 0.0
        answered = above
    wrong_answers = int(errors[answered])
    needed = rows_needed(max_error, level)
    return Abstention(
        max_error,
        threshold,
        rows,
        answered,
        wrong_answers,
        None if threshold is None else error_bound(wrong_answers, answered, level),
        answered / rows if rows else 0.0,
        (0.0, 1.0) if rows == 0 else _pair(wilson(answered, rows)),
        needed,
        _sentence(max_error, threshold, rows, answered, wrong_answers, needed),
    )


def rows_needed(max_error: float, level: float = 1 - CONFIDENCE) -> int:
    """Fewest answered rows, all of them right, that show an error of at most ``max_error``."""
    return math.ceil(math.log(level) / math.log1p(-max_error))


def error_bound(errors: int, rows: int, level: float = 1 - CONFIDENCE) -> float:
    """One-sided upper Clopper-Pearson bound of an error rate, missed with probability ``level`` at most."""
    from scipy.stats import beta

    return 1.0 if errors >= rows else float(beta.ppf(1 - level, errors + 1, rows - errors))


def allowed_errors(rows: int, max_error: float, level: float = 1 - CONFIDENCE) -> IntArray:
    """For 0 … rows answered rows, the most errors that still show ``max_error``; -1 where none would."""
    from scipy.stats import binom

    numbers = np.arange(rows + 1)
    fewest_likely = binom.ppf(level, numbers, max_error).astype(np.int64)
    most = fewest_likely - (binom.cdf(fewest_likely, numbers, max_error) > level)
    return np.where(numbers == 0, -1, most)


def risk_coverage(probabilities: FloatArray, truth: IntArray) -> dict[str, list[float]]:
    """Error over the share of texts answered, most confident first, at no more than 100 shares.

    ``probabilities`` (n, k), ``truth`` (n,). Rows of equal confidence are answered together.
    Raises DataError without rows.
    """
    if len(truth) == 0:
        raise DataError("rows: there are none, so no error can be drawn over the share of answered texts.")
    confidence, wrong = probabilities.max(axis=1), probabilities.argmax(axis=1) != truth
    order = np.argsort(-confidence, kind="stable")
    last = np.flatnonzero(np.diff(confidence[order], append=-np.inf))  # the last row of each confidence
    shown = last[np.unique(np.linspace(0, len(last) - 1, CURVE_POINTS).round().astype(np.int64))]
    errors = np.cumsum(wrong[order])[shown]
    return {"answered": ((shown + 1) / len(truth)).tolist(), "error": (errors / (shown + 1)).tolist()}


def _ranks(allowed: IntArray, rows: int) -> list[int]:
    """The ranks to try, strict to lenient, fixed by the number of rows alone: each the first that allows one more
    error, then, as none allows more, every one to the end."""
    first = [int(np.argmax(allowed == errors)) for errors in range(int(allowed[-1]) + 1)]
    if not first:
        return []
    early = sum(rank <= SHARE_AT_START * rows for rank in first[: MOST_AT_START + 1])
    start = max(0, early - 1)
    return [*first[start:], *range(first[-1] + 1, len(allowed))]


def _sentence(max_error: float, threshold: float | None, rows: int, answered: int, errors: int, needed: int) -> str:
    wanted = f"an error of at most {100 * max_error:g} % among answered texts"
    if threshold is not None:
        low, high = wilson(answered, rows)
        least = f"whose answer has a probability of {threshold:.6g} or more" if threshold else "that have an answer"
        return (
            f"Promised with {100 * CONFIDENCE:.0f} % confidence: {wanted}. Answered are the texts {least}: "
            f"{100 * answered / rows:.0f} % of texts (95 % interval {100 * low:.0f} to {100 * high:.0f} %); "
            f"{errors:,} of those {answered:,} held-out rows were wrong."
        )
    if rows < needed:
        why = f"that takes at least {needed:,} held-out rows, all of them right, and {rows:,} could be used"
        return f"Nothing is promised: to show {wanted}, {why}. Give more rows, or ask for less."
    return (
        f"Nothing is promised: the {rows:,} held-out rows do not show {wanted}; even the most confident answers hold "
        f"too many mistakes ({needed:,} answered rows may hold none). Give more rows, or ask for less."
    )


def _pair(ends: list[float]) -> tuple[float, float]:
    return ends[0], ends[1]
