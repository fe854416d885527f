"""All rows of a run, from one table or several: labels as numbers, splits, and what was noticed on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classtune.config import Settings
from classtune.data.audit import audit_rows
from classtune.data.splits import Rows, Splits, grouped_split, rows_without_leaks, tutorial_split, undersample
from classtune.data.tables import Table
from classtune.errors import DataError, SettingsError, did_you_mean


@dataclass
class Material:
    """All rows of a run, from one table or several, with what each is used for."""

    texts: list[str]
    places: list[str]
    labels: list[str]
    truth: NDArray[np.int64]
    splits: Splits
    notes: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)


def prepare(
    table: Table, settings: Settings, *, validation: Table | None = None, test: Table | None = None
) -> Material:
    """Rows, labels and splits. Raises DataError for rows that cannot be trained on or labels training never sees."""
    assert table.labels is not None
    notes = list(table.notes)
    given = [extra for extra in (validation, test) if extra is not None]
    labels = sorted(set(table.labels))
    problems = [
        f"{extra.name} line {line}: the label {label!r} is not in {table.name}. {did_you_mean(label, labels)}"
        for extra in given
        for line, label in zip(extra.lines, extra.labels or [], strict=True)
        if label not in labels
    ]
    if problems:
        raise DataError(problems)
    audit = audit_rows(table.texts, table.labels)
    rows: Rows = np.arange(len(table.texts))
    if given:
        rows = rows_without_leaks(table.texts, [text for extra in given for text in extra.texts])
        left_out = len(table.texts) - len(rows)
        if left_out:
            names = " and ".join(extra.name for extra in given)
            notes.append(f"{left_out:,} rows of {table.name} stand in {names} too; they are left out of training.")
    splits = _split(table, rows, settings, validation is not None, test is not None)
    texts, places, all_labels = list(table.texts), table.places, list(table.labels)
    parts = splits.__dict__ | {"train": splits.train}
    for name, extra in (("validation", validation), ("test", test)):
        if extra is not None:
            parts[name] = np.arange(len(texts), len(texts) + len(extra.texts))
            texts, places = texts + extra.texts, places + extra.places
            all_labels += extra.labels or []
    if settings.balance == "undersample" and settings.split != "llms-from-scratch":
        parts["train"] = undersample(all_labels, parts["train"], settings.seed)
    index = {label: number for number, label in enumerate(labels)}
    truth = np.array([index[label] for label in all_labels], dtype=np.int64)
    data = {"name": table.name, **audit, "left_out": dict(table.dropped)}
    return Material(texts, places, labels, truth, Splits(**parts), notes, data)


def _split(table: Table, rows: Rows, settings: Settings, validation_given: bool, test_given: bool) -> Splits:
    assert table.labels is not None
    if settings.split == "llms-from-scratch":
        if validation_given or test_given:
            raise SettingsError('split = "llms-from-scratch" makes all three parts: leave --validation and --test out.')
        return tutorial_split(table.texts, table.labels, seed=settings.seed)
    part = grouped_split(
        [table.texts[row] for row in rows],
        [table.labels[row] for row in rows],
        validation=0.0 if validation_given else settings.validation,
        test=0.0 if test_given else settings.test,
        seed=settings.seed,
    )
    return Splits(rows[part.train], rows[part.validation], rows[part.test])
