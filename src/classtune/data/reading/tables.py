"""Read any labelled table: texts and labels as they are written, with the line of each row.

A table serves training (labels needed) and prediction (texts alone). All problems of its cells come in one error.
Knows nothing of models; which bytes make a cell is in formats.py, which column is which in columns.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from classtune.data.reading.cells import LabelSet, as_text, as_whole_text, is_blank
from classtune.data.reading.columns import Columns, TableFormat, choose_columns
from classtune.data.reading.faults import Faults
from classtune.data.reading.formats import display_name, read_bytes, read_grid
from classtune.data.reading.frames import chosen_of, frame_of, labels_of, pairs_in, values_of
from classtune.data.reading.grid import Grid
from classtune.data.reading.label_columns import read_labels
from classtune.data.reading.labels import label_names, same_values, unknown_among
from classtune.data.reading.table_folders import read_folder
from classtune.errors import DataError, counted, did_you_mean
from classtune.stats import BoolArray

__all__ = ["Table", "TableFormat", "read_table", "table_from_rows"]

MOST_CHARACTERS_IN_ALL = 1 << 31  # of all texts of a table that is read at once
_FOUND_OUT = TableFormat()
# Fields of a table that have an entry a row, where they have any.
_OF_ROWS = ("texts", "labels", "lines", "label_sets", "groups", "weights")
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Table:
    """Rows of text, with labels unless read for prediction. All sequences are equally long."""

    texts: list[str]
    labels: list[str] | None  # of several labels a row: all of them, to be shown ("joy, surprise", "" for none)
    lines: list[int]  # where each row starts, from 1: a line, or a row of Excel, Parquet or Python's lists
    name: str
    text_column: str  # several are joined by commas, as their cells are by a blank line
    label_column: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    dropped: dict[str, int] = field(default_factory=dict)  # reason → rows left out
    notes: list[str] = field(default_factory=list)  # what was found out rather than told, for the user to see
    label_sets: list[LabelSet] | None = None  # None: one label a row
    unit: str = "line"  # what ``lines`` count: a file's lines, or rows
    groups: list[str] | None = None  # cells of the column TableFormat.group; "": the row belongs with no other
    columns: dict[str, list[Any]] = field(default_factory=dict)  # where they are kept: all of the file, cells as there
    label_separator: str | None = None  # at which its cells were cut
    label_columns: tuple[str, ...] = ()  # in its place, one a label
    label_kind: str = "text"  # what the labels' cells were: "int", "float", "bool", "text"
    beside: tuple[str, ...] = ()  # names of the columns whose cells stand beside the texts (`cells_beside`)
    pair: str | None = None  # name of the column whose texts make pairs with the texts (`parts_of`)
    weights: list[float] | None = None  # how often each row counts in learning; None: all alike
    added: tuple[str, ...] = ()  # names of the table itself and of those that were added to it; () where none was

    @property
    def places(self) -> list[str]:
        """What error messages call each row."""
        return [f"{self.name} {self.unit} {line}" for line in self.lines]

    @property
    def row_labels(self) -> list[LabelSet]:
        """The labels of each row, be it one; none where they were not read."""
        return [(label,) for label in self.labels or []] if self.label_sets is None else self.label_sets

    def only(self, rows: Sequence[bool] | BoolArray) -> Table:
        """The table's marked ``rows``."""

        def kept(values: list[Any] | None) -> Any:
            return None if values is None else list(compress(values, rows))

        found = {name: kept(getattr(self, name)) for name in _OF_ROWS}
        return replace(self, **found, columns={name: kept(cells) for name, cells in self.columns.items()})

    def with_known(self, labels: Collection[str]) -> Table:
        """The table with these labels, where it writes one of them in another way: 1.0 for 1, TRUE for true."""
        same = same_values(set(self.labels or []), labels)
        if not same or self.labels is None or self.label_sets is not None:
            return self
        return replace(self, labels=[same.get(label, label) for label in self.labels])

    def foreign_labels(self, labels: Collection[str], what: str) -> Faults:
        """Labels that are not among these, as faults that say what of them, such as ``is not in a.csv``; nothing of
        those that reading refuses anyway."""
        faults, known, hints = Faults(self.name, self.unit), frozenset(labels), dict[str, str]()
        for line, row in zip(self.lines, self.with_known(known).row_labels, strict=True):
            for label in unknown_among(row, known):
                hint = hints.setdefault(label, did_you_mean(label, labels))
                faults.add(line, f"the label {label!r} {what}. {hint}")
        return faults


