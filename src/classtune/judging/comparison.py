"""The comparison: candidates side by side on the same test rows, from cheap to dear.

Knows documents only: what each candidate scored and cost, and which test rows it had right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from classtune.errors import DataError
from classtune.judging.paired import paired_test
from classtune.stats import BoolArray

# What a candidate of the result holds, beside its paired test against the one before it.
FIGURES = ("name", "accuracy", "accuracy_ci95", "macro_f1", "log_loss", "ece", "train_seconds", "ms_per_text", "bytes")


def side_by_side(
    candidates: Sequence[Mapping[str, Any]], right: Mapping[str, BoolArray], *, chosen: str
) -> dict[str, Any]:
    """Candidates, cheapest first, on the same n test rows.

    A candidate: its ``name``, the figures of ``judge``, and where known ``train_seconds``, ``ms_per_text`` and
    ``bytes`` (None otherwise). ``right[name]`` (n,): was the row classified right? chosen: the name of the one that
    held-out rows have chosen: no test row chooses another.

    Gives ``candidates`` with ``p_value``, ``difference`` (accuracy, in points) and ``difference_ci95`` against the
    candidate before (None for the first; McNemar's exact test, see ``paired_test``), ``recommended`` (a name) and
    ``rows``. Raises DataError where rows or names differ.
    """
    names = [str(candidate["name"]) for candidate in candidates]
    rows = {len(right[name]) for name in names if name in right}
    if not names or len(set(names)) < len(names) or not set(names) <= set(right) or len(rows) != 1 or 0 in rows:
        raise DataError(
            f"comparison: candidates {names} with right or wrong answers of {sorted(right)}, {sorted(rows)} rows. "
            "Give every candidate a name of its own and its answers on the same rows."
        )
    told = []
    for place, candidate in enumerate(candidates):
        test = paired_test(right[names[place]], right[names[place - 1]]) if place else {}
        told.append(
            {key: candidate.get(key) for key in FIGURES}
            | {key: test.get(key) for key in ("p_value", "difference", "difference_ci95")}
        )
    return {"candidates": told, "recommended": chosen, "rows": rows.pop()}
