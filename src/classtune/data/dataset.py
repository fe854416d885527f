"""All rows of a run, from one table or several: labels as numbers, splits, and what was noticed on the way."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classtune.config import Progress
from classtune.config.areas import RowSettings, SplitSettings
from classtune.data.audit.audit import Audit, audit_rows
from classtune.data.audit.findings import Part
from classtune.data.near import near_groups
from classtune.data.parts import TUTORIALS, divide, groups_of
from classtune.data.reading.tables import Table
from classtune.data.splits import Rows, Splits, copies_in_words, joined_groups
from classtune.data.versions import Earlier
from classtune.errors import DataError, SettingsError

_SHOWN_LABELS = 10


@dataclass
class DataFacts:
    """What a result says of its table.

    left_out: rows that were not used, by why. columns: where texts and labels were read; label_kind: what kind of cells
    the labels had. added: see `Table`. cut, cut_tokens, windowed: texts cut to the length limit, tokens lost so, and
    texts read in windows by the backbone that read the texts last; None: none did.
    """

    name: str
    audit: Audit
    left_out: dict[str, int] = field(default_factory=dict)
    columns: dict[str, str | None] = field(default_factory=dict)
    label_kind: str = "text"
    added: list[str] = field(default_factory=list)
    cut: int | None = None
    cut_tokens: int | None = None
    windowed: int | None = None

    def document(self) -> dict[str, Any]:
        """For JSON."""
        read = {key: getattr(self, key) for key in ("cut", "cut_tokens", "windowed")}
        return {
            "name": self.name,
            **self.audit.document(),
            "left_out": self.left_out,
            "columns": self.columns,
            "label_kind": self.label_kind,
            **({"added": self.added} if self.added else {}),
            **{key: value for key, value in read.items() if value is not None},
        }


@dataclass
class Material:
    """All rows of a run, from one table or several, with what each is used for."""

    texts: list[str]
    places: list[str]
    labels: list[str]  # sorted
    truth: NDArray[Any]  # int64 [rows], numbers into labels; of several labels a row bool [rows, labels]
    groups: Rows  # [rows], equal for rows that the split keeps together
    splits: Splits
    notes: list[str]
    data: DataFacts
    beside: tuple[str, ...] = ()  # names of the columns whose cells stand beside the texts
    pairs: bool = False  # whether texts are pairs
    weights: NDArray[np.float32] | None = None  # how often each row counts in learning [rows], about 1 on average

    def weights_of(self, rows: Rows) -> NDArray[np.float32] | None:
        """The weights of some rows; None where all count alike."""
        return None if self.weights is None else self.weights[rows]

    @property
    def multi(self) -> bool:
        """Whether a row may have several labels, or none."""
        return self.truth.ndim == 2

    def label_of(self, row: int) -> str:
        """The label of a row, or its labels."""
        truth = self.truth[row]
        if not self.multi:
            return self.labels[int(truth)]
        return ", ".join(label for label, has in zip(self.labels, truth, strict=True) if has)


def prepare(
    table: Table,
    settings: SplitSettings,
    *,
    validation: Table | None = None,
    test: Table | None = None,
    earlier: Earlier | None = None,
    progress: Progress | None = None,
) -> Material:
    """Rows, labels and splits. The given rows come after the table's, validation before test, and are used as they are.

    earlier: the version before, whose test rows test again; test rows that are given come before them.
    A label with too few rows to be in each part is an error; where rows have several labels it trains, and a note says
    which labels are never judged. Raises DataError for rows that cannot be trained on or labels training never sees,
    SettingsError for settings that do not fit the table.
    """
    assert table.labels is not None
    labels = sorted(set(table.labels if table.label_sets is None else chain.from_iterable(table.label_sets)))
    parts_given = (("validation", validation), ("test", test))
    given = {name: extra.with_known(labels) for name, extra in parts_given if extra is not None}
    tables = [table, *given.values()]
    _check_settings(tables, settings, earlier)
    _check_labels(table, list(given.values()), labels)
    notes = list(table.notes)
    texts = list(chain.from_iterable(part.texts for part in tables))
    near = near_groups(texts, progress=progress)
    audit = audit_rows(
        table.texts,
        table.labels,
        table.lines,
        parts={
            name: Part(extra.texts, extra.labels or [], extra.lines, extra.label_sets) for name, extra in given.items()
        },
        label_sets=table.label_sets,
        groups=near,
        test_share=settings.test,
        progress=progress,
    )
    groups = groups_of(tables, near, settings, notes)
    splits = divide(table, given, groups, settings, earlier, notes)
    material = Material(
        texts=texts,
        places=list(chain.from_iterable(part.places for part in tables)),
        labels=labels,
        truth=_truth(tables, labels),
        groups=near if groups is near else joined_groups(texts, groups),
        splits=splits,
        notes=notes,
        data=DataFacts(
            table.name,
            audit,
            left_out=dict(table.dropped),
            columns={"text": table.text_column, "label": table.label_column}
            | ({"with": ",".join(table.beside)} if table.beside else {})
            | ({"pair": table.pair} if table.pair is not None else {})
            | ({"label_separator": table.label_separator} if table.label_separator else {})
            | ({"label_columns": ",".join(table.label_columns)} if table.label_columns else {}),
            label_kind=table.label_kind,
            added=list(table.added),
        ),
        beside=table.beside,
        pairs=table.pair is not None,
        weights=_weights(tables),
    )
    _check_parts(material, table.name)
    return material


def _check_settings(tables: Sequence[Table], settings: RowSettings, earlier: Earlier | None) -> None:
    name, problems = tables[0].name, []
    tutorial = settings.split in TUTORIALS
    if tutorial and earlier is not None:
        problems.append(f'split = "{settings.split}" makes its own parts: leave --from out, or use split = "grouped".')
    if tutorial and len(tables) > 1:
        problems.append(f'split = "{settings.split}" makes all three parts: leave --validation and --test out.')
    if tables[0].label_sets is not None and tutorial:
        problems.append(f'split = "{settings.split}" needs one label a row: {name} has several. Use split = "grouped".')
    if tables[0].label_sets is not None and settings.balance == "undersample":
        problems.append(
            f'balance = "undersample" needs one label a row: {name} has several. Use class_weights = "balanced".'
        )
    if settings.split_by not in ("exact", "near") and not tutorial:
        problems += [
            f"split_by = {settings.split_by!r}: {part.name} was read without such a column. "
            'Use "near" or "exact", or name a column of the table.'
            for part in tables
            if part.groups is None
        ]
    if problems:
        raise SettingsError(problems)


def _check_labels(table: Table, given: Sequence[Table], labels: list[str]) -> None:
    """Raise DataError for given rows with labels that the table does not have."""
    if problems := [problem for extra in given for problem in label_problems(extra, table, labels)]:
        raise DataError(problems)


def label_problems(given: Table, table: Table, labels: Collection[str]) -> list[str]:
    """Why rows cannot stand beside a table of these labels; of labels that reading refuses nothing is said."""
    faults = given.foreign_labels(labels, f"is not in {table.name}")
    if table.label_sets is None:
        for line, row in zip(given.lines, given.row_labels, strict=True):
            if len(row) != 1:
                faults.add(line, f"{len(row)} labels, and rows of {table.name} have one. Give one.")
    return faults.problems()


def _weights(tables: Sequence[Table]) -> NDArray[np.float32] | None:
    """Those of the table, scaled to 1 on average; rows that were given beside it learn nothing."""
    own = tables[0].weights
    if own is None:
        return None
    given = [1.0] * sum(len(part.texts) for part in tables[1:])
    return np.array([*(np.array(own) / np.mean(own)), *given], dtype=np.float32)


def _truth(tables: Sequence[Table], labels: list[str]) -> NDArray[Any]:
    """Labels as numbers, int64 [rows], or which of them hold, bool [rows, labels]."""
    index = {label: number for number, label in enumerate(labels)}
    if tables[0].label_sets is None:
        return np.array([index[label] for part in tables for label in part.labels or []], dtype=np.int64)
    sets = list(chain.from_iterable(table.row_labels for table in tables))
    truth = np.zeros((len(sets), len(labels)), dtype=np.bool_)
    rows = np.repeat(np.arange(len(sets)), [len(labels_of) for labels_of in sets])
    truth[rows, [index[label] for labels_of in sets for label in labels_of]] = True
    return truth


def _check_parts(material: Material, name: str) -> None:
    """Raise DataError for labels that no training row has (of several labels a row, note them); note labels that
    validation or test lack, and what that leaves undone, and many copies among the test rows."""

    def rows_of(part: Rows) -> NDArray[np.int64]:
        truth = material.truth[part]
        return truth.sum(axis=0) if material.multi else np.bincount(truth, minlength=len(material.labels))

    def listed(chosen: NDArray[np.bool_]) -> str:
        names = [repr(label) for label, is_one in zip(material.labels, chosen, strict=True) if is_one]
        return ", ".join(names[:_SHOWN_LABELS]) + (", …" if len(names) > _SHOWN_LABELS else "")

    unseen = rows_of(material.splits.train) == 0
    if unseen.any() and not material.multi:
        raise DataError(
            f"{name}: no row is left to train these labels: {listed(unseen)}. Add rows, or give fewer away."
        )
    if unseen.any():
        material.notes.append(f"labels without a training row, never to be answered: {listed(unseen)}.")
    unheard = (rows_of(material.splits.validation) == 0) & ~unseen
    if unheard.any() and len(material.splits.validation):
        material.notes.append(
            f"labels without a validation row: {listed(unheard)}. Nothing is fitted to them: epoch, calibration and "
            "thresholds are chosen by the other labels' rows, and may not suit these. Add validation rows of them."
        )
    unjudged = (rows_of(material.splits.test) == 0) & ~unseen
    if unjudged.any() and len(material.splits.test):
        material.notes.append(f"labels without a test row, trained but not judged: {listed(unjudged)}.")
    if copies := copies_in_words([material.texts[row] for row in material.splits.test]):
        material.notes.append(copies)
