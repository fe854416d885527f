"""Rows as delimited text or JSON: every table of a user's cells that classtune writes so is written here."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from classtune.data.reading.cells import Number, as_text

# What begins a formula in some spreadsheet program; of Japanese ones the wide signs, too.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_LONGEST_NUMBER = 1000  # characters; a longer one stays text


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


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows of cells by column, an object a line, in UTF-8. Raises OSError."""
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(of_json(row), ensure_ascii=False, default=shown) + "\n")


def write_rows(
    path: Path, suffix: str, columns: Iterable[str], rows: Iterable[Mapping[str, Any]], *, escape_formulas: bool = False
) -> None:
    """Write rows of cells by column as the suffix says: ``.csv``, ``.jsonl``, or ``.json``, one list of them.

    columns: the heading of a .csv, which the rows have in this order. escape_formulas: of a .csv, see
    `write_delimited`. Raises OSError.
    """
    if suffix == ".csv":
        cells = (map(shown, row.values()) for row in rows)
        write_delimited(path, chain([columns], cells), escape_formulas=escape_formulas)
    elif suffix == ".jsonl":
        write_json_lines(path, rows)
    else:
        text = json.dumps(of_json([*rows]), ensure_ascii=False, indent=1, default=shown)
        path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace", newline="\n")


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


def shown(cell: object) -> str:
    """A cell as text, whatever it holds; "" for a missing one."""
    try:
        return as_text(cell)
    except ValueError:  # a list, an object, half a character
        whole = cell if isinstance(cell, str) else json.dumps(of_json(cell), ensure_ascii=False, default=str)
        return whole.encode(errors="backslashreplace").decode()


def of_json(cell: object) -> object:
    """A cell as JSON has it, which knows numbers, but none that is not finite."""
    if isinstance(cell, Number):
        cell = json.loads(cell) if len(cell) <= _LONGEST_NUMBER else str(cell)
    if isinstance(cell, dict):
        return {key: of_json(value) for key, value in cell.items()}
    if isinstance(cell, list):
        return [of_json(value) for value in cell]
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
