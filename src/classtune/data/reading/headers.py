"""The header of a table: whether the first row is one, and which rows stand above it. Knows no files."""

from __future__ import annotations

from collections.abc import Sequence

from classtune.data.reading.columns import LABEL_NAMES, TEXT_NAMES, Columns, TableFormat, is_known
from classtune.data.reading.grid import Grid

_TITLE_ROWS = 20


def has_header(rows: Sequence[Sequence[str]], asked: Sequence[str], *, labelled: bool) -> bool:
    """Whether the first row holds column names. ``asked``: names that the user gave, ``rows``: equally wide.

    A known name is a header unless its column holds it again below (a label may be called "question"). A table of
    two columns whose labels are plain, the first row's among them, has none; nor has a column of texts.
    """
    first = rows[0]
    if any(name in first for name in asked):
        return True
    if any(is_known(cell, TEXT_NAMES) for cell in first) and any(is_known(cell, LABEL_NAMES) for cell in first):
        return True
    known = [column for column, cell in enumerate(first) if is_known(cell)]
    if any(all(row[column] != first[column] for row in rows[1:]) for column in known):
        return True
    if len(first) == 1:
        return labelled
    label = label_of_two(rows)
    return label is None or all(row[label] != first[label] for row in rows[1:])


def title_rows(rows: Sequence[Sequence[str]], table: TableFormat) -> int:
    """How many rows stand above the header: of one filled cell, above one with a name that is known or asked for; of
    several (a date beside the title), above one with a name for the text and one for the label."""
    if table.header is False:
        return 0
    asked = {name for name in table.asked if not name.isdecimal()}  # a number is a place
    names = {*asked, *table.preferred}
    several = False  # cells in a row above
    for above, row in enumerate(rows[:_TITLE_ROWS]):
        filled = [cell.strip() for cell in row if cell.strip()]
        known = any(is_known(cell) or cell in names for cell in filled)
        if len(filled) > 1 and known:
            both = all(any(is_known(cell, kind) for cell in filled) for kind in (TEXT_NAMES, LABEL_NAMES))
            return above if both or not several or asked & {*filled} else 0
        if known:
            return 0
        several = several or len(filled) > 1
    return 0


def label_of_two(rows: Sequence[Sequence[str]]) -> int | None:
    """Which of two columns (0 or 1) is the label: the one of few, repeated values. None when it is not plain."""
    if len(rows[0]) != 2:
        return None
    distinct = [len({row[column] for row in rows}) for column in (0, 1)]
    label = distinct.index(min(distinct))
    return label if 2 * distinct[label] <= min(len(rows), distinct[1 - label]) else None


def with_names(rows: list[list[str]], starts: list[int], table: TableFormat, *, labelled: bool) -> Grid:
    """The grid of rows of equal width, with their header taken off or, without one, columns called 1, 2, …"""
    asked = table.asked
    header = (
        table.header if table.header is not None else has_header(rows, [*asked, *table.preferred], labelled=labelled)
    )
    if header:
        names, rows, starts = [name.strip() for name in rows[0]], rows[1:], starts[1:]
        return Grid(names, lambda column: [row[column] for row in rows], starts)
    grid = Grid(
        [str(column) for column in range(1, len(rows[0]) + 1)], lambda column: [row[column] for row in rows], starts
    )
    label = label_of_two(rows)
    if label is not None and not asked:
        grid.guessed = Columns((1 - label,), label)
        grid.notes = [f"no header: column {label + 1} is read as the label, column {2 - label} as the text."]
    elif len(grid.names) == 1:
        grid.notes = ["no header: every line is read as a text."]
    return grid
