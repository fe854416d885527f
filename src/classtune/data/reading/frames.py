"""Rows of Python's own as columns of cells: lists, arrays, data frames, and tuples that are pairs.

`tables.py` makes a table of what is found here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from classtune.data.reading.cells import RowCells, to_microseconds
from classtune.data.reading.columns import Columns, TableFormat, choose_columns
from classtune.errors import DataError


def frame_of(values: Any) -> dict[str, list[Any]] | None:
    """The columns of a data frame of several, missing cells None; None for anything else."""
    if not hasattr(values, "columns"):
        return None
    import narwhals

    frame = narwhals.from_native(values, pass_through=True, eager_only=True)
    if not isinstance(frame, narwhals.DataFrame) or len(frame.columns) < 2:
        return None
    return {str(name): _cells(frame.get_column(name)) for name in frame.columns}


def chosen_of(name: str, frame: dict[str, list[Any]], format: TableFormat) -> Columns:
    """Which columns of a frame are read, as of a file. Raises DataError for names that do not fit."""
    names = list(frame)
    return choose_columns(name, names, format, labelled=False, cells=lambda column: frame[names[column]])


def pairs_in(cells: Sequence[Any]) -> list[Any]:
    """Cells of texts of which each tuple of two is a pair."""
    return [
        RowCells(cell[0], pair=(cell[1],)) if isinstance(cell, tuple) and len(cell) == 2 else cell for cell in cells
    ]


def labels_of(labels: Any, name: str) -> tuple[list[str], list[list[Any]]]:
    """(names, columns) of a data frame or a two-dimensional array, a label each; else no names and the one column.

    Raises DataError for what holds no labels, or columns of one name.
    """
    if isinstance(labels, np.ndarray) and labels.ndim == 2:
        names, columns = [str(column) for column in range(labels.shape[1])], labels.T.tolist()
    elif hasattr(labels, "columns"):
        import narwhals

        try:
            series = list(narwhals.from_native(labels, eager_only=True).iter_columns())
        except narwhals.exceptions.DuplicateError:
            raise DataError(f"{name}: columns of the same name. Give each label its own.") from None
        except TypeError:
            raise DataError(f"{name}: a {type(labels).__name__}. Give a list or a data frame.") from None
        names, columns = [str(column.name) for column in series], [column.to_list() for column in series]
    else:
        return [], [values_of(labels, name)]
    if not names:
        raise DataError(f"{name}: no column. Give one for each label.")
    return names, columns


def values_of(column: Any, name: str) -> list[Any]:
    """One column of Python's as a list, missing cells of a data frame None. Raises DataError for what is none."""
    if isinstance(column, str | bytes | dict):
        raise DataError(f"{name}: a single {type(column).__name__}. Give a list of texts.")
    if isinstance(column, set | frozenset):
        raise DataError(f"{name}: a {type(column).__name__}, which has no order. Give a list.")
    if isinstance(column, np.ndarray):
        if column.ndim != 1:
            raise DataError(f"{name}: an array of {column.ndim} dimensions. Give one.")
        return list(to_microseconds(column).tolist())
    if isinstance(column, list | tuple):
        return list(column)
    import narwhals

    try:
        series = narwhals.from_native(column, series_only=True)
    except TypeError:  # no data frame library's
        if isinstance(column, Iterable) and not hasattr(column, "columns"):
            return [value.as_py() if hasattr(value, "as_py") else value for value in column]
        raise DataError(f"{name}: a {type(column).__name__}. Give a list or one column of texts.") from None
    return _cells(series)


def _cells(series: Any) -> list[Any]:
    missing = series.is_null().to_list()
    return [None if absent else cell for cell, absent in zip(series.to_list(), missing, strict=True)]
