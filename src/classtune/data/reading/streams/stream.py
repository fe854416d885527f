"""What every table that is read in pieces can do, whatever its format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classtune.data.reading.columns import Columns, TableFormat, choose_columns
from classtune.data.reading.grid import text_cells

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
        self.escape_formulas = False  # in delimited files; see `write_delimited`

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

    @abstractmethod
    def _column(self, rows: Any, name: str) -> Sequence[Any]:
        """The cells of a column in some rows, as the format gives them."""

    def _choose(self, format: TableFormat, guessed: Columns | None = None) -> None:
        """Settle which of the names are the texts', beside them and of their pairs. Raises DataError."""
        columns = guessed or choose_columns(self.name, self.names, format, labelled=False)
        self.text_columns = [self.names[column] for column in columns.texts]
        self.beside, self.pair = format.beside, format.pair

    def _cells(self, rows: Any) -> Sequence[Any]:
        """The cells of the texts in some rows, with what is read beside them."""
        texts = [self._column(rows, name) for name in self.text_columns]
        beside = {name: self._column(rows, name) for name in self.beside}
        return text_cells(texts, beside, None if self.pair is None else self._column(rows, self.pair))


def cut(rows: Iterable[tuple[int, Any]], size: int) -> Iterator[tuple[list[int], list[Any], list[tuple[int, str]]]]:
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
