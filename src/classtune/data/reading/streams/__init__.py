"""Tables that are too large to be read at once: piece by piece, and written again with more columns.

A table is read as data/reading/tables.py reads it (everything stays text, columns are found in the same way) but for
this: what a header or a delimiter is, its first lines say, and a row that cannot be read is reported and left out. Its
structure is walked through once before anything is made of it, so that a quote left open shows in the first minute.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from classtune.data.reading.columns import TableFormat
from classtune.data.reading.formats import KINDS, check_filled, encoding_of, kind_of
from classtune.data.reading.streams.delimited import DelimitedStream
from classtune.data.reading.streams.json_lines import JsonLinesStream
from classtune.data.reading.streams.lines import Lines, unreadable
from classtune.data.reading.streams.parquet import ParquetStream
from classtune.data.reading.streams.stream import Stream
from classtune.errors import DataError

SUFFIXES = frozenset(suffix for suffix, kind in KINDS.items() if kind != "excel") | {".txt"}
_HEAD_BYTES = 1 << 20  # that say what a file is
_GZIP = b"\x1f\x8b"


def open_stream(path: Path, format: TableFormat, *, size: int, name: str | None = None) -> Stream:
    """A ``.csv .tsv .jsonl .parquet`` file, delimited text of another name, or ``.txt`` of one text a line.

    Raises DataError for what cannot be read in pieces, and as `read_table` does for columns.
    """
    name = name or str(path)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except FileNotFoundError:
        raise DataError(f"{name}: no such file.") from None
    except OSError as error:
        raise unreadable(name, error) from None
    check_filled(name, head)
    if head.startswith(_GZIP) or path.suffix.lower() == ".zip":
        raise DataError(f"{name}: archives are not read in pieces. Unpack it.")
    kind = kind_of(name, path.suffix.lower(), head)
    if kind == "excel":
        raise DataError(f"{name}: Excel files are not read in pieces. Save it as .csv or .parquet.")
    if kind == "parquet":
        return ParquetStream(path, name, size, format)
    encoding = encoding_of(name, head, format.encoding)
    with contextlib.suppress(LookupError):  # an unknown encoding is said when the lines are read
        check_filled(name, head.decode(encoding, "ignore"))
    lines = Lines(path, name, encoding, "\r" if b"\r" in head and b"\n" not in head else "\n")
    return (JsonLinesStream if kind == "jsonl" else DelimitedStream)(lines, size, format, kind)
