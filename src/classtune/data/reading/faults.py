"""What is wrong with the rows of a table: the same fault is one line, which says how many rows have it and where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

SHOWN_LINES = 5
_Value = TypeVar("_Value")


class Faults:
    """Collects faults of rows. name: of the table; unit: what its lines count."""

    def __init__(self, name: str, unit: str) -> None:
        self.name, self.unit = name, unit
        self._lines: dict[str, list[int]] = {}

    def add(self, line: int, fault: str) -> None:
        """A sentence, or more, that begins in the middle: ``the text is empty. Fill it in.``"""
        self._lines.setdefault(fault, []).append(line)

    def read(
        self,
        cells: Sequence[object],
        lines: Sequence[int],
        what: Callable[[object], _Value],
        role: str,
        instead: _Value,
    ) -> list[_Value]:
        """The cells of a column as ``what`` reads them; where it raises ValueError that is a fault, and ``instead`` is
        what was read. role: what faults call the cells."""
        values = []
        for cell, line in zip(cells, lines, strict=True):
            try:
                values.append(what(cell))
            except ValueError as fault:
                self.add(line, f"the {role} {fault}.")
                values.append(instead)
        return values

    def problems(self) -> list[str]:
        """One a fault: ``a.csv line 2: …``, or ``a.csv lines 2, 5, 9, 11, 14, … (57): …``."""
        return [
            f"{self.name} {self.unit} {lines[0]}: {fault}"
            if len(lines) == 1
            else f"{self.name} {self.unit}s {listed(lines)}: {fault}"
            for fault, lines in self._lines.items()
        ]


def listed(lines: Sequence[object]) -> str:
    """``2, 5, 9``, or names; of many the first, and how many they are."""
    shown = ", ".join(map(str, lines[:SHOWN_LINES]))
    return f"{shown}, … ({len(lines):,})" if len(lines) > SHOWN_LINES else shown
