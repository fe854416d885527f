"""Reads a table in a process of its own, with a limit on memory and time: for files of people who are not known.

What a file makes a parser do (take all memory, abort, never end) ends that process, and this one says so.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from classtune.data.reading.cells import Number, RowText, as_text, cells_beside, parts_of
from classtune.data.reading.columns import TableFormat
from classtune.data.reading.offered import OfferedColumns, read_offered
from classtune.data.reading.tables import Table, read_table
from classtune.errors import DataError, UserError

MOST_MEMORY = 3 << 30  # bytes of address space; the libraries that read Parquet reserve about one of them
MOST_SECONDS = 120.0
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from classtune.data.reading.isolated import main; main()"
)


def read_upload(path: str | Path, format: TableFormat, *, labelled: bool = False) -> Table:
    """`read_table` in another process. Raises DataError as it does, and where the limits are reached."""
    table = _answered(path, format, what="labelled" if labelled else "texts")
    table["columns"] = {name: list(map(_cell, cells)) for name, cells in table["columns"].items()}
    rows = zip(table["texts"], table.pop("cells"), table.pop("pairs"), strict=True)
    table["texts"] = [RowText(text, cells, tuple(pair) or None) for text, cells, pair in rows]
    table |= _tuples(Table, table)
    if table["label_sets"] is not None:
        table["label_sets"] = [tuple(labels) for labels in table["label_sets"]]
    return Table(**table)


def read_upload_columns(path: str | Path, format: TableFormat) -> OfferedColumns:
    """`read_offered` in another process. Raises DataError as it does, and where the limits are reached."""
    return OfferedColumns(**_answered(path, format, what="columns"))


def _answered(path: str | Path, format: TableFormat, *, what: str) -> dict[str, Any]:
    """What the other process found of a file."""
    asked = {"path": str(path), "format": asdict(format), "what": what, "memory": MOST_MEMORY}
    command = [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), json.dumps(asked)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=MOST_SECONDS, check=False, stdin=subprocess.DEVNULL)
        answer = json.loads(done.stdout) if done.returncode == 0 else None
    except (subprocess.TimeoutExpired, ValueError):
        answer = None
    if answer is None:
        raise DataError(
            f"{path}: cannot be read within {MOST_MEMORY >> 30} GB of memory and {MOST_SECONDS:.0f} seconds. "
            "Save it as a plain .csv, or cut it into smaller files."
        )
    if "problems" in answer:
        raise DataError(answer["problems"])
    found: dict[str, Any] = answer["found"]
    return found


def main() -> None:
    """What runs in the other process: the table, its columns, or what is wrong with it, as JSON on standard output."""
    asked = json.loads(sys.argv[2])
    with contextlib.suppress(ImportError, ValueError, OSError):  # no such limit on this system
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (asked["memory"], asked["memory"]))
    format = asked["format"] | _tuples(TableFormat, asked["format"])
    try:
        json.dump({"found": _found(asked["path"], TableFormat(**format), asked["what"])}, sys.stdout)
    except UserError as error:
        json.dump({"problems": error.problems}, sys.stdout)


def _tuples(kind: type[Table | TableFormat], values: dict[str, Any]) -> dict[str, Any]:
    """Those of the values that are tuples in such an object, and lists in JSON."""
    return {one.name: tuple(values[one.name]) for one in fields(kind) if one.default == ()}


def _found(path: str, format: TableFormat, what: str) -> dict[str, Any]:
    if what == "columns":
        return asdict(read_offered(path, format))
    table = read_table(path, format, labelled=what == "labelled")
    document = {field.name: getattr(table, field.name) for field in fields(table)}
    document["columns"] = {name: list(map(_written, cells)) for name, cells in table.columns.items()}
    document["cells"] = [dict(cells_beside(text)) for text in table.texts]
    document["pairs"] = [[part for _, part in parts_of(text)] if table.pair else [] for text in table.texts]
    return document


def _written(cell: Any) -> Any:
    """A cell as JSON has it; numbers of JSON lines keep their digits."""
    if isinstance(cell, Number):
        return {"number": str(cell)}
    if isinstance(cell, list):
        return {"list": list(map(_written, cell))}
    if isinstance(cell, dict):
        return {"object": {str(key): _written(value) for key, value in cell.items()}}
    if cell is None or isinstance(cell, str | bool | int | float):
        return str(cell) if isinstance(cell, str) else cell
    try:
        return as_text(cell)
    except ValueError:
        return str(cell)


def _cell(written: Any) -> Any:
    if not isinstance(written, dict):
        return written
    ((kind, value),) = written.items()
    if kind == "number":
        return Number(value)
    return list(map(_cell, value)) if kind == "list" else {key: _cell(inner) for key, inner in value.items()}
