"""Tables that are too large to be read at once: piece by piece, and written again with more columns.

A table is read as data/tables.py reads it (everything stays text, columns are found in the same way) but for this: what
a header or a delimiter is, its first lines say, and a row that cannot be read is reported and left out. Its structure
is walked through once before anything is made of it, so that a quote left open shows in the first minute.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classtune.data.reading.arrow import open_parquet, plain_table
from classtune.data.reading.cells import without_formula
from classtune.data.reading.columns import TableFormat, choose_columns
from classtune.data.reading.delimited import (
    MOST_CHARACTERS,
    DelimitedRows,
    check_length,
    clearly_delimited,
    fitted,
    given_delimiter,
    sep_line,
    sniff,
    without_end,
)
from classtune.data.reading.formats import (
    GUESSED,
    KINDS,
    READABLE,
    UNREADABLE,
    check_filled,
    encoding_of,
    guess_encoding,
    kind_of,
)
from classtune.data.reading.grid import text_cells
from classtune.data.reading.headers import title_rows, with_names
from classtune.data.reading.json_tables import json_object
from classtune.data.reading.labelling import fast_text
from classtune.errors import DataError, SettingsError

SUFFIXES = frozenset(suffix for suffix, kind in KINDS.items() if kind != "excel") | {".txt"}
_SAMPLE_LINES = 2000
_LONGEST_CELL = 1 << 24  # characters; beyond, a quote was left open
_READ_BYTES = 1 << 20


Added = Mapping[str, Sequence[str | float | None]]


@dataclass(frozen=True)
class Piece:
    """Some rows of a table, one after the other.

    rows: as `Stream.write` takes them. cells: their texts, as the format gives them. lines: where each starts, from 1.
    broken: (line, what is wrong) of rows among them that cannot be read and are left out.
    """

    rows: Any
    cells: Sequence[object]
    lines: Sequence[int]
    broken: Sequence[tuple[int, str]] = ()


class Stream(ABC):
    """A table on disk. Making one walks through the file once.

    name: what messages call it. names: its columns. text_columns: those of the texts. suffix: of the files that `write`
    writes. unit: what ``lines`` counts. sizes: rows of each piece. notes: what was found out rather than told.
    """

    unit = "line"

    def __init__(self, path: Path, name: str, size: int) -> None:
        self.path, self.name, self.size = path, name, size
        self.names: list[str] = []
        self.text_columns = ["text"]
        self.beside: tuple[str, ...] = ()  # columns whose cells stand beside the texts
        self.pair: str | None = None  # the column of their pairs
        self.sizes: list[int] = []
        self.notes: list[str] = []
        self.suffix = path.suffix
        self.escape_formulas = False  # in delimited files; see `without_formula`

    @property
    def beside_texts(self) -> list[str]:
        """The columns that are read with the texts."""
        return [*self.beside, *([self.pair] if self.pair is not None else [])]

    def _cells(self, texts: Sequence[Sequence[Any]], columns: Mapping[str, Sequence[Any]]) -> Sequence[Any]:
        """The cells of the texts with what is read beside them; columns: those of `beside_texts`, by name."""
        pair = None if self.pair is None else columns[self.pair]
        return text_cells(texts, {name: columns[name] for name in self.beside}, pair)

    @abstractmethod
    def pieces(self) -> Iterator[Piece]:
        """The table in pieces of ``size`` rows. Raises DataError where the file cannot be read on."""

    @abstractmethod
    def write(self, path: Path, piece: Piece, names: Sequence[str], added: Added) -> None:
        """The piece, its columns under these names, with more columns: ``label`` one of text, the others of numbers.

        Raises OSError.
        """

    @abstractmethod
    def rows_in(self, path: Path) -> int:
        """How many rows a file holds that `write` wrote. Raises OSError or ValueError where it is damaged."""


def open_stream(path: Path, format: TableFormat, *, size: int, name: str | None = None) -> Stream:
    """A ``.csv .tsv .jsonl .parquet`` file, delimited text of another name, or ``.txt`` of one text a line.

    Raises DataError for what cannot be read in pieces, and as `read_table` does for columns.
    """
    name, suffix = name or str(path), path.suffix.lower()
    if suffix in UNREADABLE:
        raise DataError(f"{name}: {suffix} files are not read. Save it as one of: {READABLE}.")
    try:
        with path.open("rb") as file:
            head = file.read(_READ_BYTES)
    except FileNotFoundError:
        raise DataError(f"{name}: no such file.") from None
    except OSError as error:
        raise _unreadable(name, error) from None
    check_filled(name, head)
    kind = KINDS.get(suffix) or ("text" if suffix == ".txt" else kind_of(head))
    if kind == "excel":
        raise DataError(f"{name}: Excel files are not read in pieces. Save it as .csv or .parquet.")
    if kind == "parquet":
        return _Parquet(path, name, size, format)
    encoding = encoding_of(name, head, format.encoding)
    if format.encoding is None and encoding == "utf-8":
        encoding = guess_encoding(head) or encoding
    with contextlib.suppress(LookupError):  # an unknown encoding is said below
        check_filled(name, head.decode(encoding, "ignore"))
    lines = _Lines(path, name, encoding, "\r" if b"\r" in head and b"\n" not in head else "\n")
    return (_JsonLines if kind == "jsonl" else _Delimited)(lines, size, format, kind)


@dataclass(frozen=True)
class _Lines:
    """A text file line by line, ends kept; each loop starts from the top."""

    path: Path
    name: str
    encoding: str
    end: str

    def __iter__(self) -> Iterator[str]:
        number = 0
        try:
            with self.path.open(encoding=self.encoding, newline=self.end) as file:
                for number, line in enumerate(iter(lambda: file.readline(MOST_CHARACTERS), ""), 1):
                    check_length(self.name, number, line)
                    if "\0" in line:
                        raise DataError(f"{self.name} line {number}: a NUL byte, so this is binary, not text.")
                    yield _first(line) if number == 1 else line
        except UnicodeError as error:  # without a byte of its own where UTF-16 has no mark
            found = f"byte 0x{error.object[error.start]:02X}" if isinstance(error, UnicodeDecodeError) else "it"
            raise DataError(
                f"{self.name} soon after line {number}: {found} is not {self.encoding.upper()}. "
                "Pass --encoding cp1252 (Windows), or what it was saved in."
            ) from None
        except LookupError:
            raise SettingsError(f"--encoding {self.encoding!r} is unknown. Examples: utf-8, cp1252, utf-16.") from None
        except OSError as error:
            raise _unreadable(self.name, error) from None


class _Delimited(Stream):
    """Rows of cells, or, without a delimiter, a text a line. Written in UTF-8 with the same delimiter, and quoted."""

    def __init__(self, lines: _Lines, size: int, format: TableFormat, kind: str) -> None:
        super().__init__(lines.path, lines.name, size)
        self._lines = lines
        if format.encoding is None and not lines.encoding.startswith("utf"):
            self.notes.append(GUESSED.format(lines.encoding))
        self._delimiter: str | None = None
        self._header, self._above = False, 0  # rows above the header: a title
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))  # a process-wide setting: only ever raised
        sample = list(itertools.islice(lines, _SAMPLE_LINES))
        suffix = self.path.suffix.lower()
        with self.path.open("rb") as file:
            named_by_file = sep_line(file.readline(20).removeprefix(codecs.BOM_UTF8).decode("ascii", "replace"))
        if kind == "text" and fast_text(sample[:100], lines.encoding) is not None:
            raise DataError(f"{self.name}: has fastText's lines, not read in pieces. Name a file: -o OUT.csv.")
        has_columns = named_by_file or format.delimiter or format.text or format.header
        if kind == "text" and not has_columns and (suffix == ".txt" or not clearly_delimited(sample)):
            self.names, self._texts = ["text"], [0]
            if format.beside or format.pair:
                choose_columns(self.name, self.names, format, labelled=False)  # says that it has no such columns
        else:
            self._delimiter = (
                given_delimiter(format.delimiter) or named_by_file or sniff(sample, suffix, format.quoting)[0]
            )
            self._delimiter = self._delimiter or ("\t" if suffix == ".tsv" else ",")
            self._delimited, notes = DelimitedRows(self.name, lines, self._delimiter, format.quoting).settled()
            self.notes += notes
            self._find_columns(format)
        if suffix not in (".csv", ".tsv"):
            self.suffix = ".tsv" if self._delimiter == "\t" else ".csv"
        self.sizes = [len(piece.lines) for piece in self.pieces()]

    def pieces(self) -> Iterator[Piece]:
        rows = itertools.islice(self._rows(), self._above + int(self._header), None)
        for lines, cells, broken in _cut(((line, self._checked(row)) for line, row in rows), self.size):
            texts = [[row[text] for row in cells] for text in self._texts]
            places = {name: self.names.index(name) for name in self.beside_texts}
            named = {name: [row[place] for row in cells] for name, place in places.items()}
            yield Piece(cells, self._cells(texts, named), lines, broken)

    def write(self, path: Path, piece: Piece, names: Sequence[str], added: Added) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=self._delimiter or ",")
            rows = ([*row, *more] for row, more in zip(piece.rows, zip(*added.values(), strict=True), strict=True))
            for row in itertools.chain([[*names, *added]], rows):
                writer.writerow(map(_safe, row) if self.escape_formulas else row)

    def rows_in(self, path: Path) -> int:
        with path.open(encoding="utf-8", newline="") as file:
            try:
                return sum(1 for _ in csv.reader(file, delimiter=self._delimiter or ",", strict=True)) - 1
            except csv.Error as error:
                raise ValueError(error) from None

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """(line, cells) of each row that is not blank; the header's too."""
        if self._delimiter is None:
            return ((line, [without_end(text)]) for line, text in enumerate(self._lines, 1))
        return iter(self._delimited)

    def _checked(self, row: list[str]) -> list[str] | str:
        row = fitted(row, self.names) if self._header else row
        if len(row) == len(self.names):
            return row
        return f"{len(row)} fields, the first line has {len(self.names)}"

    def _find_columns(self, format: TableFormat) -> None:
        first = list(itertools.islice(self._rows(), _SAMPLE_LINES))
        if not first:
            raise DataError(f"{self.name}: the file is empty.")
        self._above = title_rows([row for _, row in first], format)
        first = first[self._above :]
        fit = [(line, fitted(row, first[0][1])) for line, row in first]
        sample = [(line, row) for line, row in fit if len(row) == len(first[0][1])]
        grid = with_names([row for _, row in sample], [line for line, _ in sample], format, labelled=False)
        self._header = len(grid.lines) < len(sample)
        self.names = grid.names
        columns = grid.guessed or choose_columns(self.name, grid.names, format, labelled=False)
        self._texts, self.beside, self.pair = list(columns.texts), format.beside, format.pair
        self.text_columns = [self.names[text] for text in self._texts]
        self.notes += grid.notes


