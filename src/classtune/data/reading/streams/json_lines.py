"""JSON lines in pieces: an object a line, written as it stands with more keys at its end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from classtune.data.reading.columns import TableFormat
from classtune.data.reading.formats import KINDS
from classtune.data.reading.json_tables import json_object
from classtune.data.reading.streams.lines import Lines
from classtune.data.reading.streams.stream import Added, Piece, Stream, cut
from classtune.errors import DataError


class JsonLinesStream(Stream):
    """Rows of JSON lines: (text, object) of each. What is written of a text stays to the byte."""

    def __init__(self, lines: Lines, size: int, format: TableFormat, kind: str) -> None:
        super().__init__(lines.path, lines.name, size)
        self._lines = lines
        if KINDS.get(self.path.suffix.lower()) != kind:
            self.suffix = ".jsonl"
        if next(iter(lines)).lstrip().startswith("["):
            raise DataError(f"{self.name}: is one JSON list. Write one object a line instead (.jsonl).")
        names: dict[str, None] = {}
        broken: list[tuple[int, str]] = []
        for _, rows, more in cut(self._rows(), size):
            self.sizes.append(len(rows))
            names.update((key, None) for _, row in rows for key in row)
            broken += more[: 1 - len(broken)]
        if not names:
            line, fault = broken[0] if broken else (1, "an object without a key")
            raise DataError(f"{self.name} line {line}: {fault}.")
        self.names = list(names)
        self._choose(format)

    def pieces(self) -> Iterator[Piece]:
        for lines, rows, broken in cut(self._rows(), self.size):
            yield Piece([text for text, _ in rows], self._cells(rows), lines, broken)

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

    def _column(self, rows: Any, name: str) -> Sequence[Any]:
        return [row.get(name) for _, row in rows]

    def _rows(self) -> Iterator[tuple[int, tuple[str, dict[str, Any]] | str]]:
        for number, line in enumerate(self._lines, 1):
            if line.strip():
                try:
                    yield number, (line, json_object(line))
                except ValueError as fault:
                    yield number, str(fault)


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
