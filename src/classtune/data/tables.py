"""Read any labelled table: texts and labels as they are written, with the line of each row.

A table serves training (labels needed) and prediction (texts alone). All problems of its cells come in one error.
Knows nothing of models; which bytes make a cell is in formats.py, which column is which in columns.py.
"""

from __future__ import annotations

import datetime
import decimal
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from classtune.data.columns import Grid, TableFormat, choose_columns
from classtune.data.formats import display_name, read_bytes, read_grid
from classtune.errors import DataError

__all__ = ["Table", "TableFormat", "read_table", "table_from_rows"]

SHOWN_LINES = 5
_FOUND_OUT = TableFormat()


@dataclass(frozen=True)
class Table:
    """Rows of text, with labels unless read for prediction. All sequences are equally long."""

    texts: list[str]
    labels: list[str] | None
    lines: list[int]  # where each row starts, from 1: a line, or a row of Excel, Parquet or Python's lists
    name: str
    text_column: str
    label_column: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    dropped: dict[str, int] = field(default_factory=dict)  # reason → rows left out
    notes: list[str] = field(default_factory=list)  # what was found out rather than told, for the user to see

    @property
    def places(self) -> list[str]:
        """What error messages call each row."""
        return [f"{self.name} line {line}" for line in self.lines]


def read_table(
    path: str | Path, format: TableFormat = _FOUND_OUT, *, labelled: bool = True, stdin: BinaryIO | None = None
) -> Table:
    """The rows of a file: ``.csv .tsv .jsonl .parquet .xlsx``, delimited text of other names, or ``-`` for ``stdin``.

    Encoding, delimiter, header and columns are found where ``format`` leaves them open. Everything stays text: ``001``,
    ``NA`` and ``1.0`` are texts and labels like any other. ``labelled=False`` needs the texts alone; a ``.txt`` file is
    then one text a line. Raises DataError with all problems found (no table in the file, rows of unequal width, columns
    that are missing or could be several, empty or impossible cells, labels that are nearly the same), SettingsError for
    an impossible encoding or delimiter.
    """
    name = display_name(path)
    grid = read_grid(path, read_bytes(path, stdin), format, labelled=labelled)
    if not len(grid.lines):
        raise DataError(grid.problems or f"{name}: there is a header and no rows.")
    try:
        text, label = grid.guessed or choose_columns(name, grid.names, format.text, format.label, labelled=labelled)
    except DataError as error:
        raise DataError(grid.problems + error.problems) from None
    return _table(name, grid, text, label if labelled else None, format)


def table_from_rows(texts: Any, labels: Any = None, *, name: str = "texts") -> Table:
    """A table of Python's own rows: lists, tuples, other iterables, numpy arrays, or pandas, polars or Arrow columns.

    Cells that are not text are written as text, as in a file: 1 → "1", True → "true". Lines count from 1.
    Raises DataError as ``read_table`` does, and when texts and labels are not equally many.
    """
    columns = [_values(texts, name)] + ([] if labels is None else [_values(labels, f"labels of {name}")])
    if len(columns[0]) != len(columns[-1]):
        raise DataError(f"{name}: {len(columns[0]):,} texts and {len(columns[-1]):,} labels. Give one label a text.")
    if not columns[0]:
        raise DataError(f"{name}: there are no rows.")
    grid = Grid(["text", "label"], lambda column: columns[column], range(1, len(columns[0]) + 1), unit="row")
    return _table(name, grid, 0, None if labels is None else 1, _FOUND_OUT)


