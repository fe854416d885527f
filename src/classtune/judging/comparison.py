"""The ladder: classifiers from cheap to dear on the same test rows, and the cheapest one that is enough.

Knows documents only: what each rung scored and cost, and which test rows it had right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from classtune.errors import DataError
from classtune.judging.paired import OPEN_QUESTION, SIGNIFICANT, in_points, p_in_words, paired_test, start
from classtune.stats import BoolArray

# What a rung of the result holds, beside its paired test against the rung below.
FIGURES = ("name", "accuracy", "accuracy_ci95", "macro_f1", "log_loss", "ece", "train_seconds", "ms_per_text", "bytes")


def climb(
    rungs: Sequence[Mapping[str, Any]], right: Mapping[str, BoolArray], *, chosen: str | None = None
) -> dict[str, Any]:
    """Compare classifiers, cheapest first, on the same n test rows, and recommend one.

    A rung: its ``name``, the figures of ``judge``, and where known ``train_seconds``, ``ms_per_text`` and ``bytes``
    (None otherwise). ``right[name]`` (n,): was the row classified right? chosen: the one that held-out rows have chosen
    already; it is the recommended one, and no other sentence speaks for another.

    Gives ``rungs`` with ``p_value``, ``difference`` (accuracy, in points) and ``difference_ci95`` against the rung
    below (None for the lowest; McNemar's exact test, see ``paired_test``), ``recommended`` (a name),
    ``recommendation`` (one or two sentences) and ``rows``.

    Recommended is the cheapest rung that no dearer one beats beyond noise, out of those with fewer errors than every
    cheaper one. From the lowest rung up, each is tested against all dearer ones, p values corrected by Holm (1979); the
    first that stands is taken. The rungs come in a fixed order, so a rung that is as good as all dearer ones is
    passed over with a probability below 5 %, however many rungs there are. Raises DataError where rows or names differ.
    """
    names = [str(rung["name"]) for rung in rungs]
    rows = {len(right[name]) for name in names if name in right}
    if not names or len(set(names)) < len(names) or not set(names) <= set(right) or len(rows) != 1 or 0 in rows:
        raise DataError(
            f"ladder: rungs {names} with right or wrong answers of {sorted(right)}, {sorted(rows)} rows. "
            "Give every rung a name of its own and its answers on the same rows."
        )
    told = []
    for place, rung in enumerate(rungs):
        test = paired_test(right[names[place]], right[names[place - 1]]) if place else {}
        told.append(
            {key: rung.get(key) for key in FIGURES}
            | {key: test.get(key) for key in ("p_value", "difference", "difference_ci95")}
        )
    if chosen is not None:
        return {"rungs": told, "recommendation": None, "recommended": chosen, "rows": rows.pop()}
    place = _cheapest_that_stands([right[name] for name in names])
    sentence = _sentence(place, rungs, [right[name] for name in names])
    return {"rungs": told, "recommendation": sentence, "recommended": names[place], "rows": rows.pop()}


def holm(p_values: Sequence[float]) -> list[float]:
    """p values (m,) corrected for m comparisons by Holm's step-down method, in their order (S. Holm, 1979)."""
    values = np.asarray(p_values, dtype=np.float64)
    order = values.argsort(kind="stable")
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)), 1)
    return [float(value) for value in corrected]


def _against_dearer(place: int, right: Sequence[BoolArray]) -> list[dict[str, Any]]:
    """The paired tests of every dearer rung against the one at ``place``, their p values corrected together."""
    tests = [paired_test(dearer, right[place]) for dearer in right[place + 1 :]]
    corrected = holm([test["p_value"] for test in tests])
    return [test | {"p_value": p} for test, p in zip(tests, corrected, strict=True)]


def _cheapest_that_stands(right: Sequence[BoolArray]) -> int:
    hits = [int(np.count_nonzero(answers)) for answers in right]
    # The first of the most accurate ones always stands.
    return next(
        place
        for place, count in enumerate(hits)
        if count > max(hits[:place], default=-1)
        and not any(t["difference"] > 0 and t["p_value"] < SIGNIFICANT for t in _against_dearer(place, right))
    )


def _sentence(place: int, rungs: Sequence[Mapping[str, Any]], right: Sequence[BoolArray]) -> str:
    """Why no dearer rung than this one, then why no cheaper one."""
    name, rows = rungs[place]["name"], len(right[place])
    wrong = [rows - int(np.count_nonzero(answers)) for answers in right]
    dearer = _against_dearer(place, right)
    gaining = [i for i, test in enumerate(dearer) if test["difference"] > 0]
    above = ""
    if gaining:
        best = min(gaining, key=lambda i: wrong[place + 1 + i])
        rung, test = rungs[place + 1 + best], dearer[best]
        corrected = f", corrected for {len(dearer)} comparisons" if len(dearer) > 1 else ""
        above = (
            f"the gain of {rung['name']} ({in_points(test['difference'])}) is within noise "
            f"({p_in_words(test['p_value'])}{corrected}){_cost(rung, rungs[place])}"
        )
    if any(test["difference_ci95"][1] > OPEN_QUESTION for test in dearer):
        few = f"{rows:,} test {'text is' if rows == 1 else 'texts are'} too few to tell the rungs apart"
        return f"{few}{above and f': {above}'}. Until a larger test, take {name}."
    earned = ""
    if place:
        below = min(range(place), key=lambda i: (wrong[i], -i))
        p_value = paired_test(right[place], right[below])["p_value"]
        noise = "" if p_value < SIGNIFICANT else ", within noise"
        earned = (
            f"it makes {100 * (1 - wrong[place] / wrong[below]):.0f} % fewer errors than {rungs[below]['name']} "
            f"({p_in_words(p_value)}{noise}){_cost(rungs[place], rungs[below])}."
        )
    if not dearer:
        return f"Take {name}: {earned}" if place else f"{start(name)} is the only rung."
    return f"{start(name)} is enough: {above or 'no dearer rung makes fewer errors'}. {start(earned)}".rstrip()


def _cost(rung: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """How many times more a text costs on ``rung`` than on ``other``; nothing where unknown or about the same."""
    ours, theirs = rung.get("ms_per_text"), other.get("ms_per_text")
    if not ours or not theirs or ours < 1.5 * theirs:
        return ""
    return f", at {ours / theirs:,.{0 if ours >= 10 * theirs else 1}f} times the cost per text"