class _JsonLines(Stream):
    """An object a line. Written as it stands, byte for byte, with more keys at its end."""

    def __init__(self, lines: _Lines, size: int, format: TableFormat, kind: str) -> None:
        super().__init__(lines.path, lines.name, size)
        self._lines = lines
        if KINDS.get(self.path.suffix.lower()) != kind:
            self.suffix = ".jsonl"
        if next(iter(lines)).lstrip().startswith("["):
            raise DataError(f"{self.name}: is one JSON list. Write one object a line instead (.jsonl).")
        names: dict[str, None] = {}
        broken: list[tuple[int, str]] = []
        for _, rows, more in _cut(self._rows(), size):
            self.sizes.append(len(rows))
            names.update((key, None) for _, row in rows for key in row)
            broken += more[: 1 - len(broken)]
        if not names:
            line, fault = broken[0] if broken else (1, "an object without a key")
            raise DataError(f"{self.name} line {line}: {fault}.")
        self.names = list(names)
        columns = choose_columns(self.name, self.names, format, labelled=False)
        self.text_columns = [self.names[text] for text in columns.texts]
        self.beside, self.pair = format.beside, format.pair

    def pieces(self) -> Iterator[Piece]:
        for lines, rows, broken in _cut(self._rows(), self.size):
            columns = {name: [row.get(name) for _, row in rows] for name in (*self.text_columns, *self.beside_texts)}
            cells = self._cells([columns[name] for name in self.text_columns], columns)
            yield Piece([text for text, _ in rows], cells, lines, broken)

    def write(self, path: Path, piece: Piece, names: Sequence[str], added: Added) -> None:
        renamed = {old: new for old, new in zip(self.names, names, strict=True) if old != new}
        with path.open("w", encoding="utf-8", newline="") as file:
            for text, more in zip(piece.rows, zip(*added.values(), strict=True), strict=True):
                inside = with_keys(text, renamed).strip()[1:-1].strip()
                keys = json.dumps(dict(zip(added, more, strict=True)), ensure_ascii=False)
                file.write(f"{{{inside}{', ' if inside else ''}{keys[1:]}\n")

    def rows_in(self, path: Path) -> int:
        with path.open("rb") as file:
            return sum(line.endswith(b"}\n") for line in file)

    def _rows(self) -> Iterator[tuple[int, tuple[str, dict[str, Any]] | str]]:
        for number, line in enumerate(self._lines, 1):
            if line.strip():
                try:
                    yield number, (line, json_object(line))
                except ValueError as fault:
                    yield number, str(fault)