def _table(name: str, grid: Grid, text: int, label: int | None, format: TableFormat) -> Table:
    """The chosen columns as checked text."""
    where = f"{name} {grid.unit}"
    problems = list(grid.problems)
    texts = _as_texts(grid, text, "text", where, problems)
    labels = _as_texts(grid, label, "label", where, problems) if label is not None else ["-"] * len(texts)
    dropped: Counter[str] = Counter()
    kept: list[tuple[str, str, int]] = []
    for row in zip(texts, labels, grid.lines, strict=True):
        no_text, no_label = not row[0].strip(), not row[1].strip()
        if no_label and format.drop_unlabelled:
            dropped["unlabelled"] += 1
        elif no_text and format.drop_empty:
            dropped["empty"] += 1
        else:
            kept.append(row)
            if no_text:
                problems.append(f"{where} {row[2]}: the text is empty. Fill it in, or pass --drop-empty.")
            if no_label:
                problems.append(f"{where} {row[2]}: the label is empty. Fill it in, or pass --drop-unlabelled.")
    if not kept and not problems:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())
        problems = [f"{name}: no row is left: {reasons} rows were dropped."]
    notes = list(grid.notes)
    if label is not None:
        notes += _check_label_names(where, kept, problems)
    if problems:
        raise DataError(problems)
    return Table(
        texts=[row[0] for row in kept],
        labels=[row[1] for row in kept] if label is not None else None,
        lines=[row[2] for row in kept],
        name=name,
        text_column=grid.names[text],
        label_column=grid.names[label] if label is not None else None,
        encoding=grid.encoding,
        delimiter=grid.delimiter,
        dropped=dict(dropped),
        notes=notes,
    )


def _as_texts(grid: Grid, column: int, role: str, where: str, problems: list[str]) -> list[str]:
    """The cells of a column as text; those that cannot be are reported in ``problems``."""
    texts = []
    for cell, line in zip(grid.column(column), grid.lines, strict=True):
        try:
            texts.append(_as_text(cell))
        except ValueError as fault:
            problems.append(f"{where} {line}: the {role} {fault}.")
            texts.append("-")
    return texts


def _as_text(cell: object) -> str:
    """A cell as a file would show it, "" for a missing one. Raises ValueError that says what is wrong."""
    if isinstance(cell, np.generic):
        cell = cell.item()
    if isinstance(cell, str):
        try:
            cell.encode()
        except UnicodeEncodeError as error:
            code = f"U+{ord(cell[error.start]):04X}"
            raise ValueError(
                f"holds half a character (surrogate {code}), which no file can store. Write it whole"
            ) from None
        return cell
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, int | float | decimal.Decimal | datetime.date | datetime.time):
        return str(cell)
    raise ValueError(f"is of type {type(cell).__name__}. Give text")


def _check_label_names(where: str, rows: list[tuple[str, str, int]], problems: list[str]) -> list[str]:
    """Adds to ``problems`` labels that differ only by case or spaces around them; returns notes on such spaces."""
    lines_of: dict[str, list[int]] = defaultdict(list)
    for _, label, line in rows:
        lines_of[label].append(line)
    alike: dict[str, list[str]] = defaultdict(list)
    for label in lines_of:
        alike[label.strip().casefold()].append(label)

    def described(label: str) -> str:
        lines = lines_of[label]
        shown = ", ".join(map(str, lines[:SHOWN_LINES])) + (", …" if len(lines) > SHOWN_LINES else "")
        return f"{label!r} ({len(lines):,}: {shown})"

    problems += [
        f"{where}s: labels that differ only by case or spaces: {', '.join(map(described, labels))}. Write them alike."
        for key, labels in alike.items()
        if key and len(labels) > 1
    ]
    spaced = [label for label in lines_of if label.strip() and label != label.strip()]
    return [f"labels with spaces around them are kept so: {', '.join(map(repr, spaced))}."] if spaced else []


def _values(column: Any, name: str) -> list[Any]:
    """One column of Python's as a list; missing cells of a data frame become None."""
    if isinstance(column, str | bytes | dict):
        raise DataError(f"{name}: a single {type(column).__name__}. Give a list of texts.")
    if isinstance(column, np.ndarray):
        if column.ndim != 1:
            raise DataError(f"{name}: an array of {column.ndim} dimensions. Give one.")
        return list(column.tolist())
    if isinstance(column, list | tuple):
        return list(column)
    import narwhals

    try:
        series = narwhals.from_native(column, series_only=True)
    except TypeError:  # no data frame library's
        if isinstance(column, Iterable) and not hasattr(column, "columns"):
            return [value.as_py() if hasattr(value, "as_py") else value for value in column]
        raise DataError(f"{name}: a {type(column).__name__}. Give a list or one column of texts.") from None
    missing = series.is_null().to_list()
    return [None if absent else value for value, absent in zip(series.to_list(), missing, strict=True)]
