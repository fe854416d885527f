"""Parquet files in pieces; row groups are read a part at a time, so that one of any size may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from classtune.data.reading.arrow import cells_of, open_parquet, plain_table
from classtune.data.reading.columns import TableFormat
from classtune.data.reading.streams.stream import Added, Piece, Stream
from classtune.errors import DataError

_BUFFER_BYTES = 1 << 20


class ParquetStream(Stream):
    """Rows of a Parquet file, as tables of Arrow."""

    unit = "row"

    def __init__(self, path: Path, name: str, size: int, format: TableFormat) -> None:
        super().__init__(path, name, size)
        file = self._open()
        self.names = list(file.schema_arrow.names)
        self._choose(format)
        rows = file.metadata.num_rows
        self.sizes = [min(size, rows - start) for start in range(0, rows, size)]
        if self.suffix.lower() != ".parquet":
            self.suffix = ".parquet"

    def pieces(self) -> Iterator[Piece]:
        import pyarrow

        first = 1
        try:
            for rows in self._tables():
                yield Piece(rows, self._cells(rows), range(first, first + len(rows)))
                first += len(rows)
        except (pyarrow.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
            raise DataError(
                f"{self.name} after row {first - 1:,}: cannot be read ({str(error).partition(chr(10))[0]})."
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

    def _column(self, rows: Any, name: str) -> Sequence[Any]:
        return cells_of(rows.column(name))

    def _open(self) -> Any:
        return open_parquet(self.name, self.path, buffer_size=_BUFFER_BYTES, pre_buffer=False)

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
