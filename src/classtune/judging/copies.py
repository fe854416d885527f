"""The score on the test rows whose letters stand in no training text, beside that on all."""

from __future__ import annotations

from dataclasses import dataclass

from classtune.stats import BoolArray, wilson


@dataclass(frozen=True)
class WithoutCopies:
    """copied: test rows that are training rows when only letters count. The figures are of the other ``rows``."""

    copied: int
    rows: int
    accuracy: float
    accuracy_ci95: list[float]
    baseline_accuracy: float
    baseline_accuracy_ci95: list[float]
    sentence: str


def without_copies(
    copied: BoolArray, right: BoolArray, baseline_right: BoolArray, baseline: str
) -> WithoutCopies | None:
    """copied, right, baseline_right (n,): of each test row, is it a copy, and has it the right answer? baseline: its
    name. None without copies, and where there is nothing else."""
    rows = int((~copied).sum())
    if not copied.any() or not rows:
        return None
    hits, theirs = int(right[~copied].sum()), int(baseline_right[~copied].sum())
    return WithoutCopies(
        copied=int(copied.sum()),
        rows=rows,
        accuracy=hits / rows,
        accuracy_ci95=wilson(hits, rows),
        baseline_accuracy=theirs / rows,
        baseline_accuracy_ci95=wilson(theirs, rows),
        sentence=f"{copied.sum():,} of {len(copied):,} test texts are in the training rows when only letters count: "
        f"{100 * right.mean():.2f} % are right on all, {100 * hits / rows:.2f} % on the {rows:,} others "
        f"({baseline}: {100 * baseline_right.mean():.2f} % and {100 * theirs / rows:.2f} %).",
    )
