"""Parquet files and Arrow data sets as grids: equal texts stay one object, sizes are looked at before they expand.

A few bytes can stand for gigabytes: a dictionary's one text for millions of rows, a page that was packed well.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from classtune.data.reading.grid import Grid
from classtune.data.reading.packed import MOST_BYTES, too_large
from classtune.errors import DataError

MOST_ROWS = 50_000_000  # of a table that is read at once
MOST_BATCH_BYTES = 1 << 30  # of some rows that are read in pieces


def read_parquet(name: str, data: bytes) -> Grid:
    """The cells of a Parquet file; each column is read when it is asked for. Raises DataError."""
    import pyarrow

    file = open_parquet(name, pyarrow.BufferReader(data))
    names = list(file.schema_arrow.names)
    rows = file.metadata.num_rows
    if rows > MOST_ROWS:
        raise DataError(f"{name}: has {rows:,} rows, and at most {MOST_ROWS:,} are read at once. Cut it into files.")

    def column(position: int) -> Sequence[Any]:
        with _reading(name, names[position]):
            _check_size(name, file, names[position])
            columns = file.read(columns=[names[position]])  # every column of that name
            return cells_of(columns.column(names[:position].count(names[position])))

    grid = Grid(names, column, range(1, rows + 1), unit="row")
    grid.class_names = class_names(file.schema_arrow)
    return grid


@contextlib.contextmanager
def _reading(name: str, column: str) -> Iterator[None]:
    """A column that cannot be read, or holds what Python has no value for (the year 20,000), as a DataError."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
        raise DataError(f"{name}: column {column!r} cannot be read ({str(error).partition(chr(10))[0]}).") from None


def open_parquet(name: str, source: Any, **options: Any) -> Any:
    """A ParquetFile whose texts are read as dictionaries. Raises DataError where it is none."""
    import pyarrow
    import pyarrow.parquet

    try:
        plain = pyarrow.parquet.ParquetFile(source, **options)
        texts = [field.name for field in plain.schema_arrow if _is_text(field.type)]
        return pyarrow.parquet.ParquetFile(source, read_dictionary=texts, **options)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{name}: cannot be read as Parquet ({str(error).splitlines()[0]}).") from None


def _is_text(kind: Any) -> bool:
    import pyarrow

    kinds = (pyarrow.types.is_string, pyarrow.types.is_large_string, pyarrow.types.is_binary)
    return any(is_kind(kind) for is_kind in kinds)


def _check_size(name: str, file: Any, column: str) -> None:
    size = 0
    for group in range(file.metadata.num_row_groups):
        row_group = file.metadata.row_group(group)
        for position in range(row_group.num_columns):
            chunk = row_group.column(position)
            if chunk.path_in_schema.partition(".")[0] == column:
                size += chunk.total_uncompressed_size
    if size > MOST_BYTES:
        raise too_large(name)


def cells_of(column: Any) -> list[Any]:
    """A column's cells as Python's; equal texts of a dictionary are one object."""
    import pyarrow

    cells: list[Any] = []
    for chunk in column.chunks:
        if pyarrow.types.is_dictionary(chunk.type):
            values = _values(chunk.dictionary)
            cells += [None if index is None else values[index] for index in chunk.indices.to_pylist()]
        else:
            cells += _values(chunk)
    return cells


def _values(array: Any) -> list[Any]:
    """The values as Python's, moments and times to the microsecond: that is as fine as Python's own are."""
    import pyarrow

    kind = array.type
    if getattr(kind, "unit", "") == "ns":
        if pyarrow.types.is_timestamp(kind):
            kind = pyarrow.timestamp("us", kind.tz)
        else:
            kind = pyarrow.time64("us") if pyarrow.types.is_time(kind) else pyarrow.duration("us")
        array = array.cast(kind, safe=False)
    return list(array.to_pylist())


def plain_table(name: str, batch: Any) -> Any:
    """A table of a batch, its dictionaries laid out. Raises DataError where that is more than MOST_BATCH_BYTES."""
    import pyarrow
    import pyarrow.compute

    columns, fields, size = [], [], 0
    for field, column in zip(batch.schema, batch.columns, strict=True):
        kind = field.type
        if pyarrow.types.is_dictionary(kind):
            kind = kind.value_type
            lengths = pyarrow.compute.binary_length(column.dictionary).take(column.indices)
            size += pyarrow.compute.sum(lengths).as_py() or 0
            if size > MOST_BATCH_BYTES:
                raise DataError(
                    f"{name}: {len(column):,} of its rows hold more than {MOST_BATCH_BYTES / 1e9:.3g} GB of text. "
                    "Shorten the texts."
                )
            column = column.cast(kind)  # noqa: PLW2901
        columns.append(column)
        fields.append(pyarrow.field(field.name, kind, field.nullable, field.metadata))
    return pyarrow.Table.from_arrays(columns, schema=pyarrow.schema(fields, batch.schema.metadata))


def read_arrow_files(name: str, paths: Sequence[Any]) -> Grid:
    """The cells of Arrow streams, as a data set of Hugging Face lies on disk, one after the other. Raises DataError."""
    import pyarrow

    try:
        tables = []
        for path in paths:
            with pyarrow.memory_map(str(path)) as source, pyarrow.ipc.open_stream(source) as reader:
                tables.append(reader.read_all())
        if any(class_names(one.schema) != class_names(tables[0].schema) for one in tables):
            raise DataError(f"{name}: its files name the classes otherwise than each other.")
        table = pyarrow.concat_tables(tables)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{name}: cannot be read as Arrow ({str(error).splitlines()[0]}).") from None

    def column(position: int) -> Sequence[Any]:
        with _reading(name, table.schema.names[position]):
            return cells_of(table.column(position))

    grid = Grid(list(table.schema.names), column, range(1, len(table) + 1), unit="row")
    grid.class_names = class_names(table.schema)
    return grid


def class_names(schema: Any) -> dict[int, Sequence[str]]:
    """What the numbers of a column mean, by its position, where Hugging Face wrote that into the file."""
    return classes_in((schema.metadata or {}).get(b"huggingface", b""), schema.names, "info")


def classes_in(written: bytes | str, names: Sequence[str], *keys: str) -> dict[int, Sequence[str]]:
    """What the numbers of columns of these names mean, by position, by the features that JSON has under ``keys``."""
    try:
        document = json.loads(written)
        for key in (*keys, "features"):
            document = document[key]
        classes = {name: _class_names(feature) for name, feature in document.items()}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
    return {position: classes[name] for position, name in enumerate(names) if classes.get(name)}


def _class_names(feature: Any) -> Sequence[str]:
    """Of a ClassLabel, or of a list of them; else none."""
    if isinstance(feature, list):
        return _class_names(feature[0]) if len(feature) == 1 else ()
    if feature.get("_type") in ("Sequence", "List", "LargeList"):
        return _class_names(feature.get("feature"))
    return [str(name) for name in feature.get("names") or ()] if feature.get("_type") == "ClassLabel" else ()
