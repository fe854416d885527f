"""Which rows train, validate and test. Knows texts and labels, not files or models.

A split is honest when no test text stands in the training rows: texts that are equal after folding stay together.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import mode
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from classtune.data.reading.cells import without_unseen
from classtune.errors import DataError, SettingsError, counted

Rows = npt.NDArray[np.int64]
MANY_COPIES = 0.1  # of the rows that judge: beyond, an interval is too narrow by a twentieth and more


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
    """What two copies of a text share: what is seen of it, but for case and white space.

    Characters that nobody sees (without a width, soft hyphens, variation selectors) are left out; Unicode's forms (NFC,
    NFD and those of compatibility), case and runs of white space are made equal.
    """
    folded = unicodedata.normalize("NFKC", without_unseen(text)).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())  # case folding may leave NFKC: once more


def copies_in_words(texts: Sequence[str]) -> str | None:
    """That rows which judge are copies of others, where they are so many that it matters; None else."""
    copies = len(texts) - len({fold(text) for text in texts})
    if copies < MANY_COPIES * len(texts) or not copies:
        return None
    return (
        f"{copies:,} of the {len(texts):,} test rows are copies of others: intervals and p-values take each for a row "
        "of its own, and are too narrow."
    )


def grouped_split(
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    validation: float,
    test: float,
    seed: int,
    groups: Sequence[int | str] | npt.NDArray[np.int64] | None = None,
    rare: Literal["refuse", "train"] = "refuse",
    least_classes: int = 2,
) -> Splits:
    """Stratified shares (each 0 to 1, together below 1), with copies of a text in one part only.

    Rows of equal folded text stand together, and so do rows of equal ``groups`` (one a row), and what these have in
    common. Such a group counts for its most common label (the first of equals). Each label gives each part its share of
    rows, to within the size of one group; one of ``groups`` that is larger than the share trains. ``rare``: a label of
    fewer groups than there are parts is refused, or trains. Rows come out sorted; the same rows, shares and seed give
    the same split everywhere.
    Raises DataError when there are fewer than ``least_classes``, or for every class with too few groups to be in each
    part; SettingsError for impossible shares.
    """
    if not (validation >= 0 and test >= 0 and validation + test < 1):
        raise SettingsError(
            f"validation = {validation} and test = {test}: shares must be 0 or more and leave training rows."
        )
    groups_of = _groups_by_label(texts, labels, groups)
    shares = {"test": test, "validation": validation}
    wanted = [part for part, share in shares.items() if share > 0]
    needed = 1 + len(wanted)
    _check_classes(
        texts, labels, groups_of, needed=needed if rare == "refuse" else 0, groups=groups, least=least_classes
    )

    generator = np.random.default_rng(seed)
    parts: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    carried = dict.fromkeys(wanted, 0.0)  # rows that rounding owes a part, so that many small classes do not add up
    for label in sorted(groups_of):
        left = [groups_of[label][position] for position in generator.permutation(len(groups_of[label]))]
        rows = sum(map(len, left))
        spread = wanted if len(left) >= needed else []
        for still_needed, part in zip(range(len(spread), 0, -1), spread, strict=True):
            wish = shares[part] * rows + carried[part]
            largest = len(texts) if groups is None else max(1.0, wish)
            taken, left = _take(left, wish, at_most=len(left) - still_needed, largest=largest)
            carried[part] = min(1.0, max(-1.0, wish - len(taken)))  # at most a row: a class's own share comes first
            parts[part] += taken
        parts["train"] += [row for group in left for row in group]
    return Splits(**{part: np.array(sorted(rows), dtype=np.int64) for part, rows in parts.items()})


def rarest_labels(label_sets: Sequence[tuple[str, ...]]) -> list[str]:
    """What rows of several labels are stratified by: of each row its label that fewest rows have, "" for none.

    So that rare labels, which have the fewest rows to spare, are spread first: the idea of Sechidis, Tsoumakas and
    Vlahavas, "On the stratification of multi-label data" (ECML PKDD 2011), without its passes over what is left.
    """
    counts = Counter(chain.from_iterable(label_sets))
    return [min(labels, key=lambda label: (counts[label], label), default="") for labels in label_sets]


def numbered(values: Iterable[Hashable]) -> Rows:
    """Equal values as equal numbers, from 0 in the order in which they first come."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)


def joined_groups(texts: Sequence[str], groups: Sequence[Any] | npt.NDArray[Any] | None = None) -> Rows:
    """For each row the number of what it stands with, from 0 in the order of first rows: rows of equal folded text,
    rows of equal ``groups``, and rows that a chain of such rows links. Raises DataError unless equally many."""
    folded = numbered(map(fold, texts))
    if groups is None:
        return folded
    if len(groups) != len(texts):
        raise DataError(f"{len(texts):,} texts and {len(groups):,} groups: give one group a text.")
    return linked(folded, numbered(groups))