class _Parquet(Stream):
    """A Parquet file; its row groups are read a part at a time, so that one of any size may be larger than memory."""

    unit = "row"

    def __init__(self, path: Path, name: str, size: int, format: TableFormat) -> None:
        super().__init__(path, name, size)
        file = self._open()
        self.names = list(file.schema_arrow.names)
        columns = choose_columns(name, self.names, format, labelled=False)
        self.text_columns = [self.names[text] for text in columns.texts]
        self.beside, self.pair = format.beside, format.pair
        rows = file.metadata.num_rows
        self.sizes = [min(size, rows - start) for start in range(0, rows, size)]
        if self.suffix.lower() != ".parquet":
            self.suffix = ".parquet"

    def pieces(self) -> Iterator[Piece]:
        import pyarrow

        first = 1
        try:
            for rows in self._tables():
                columns = {name: rows.column(name).to_pylist() for name in (*self.text_columns, *self.beside_texts)}
                cells = self._cells([columns[name] for name in self.text_columns], columns)
                yield Piece(rows, cells, range(first, first + len(rows)))
                first += len(rows)
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{self.name} after row {first - 1:,}: cannot be read ({str(error).splitlines()[0]})."
            ) from None

    def write(self, path: Path, piece: Piece, names: Sequence[str], added: Added) -> None:
        import pyarrow
        import pyarrow.parquet

        table = piece.rows.rename_columns(list(names))
        for name, values in added.items():
            kind = pyarrow.string() if name == "label" else pyarrow.float64()
            table = table.append_column(name, pyarrow.array(values, kind))
        pyarrow.parquet.write_table(table, path)

    def rows_in(self, path: Path) -> int:
        import pyarrow.parquet

        return int(pyarrow.parquet.read_metadata(path).num_rows)

    def _open(self) -> Any:
        return open_parquet(self.name, self.path, buffer_size=_READ_BYTES, pre_buffer=False)

    def _tables(self) -> Iterator[Any]:
        """Tables of ``size`` rows, the last of fewer; pyarrow's own batches may be cut where row groups end."""
        import pyarrow

        with self._open() as file:
            waiting = None
            for batch in file.iter_batches(batch_size=self.size):
                rows = plain_table(self.name, batch)
                waiting = rows if waiting is None else pyarrow.concat_tables([waiting, rows])
                while len(waiting) >= self.size:
                    yield waiting.slice(0, self.size)
                    waiting = waiting.slice(self.size)
            if waiting is not None and len(waiting):
                yield waiting


