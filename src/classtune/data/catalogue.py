"""What the command line calls DATA: a file, ``-``, or a data set's name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from classtune.data.reading.folders import read_folders
from classtune.data.reading.tables import Check, Table, TableFormat, read_table
from classtune.errors import DataError, SettingsError, did_you_mean
from classtune.sources import datasets, fetch_dataset
from classtune.sources.registry import DataFile


def open_data(
    data: str,
    format: TableFormat,
    *,
    labelled: bool = True,
    stdin: BinaryIO | None = None,
    notify: Callable[[str], None] | None = None,
    also: Check | None = None,
) -> Table:
    """The table that DATA names. A file of that name comes before a data set of that name. also: see `read_table`.

    Raises DataError for a table that cannot be used, SourceError for a data set that cannot be had.
    """
    if data in datasets() and not Path(data).exists():
        table = load_dataset(data, format, notify=notify)
        if also is not None and (problems := also(table)):
            raise DataError(problems)
        return table
    if data != "-" and not Path(data).suffix and not Path(data).exists():
        raise DataError(f"{data}: no such file, and no data set of that name. {did_you_mean(data, datasets())}")
    return read_table(data, format, labelled=labelled, stdin=stdin, also=also)


def load_dataset(name: str, format: TableFormat, *, notify: Callable[[str], None] | None = None) -> Table:
    """A named data set, read as its source says but for ``format.quoting``, where that is told.

    Raises SettingsError where ``format`` asks for several labels a row, SourceError for one that cannot be had.
    """
    if format.label_separator is not None or format.label_columns:
        raise SettingsError(f"{name}: has one label a row. Leave --label-separator and --label-columns out.")
    path, file = fetch_dataset(name, notify=notify)
    if file.parts:
        return _of_folders(path, file, name, notify)
    table = read_table(
        path,
        replace(
            format,
            delimiter=file.delimiter,
            quoting=file.quoting if format.quoting is None else format.quoting,
            encoding=file.encoding,
            header=file.columns is None,
            text=_position(file.text, file),
            label=_position(file.label, file),
            group=_position(format.group, file),
        ),
    )
    table = replace(table, labels=[file.labels.get(label, label) for label in table.labels or []], name=name, notes=[])
    return _parted(table, file) if file.run_together else table


def _of_folders(path: Path, file: DataFile, name: str, notify: Callable[[str], None] | None) -> Table:
    """A data set of one file a text; a copy that is not all of it is said to be one."""
    table = read_folders(path, name)
    if len(table.texts) != file.rows and notify is not None:
        notify(f"{name}: {path} holds {len(table.texts):,} of the set's {file.rows:,} texts")
    return table


def _position(column: str | None, file: DataFile) -> str | None:
    """What the reader calls a column: its number, where the file has no header of its own."""
    return str(1 + file.columns.index(column)) if file.columns and column in file.columns else column


def _parted(table: Table, file: DataFile) -> Table:
    """Rows that have swallowed the rows after them, made rows of their own again."""
    assert table.labels is not None
    assert file.run_together is not None
    texts: list[str] = []
    labels: list[str] = []
    lines: list[int] = []
    groups: list[str] = []
    for row, (text, label, line) in enumerate(zip(table.texts, table.labels, table.lines, strict=True)):
        pieces = re.split(file.run_together, text)
        texts += pieces[0::2]
        labels += [label, *pieces[1::2]]
        lines += [line] * len(pieces[0::2])
        groups += [] if table.groups is None else [table.groups[row]] * len(pieces[0::2])
    return replace(table, texts=texts, labels=labels, lines=lines, groups=groups or None, columns={})