def linked(one: Rows, other: Rows) -> Rows:
    """Rows that share a number of ``one``, a number of ``other``, or a chain of such rows: [rows], from 0 in the order
    of first rows."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # A graph between the numbers of both: each row is a line.
    size = int(one.max(initial=-1)) + 1 + int(other.max(initial=-1)) + 1
    ends = (one, other + int(one.max(initial=-1)) + 1)
    lines = coo_array((np.ones(len(one), dtype=np.int8), ends), shape=(size, size))
    return numbered(connected_components(lines, directed=False)[1][one].tolist())


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


def tutorial_imdb_split(texts: Sequence[str], labels: Sequence[str], *, seed: int = 123) -> Splits:
    """The rows of the tutorial's second task, in its order: all of them, shuffled twice with the same seed, as pandas
    does; the first ``int(0.7 n)`` train, the next ``int(0.1 n)`` validate, the rest test: 35,000 / 5,000 / 10,000.

    Its own rows come from reading the parts test before train, positive before negative, files by name. Copies are not
    kept together. Raises DataError where texts and labels are not equally many.
    """
    if len(texts) != len(labels):
        raise DataError(f"{len(texts):,} texts and {len(labels):,} labels: give one label a text.")
    count = len(texts)
    order = np.random.RandomState(seed).choice(count, size=count, replace=False).astype(np.int64)
    rows = order[order]  # the second shuffle draws what the first one drew
    first = int(count * 0.7)
    second = first + int(count * 0.1)
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


def rows_without_leaks(texts: Sequence[str], other_texts: Iterable[str]) -> Rows:
    """Rows of ``texts`` that, folded, are not in ``other_texts``: what may train when those are the test."""
    others = {fold(text) for text in other_texts}
    return np.array([row for row, text in enumerate(texts) if fold(text) not in others], dtype=np.int64)


def _groups_by_label(
    texts: Sequence[str], labels: Sequence[str], groups: Sequence[Any] | npt.NDArray[Any] | None
) -> dict[str, list[list[int]]]:
    """For each label its groups of rows, in the order of their first rows."""
    if len(texts) != len(labels):
        raise DataError(f"{len(texts):,} texts and {len(labels):,} labels: give one label a text.")
    rows_of: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(joined_groups(texts, groups).tolist()):
        rows_of[group].append(row)
    groups_of: dict[str, list[list[int]]] = defaultdict(list)
    for rows in rows_of.values():
        label = labels[rows[0]] if len(rows) == 1 else mode(labels[row] for row in rows)  # of equals, the first seen
        groups_of[label].append(rows)
    return groups_of


def _check_classes(
    texts: Sequence[str],
    labels: Sequence[str],
    groups_of: dict[str, list[list[int]]],
    *,
    needed: int,
    groups: Sequence[Any] | npt.NDArray[Any] | None,
    least: int,
) -> None:
    counts = Counter(labels)
    if not counts:
        raise DataError("there are no rows to split.")
    if set(counts) == {""}:
        raise DataError(f"no row has a label ({len(labels):,}): there is nothing to learn.")
    if len(counts) < least:
        raise DataError(
            f"every row has the label {labels[0]!r} ({len(labels):,}): a classifier needs two classes or more."
        )
    few = {label: found for label in counts if (found := len(groups_of.get(label, ()))) < needed}
    if not few:
        return
    kind = ("distinct text", "distinct texts") if groups is None else ("group", "groups of rows that stay together")
    apart = groups_of if groups is None else _groups_by_label(texts, labels, None)
    way_out = " Or keep fewer rows together: --split-by exact."
    if groups is None or any(len(apart.get(label, ())) < needed for label in few):
        way_out = ""
    problems = []
    for label, found in few.items():
        own = len({fold(text) for text, other in zip(texts, labels, strict=True) if other == label})
        lost = own - len(apart.get(label, ()))
        elsewhere = f" {lost:,} of its texts stand under other labels too, and count there." if lost > 0 else ""
        problems.append(
            f"label {label!r}: {counted(found, *kind)} in {counted(counts[label], 'row')}, and the split needs "
            f"{needed}.{elsewhere} Add texts, merge it with another label, or leave it out.{way_out}"
        )
    raise DataError(problems)


def _take(groups: list[list[int]], wish: float, *, at_most: int, largest: float) -> tuple[list[int], list[list[int]]]:
    """Rows of 1 to ``at_most`` groups, as near to ``wish`` rows as they come, and the groups left.

    A group of more than ``largest`` rows is taken only where all are.
    """
    taken: list[list[int]] = []
    left: list[list[int]] = []
    size = 0
    for group in groups:
        if len(taken) < at_most and len(group) <= largest and abs(size + len(group) - wish) < abs(size - wish):
            taken.append(group)
            size += len(group)
        else:
            left.append(group)
    if not taken:
        smallest = min(range(len(left)), key=lambda position: len(left[position]))
        taken.append(left.pop(smallest))
    return [row for group in taken for row in group], left