def with_keys(text: str, renamed: Mapping[str, str]) -> str:
    """A JSON object's text with some of its own keys called otherwise; everything else stays to the byte."""
    if not renamed:
        return text
    decoder = json.JSONDecoder(parse_int=str, parse_float=str)
    start = text.index("{") + 1
    parts, done, place = [], 0, start
    while (quote := text.find('"', place)) >= 0:
        key, end = decoder.raw_decode(text, quote)
        if key in renamed:
            parts += [text[done:quote], json.dumps(renamed[key], ensure_ascii=False)]
            done = end
        value = text.index(":", end) + 1
        value += len(text[value:]) - len(text[value:].lstrip())
        _, place = decoder.raw_decode(text, value)
    return "".join(parts) + text[done:]


def _first(line: str) -> str:
    """The first line without a mark; an empty one, so that the others keep their numbers, where it says ``sep=;``."""
    line = line.removeprefix("\ufeff")
    return line[len(without_end(line)) :] if sep_line(line) else line


def _safe(cell: Any) -> Any:
    return without_formula(cell) if isinstance(cell, str) else cell


def _cut(rows: Iterable[tuple[int, Any]], size: int) -> Iterator[tuple[list[int], list[Any], list[tuple[int, str]]]]:
    """(lines, rows, broken) of ``size`` rows at a time. A row that is a text says what is wrong with it."""
    lines: list[int] = []
    kept: list[Any] = []
    broken: list[tuple[int, str]] = []
    for line, row in rows:
        if isinstance(row, str):
            broken.append((line, row))
        else:
            lines.append(line)
            kept.append(row)
        if max(len(kept), len(broken)) == size:
            yield lines, kept, broken
            lines, kept, broken = [], [], []
    if kept or broken:
        yield lines, kept, broken


def _unreadable(name: str, error: OSError) -> DataError:
    return DataError(f"{name}: cannot be read ({error.strerror or error}).")
