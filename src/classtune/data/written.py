"""Rows as delimited text: every table that classtune writes so is written here."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# What begins a formula in some spreadsheet program; of Japanese ones the wide signs, too.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def write_delimited(
    path: Path, rows: Iterable[Iterable[Any]], *, delimiter: str = ",", escape_formulas: bool = False
) -> None:
    """Write rows of cells, the heading among them, in UTF-8; cells with delimiters, quotes or line ends are quoted.

    escape_formulas: a ' before cells of text that a spreadsheet would run as a formula. Whoever reads the file again
    finds it there, so that it is left to the user. Raises OSError.
    """
    safe = _safe if escape_formulas else iter
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(map(safe, rows))


def _safe(row: Iterable[Any]) -> Iterable[Any]:
    return [without_formula(cell) if isinstance(cell, str) else cell for cell in row]


def without_formula(cell: str) -> str:
    """A cell that no spreadsheet runs: a ' stands before what begins as a formula does and is no number."""
    if not cell.startswith(_FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
