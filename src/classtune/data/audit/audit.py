"""What is wrong with a table, how much it matters and what to do about it. Knows rows, not files or models.

The rows are prepared once (findings.py), then each check passes over them once or works on their numbers; none compares
all rows with all, so a million rows take minutes and bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classtune.config import Progress
from classtune.data.audit import classes, contents, copies
from classtune.data.audit.findings import Finding, Numbers, Part, Rows

__all__ = ["Audit", "Finding", "audit_rows"]

_CHECKS = (
    copies.leaks,
    copies.copies,
    copies.conflicts,
    classes.label_names,
    classes.balance,
    classes.of_one_side,
    contents.empties,
    contents.damage,
    contents.scripts,
    contents.constants,
    contents.giveaways,
    contents.telling_blanks,
    contents.long,
)
# Worst first: what makes the score wrong, what makes the labels wrong, what wastes rows, what is good to know.
_TIERS = (
    {"leak", "near-leak", "constant-text", "giveaway", "telling-blanks"},
    {"unknown-labels", "missing-labels", "conflicting-labels", "near-conflicts", "label-errors", "label-spelling"}
    | {"empty-label", "empty-text", "too-long"},
    {"exact-duplicates", "near-duplicates", "mojibake", "html-entities", "html-tags", "control-characters"},
)


@dataclass
class Audit:
    """``classes``: rows of each label, the most common first. ``duplicates``: rows that are extra copies of an earlier
    text after folding. ``conflicting``: folded texts that stand under more than one label. ``near_duplicates``: folded
    texts that are near an earlier one. ``lengths``: median, p95 and max of characters, and of tokens where known."""

    rows: int
    classes: dict[str, int]
    duplicates: int
    conflicting: int
    near_duplicates: int
    lengths: dict[str, dict[str, int]]
    findings: list[Finding]

    def add(self, findings: Iterable[Finding]) -> None:
        """Put findings from elsewhere (label errors need a model) in their places."""
        self.findings = sorted([*self.findings, *findings], key=_badness)

    def document(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return asdict(self)


def audit_rows(
    texts: Sequence[str],
    labels: Sequence[str] | None,
    lines: Sequence[int] | None = None,
    *,
    parts: Mapping[str, Part] | None = None,
    label_sets: Sequence[Sequence[str]] | None = None,
    groups: Numbers | None = None,
    token_lengths: NDArray[Any] | None = None,
    limit: int | None = None,
    test_share: float = 0.2,
    progress: Progress | None = None,
) -> Audit:
    """Look at every row; texts and labels may be empty.

    labels: one a row, or None for an unlabelled table. lines: where each row stands; unset: 1, 2, 3 …
    parts: given rows by name (``validation``, ``test``), in which copies of the training rows are looked for.
    label_sets: the labels of each row where a row may have several; then ``labels`` is not looked at.
    groups: ``near_groups`` of the texts and then of each part's, where they are known. token_lengths: tokens of each
    text, uncut; limit: how many the model takes. test_share: of the rows, where no part is called ``test``.
    Raises DataError when these are not equally many.
    """
    rows = Rows(texts, labels, lines, parts or {}, label_sets, token_lengths, limit, test_share)
    rows.number(groups, progress)
    lengths = {"characters": _spread(np.fromiter(map(len, texts), np.int64, rows.count))}
    if token_lengths is not None:
        lengths["tokens"] = _spread(token_lengths)
    audit = Audit(
        rows=rows.count,
        classes=rows.classes,
        duplicates=len(rows.filled) - int((rows.first_of_number < rows.count).sum()),
        conflicting=len(rows.conflicting),
        near_duplicates=len(rows.near_copies),
        lengths=lengths,
        findings=[],
    )
    for done, check in enumerate(_CHECKS):
        audit.add(check(rows))
        if progress:
            progress("audit", done + 1, len(_CHECKS))
    return audit


def _badness(finding: Finding) -> tuple[int, float]:
    tier = next((number for number, kinds in enumerate(_TIERS) if finding.kind in kinds), len(_TIERS))
    return tier, -finding.share


def _spread(values: NDArray[Any]) -> dict[str, int]:
    if not len(values):
        return {"median": 0, "p95": 0, "max": 0}
    median, p95 = np.percentile(values, [50, 95])
    return {"median": round(float(median)), "p95": round(float(p95)), "max": int(np.max(values))}
