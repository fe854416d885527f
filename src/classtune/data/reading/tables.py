"""Read any labelled table: texts and labels as they are written, with the line of each row.

A table serves training (labels needed) and prediction (texts alone). All problems of its cells come in one error.
Knows nothing of models; which bytes make a cell is in formats.py, which column is which in columns.py.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from classtune.data.reading.cells import LabelSet, as_flag, as_labels, as_text, holds_several, is_matrix
from classtune.data.reading.columns import Columns, Grid, TableFormat, choose_columns
from classtune.data.reading.formats import display_name, read_bytes, read_grid
from classtune.errors import DataError

__all__ = ["Table", "TableFormat", "read_table", "table_from_rows"]

SHOWN_LINES = 5
_FOUND_OUT = TableFormat()
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Table:
    """Rows of text, with labels unless read for prediction. All sequences are equally long."""

    texts: list[str]
    labels: list[str] | None  # of several labels a row: all of them, to be shown ("joy, surprise", "" for none)
    lines: list[int]  # where each row starts, from 1: a line, or a row of Excel, Parquet or Python's lists
    name: str
    text_column: str
    label_column: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    dropped: dict[str, int] = field(default_factory=dict)  # reason → rows left out
    notes: list[str] = field(default_factory=list)  # what was found out rather than told, for the user to see
    label_sets: list[LabelSet] | None = None  # None: one label a row
    unit: str = "line"  # what ``lines`` count: a file's lines, or rows
    groups: list[str] | None = None  # cells of the column TableFormat.group; "": the row belongs with no other
    columns: dict[str, list[Any]] = field(default_factory=dict)  # read for prediction: all of the file, cells as there

    @property
    def places(self) -> list[str]:
        """What error messages call each row."""
        return [f"{self.name} {self.unit} {line}" for line in self.lines]


def read_table(
    path: str | Path, format: TableFormat = _FOUND_OUT, *, labelled: bool = True, stdin: BinaryIO | None = None
) -> Table:
    """The rows of a file: ``.csv .tsv .jsonl .parquet .xlsx``, delimited text of other names, or ``-`` for ``stdin``.

    Encoding, delimiter, header and columns are found where ``format`` leaves them open. Everything stays text: ``001``,
    ``NA`` and ``1.0`` are texts and labels like any other. A row has several labels where ``format`` says how they are
    written, or where the label cells of JSON lines or Parquet are lists; an empty cell then means none of them.
    ``labelled=False`` needs the texts alone; a ``.txt`` file is then one text a line. Raises DataError with all
    problems found (no table in the file, rows of unequal width, columns that are missing or could be several, empty or
    impossible cells, labels that are nearly the same), SettingsError for an impossible encoding or delimiter.
    """
    name = display_name(path)
    grid = read_grid(path, read_bytes(path, stdin), format, labelled=labelled)
    if not len(grid.lines):
        raise DataError(grid.problems or f"{name}: there is a header and no rows.")
    try:
        columns = grid.guessed or choose_columns(name, grid.names, format, labelled=labelled)
    except DataError as error:
        raise DataError(grid.problems + error.problems) from None
    return _table(name, grid, columns if labelled else Columns(columns.text), format, keep=not labelled)


def table_from_rows(texts: Any, labels: Any = None, *, name: str = "texts") -> Table:
    """A table of Python's own rows: lists, tuples, other iterables, numpy arrays, or pandas, polars or Arrow columns.

    Cells that are not text are written as text, as in a file: 1 → "1", True → "true". Lines count from 1.
    ``labels``: one a row; or several a row, as lists, tuples or sets of labels, as a data frame of a column of 1 and 0
    for each label, or as such an array [rows, labels], whose labels are then called "0", "1", ….
    Raises DataError as ``read_table`` does, and when texts and labels are not equally many.
    """
    cells = [_values(texts, name)]
    names, label_cells = ([], []) if labels is None else _label_columns(labels, f"labels of {name}")
    for column in label_cells:
        if len(column) != len(cells[0]):
            raise DataError(f"{name}: {len(cells[0]):,} texts and {len(column):,} labels. Give one label a text.")
    if not cells[0]:
        raise DataError(f"{name}: there are no rows.")
    cells += label_cells
    grid = Grid(["text", *(names or ["label"])], lambda column: cells[column], range(1, len(cells[0]) + 1), unit="row")
    flags = tuple(range(1, len(cells))) if names else ()
    return _table(name, grid, Columns(0, label=None if names or labels is None else 1, flags=flags), _FOUND_OUT)


def _table(name: str, grid: Grid, columns: Columns, format: TableFormat, *, keep: bool = False) -> Table:
    """The chosen columns as checked text; ``keep`` all others beside them."""
    where = f"{name} {grid.unit}"
    problems, notes = list(grid.problems), list(grid.notes)
    texts = _read(grid.column(columns.text), grid.lines, as_text, "text", "-", where, problems)
    labels, label_sets, label_column = _labels(grid, columns, format, where, problems)
    groups = None
    if columns.group is not None:
        called = f"cell of {grid.names[columns.group]!r}"
        groups = _read(grid.column(columns.group), grid.lines, as_text, called, "-", where, problems)
    dropped: Counter[str] = Counter()
    kept: list[int] = []
    for row, line in enumerate(grid.lines):
        no_text, no_label = not texts[row].strip(), labels is not None and not labels[row].strip()
        if no_label and format.drop_unlabelled:
            dropped["unlabelled"] += 1
        elif no_text and format.drop_empty:
            dropped["empty"] += 1
        else:
            kept.append(row)
            if no_text and not format.lenient:
                problems.append(f"{where} {line}: the text is empty. Fill it in, or pass --drop-empty.")
            if no_label and label_sets is None and not format.lenient:
                problems.append(f"{where} {line}: the label is empty. Fill it in, or pass --drop-unlabelled.")
    if not kept and not problems:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())
        problems = [f"{name}: no row is left: {reasons} rows were dropped."]

    def of_kept(values: Sequence[_Value]) -> list[_Value]:
        return list(values) if len(kept) == len(values) else [values[row] for row in kept]

    lines = of_kept(grid.lines)
    if labels is not None:
        labels = of_kept(labels)
        label_sets = None if label_sets is None else of_kept(label_sets)
        alike, more = _label_names(where, [(label,) for label in labels] if label_sets is None else label_sets, lines)
        problems += [] if format.lenient else alike
        notes += more
    if problems:
        raise DataError(problems)
    return Table(
        texts=of_kept(texts),
        labels=labels,
        lines=lines,
        name=name,
        text_column=grid.names[columns.text],
        label_column=label_column,
        encoding=grid.encoding,
        delimiter=grid.delimiter,
        unit=grid.unit,
        dropped=dict(dropped),
        notes=notes,
        label_sets=label_sets,
        groups=None if groups is None else of_kept(groups),
        columns={name: of_kept(grid.column(column)) for column, name in enumerate(_distinct(grid.names))}
        if keep
        else {},
    )


def _distinct(names: Sequence[str]) -> list[str]:
    """Names of columns, of which only those without a name can be alike."""
    return [name if name or "" not in names[:column] else f"column {column + 1}" for column, name in enumerate(names)]


def _labels(
    grid: Grid, columns: Columns, format: TableFormat, where: str, problems: list[str]
) -> tuple[list[str] | None, list[LabelSet] | None, str | None]:
    """Labels to be shown, label sets where a row may have several, and what their column or columns are called."""
    if columns.flags:
        names = [grid.names[column] for column in columns.flags]
        flags = [
            _read(grid.column(column), grid.lines, as_flag, f"cell of {name!r}", False, where, problems)
            for column, name in zip(columns.flags, names, strict=True)
        ]
        order = sorted(range(len(names)), key=names.__getitem__)
        sets = [tuple(names[index] for index in order if row[index]) for row in zip(*flags, strict=True)]
        return [", ".join(labels) for labels in sets], sets, ", ".join(names)
    if columns.label is None:
        return None, None, None
    cells, name = grid.column(columns.label), grid.names[columns.label]
    if format.label_separator is None and not any(map(holds_several, cells)):
        return _read(cells, grid.lines, as_text, "label", "-", where, problems), None, name
    if is_matrix(cells):
        problems.append(
            f"{where}s: the labels are lists of 0 and 1, equally long: names of labels, or a matrix? "
            "Write names, or give each label a column of its own."
        )
    cut = partial(as_labels, separator=format.label_separator)
    sets = _read(cells, grid.lines, cut, "label", (), where, problems)
    shared: dict[LabelSet, LabelSet] = {}  # millions of rows have few different sets
    sets = [shared.setdefault(labels, labels) for labels in sets]
    return [", ".join(labels) for labels in sets], sets, name


def _read(
    cells: Sequence[object],
    lines: Sequence[int],
    what: Callable[[object], _Value],
    role: str,
    instead: _Value,
    where: str,
    problems: list[str],
) -> list[_Value]:
    """The cells of a column as ``what`` reads them; those that it cannot are reported in ``problems``."""
    values = []
    for cell, line in zip(cells, lines, strict=True):
        try:
            values.append(what(cell))
        except ValueError as fault:
            problems.append(f"{where} {line}: the {role} {fault}.")
            values.append(instead)
    return values


def _label_names(where: str, rows: Iterable[LabelSet], lines: Sequence[int]) -> tuple[list[str], list[str]]:
    """(problems, notes): labels that differ only by case or spaces around them, and labels with such spaces."""
    lines_of: dict[str, list[int]] = defaultdict(list)
    for labels, line in zip(rows, lines, strict=True):
        for label in labels:
            lines_of[label].append(line)
    alike: dict[str, list[str]] = defaultdict(list)
    for label in lines_of:
        alike[label.strip().casefold()].append(label)

    def described(label: str) -> str:
        lines = lines_of[label]
        shown = ", ".join(map(str, lines[:SHOWN_LINES])) + (", …" if len(lines) > SHOWN_LINES else "")
        return f"{label!r} ({len(lines):,}: {shown})"

    problems = [
        f"{where}s: labels that differ only by case or spaces: {', '.join(map(described, labels))}. Write them alike."
        for key, labels in alike.items()
        if key and len(labels) > 1
    ]
    spaced = [label for label in lines_of if label.strip() and label != label.strip()]
    notes = [f"labels with spaces around them are kept so: {', '.join(map(repr, spaced))}."] if spaced else []
    return problems, notes


def _label_columns(labels: Any, name: str) -> tuple[list[str], list[list[Any]]]:
    """(names, columns) of a data frame or a two-dimensional array, a label each; else no names and the one column."""
    if isinstance(labels, np.ndarray) and labels.ndim == 2:
        names, columns = [str(column) for column in range(labels.shape[1])], labels.T.tolist()
    elif hasattr(labels, "columns"):
        import narwhals

        try:
            found = list(narwhals.from_native(labels, eager_only=True).iter_columns())
        except narwhals.exceptions.DuplicateError:
            raise DataError(f"{name}: columns of the same name. Give each label its own.") from None
        except TypeError:
            raise DataError(f"{name}: a {type(labels).__name__}. Give a list or a data frame.") from None
        names, columns = [str(column.name) for column in found], [column.to_list() for column in found]
    else:
        return [], [_values(labels, name)]
    if not names:
        raise DataError(f"{name}: no column. Give one for each label.")
    return names, columns


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
