"""Texts of Python's own with what stands beside them: a data frame of several columns, or tuples that are pairs.

Knows no labels; `tables.py` makes a table of what is found here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from classtune.data.reading.cells import RowCells
from classtune.data.reading.columns import Columns, TableFormat, choose_columns
from classtune.errors import DataError

# What errors tell people at a command line to do, and what they do in Python.
_HERE = (
    (re.compile(r" \(--(text|pair)\)"), r" (\1)"),
    (re.compile(r" \(--with\)"), " (columns)"),
    (re.compile(r"--(text|pair) and --with\b"), r"\1 and columns"),
    (re.compile(r"--text and --pair\b"), "text and pair"),
    (re.compile(r"Choose with --text NAME\..*|Name it with --text NAME.*"), "Choose with text=NAME."),
)


def frame_of(values: Any) -> dict[str, list[Any]] | None:
    """The columns of a data frame of several, missing cells None; None for anything else."""
    if not hasattr(values, "columns"):
        return None
    import narwhals

    frame = narwhals.from_native(values, pass_through=True, eager_only=True)
    if not isinstance(frame, narwhals.DataFrame) or len(frame.columns) < 2:
        return None
    columns = {}
    for name in frame.columns:
        missing = frame.get_column(name).is_null().to_list()
        cells = zip(frame.get_column(name).to_list(), missing, strict=True)
        columns[str(name)] = [None if absent else cell for cell, absent in cells]
    return columns


def chosen_of(name: str, frame: dict[str, list[Any]], format: TableFormat) -> Columns:
    """Which columns of a frame are read, as of a file. Raises DataError for names that do not fit."""
    names = list(frame)
    try:
        return choose_columns(name, names, format, labelled=False, cells=lambda column: frame[names[column]])
    except DataError as error:
        problems = error.problems
        for flag, here in _HERE:
            problems = [flag.sub(here, problem) for problem in problems]
        raise DataError(problems) from None


def pairs_in(cells: Sequence[Any]) -> list[Any]:
    """Cells of texts of which each tuple of two is a pair."""
    return [
        RowCells(cell[0], pair=(cell[1],)) if isinstance(cell, tuple) and len(cell) == 2 else cell for cell in cells
    ]
