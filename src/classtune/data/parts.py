"""Which rows of a run train, validate and test, where some are given, grouped, or known from an earlier version.

`splits.py` divides the texts and labels of one table; here stands what may be divided, and what is used as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from classtune.config.areas import RowSettings, SplitSettings
from classtune.data.reading.tables import Table
from classtune.data.splits import (
    Rows,
    Splits,
    grouped_split,
    numbered,
    rarest_labels,
    rows_without_leaks,
    tutorial_imdb_split,
    tutorial_split,
    undersample,
)
from classtune.data.versions import Earlier
from classtune.errors import DataError, counted

# Splits that are the tutorial's own: they make all three parts and keep no copies together.
TUTORIALS = {"llms-from-scratch": tutorial_split, "llms-from-scratch-imdb": tutorial_imdb_split}


def groups_of(tables: Sequence[Table], near: Rows, settings: RowSettings, notes: list[str]) -> Rows | None:
    """Equal numbers for rows that stay together beside copies; a row with nothing in the column is alone."""
    if settings.split_by == "exact" or settings.split in TUTORIALS:
        return None
    if settings.split_by == "near":
        return near
    cells = list(chain.from_iterable(part.groups or [] for part in tables))
    alone = sum(not cell.strip() for cell in cells)
    if alone:
        notes.append(f"{counted(alone, 'row')} with nothing in {settings.split_by!r}: each is split by its text alone.")
    return numbered(cell if cell.strip() else row for row, cell in enumerate(cells))


def divide(
    table: Table,
    given: Mapping[str, Table],
    groups: Rows | None,
    settings: SplitSettings,
    earlier: Earlier | None,
    notes: list[str],
) -> Splits:
    """The table's rows in parts, but for the parts that are ``given``: their rows come after the table's, as they are.

    groups: those of all rows, as `groups_of` tells them. Raises DataError where no row is left to train on.
    """
    assert table.labels is not None
    rows = _free_rows(table, list(given.values()), groups, settings, notes)
    parts = _split(table, rows, groups, settings, given, earlier, notes).__dict__
    start = len(table.texts)
    for name, extra in given.items():
        parts = parts | {name: np.arange(start, start + len(extra.texts))}
        start += len(extra.texts)
    if settings.balance == "undersample" and settings.split not in TUTORIALS:
        parts = parts | {"train": undersample(table.labels, parts["train"], settings.seed)}
    return Splits(**parts)


def _free_rows(
    table: Table, given: Sequence[Table], groups: Rows | None, settings: RowSettings, notes: list[str]
) -> Rows:
    """Rows of the table that may train: their like is not among the given ones. Raises DataError where none is left."""
    if not given:
        return np.arange(len(table.texts))
    rows = rows_without_leaks(table.texts, chain.from_iterable(part.texts for part in given))
    if groups is not None:
        rows = rows[~np.isin(groups[rows], groups[len(table.texts) :])]
    left_out = len(table.texts) - len(rows)
    if left_out:
        names = " and ".join(part.name for part in given)
        column = f" or share their {settings.split_by!r} with rows there"
        like = {"exact": "", "near": " or are near copies of rows there"}.get(settings.split_by, column)
        if not len(rows):
            raise DataError(
                f"{table.name}: all of its rows stand in {names} too{like}: nothing is left to train on. Give others."
            )
        notes.append(f"rows of {table.name} that stand in {names} too{like} are left out of training: {left_out:,}.")
    return rows


def _split(
    table: Table,
    rows: Rows,
    groups: Rows | None,
    settings: SplitSettings,
    given: Collection[str],
    earlier: Earlier | None,
    notes: list[str],
) -> Splits:
    """Parts of the table's ``rows``, but for those that are ``given``."""
    assert table.labels is not None
    if settings.split in TUTORIALS:
        return TUTORIALS[settings.split](table.texts, table.labels, seed=settings.seed)
    strata = table.labels if table.label_sets is None else rarest_labels(table.label_sets)
    texts, strata = [table.texts[row] for row in rows], [strata[row] for row in rows]
    groups = None if groups is None else groups[rows]
    validation = 0.0 if "validation" in given else settings.validation
    if earlier is not None and "test" not in given:
        earlier = replace(earlier, trains=earlier.trains[rows])
        shares = {"validation": validation, "test": settings.test}
        part = earlier.split(texts, strata, groups, **shares, seed=settings.seed, notes=notes)
    else:
        part = grouped_split(
            texts,
            strata,
            validation=validation,
            test=0.0 if "test" in given else settings.test,
            seed=settings.seed,
            groups=groups,
            rare="refuse" if table.label_sets is None else "train",
        )
    return Splits(rows[part.train], rows[part.validation], rows[part.test])
