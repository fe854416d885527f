"""What is wrong with a table, in numbers. Knows rows, not files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from classtune.data.splits import fold


def audit_rows(texts: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """Counts of what a reader of the scores should know. ``texts`` and ``labels``: one a row, equally many.

    ``rows``: number of rows. ``classes``: rows of each label, the most common first. ``duplicates``: rows that are
    extra copies of an earlier text after folding. ``conflicting``: folded texts that stand under more than one label.
    """
    seen: dict[str, set[str]] = defaultdict(set)
    for text, label in zip(texts, labels, strict=True):
        seen[fold(text)].add(label)
    return {
        "rows": len(texts),
        "classes": dict(Counter(labels).most_common()),
        "duplicates": len(texts) - len(seen),
        "conflicting": sum(len(found) > 1 for found in seen.values()),
    }
