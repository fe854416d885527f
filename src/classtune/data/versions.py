"""What a version of a classifier leaves to the next one: which texts it learned from and which it was tested on.

Texts are remembered by a hash of their folded form, so that nothing of the table stays. Rows that tested one version
test the next one too, and rows that one version learned from never test a later one: so versions compare.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from classtune.data.reading.cells import cells_beside
from classtune.data.reading.faults import Faults
from classtune.data.reading.labels import several_in_one
from classtune.data.reading.tables import Table
from classtune.data.splits import Rows, Splits, fold, grouped_split, joined_groups
from classtune.errors import DataError, counted
from classtune.stats import BoolArray

Hashes = NDArray[np.uint64]
_Key = tuple[str, tuple[tuple[str, str], ...]]


def hashes(texts: Iterable[str]) -> Hashes:
    """64 bits of the sha256 of each folded text: equal for copies. Of a million texts, two others meet by 1 in 30 m."""
    return np.array(
        [int.from_bytes(hashlib.sha256(fold(text).encode()).digest()[:8], "big") for text in texts], dtype=np.uint64
    )


@dataclass(frozen=True)
class RowHashes:
    """Hashes of the labelled texts of a version, sorted: those that tested it, and all others."""

    learned: Hashes
    test: Hashes

    @classmethod
    def of(cls, texts: Sequence[str], test: Rows) -> Self:
        """Of all texts of a run and the rows among them that test it."""
        every = hashes(texts)
        tested = np.unique(every[test])
        return cls(np.setdiff1d(every, tested), tested)

    def known(self, texts: Iterable[str]) -> BoolArray:
        """Whether each text was labelled when this version was made."""
        found = hashes(texts)
        return np.isin(found, self.learned) | np.isin(found, self.test)


@dataclass(frozen=True)
class Earlier:
    """What an earlier version says of how the next one divides its rows.

    trains [rows of the table]: rows that may not test, because they were chosen for what the earlier version had wrong;
    one that stands in ``test`` already does.
    """

    rows: RowHashes
    trains: BoolArray

    def split(
        self,
        texts: Sequence[str],
        strata: Sequence[str],
        groups: Rows | None,
        *,
        validation: float,
        test: float,
        seed: int,
        notes: list[str],
    ) -> Splits:
        """Parts of the rows: those that tested the earlier version test, those that it learned from never do, new rows
        go with what they are near copies of, and of the others a share tests. Near copies of both are left out.
        """
        found = hashes(texts)
        tested, learned = np.isin(found, self.rows.test), np.isin(found, self.rows.learned)
        together = joined_groups(texts, groups)
        touched = [np.isin(together, together[rows]) for rows in (tested, learned | (self.trains & ~tested))]
        new = ~tested & ~learned
        torn = new & touched[0] & touched[1]
        testing = tested | (new & touched[0] & ~touched[1])
        free = np.flatnonzero(new & ~touched[0] & ~touched[1])
        if len(free) and test:
            part = grouped_split(
                [texts[row] for row in free.tolist()],
                [strata[row] for row in free.tolist()],
                validation=0.0,
                test=test,
                seed=seed,
                groups=together[free],
                rare="train",
                least_classes=1,
            )
            testing[free[part.test]] = True
        left = np.flatnonzero(~testing & ~torn)
        rest = grouped_split(
            [texts[row] for row in left.tolist()],
            [strata[row] for row in left.tolist()],
            validation=min(0.9, validation / (1 - test)),
            test=0.0,
            seed=seed,
            groups=together[left],
            rare="train",
        )
        if torn.any():
            notes.append(
                "new rows that are near copies of texts on both sides of the earlier split are left out: "
                f"{int(torn.sum()):,}."
            )
        notes.append(
            f"rows that tested the earlier version and test this one: {int(tested.sum()):,}; new rows that test beside "
            f"them: {int((testing & new).sum()):,} of {int(new.sum()):,}."
        )
        return Splits(left[rest.train], left[rest.validation], np.flatnonzero(testing).astype(np.int64))


@dataclass(frozen=True)
class Merged:
    """A table with the rows that were added, and which of its rows those are [rows]."""

    table: Table
    added: BoolArray
    notes: list[str] = field(default_factory=list)


def with_added(table: Table, others: Sequence[Table]) -> Merged:
    """The table, and after it the rows of the others whose text it has not; where it has it, their label is the right
    one. Of several rows about one text the last is right. A text with cells beside it is another than the text with
    other cells; one without is about all of them.

    Raises DataError where one has several labels a row and another has one, and for labels that are several of the
    table's in one: cut at another separator than theirs, they would be new ones.
    """
    kind = {True: "one label a row", False: "several labels a row"}
    problems = [
        f"{one.name}: {kind[one.label_sets is None]}, and {table.name} has {kind[table.label_sets is None]}. "
        "Give the same kind in all."
        for one in others
        if (one.label_sets is None) != (table.label_sets is None)
    ]
    problems += [problem for other in others for problem in _joined(other, table)]
    if problems:
        raise DataError(problems)
    said: dict[_Key, tuple[Table, int]] = {}
    for other in others:
        for row, text in enumerate(other.texts):
            said[_key(text)] = (other, row)
    labels = list(table.labels or [])
    sets = None if table.label_sets is None else list(table.label_sets)
    changed, met = 0, set()
    for row, text in enumerate(table.texts):
        key = _key(text)
        key = key if key in said else (key[0], ())
        if key not in said:
            continue
        met.add(key)
        other, place = said[key]
        label = _label(other, place)
        changed += label != labels[row]
        labels[row] = label
        if sets is not None and other.label_sets is not None:
            sets[row] = other.label_sets[place]
    new = [where for key, where in said.items() if key not in met]
    names = " and ".join(other.name for other in others)
    texts = [*table.texts, *(other.texts[row] for other, row in new)]
    merged = replace(
        table,
        added=(table.name, *(other.name for other in others)) if others else (),
        texts=texts,
        labels=[*labels, *(_label(other, row) for other, row in new)],
        lines=[*table.lines, *(other.lines[row] for other, row in new)],
        label_sets=None if sets is None else [*sets, *((other.label_sets or [])[row] for other, row in new)],
        groups=None
        if table.groups is None
        else [*table.groups, *("" if other.groups is None else other.groups[row] for other, row in new)],
    )
    if new:  # lines of several files: rows are counted through all of them
        merged = replace(merged, name=f"{table.name} and {names}", unit="row", lines=list(range(1, len(texts) + 1)))
    notes = []
    if others:
        notes.append(
            f"{names}: {counted(len(new), 'new text')}; {len(met):,} of {table.name}, which gets another label in "
            f"{counted(changed, 'row')}."
        )
    for other in others:
        if bare := sum(not one for one in other.label_sets or ()):
            notes.append(
                f"{other.name}: {counted(bare, 'row')} without a label, to teach that none holds. If not labelled yet, "
                "leave them out with --drop-unlabelled."
            )
    return Merged(merged, np.arange(len(merged.texts)) >= len(table.texts), notes)


def _joined(other: Table, table: Table) -> list[str]:
    """Labels of ``other`` that are several of the table's in one, each with its rows."""
    known = {label for labels in table.label_sets or () for label in labels}
    between = f", with {table.label_separator!r} between them" if table.label_separator else ""
    faults = Faults(other.name, other.unit)
    for labels, line in zip(other.label_sets or (), other.lines, strict=False):
        for label in labels:
            if several_in_one(label, known):
                faults.add(line, f"{label!r} is several labels of {table.name} in one. Write them apart{between}.")
    return faults.problems()


def _key(text: str) -> _Key:
    """What rows are the same by: the folded text, and the cells beside it that are not empty."""
    return fold(text), tuple(sorted((name, cell) for name, cell in cells_beside(text).items() if cell))


def _label(table: Table, row: int) -> str:
    assert table.labels is not None
    return table.labels[row]
