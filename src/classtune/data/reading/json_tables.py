"""Tables as JSON: an object a line, a list of them, by columns, or records somewhere within one document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from classtune.data.reading.cells import Number
from classtune.data.reading.columns import is_known
from classtune.data.reading.faults import Faults
from classtune.data.reading.grid import Grid
from classtune.data.reading.labelling import plain_rows
from classtune.errors import DataError

MOST_LEVELS = 100  # of lists and objects in each other
_RECORDS = ("data", "rows", "records", "examples", "items", "results")  # what documents call the list of their records


def read_json(name: str, lines: Sequence[str], encoding: str, *, labelled: bool) -> Grid:
    """The rows of JSON lines, or of one document. Raises DataError for what holds no records."""
    filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not filled:
        raise DataError(f"{name}: the file is empty.")
    first = _value(filled[0][1])
    if isinstance(first, dict) and len(filled) > 1:
        rows, starts = _objects(name, filled)
        unit = "line"
    else:
        document = first if len(filled) == 1 else _value("".join(lines))
        if isinstance(document, ValueError) and not filled[0][1].lstrip().startswith("["):
            _objects(name, filled)  # says which lines are no objects
        if isinstance(document, ValueError):
            raise DataError(f"{name}: not valid JSON ({document}). Write one list of objects, or one object a line.")
        rows = records_of(name, document)
        starts, unit = list(range(1, len(rows) + 1)), "row"
        if len(filled) == 1 and rows == [document]:
            starts, unit = [filled[0][0]], "line"
    plain = plain_rows(rows, labelled=labelled)
    rows, starts = [row for _, row in plain.rows], [starts[place] for place, _ in plain.rows]
    if not rows:
        raise DataError(f"{name}: no row has an answer. {' '.join(plain.notes)}".strip())
    names = list(dict.fromkeys(key for row in rows for key in row))
    grid = Grid(names, lambda column: [row.get(names[column]) for row in rows], starts, unit=unit, encoding=encoding)
    grid.notes = plain.notes
    return grid


def records_of(name: str, document: Any) -> list[dict[str, Any]]:
    """The records of a document. Raises DataError where there are none, or several lists of them."""
    if document in ([], {}):
        raise DataError(f"{name}: there are no rows.")
    if isinstance(document, list):
        if all(isinstance(item, str) and not isinstance(item, Number) for item in document):
            return [{"text": text} for text in document]
        if not all(isinstance(item, dict) for item in document):
            raise DataError(f'{name}: is a list of other things than objects. Write [{{"text": …, "label": …}}, …].')
        return [item["row"] if isinstance(item.get("row"), dict) else item for item in document]
    if not isinstance(document, dict):
        raise DataError(f'{name}: holds no objects. Write one a line: {{"text": …, "label": …}}.')
    lists = {key: value for key, value in document.items() if isinstance(value, list)}
    if set(lists) >= {"columns", "data"} and all(isinstance(row, list) for row in lists["data"]):
        return [dict(zip(map(str, lists["columns"]), row, strict=False)) for row in lists["data"]]
    of_records = {key for key, value in lists.items() if value and all(isinstance(item, dict) for item in value)}
    if len(of_records & set(_RECORDS)) == 1:
        of_records &= set(_RECORDS)
    if len(of_records) == 1:
        return records_of(name, lists[of_records.pop()])
    if len(of_records) > 1:
        listed = ", ".join(map(repr, sorted(of_records)))
        raise DataError(f"{name}: holds several lists of records: {listed}. Write one of them to a file of its own.")
    return _by_columns(name, document)


def _by_columns(name: str, document: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of {"text": [...], "label": [...]}, of {"text": {"0": ...}, ...}, or of {"0": {"text": ...}, ...}."""
    values = list(document.values())
    if values and all(isinstance(value, dict) for value in values):
        if not any(map(is_known, document)) and any(is_known(key) for key in values[0]):
            return values
        columns = {key: list(value.values()) for key, value in document.items()}
    elif any(map(is_known, document)) and all(isinstance(document[key], list) for key in document if is_known(key)):
        columns = {key: value for key, value in document.items() if isinstance(value, list)}
    else:
        return [document]
    if len(set(map(len, columns.values()))) > 1:
        raise DataError(f"{name}: its columns are not equally long. Write one object a row instead.")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _objects(name: str, lines: Sequence[tuple[int, str]]) -> tuple[list[dict[str, Any]], list[int]]:
    faults = Faults(name, "line")
    rows: list[dict[str, Any]] = []
    for number, line in lines:
        try:
            rows.append(json_object(line))
        except ValueError as fault:
            faults.add(number, f"{fault}.")
    if problems := faults.problems():
        raise DataError(problems)
    return rows, [number for number, _ in lines]


def json_object(line: str) -> dict[str, Any]:
    """A line of JSON lines, numbers as they are written. Raises ValueError that says what is wrong."""
    row = _value(line)
    if isinstance(row, ValueError):
        raise ValueError(f"not valid JSON ({row}). Write one object a line") from None
    if not isinstance(row, dict):
        raise ValueError('not an object. Write one object a line: {"text": …, "label": …}')
    return row


def _value(text: str) -> Any:
    """What the text holds, numbers as they are written; the ValueError that says why it is no JSON."""
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_int=Number, parse_float=Number, parse_constant=_constant
        )
        deep = text.count("[") + text.count("{") > MOST_LEVELS and _levels(value) > MOST_LEVELS
        return ValueError("nested too deeply") if deep else value
    except RecursionError:
        return ValueError("nested too deeply")
    except ValueError as error:
        return ValueError(error.msg) if isinstance(error, json.JSONDecodeError) else error


def _levels(value: Any) -> int:
    """How deep lists and objects stand in each other."""
    levels, inside = 0, [value]
    while inside and levels <= MOST_LEVELS:
        levels += 1
        lists = (list(part.values()) if isinstance(part, dict) else part for part in inside)
        inside = [part for parts in lists if isinstance(parts, list) for part in parts if isinstance(part, list | dict)]
    return levels


def _object(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key stands twice")
    return members


def _constant(written: str) -> str | None:
    return None if written == "NaN" else written
