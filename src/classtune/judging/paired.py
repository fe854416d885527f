"""Did the classifier earn its cost? Two classifiers on the same test rows, compared row by row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from classtune.errors import DataError
from classtune.stats import Z95, BoolArray

SIGNIFICANT = 0.05
# A proven gain that removes a smaller share of the baseline's errors is called small.
SMALL_GAIN = 0.1
# Points: where nothing is proven and a gain of this size is still within the interval, the test decides nothing.
OPEN_QUESTION = 5.0


def verdict(
    model: dict[str, Any],
    baseline: dict[str, Any],
    model_right: BoolArray,
    baseline_right: BoolArray,
    *,
    cost_ratio: float | None,
) -> dict[str, Any]:
    """Compare the classifier with a baseline on the same n test rows, in their order.

    ``model`` and ``baseline`` are documents of ``judge``; a ``name`` in ``baseline`` is used. ``*_right`` (n,): was the
    row classified right? ``cost_ratio``: the classifier's time per text over the baseline's, where known.

    Gives ``outcome`` (``better``, ``equal`` or ``worse`` by the number of errors), ``significant`` (p < 0.05),
    ``p_value`` (McNemar's exact test, two-sided), ``difference`` in accuracy in points (-100 … 100, positive: the
    model is better) with ``difference_ci95``, the errors, the rows that only one has right, and ``sentence``.
    Raises DataError where rows differ.
    """
    rows = len(model_right)
    if not rows == len(baseline_right) == model["rows"] == baseline["rows"] > 0:
        raise DataError(
            f"verdict: {model['rows']} rows of the model, {baseline['rows']} of the baseline, {rows} and "
            f"{len(baseline_right)} right or wrong. Judge both on the same rows."
        )
    test = paired_test(model_right, baseline_right)
    gained, lost = test["gained"], test["lost"]
    result: dict[str, Any] = {
        "outcome": "better" if gained > lost else "worse" if lost > gained else "equal",
        "significant": test["p_value"] < SIGNIFICANT,
        "p_value": test["p_value"],
        "difference": test["difference"],
        "difference_ci95": test["difference_ci95"],
        "model_errors": rows - int(np.count_nonzero(model_right)),
        "baseline_errors": rows - int(np.count_nonzero(baseline_right)),
        "only_model_right": gained,
        "only_baseline_right": lost,
        "cost_ratio": cost_ratio,
    }
    return {**result, "sentence": _sentence(result, rows, baseline.get("name", "the baseline"))}


def paired_test(right: BoolArray, other: BoolArray) -> dict[str, Any]:
    """Two classifiers' right answers (n,) on the same n ≥ 1 rows, compared row by row.

    Gives the rows that only ``right`` has right (``gained``) and only ``other`` (``lost``); ``p_value`` of McNemar's
    exact test, two-sided; ``difference`` of their accuracies in points (-100 … 100, positive: ``right`` is better) and
    ``difference_ci95``, the adjusted Wald interval for paired shares (Bonett & Price, 2012).
    """
    from scipy.stats import binomtest

    rows = len(right)
    gained, lost = int(np.count_nonzero(right & ~other)), int(np.count_nonzero(other & ~right))
    share_gained, share_lost = (gained + 1) / (rows + 2), (lost + 1) / (rows + 2)
    centre = share_gained - share_lost
    half = Z95 * math.sqrt((share_gained + share_lost - centre**2) / (rows + 2))
    return {
        "gained": gained,
        "lost": lost,
        "p_value": float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0,
        "difference": 100 * (gained - lost) / rows,
        "difference_ci95": [100 * max(-1.0, centre - half), 100 * min(1.0, centre + half)],
    }


def _sentence(result: dict[str, Any], rows: int, baseline: str) -> str:
    outcome, wrong, baseline_wrong = result["outcome"], result["model_errors"], result["baseline_errors"]
    texts = _count(rows, "test text")
    ratio = result["cost_ratio"]
    times = None if ratio is None or ratio < 1.5 else f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}"
    cheaper = f", and answers {times} times faster" if times else ""
    undecided = not result["significant"] and result["difference_ci95"][1] > OPEN_QUESTION
    too_few = "That is too few texts to tell: test on more." if undecided else ""
    if outcome == "equal":
        errors = f"make {_count(wrong, 'error')}{' each' if wrong else ''}"
        facts = f"The classifier and {baseline} {errors} on {texts}."
        return f"{facts} {too_few or f'{start(baseline)} is enough{cheaper}.'}"
    noise = "beyond noise" if result["significant"] else "within noise"
    baseline_errors = f"{baseline_wrong:,}" if baseline_wrong else "none"
    facts = (
        f"The classifier makes {_count(wrong, 'error')} on {texts} where {baseline} makes {baseline_errors}: "
        f"{in_points(abs(result['difference']))} {outcome}, {noise} ({p_in_words(result['p_value'])})."
    )
    if not result["significant"]:
        unless = " unless a larger test shows a gain" if outcome == "better" else ""
        return f"{facts} {too_few or f'{start(baseline)} is enough{unless}{cheaper}.'}"
    if outcome == "worse":
        return f"{facts} Use {baseline}: it is more accurate{cheaper}."
    cost = f" of {times} times the time per text" if times else ""
    if baseline_wrong - wrong < SMALL_GAIN * baseline_wrong:
        return f"{facts} The gain is real but small: weigh it against the cost{cost}."
    return f"{facts} The classifier earned its cost{cost}."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s" if number else f"no {noun}s"


def in_points(difference: float) -> str:
    shown = f"{difference:.1f}" if difference >= 0.05 else f"{difference:.1g}"
    return f"{shown} {'point' if shown == '1.0' else 'points'}"


def p_in_words(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}" if value >= 0.1 else f"p = {value:.3f}"


def start(name: str) -> str:
    return name[:1].upper() + name[1:]