Check = Callable[[Table], list[str]]  # what is wrong with a table


def read_table(
    path: str | Path,
    format: TableFormat = _FOUND_OUT,
    *,
    labelled: bool = True,
    stdin: BinaryIO | None = None,
    also: Check | None = None,
) -> Table:
    """The rows of a file: ``.csv .tsv .jsonl .json .parquet .xlsx``, packed or not, delimited text of other names, or
    ``-`` for ``stdin``; a folder a class of texts, and a data set of Hugging Face on disk.

    Encoding, delimiter, header and columns are found where ``format`` leaves them open. Everything stays text: ``001``,
    ``NA`` and ``1.0`` are texts and labels like any other. A row has several labels where ``format`` says how they are
    written, or where the label cells of JSON lines or Parquet are lists; an empty cell then means none of them.
    ``labelled=False`` needs the texts alone; a ``.txt`` file is then one text a line. ``also`` says what else is wrong
    with the rows: it gets them as they are, empty cells among them, and Broken for a label that could not be read.
    Raises DataError with all problems found (no table in the file, rows of unequal width, columns that are missing or
    could be several, empty or impossible cells, labels that are nearly the same, and what ``also`` says), SettingsError
    for an impossible encoding or delimiter.
    """
    name = display_name(path)
    if str(path) != "-" and Path(path).is_dir():
        grid = read_folder(Path(path))
    else:
        grid = read_grid(path, read_bytes(path, stdin), format, labelled=labelled)
    if not len(grid.lines):
        raise DataError(grid.problems or f"{name}: there is a header and no rows.")
    try:
        columns = grid.guessed or choose_columns(name, grid.names, format, labelled=labelled, cells=grid.column)
    except DataError as error:
        raise DataError(grid.problems + error.problems) from None
    grid.notes += columns.notes
    columns = columns if labelled else Columns(columns.texts, beside=columns.beside, pair=columns.pair)
    return _table(name, grid, columns, format, keep=format.keep or not labelled, also=also)


def table_from_rows(
    texts: Any, labels: Any = None, *, name: str = "texts", blanks: bool = False, format: TableFormat = _FOUND_OUT
) -> Table:
    """A table of Python's own rows: lists, tuples, other iterables, numpy arrays, or pandas, polars or Arrow columns.

    Cells that are not text are written as text, as in a file: 1 → "1", True → "true". Lines count from 1. A text may be
    a tuple of its parts, which are joined as the cells of several text columns are.
    ``labels``: one a row; or several a row, as lists, tuples or sets of labels, as a data frame of a column of 1 and 0
    for each label, or as such an array [rows, labels], whose labels are then called "0", "1", ….
    ``blanks``: keep texts that are empty. ``format``: which columns are read where ``texts`` is a data frame of
    several; with a pair, a text of other kinds may be a tuple of two.
    Raises DataError as ``read_table`` does, and when texts and labels are not equally many.
    """
    frame = frame_of(texts)
    cells = (
        [pairs_in(values_of(texts, name)) if format.pair else values_of(texts, name)]
        if frame is None
        else [*frame.values()]
    )
    named = ["text"] if frame is None else list(frame)
    names, label_cells = ([], []) if labels is None else labels_of(labels, f"labels of {name}")
    for column in label_cells:
        if len(column) != len(cells[0]):
            raise DataError(
                f"{name}: {counted(len(cells[0]), 'text')} and {counted(len(column), 'label')}. Give one label a text."
            )
    if not cells[0]:
        raise DataError(f"{name}: there are no rows.")
    columns = Columns((0,)) if frame is None else chosen_of(name, frame, format)
    first = len(cells)
    cells += label_cells
    grid = Grid(
        [*named, *(names or ["label"])],
        lambda column: cells[column],
        range(1, len(cells[0]) + 1),
        unit="row",
        of_python=True,
    )
    grid.notes += columns.notes
    flags = tuple(range(first, len(cells))) if names else ()
    columns = replace(columns, label=None if names or labels is None else first, flags=flags)
    table = _table(name, grid, columns, TableFormat(lenient=blanks))
    return table if frame is not None else replace(table, pair=format.pair)


