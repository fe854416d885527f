"""Delimited text in pieces, and plain text of which each line is one."""

from __future__ import annotations

import codecs
import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from classtune.data.reading.columns import TableFormat
from classtune.data.reading.delimited import (
    MOST_CHARACTERS,
    DelimitedRows,
    are_bare_texts,
    fitted,
    given_delimiter,
    sep_line,
    sniff,
    without_end,
)
from classtune.data.reading.formats import encoding_notes
from classtune.data.reading.headers import title_rows, with_names
from classtune.data.reading.labelling import fast_text
from classtune.data.reading.streams.lines import Lines
from classtune.data.reading.streams.stream import Added, Piece, Stream, cut
from classtune.data.written import write_delimited
from classtune.errors import DataError

_SAMPLE_LINES = 2000
_LONGEST_CELL = MOST_CHARACTERS  # of a line, too; beyond, a quote was left open


class DelimitedStream(Stream):
    """Rows of cells, or, without a delimiter, a text a line. Written in UTF-8 with the same delimiter, and quoted."""

    def __init__(self, lines: Lines, size: int, format: TableFormat, kind: str) -> None:
        super().__init__(lines.path, lines.name, size)
        self._lines = lines
        self.notes += encoding_notes(lines.encoding, format)
        self._delimiter: str | None = None
        self._header, self._above = False, 0  # rows above the header: a title
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))  # a process-wide setting: only ever raised
        sample = list(itertools.islice(lines, _SAMPLE_LINES))
        suffix = self.path.suffix.lower()
        with self.path.open("rb") as file:
            named_by_file = sep_line(file.readline(20).removeprefix(codecs.BOM_UTF8).decode("ascii", "replace"))
        if kind == "text" and fast_text(sample[:100], lines.encoding) is not None:
            raise DataError(f"{self.name}: has fastText's lines, not read in pieces. Name a file: -o OUT.csv.")
        if kind == "text" and not named_by_file and are_bare_texts(sample, suffix, format):
            self.names = ["text"]
            if format.beside or format.pair:
                self._choose(format)  # says that it has no such columns
        else:
            found = given_delimiter(format.delimiter) or named_by_file or sniff(sample, suffix, format.quoting)[0]
            self._delimiter = found or ("\t" if suffix == ".tsv" else ",")
            self._delimited, notes = DelimitedRows(self.name, lines, self._delimiter, format.quoting).settled()
            self.notes += notes
            self._find_columns(format)
        if suffix not in (".csv", ".tsv"):
            self.suffix = ".tsv" if self._delimiter == "\t" else ".csv"
        self.sizes = [len(piece.lines) for piece in self.pieces()]

    def pieces(self) -> Iterator[Piece]:
        rows = itertools.islice(self._rows(), self._above + int(self._header), None)
        for lines, cells, broken in cut(((line, self._checked(row)) for line, row in rows), self.size):
            yield Piece(cells, self._cells(cells), lines, broken)

    def write(self, path: Path, piece: Piece, names: Sequence[str], added: Added) -> None:
        rows = ([*row, *more] for row, more in zip(piece.rows, zip(*added.values(), strict=True), strict=True))
        written = itertools.chain([[*names, *added]], rows)
        write_delimited(path, written, delimiter=self._delimiter or ",", escape_formulas=self.escape_formulas)

    def rows_in(self, path: Path) -> int:
        with path.open(encoding="utf-8", newline="") as file:
            try:
                return sum(1 for _ in csv.reader(file, delimiter=self._delimiter or ",", strict=True)) - 1
            except csv.Error as error:
                raise ValueError(error) from None

    def _column(self, rows: Any, name: str) -> Sequence[Any]:
        place = self.names.index(name)
        return [row[place] for row in rows]

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
        self._choose(format, grid.guessed)
        self.notes += grid.notes
