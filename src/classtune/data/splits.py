"""Which rows train, validate and test. Knows texts and labels, not files or models.

A split is honest when no test text stands in the training rows: texts that are equal after folding stay together.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mode

import numpy as np
import numpy.typing as npt

from classtune.errors import DataError, SettingsError

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Splits:
    """Row numbers (from 0) of each part; no row is in two of them."""

    train: Rows
    validation: Rows
    test: Rows

    def sizes(self) -> dict[str, int]:
        """Rows in each part."""
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}


def fold(text: str) -> str:
    """What two copies of a text share: Unicode compatibility forms, case and runs of white space made equal."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())  # case folding may leave NFKC: once more


def grouped_split(texts: Sequence[str], labels: Sequence[str], *, validation: float, test: float, seed: int) -> Splits:
    """Stratified shares (each 0 to 1, together below 1), with copies of a text in one part only.

    Rows of equal folded text form a group, which counts for its most common label (the first of equals). Each label
    gives each part its share of rows, to within the size of one group. Rows come out sorted; the same rows, shares
    and seed give the same split everywhere.
    Raises DataError when there is one class only, or for every class with too few distinct texts to be in each part;
    SettingsError for impossible shares.
    """
    if not (validation >= 0 and test >= 0 and validation + test < 1):
        raise SettingsError(
            f"validation = {validation} and test = {test}: shares must be 0 or more and leave training rows."
        )
    groups_of = _groups_by_label(texts, labels)
    shares = {"test": test, "validation": validation}
    wanted = [part for part, share in shares.items() if share > 0]
    _check_classes(labels, groups_of, needed=1 + len(wanted))

    generator = np.random.default_rng(seed)
    parts: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    carried = dict.fromkeys(wanted, 0.0)  # rows that rounding owes a part, so that many small classes do not add up
    for label in sorted(groups_of):
        groups = [groups_of[label][position] for position in generator.permutation(len(groups_of[label]))]
        rows = sum(map(len, groups))
        for still_needed, part in zip(range(len(wanted), 0, -1), wanted, strict=True):
            wish = shares[part] * rows + carried[part]
            taken, groups = _take(groups, wish, at_most=len(groups) - still_needed)
            carried[part] = min(1.0, max(-1.0, wish - len(taken)))  # at most a row: a class's own share comes first
            parts[part] += taken
        parts["train"] += [row for group in groups for row in group]
    return Splits(**{part: np.array(sorted(rows), dtype=np.int64) for part, rows in parts.items()})


def tutorial_split(texts: Sequence[str], labels: Sequence[str], *, seed: int = 123) -> Splits:
    """The rows of "Build a Large Language Model (From Scratch)", chapter 6 (SEED.md, points 2 and 3), in its order.

    The larger of two classes is sampled down to the smaller, put before it, and all of it shuffled, as pandas does; the
    first ``int(0.7 n)`` rows train, the next ``int(0.1 n)`` validate, the rest test. Copies are not kept together, so
    its scores are inflated. Its own rows come from reading its file with quoting on (``TableFormat(quoting=True)``).
    Raises DataError unless there are exactly two classes.
    """
    classes = Counter(labels)
    if len(classes) != 2:
        raise DataError(f'the tutorial\'s split needs two classes: got {len(classes)}. Use split = "grouped".')
    if len(texts) != len(labels):
        raise DataError(f"{len(texts):,} texts and {len(labels):,} labels: give one label a text.")
    (larger, _), (smaller, size) = classes.most_common()
    names = np.array(labels, dtype=object)
    kept = np.flatnonzero(names == larger)
    kept = kept[np.random.RandomState(seed).choice(len(kept), size=size, replace=False)]
    rows = np.concatenate([kept, np.flatnonzero(names == smaller)])
    rows = rows[np.random.RandomState(seed).choice(len(rows), size=len(rows), replace=False)].astype(np.int64)
    first = int(len(rows) * 0.7)
    second = first + int(len(rows) * 0.1)
    return Splits(rows[:first], rows[first:second], rows[second:])


def undersample(labels: Sequence[str], rows: Iterable[int], seed: int) -> Rows:
    """As many of ``rows`` (numbers into ``labels``) of each class as its rarest class among them has; sorted."""
    by_label: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        by_label[labels[row]].append(int(row))
    size = min(map(len, by_label.values()), default=0)
    generator = np.random.default_rng(seed)
    kept = [generator.choice(by_label[label], size=size, replace=False) for label in sorted(by_label)]
    return np.sort(np.concatenate([np.empty(0, dtype=np.int64), *kept]))


def find_leaks(train_texts: Sequence[str], other_texts: Sequence[str]) -> list[tuple[int, int]]:
    """(training row, other row) for each other text that, folded, is a training text; its first row there."""
    first: dict[str, int] = {}
    for row, text in enumerate(train_texts):
        first.setdefault(fold(text), row)
    folded = ((row, fold(text)) for row, text in enumerate(other_texts))
    return [(first[text], row) for row, text in folded if text in first]


def rows_without_leaks(texts: Sequence[str], other_texts: Iterable[str]) -> Rows:
    """Rows of ``texts`` that, folded, are not in ``other_texts``: what may train when those are the test."""
    others = {fold(text) for text in other_texts}
    return np.array([row for row, text in enumerate(texts) if fold(text) not in others], dtype=np.int64)


def _groups_by_label(texts: Sequence[str], labels: Sequence[str]) -> dict[str, list[list[int]]]:
    """For each label its groups of rows, in the order of their first rows."""
    if len(texts) != len(labels):
        raise DataError(f"{len(texts):,} texts and {len(labels):,} labels: give one label a text.")
    groups: dict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        groups[fold(text)].append(row)
    groups_of: dict[str, list[list[int]]] = defaultdict(list)
    for rows in groups.values():
        label = labels[rows[0]] if len(rows) == 1 else mode(labels[row] for row in rows)  # of equals, the first seen
        groups_of[label].append(rows)
    return groups_of


def _check_classes(labels: Sequence[str], groups_of: dict[str, list[list[int]]], *, needed: int) -> None:
    counts = Counter(labels)
    if not counts:
        raise DataError("there are no rows to split.")
    if len(counts) == 1:
        raise DataError(
            f"all {len(labels):,} rows have the label {labels[0]!r}: a classifier needs two classes or more."
        )
    problems = []
    for label, rows in counts.items():
        distinct = len(groups_of.get(label, ()))
        if distinct < needed:
            problems.append(
                f"label {label!r}: {distinct} distinct text{'s' * (distinct != 1)} in {rows:,} rows, "
                f"and the split needs {needed}. Add texts, merge it with another label, or leave it out."
            )
    if problems:
        raise DataError(problems)


def _take(groups: list[list[int]], wish: float, *, at_most: int) -> tuple[list[int], list[list[int]]]:
    """Rows of 1 to ``at_most`` groups, as near to ``wish`` rows as they come, and the groups left."""
    taken: list[list[int]] = []
    left: list[list[int]] = []
    size = 0
    for group in groups:
        if len(taken) < at_most and abs(size + len(group) - wish) < abs(size - wish):
            taken.append(group)
            size += len(group)
        else:
            left.append(group)
    if not taken:
        smallest = min(range(len(left)), key=lambda position: len(left[position]))
        taken.append(left.pop(smallest))
    return [row for group in taken for row in group], left
