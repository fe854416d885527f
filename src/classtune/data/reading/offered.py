"""What columns a file has, and which of them holds the texts: for people who choose before anything is classified."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from classtune.data.reading.columns import TableFormat, choose_columns
from classtune.data.reading.formats import display_name, read_bytes, read_grid
from classtune.errors import DataError


@dataclass(frozen=True)
class OfferedColumns:
    """names: of the columns, each once, in their order. text: that of the texts as ``--text`` names it; None where it
    is not plain which one that is."""

    names: list[str]
    text: str | None


def read_offered(path: str | Path, format: TableFormat) -> OfferedColumns:
    """The columns of a file of texts. Raises DataError for what is no table."""
    grid = read_grid(path, read_bytes(path, None), format, labelled=False)
    try:
        columns = grid.guessed or choose_columns(
            display_name(path), grid.names, replace(format, may_lack=True), labelled=False, cells=grid.column
        )
    except DataError:
        columns = None
    names = [name for name in dict.fromkeys(grid.names) if name]
    return OfferedColumns(names, None if columns is None else grid.text_name(columns))
