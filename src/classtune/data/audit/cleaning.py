"""Mends what an audit found and can be mended without a person, and says every single thing it did. Knows rows only."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from classtune.data.audit.classes import spellings
from classtune.data.audit.damage import repair
from classtune.data.reading.cells import cells_beside, is_blank
from classtune.data.splits import fold
from classtune.errors import DataError


@dataclass(frozen=True)
class Cleaned:
    """The ``rows`` that are left (from 0), in their order, with the lines they had. ``actions``: what was done, in the
    order of the rows: ``line``, ``action``, ``before`` and ``after`` (both of the text, or of the label; ``after`` is
    None for a row that was dropped)."""

    texts: list[str]
    labels: list[str] | None
    lines: list[int]
    rows: list[int]
    actions: list[dict[str, Any]]


def clean_rows(texts: Sequence[str], labels: Sequence[str] | None, lines: Sequence[int] | None = None) -> Cleaned:
    """Texts mended, labels spelt alike, and rows dropped that are empty, copies, or contradict each other.

    labels: None for an unlabelled table. lines: where each row stands; unset: 1, 2, 3 …
    A text under several labels keeps the label of more than half of its rows; where none has that many, nobody but its
    author can tell which is right, and all of its rows go. Of copies the first stays. Near copies stay: they may differ
    in what matters, and a split keeps them together; so do rows with other cells beside the text. Cleaning twice does
    nothing more.
    Raises DataError when these are not equally many.
    """
    if (labels is not None and len(labels) != len(texts)) or (lines is not None and len(lines) != len(texts)):
        raise DataError(f"cleaning: {len(texts):,} texts, and labels or lines that are not as many. Give one a text.")
    done: list[tuple[int, str, str, str | None]] = []  # row, action, before, after
    kept: dict[int, str] = {}
    for row, text in enumerate(texts):
        mended, kinds = repair(text)
        if kinds:
            done.append((row, f"mend {', '.join(kinds)}", text, mended))
        if is_blank(mended):
            done.append((row, "drop empty text", mended, None))
        elif labels is not None and not labels[row].strip():
            done.append((row, "drop empty label", labels[row], None))
        else:
            kept[row] = mended
    spelt = dict.fromkeys(kept, "") if labels is None else {row: labels[row] for row in kept}
    better = spellings(Counter(spelt.values()))
    for row, label in spelt.items():
        if label in better:
            done.append((row, "spell label", label, better[label]))
            spelt[row] = better[label]
    rows_of: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, text in kept.items():
        rows_of[fold(text), *cells_beside(texts[row]).values()].append(row)
    for rows in rows_of.values():
        label, times = Counter(spelt[row] for row in rows).most_common(1)[0]
        agreed = 2 * times > len(rows)
        right = [row for row in rows if agreed and spelt[row] == label]
        for row in set(rows) - set(right):
            done.append((row, "drop label of the few" if agreed else "drop contradiction", spelt[row], None))
        done += [(row, "drop copy", kept[row], None) for row in right[1:]]
    dropped = {row for row, _, _, after in done if after is None}
    left = [row for row in kept if row not in dropped]
    numbers = range(1, len(texts) + 1) if lines is None else lines
    return Cleaned(
        texts=[kept[row] for row in left],
        labels=None if labels is None else [spelt[row] for row in left],
        lines=[numbers[row] for row in left],
        rows=left,
        actions=[
            {"line": numbers[row], "action": action, "before": before, "after": after}
            for row, action, before, after in sorted(done, key=lambda item: item[0])
        ],
    )
