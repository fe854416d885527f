"""Did the classifier earn its cost? Two classifiers on the same test rows, compared row by row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np

from classtune.errors import DataError, counted
from classtune.stats import Z95, BoolArray

SIGNIFICANT = 0.05
# A proven gain that removes a smaller share of the baseline's errors is called small.
SMALL_GAIN = 0.1
# Points: where nothing is proven and a gain of this size is still within the interval, the test decides nothing.
OPEN_QUESTION = 5.0


@dataclass(frozen=True)
class PairedTest:
    """Two classifiers on the same rows.

    gained, lost: rows that only the first has right, and only the other. p_value: McNemar's exact test, two-sided.
    difference: of their accuracies in points (-100 … 100, positive: the first is better), with its 95 % interval.
    """

    gained: int
    lost: int
    p_value: float
    difference: float
    difference_ci95: list[float]


@dataclass(frozen=True)
class PairedAnswers:
    """A new classifier against an old one on the same ``rows``: how many each has right, the test, and a sentence."""

    rows: int
    old_right: int
    new_right: int
    test: PairedTest
    sentence: str

    @classmethod
    def of(cls, old: BoolArray, new: BoolArray, names: Sequence[str]) -> Self:
        """Of the right answers (n,) of both on the same n ≥ 1 rows. names: of the old one, then of the new one."""
        test = paired_test(new, old)
        low, high = test.difference_ci95
        size = _difference(test) if test.gained != test.lost else "as many errors"
        sentence = (
            f"{names[1]} is right on {counted(test.gained, 'text')} that {names[0]} has wrong, and wrong on "
            f"{test.lost:,} that it has right: {size}; 95 % interval of the difference {low:+.1f} to {high:+.1f} "
            "points."
        )
        return cls(len(new), int(old.sum()), int(new.sum()), test, sentence)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        right = [self.old_right, self.new_right]
        return {"rows": self.rows, "right": right, **asdict(self.test), "sentence": self.sentence}


@dataclass(frozen=True)
class Verdict:
    """The classifier against a baseline on the same test rows.

    outcome: ``better``, ``equal`` or ``worse`` by the number of errors. significant: p < 0.05. p_value, difference: see
    `PairedTest`. cost_ratio: the classifier's time per text over the baseline's, where both are known.
    """

    outcome: str
    significant: bool
    p_value: float
    difference: float
    difference_ci95: list[float]
    model_errors: int
    baseline_errors: int
    only_model_right: int
    only_baseline_right: int
    cost_ratio: float | None
    sentence: str
    ms_per_text: float | None
    baseline_ms_per_text: float | None


def verdict(
    right: BoolArray,
    baseline_right: BoolArray,
    *,
    baseline: str = "the baseline",
    ms_per_text: float | None = None,
    baseline_ms_per_text: float | None = None,
) -> Verdict:
    """Compare the classifier with a baseline on the same n test rows, in their order.

    right, baseline_right (n,): was the row classified right? baseline: its name in the sentence. Raises DataError where
    rows differ.
    """
    rows = len(right)
    if not rows == len(baseline_right) > 0:
        raise DataError(
            f"verdict: {rows} rows of the model, {len(baseline_right)} of the baseline. Judge both on the same rows."
        )
    test = paired_test(right, baseline_right)
    found = Verdict(
        outcome="better" if test.gained > test.lost else "worse" if test.lost > test.gained else "equal",
        significant=test.p_value < SIGNIFICANT,
        p_value=test.p_value,
        difference=test.difference,
        difference_ci95=test.difference_ci95,
        model_errors=rows - int(np.count_nonzero(right)),
        baseline_errors=rows - int(np.count_nonzero(baseline_right)),
        only_model_right=test.gained,
        only_baseline_right=test.lost,
        cost_ratio=ms_per_text / baseline_ms_per_text if ms_per_text and baseline_ms_per_text else None,
        sentence="",
        ms_per_text=ms_per_text,
        baseline_ms_per_text=baseline_ms_per_text,
    )
    return replace(found, sentence=_sentence(found, rows, baseline))


def paired_test(right: BoolArray, other: BoolArray) -> PairedTest:
    """Two classifiers' right answers (n,) on the same n ≥ 1 rows, compared row by row.

    The interval is the adjusted Wald interval for paired shares (Bonett & Price, 2012).
    """
    from scipy.stats import binomtest

    rows = len(right)
    gained, lost = int(np.count_nonzero(right & ~other)), int(np.count_nonzero(other & ~right))
    share_gained, share_lost = (gained + 1) / (rows + 2), (lost + 1) / (rows + 2)
    centre = share_gained - share_lost
    half = Z95 * math.sqrt((share_gained + share_lost - centre**2) / (rows + 2))
    return PairedTest(
        gained,
        lost,
        p_value=float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0,
        difference=100 * (gained - lost) / rows,
        difference_ci95=[100 * max(-1.0, centre - half), 100 * min(1.0, centre + half)],
    )


def _sentence(found: Verdict, rows: int, baseline: str) -> str:
    outcome, wrong, baseline_wrong = found.outcome, found.model_errors, found.baseline_errors
    texts = _count(rows, "test text")
    ratio = found.cost_ratio
    times = None if ratio is None or ratio < 1.5 else f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}"
    cheaper = f", and answers {times} times faster" if times else ""
    undecided = not found.significant and found.difference_ci95[1] > OPEN_QUESTION
    too_few = "That is too few texts to tell: test on more." if undecided else ""
    if outcome == "equal":
        errors = f"make {_count(wrong, 'error')}{' each' if wrong else ''}"
        facts = f"The classifier and {baseline} {errors} on {texts}."
        return f"{facts} {too_few or f'{_start(baseline)} is enough{cheaper}.'}"
    baseline_errors = f"{baseline_wrong:,}" if baseline_wrong else "none"
    facts = (
        f"The classifier makes {_count(wrong, 'error')} on {texts} where {baseline} makes {baseline_errors}: "
        f"{_difference(found)}."
    )
    if not found.significant:
        unless = " unless a larger test shows a gain" if outcome == "better" else ""
        return f"{facts} {too_few or f'{_start(baseline)} is enough{unless}{cheaper}.'}"
    if outcome == "worse":
        return f"{facts} Use {baseline}: it is more accurate{cheaper}."
    cost = f" of {times} times the time per text" if times else ""
    if baseline_wrong - wrong < SMALL_GAIN * baseline_wrong:
        return f"{facts} The gain is real but small: weigh it against the cost{cost}."
    return f"{facts} The classifier earned its cost{cost}."


def _count(number: int, noun: str) -> str:
    return counted(number, noun) if number else f"no {noun}s"


def _difference(found: PairedTest | Verdict) -> str:
    """Such as ``1.0 point better, within noise (p = 0.27)``."""
    size, p = abs(found.difference), found.p_value
    points = f"{size:.1f}" if size >= 0.05 else f"{size:.1g}"
    noise = "beyond noise" if p < SIGNIFICANT else "within noise"
    shown = "p < 0.001" if p < 0.001 else f"p = {p:.2g}" if p >= 0.1 else f"p = {p:.3f}"
    better = "better" if found.difference > 0 else "worse"
    return f"{points} {'point' if points == '1.0' else 'points'} {better}, {noise} ({shown})"


def _start(name: str) -> str:
    return name[:1].upper() + name[1:]
