"""A grid: the cells of a file by their position, before it is known what they are; and the cells of its texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from classtune.data.reading.cells import RowCells
from classtune.data.reading.columns import Columns


@dataclass
class Grid:
    """What a file holds: columns by position, cells as the format gives them, and where each row starts."""

    names: list[str]
    column: Callable[[int], Sequence[Any]]
    lines: Sequence[int]  # from 1
    unit: str = "line"
    encoding: str | None = None
    delimiter: str | None = None
    guessed: Columns | None = None  # told by their cells alone
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    class_names: Mapping[int, Sequence[str]] = field(default_factory=dict)  # column → what the numbers in it mean
    of_python: bool = False  # rows of a caller's own, who knows no flags

    def texts(self, columns: Columns) -> Sequence[Any]:
        """The text cells as `as_whole_text` reads them."""
        beside = {self.names[column]: self.column(column) for column in columns.beside}
        pair = None if columns.pair is None else self.column(columns.pair)
        return text_cells([self.column(column) for column in columns.texts], beside, pair)

    def text_name(self, columns: Columns) -> str:
        """What the text's column is called; of several their names, joined by commas as ``--text`` takes them."""
        return ",".join(self.names[column] for column in columns.texts)


def text_cells(
    columns: Sequence[Sequence[Any]],
    beside: Mapping[str, Sequence[Any]] | None = None,
    pair: Sequence[Any] | None = None,
) -> Sequence[Any]:
    """The cells of a text column; those of several, a tuple a row. beside: columns whose cells stand beside them; pair:
    that of their pairs."""
    cells = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
    if not beside and pair is None:
        return cells
    names, nothing = tuple(beside or {}), [()] * len(cells)
    told = list(zip(*beside.values(), strict=True)) if beside else nothing
    pairs = nothing if pair is None else [(second,) for second in pair]
    rows = zip(cells, told, pairs, strict=True)
    return [RowCells(cell, dict(zip(names, own, strict=True)), second) for cell, own, second in rows]
