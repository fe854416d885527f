"""The labels of a table: from the cells of one column, or from a column of 1 and 0 for each label.

`labels.py` knows what a label is; here it is found how the rows of a grid write theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from classtune.data.reading.cells import Broken, LabelSet, as_flag, as_labels, holds_several, is_matrix
from classtune.data.reading.columns import Columns, TableFormat
from classtune.data.reading.faults import Faults
from classtune.data.reading.grid import Grid
from classtune.data.reading.labelling import listed_labels
from classtune.data.reading.labels import WHOLE_CELLS, as_label, joined_by, label_kind, merge_numbers
from classtune.errors import counted

_UNREAD = Broken("-", "could not be read")  # in the place of a label that is a fault


@dataclass
class Labels:
    """Labels to be shown, label sets where a row may have several, and what their column or columns are called."""

    shown: list[str] | None = None
    sets: list[LabelSet] | None = None
    column: str | None = None
    kind: str = "text"
    separator: str | None = None  # at which cells were cut
    columns: tuple[str, ...] = ()  # one a label
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_labels(grid: Grid, columns: Columns, format: TableFormat, faults: Faults) -> Labels:
    """The labels of every row; cells that can be none are added to the faults."""
    if columns.flags:
        names = [grid.names[column] for column in columns.flags]
        flags = [
            faults.read(grid.column(column), grid.lines, as_flag, f"cell of {name!r}", False)
            for column, name in zip(columns.flags, names, strict=True)
        ]
        order = sorted(range(len(names)), key=names.__getitem__)
        sets = [tuple(names[index] for index in order if row[index]) for row in zip(*flags, strict=True)]
        return Labels([", ".join(labels) for labels in sets], sets, ", ".join(names), columns=tuple(names))
    if columns.label is None:
        return Labels()
    cells, name = _named(grid, columns.label), grid.names[columns.label]
    told = format.label_separator or format.preferred_separator
    separator = None if told == WHOLE_CELLS else told
    result = Labels(column=name, notes=_beside_answers(name, grid, format))
    if separator is None:
        if (lists := listed_labels(cells)) is not None:
            result.notes.append(f"lists written as text in {name!r} are read as lists of labels.")
            cells = lists
        instead = "" if format.drop_unlabelled else []  # of an empty list
        alone = [
            (cell[0] if cell else instead) if holds_several(cell) and len(cell) < 2 else cell
            for cell in map(_as_list, cells)
        ]
        if not grid.of_python and any(map(holds_several, cells)) and not any(map(holds_several, alone)):
            result.notes.append(f"every list in {name!r} holds one label: read as one label a row.")
            cells = alone
        elif not grid.of_python and (empty := list(filter(holds_several, alone))) and not any(empty):
            result.notes.append(
                f"{counted(len(empty), 'row')} without a label, and none with several: read as several labels a row, "
                "where none is an answer. If these are not labelled yet, leave them out with --drop-unlabelled."
            )
        if not any(map(holds_several, cells)):
            result.kind = label_kind(cells)
            result.shown, merged = merge_numbers(faults.read(cells, grid.lines, as_label, "label", _UNREAD))
            result.notes += merged
            joined = None if format.label_separator or grid.of_python else joined_by(result.shown)
            if joined is not None:
                lines = result.notes if format.lenient else result.problems
                lines.append(
                    f"{faults.name}: the cells of {name!r} look like several labels, joined by {joined!r}. Pass "
                    f"--label-separator {joined!r} (an empty cell is then none of them), "
                    f"or --label-separator {WHOLE_CELLS} if each cell is one label."
                )
            return result
    if is_matrix(cells):
        result.problems.append(
            f"{faults.name}: the labels are lists of 0 and 1, equally long: names of labels, or a matrix? "
            "Write names, or give each label a column of its own."
        )
    sets = faults.read(cells, grid.lines, partial(as_labels, separator=separator), "label", ())
    shared: dict[LabelSet, LabelSet] = {}  # millions of rows have few different sets
    result.sets, result.separator = [shared.setdefault(labels, labels) for labels in sets], separator
    result.shown = [", ".join(labels) for labels in result.sets]
    return result


def _beside_answers(name: str, grid: Grid, format: TableFormat) -> list[str]:
    """That the table had labels of its own before classtune added a column of answers, unless one was asked for."""
    given = f"given:{name}"
    if format.label is not None or given not in grid.names:
        return []
    return [
        f"the label is read from column {name!r}, which classtune added; what the table had before is in {given!r}: "
        f"--label {given} reads that."
    ]


def _as_list(cell: Any) -> Any:
    return list(cell) if isinstance(cell, set | frozenset | np.ndarray) else cell


def _named(grid: Grid, column: int) -> Sequence[Any]:
    """The cells of a label column, classes by their names where the file says what their numbers mean."""
    cells, names = grid.column(column), grid.class_names.get(column)
    if names is None:
        return cells

    def name(cell: Any) -> Any:
        if isinstance(cell, list):
            return [name(item) for item in cell]
        if not isinstance(cell, int):
            return cell
        return names[cell] if 0 <= cell < len(names) else None  # -1: not labelled

    return [name(cell) for cell in cells]
