"""What an audit says, and the rows it looks at: folded, numbered and grouped once for all checks.

Knows rows, not files. The checks are in copies.py, classes.py and contents.py; audit.py asks them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from classtune.config import Progress
from classtune.data.near import groups_of_folded
from classtune.data.reading.cells import cells_beside, is_blank, parts_of
from classtune.data.splits import fold, numbered
from classtune.errors import DataError

Numbers: TypeAlias = NDArray[np.int64]

SHOWN = 5
_SHOWN_CHARACTERS = 200


class Part(NamedTuple):
    """Rows that are given beside those of training. label_sets: the labels of each, where a row may have several."""

    texts: Sequence[str]
    labels: Sequence[str] | None
    lines: Sequence[int] | None
    label_sets: Sequence[Sequence[str]] | None = None


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. ``share``: ``count`` of the rows looked at, 0 to 1 (of a part for leaks; of the classes
    for findings about classes). ``examples``: the worst few, each with ``line`` and ``text`` at least. ``detail``:
    further counts of this kind."""

    kind: str
    count: int
    share: float
    examples: list[dict[str, Any]]
    effect: str
    advice: str
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass
class Rows:
    """The rows, and what several checks need of them.

    ``numbers``: the number of each row's folded text in ``distinct``, first the ``count`` training rows, then those
    of each part in their order. ``groups``: the near group of each number. ``first_of_number``, ``first_of_group``:
    the first training row that has a text, ``count`` where none has. ``marks``: each row's label, or its labels as one.
    ``conflicting``: numbers, as `told_apart` has them, that stand under several.
    """

    texts: Sequence[str]
    labels: Sequence[str] | None
    lines: Sequence[int] | None
    parts: Mapping[str, Part]
    label_sets: Sequence[Sequence[str]] | None
    token_lengths: NDArray[Any] | None
    limit: int | None
    test_share: float

    def __post_init__(self) -> None:
        self.count = len(self.texts)
        self.parts = {name: Part(*part) for name, part in self.parts.items()}
        problems = [
            f"audit of {name}: {len(texts):,} texts and {len(column):,} {what}. Give one a text."
            for name, (texts, *columns) in {"the rows": self._own(), **self.parts}.items()
            for what, column in zip(("labels", "lines", "sets of labels", "lengths"), columns, strict=False)
            if column is not None and len(column) != len(texts)
        ]
        if problems:
            raise DataError(problems)
        sets = self.label_sets
        self.marks = self.labels if sets is None else [" + ".join(sorted(set(labels))) for labels in sets]
        self.classes = _counted(self.labels, sets)
        names = {name: number for number, name in enumerate(dict.fromkeys(self.marks or ()))}
        self.mark_names = list(names)
        self.mark_numbers = np.full(self.count, -1, dtype=np.int64)  # no label
        if self.marks is not None:
            self.mark_numbers[:] = [names[mark] if mark.strip() else -1 for mark in self.marks]

    def _own(self) -> tuple[Any, ...]:
        return self.texts, self.labels, self.lines, self.label_sets, self.token_lengths

    def number(self, groups: Numbers | None, progress: Progress | None) -> None:
        """Number the folded texts and their near groups. groups: of all rows, where they are known."""
        numbers: dict[str, int] = {}
        everything = chain(self.texts, *(part[0] for part in self.parts.values()))
        self.numbers = np.array([numbers.setdefault(fold(text), len(numbers)) for text in everything], dtype=np.int64)
        self.distinct = list(numbers)
        del numbers
        if groups is None:
            self.groups = groups_of_folded(self.distinct, progress=progress)
        elif len(groups) == len(self.numbers):
            self.groups = np.zeros(len(self.distinct), dtype=np.int64)
            self.groups[self.numbers] = groups
        else:
            raise DataError(f"audit: {len(groups):,} groups and {len(self.numbers):,} texts. Give one a text.")
        self.blank = np.array([is_blank(text) for text in self.texts], dtype=bool)
        self.filled = np.flatnonzero(~self.blank)
        self.first_of_number = np.full(len(self.distinct), self.count)
        np.minimum.at(self.first_of_number, self.numbers[self.filled], self.filled)
        self.first_of_group = np.full(int(self.groups.max(initial=-1)) + 1, self.count)
        np.minimum.at(self.first_of_group, self.groups, self.first_of_number)
        firsts = np.sort(self.first_of_number[self.first_of_number < self.count])
        self.near_copies = firsts[self.first_of_group[self.groups[self.numbers[firsts]]] != firsts]
        labelled = self.filled[self.mark_numbers[self.filled] >= 0]
        cells = [tuple(cells_beside(text).values()) for text in self.texts]
        self._beside = numbered(cells) if any(cells) else None
        asked = self.told_apart(self.numbers[: self.count])
        self.conflicting = under_several(asked[labelled], self.mark_numbers[labelled])

    def told_apart(self, keys: Numbers) -> Numbers:
        """Keys of the training rows [rows], other ones where the cells beside the texts differ: what a classifier that
        reads both can tell apart."""
        if self._beside is None:
            return keys
        return numbered(zip(keys.tolist(), self._beside.tolist(), strict=True))

    def classes_of(self, part: str) -> dict[str, int]:
        """Rows of each label of a part, the most common first."""
        return _counted(self.parts[part].labels, self.parts[part].label_sets)

    def line(self, row: int | np.integer[Any], part: str | None = None) -> int:
        lines = self.lines if part is None else self.parts[part][2]
        return int(row) + 1 if lines is None else int(lines[int(row)])

    def example(self, row: int, part: str | None = None, **more: Any) -> dict[str, Any]:
        """A row as it is shown."""
        texts, labels = (self.texts, self.marks) if part is None else self.parts[part][:2]
        shown = {"line": self.line(row, part)} | shown_text(texts[row])
        if labels is not None:
            shown["label"] = labels[row]
        return shown | more

    def first_with_label(self, names: Iterable[str], part: str | None = None) -> dict[str, int]:
        """The first row of each of these labels, of training or of a part."""
        wanted, first = set(names), dict[str, int]()
        labels, sets = self.labels, self.label_sets
        if part is not None:
            labels, sets = self.parts[part].labels, self.parts[part].label_sets
        sets = sets if sets is not None else [(label,) for label in labels or ()]
        for row, labels in enumerate(sets) if wanted else ():
            for label in labels:
                if label in wanted:
                    first.setdefault(label, row)
        return first

    def finding(
        self, kind: str, rows: Sequence[int] | Numbers, effect: str, advice: str, **detail: Any
    ) -> list[Finding]:
        """A finding about these rows, the worst ones first; none where there are no rows."""
        if not len(rows):
            return []
        examples = [self.example(int(row)) for row in rows[:SHOWN]]
        return [Finding(kind, len(rows), len(rows) / self.count, examples, effect, advice, detail)]


def _counted(labels: Sequence[str] | None, sets: Sequence[Sequence[str]] | None) -> dict[str, int]:
    """Rows of each label, the most common first; no label is none."""
    counted = Counter(chain.from_iterable(sets) if sets is not None else labels or ())
    return {name: count for name, count in counted.most_common() if name.strip()}


def shown_text(text: str) -> dict[str, str]:
    """A text as it is shown; of a pair the second one beside it."""
    parts = [shorten(part) for _, part in parts_of(text)]
    return dict(zip(("text", "pair"), parts, strict=False))


def shorten(text: str) -> str:
    """A text in one line, cut to about 200 characters; what cannot be seen is written as ``\\x92``."""
    line = " ".join(text.split())
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line[: _SHOWN_CHARACTERS + 1])
    return line if len(line) <= _SHOWN_CHARACTERS else line[: _SHOWN_CHARACTERS - 1] + "…"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def under_several(numbers: Numbers, marks: Numbers) -> Numbers:
    """The numbers that stand beside more than one mark; sorted."""
    pairs = np.unique(np.stack([numbers, marks]), axis=1)
    values, times = np.unique(pairs[0], return_counts=True)
    return values[times > 1]