def _table(
    name: str, grid: Grid, columns: Columns, format: TableFormat, *, keep: bool = False, also: Check | None = None
) -> Table:
    """The chosen columns as checked text; ``keep`` all others beside them. also: see `read_table`."""
    where = f"{name} {grid.unit}"
    faults, notes = Faults(name, grid.unit), list(grid.notes)
    texts = faults.read(grid.texts(columns), grid.lines, as_whole_text, "text", "-")
    characters = sum(map(len, texts))
    if characters > MOST_CHARACTERS_IN_ALL:
        raise DataError(
            f"{name}: its texts have {characters:,} characters in all, and at most {MOST_CHARACTERS_IN_ALL:,} are read "
            "at once. Cut it into several files."
        )
    labels = read_labels(grid, columns, format, faults)
    notes += labels.notes
    groups = None
    if columns.group is not None:
        called = f"cell of {grid.names[columns.group]!r}"
        groups = faults.read(grid.column(columns.group), grid.lines, as_text, called, "-")
    dropped: Counter[str] = Counter()
    kept: list[int] = []
    leave_out = {True: "or leave the row out", False: "or pass --drop-{}"}[grid.of_python]
    for row, line in enumerate(grid.lines):
        no_text, no_label = is_blank(texts[row]), labels.shown is not None and is_blank(labels.shown[row])
        if no_label and format.drop_unlabelled:
            dropped["unlabelled"] += 1
        elif no_text and format.drop_empty:
            dropped["empty"] += 1
        else:
            kept.append(row)
            if no_text and not format.lenient:
                faults.add(line, f"the text is empty. Fill it in, {leave_out.format('empty')}.")
            if no_label and labels.sets is None and not format.lenient:
                faults.add(line, f"the label is empty. Fill it in, {leave_out.format('unlabelled')}.")
    problems = grid.problems + labels.problems + faults.problems()
    if not kept and not problems:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())
        problems = [f"{name}: no row is left; dropped: {reasons}."]

    def of_kept(values: Sequence[_Value]) -> list[_Value]:
        return list(values) if len(kept) == len(values) else [values[row] for row in kept]

    lines = of_kept(grid.lines)
    shown = None if labels.shown is None else of_kept(labels.shown)
    sets = None if labels.sets is None else of_kept(labels.sets)
    if shown is not None:
        alike, more = label_names(where, [(label,) for label in shown] if sets is None else sets, lines)
        problems += [] if format.lenient else alike
        notes += more
    table = Table(
        texts=of_kept(texts),
        labels=shown,
        lines=lines,
        name=name,
        text_column=grid.text_name(columns),
        beside=tuple(grid.names[column] for column in columns.beside),
        pair=None if columns.pair is None else grid.names[columns.pair],
        label_column=labels.column,
        encoding=grid.encoding,
        delimiter=grid.delimiter,
        unit=grid.unit,
        dropped=dict(dropped),
        notes=notes,
        label_sets=sets,
        label_separator=labels.separator,
        label_columns=labels.columns,
        label_kind=labels.kind,
        groups=None if groups is None else of_kept(groups),
        columns={name: of_kept(grid.column(column)) for column, name in enumerate(_distinct(grid.names))}
        if keep
        else {},
    )
    problems += also(table) if also is not None else []
    if problems:
        raise DataError(problems)
    return table


def _distinct(names: Sequence[str]) -> list[str]:
    """Names of columns, no two alike; a column without one is called by its number."""
    distinct: dict[str, None] = {}
    for column, name in enumerate(names, 1):
        free = name or (f"column {column}" if "" in distinct else "")
        while free in distinct:
            free = f"{free} ({column})"
        distinct[free] = None
    return list(distinct)
