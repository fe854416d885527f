"""What labelling tools write (Label Studio, Argilla, Prodigy, spaCy, fastText), as plain rows of text and label.

An answer is what a person gave: suggestions and predictions are none, what was rejected is never a positive, and what
nobody has answered yet is no row to learn from.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from classtune.data.reading.columns import LABEL_NAMES, is_known
from classtune.data.reading.grid import Grid

_FAST_TEXT = re.compile(r"(?:__label__\S+\s+)+")
Row = dict[str, Any]
# From a tool's row to its fields, and what each person answered to which question.
Read = Callable[[Row], tuple[Row, list[Row]]]


@dataclass
class Plain:
    """(place, row) of the rows that are left, places from 0."""

    rows: list[tuple[int, Row]]
    notes: list[str] = field(default_factory=list)


def plain_rows(rows: Sequence[Row], *, labelled: bool) -> Plain:
    """Rows whose labels stand in a cell; rows that no tool wrote come back as they are."""
    if all(isinstance(row.get("data"), dict) and ("annotations" in row or "completions" in row) for row in rows):
        return _answered(rows, _label_studio, "Label Studio's JSON", labelled=labelled)
    if all(isinstance(row.get("fields"), dict) and ("responses" in row or "suggestions" in row) for row in rows):
        return _answered(rows, _argilla, "Argilla's records", labelled=labelled)
    if any(key.endswith(".responses") for key in rows[0]):
        return _answered(rows, _argilla_flat, "Argilla's records", labelled=labelled)
    if all(row.get("answer") in ("accept", "reject", "ignore") for row in rows):
        return _prodigy(rows) if labelled else Plain(list(enumerate(rows)))
    if all(isinstance(row.get("cats"), dict) for row in rows):
        return Plain([(place, _spacy(row)) for place, row in enumerate(rows)], ["read as spaCy's cats."])
    sample = rows[:100]
    if not any(is_known(key) for row in sample for key in row) and any(
        isinstance(cell, dict) for row in sample for cell in row.values()
    ):
        return Plain([(place, _flat(row)) for place, row in enumerate(rows)])
    return Plain([(place, {key: _choices(cell) for key, cell in row.items()}) for place, row in enumerate(rows)])


def fast_text(lines: Sequence[str], encoding: str) -> Grid | None:
    """The grid of ``__label__NAME text`` lines; None where a line is none."""
    filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    matches = [(number, _FAST_TEXT.match(line), line) for number, line in filled]
    if not matches or not all(match for _, match, _ in matches):
        return None
    texts = [line[match.end() :].rstrip("\r\n") for _, match, line in matches if match]
    labels = [[word.removeprefix("__label__") for word in match[0].split()] for _, match, _ in matches if match]
    columns: list[list[Any]] = [texts, labels]
    grid = Grid(["text", "label"], columns.__getitem__, [number for number, _, _ in matches], encoding=encoding)
    grid.notes = ["read as fastText's lines: __label__NAME and the text."]
    return grid


def listed_labels(cells: Sequence[Any]) -> list[Any] | None:
    """Cells that are lists written as text, as lists: Label Studio's ``{"choices": [...]}``, or ``['a', 'b']``.

    None where a cell is none of them.
    """
    lists, any_written = [], False
    for cell in cells:
        if not isinstance(cell, str) or not cell.strip():
            lists.append(cell)
            continue
        parsed = _written_list(cell)
        if parsed is None and cell.lstrip().startswith(("[", "{")):
            return None
        any_written = any_written or parsed is not None
        lists.append(cell if parsed is None else parsed)
    return lists if any_written else None


def _written_list(cell: str) -> list[Any] | None:
    text = cell.strip()
    if not text.startswith(("[", '{"choices"')) or len(text) > 10_000:
        return None
    try:
        parsed = _choices(json.loads(text))
    except (ValueError, RecursionError):
        try:
            parsed = ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return None
    return parsed if isinstance(parsed, list) else None


def _choices(cell: Any) -> Any:
    """A cell of Label Studio's short form: the choices of ``{"choices": [...]}``, the number of ``[{"rating": 4}]``."""
    if isinstance(cell, dict) and isinstance(cell.get("choices"), list):
        return cell["choices"]
    if isinstance(cell, list) and len(cell) == 1 and isinstance(cell[0], dict) and [*cell[0]] == ["rating"]:
        return cell[0]["rating"]
    return cell


def _answered(rows: Sequence[Row], read: Read, tool: str, *, labelled: bool) -> Plain:
    """Rows with their answers by question; the only question is the label, where its name says nothing.

    Of several people's answers the one that most gave is read, or the first. labelled: rows without one are left out.
    """
    found = [read(row) for row in rows]
    questions = dict.fromkeys(name for _, people in found for answers in people for name in answers)
    alone = len(questions) == 1 and not is_known(next(iter(questions)), LABEL_NAMES)
    plain = Plain([], [f"read as {tool}."])
    for place, (fields, people) in enumerate(found):
        if people or not labelled:
            by_question = {name: [answers[name] for answers in people if name in answers] for name in questions}
            said = {"label" if alone else name: _most(values) for name, values in by_question.items() if values}
            plain.rows.append((place, {**fields, **said}))
    if labelled and (waiting := len(rows) - len(plain.rows)):
        plain.notes.append(f"rows that nobody has answered are left out: {waiting:,}.")
    if several := sum(len(people) > 1 for _, people in found):
        plain.notes.append(f"rows with answers of several people: {several:,}. Read is what most say, else the first.")
    return plain


def _most(values: Sequence[Any]) -> Any:
    keys = [tuple(sorted(map(str, value))) if isinstance(value, list) else str(value) for value in values]
    times = Counter(keys)
    return values[max(range(len(values)), key=lambda place: times[keys[place]])]


def _label_studio(row: Row) -> tuple[Row, list[Row]]:
    """The choices of each annotation that was not cancelled; of those that are marked as the truth, where some are."""
    annotations = _dicts(row.get("annotations") or row.get("completions"))
    kept = [one for one in annotations if not (one.get("was_cancelled") or one.get("skipped"))]
    people: list[Row] = []
    for annotation in [one for one in kept if one.get("ground_truth")] or kept:
        answers: dict[str, list[str]] = {}
        for part in _dicts(annotation.get("result")):
            if part.get("type") == "choices" and isinstance(chosen := _choices(part.get("value")), list):
                answers.setdefault(str(part.get("from_name")), []).extend(chosen)
        people.append(answers)
    return row["data"], people


def _argilla(row: Row) -> tuple[Row, list[Row]]:
    people: list[Row] = []
    for name, responses in (row.get("responses") or {}).items():
        given = _dicts(responses if isinstance(responses, list) else [responses])
        values = [one.get("value") for one in given if one.get("status", "submitted") == "submitted"]
        _add(people, name, values)
    return row["fields"], people


def _argilla_flat(row: Row) -> tuple[Row, list[Row]]:
    people: list[Row] = []
    for key in [key for key in row if key.endswith(".responses")]:
        values, states = row[key] or [], row.get(f"{key}.status") or []
        submitted = [value for place, value in enumerate(values) if states[place : place + 1] in ([], ["submitted"])]
        _add(people, key.removesuffix(".responses"), submitted)
    return {key: cell for key, cell in row.items() if "." not in key}, people


def _dicts(value: Any) -> list[Row]:
    """The objects of a list; none where it is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _add(people: list[Row], question: str, values: Sequence[Any]) -> None:
    """What each person answered to one more question."""
    for place, value in enumerate(value for value in values if value is not None):
        if place == len(people):
            people.append({})
        people[place][question] = value


def _prodigy(rows: Sequence[Row]) -> Plain:
    """Accepted rows. With one label in all of the file, a rejected row is one that it does not hold for."""
    accepted = [(place, row) for place, row in enumerate(rows) if row["answer"] == "accept"]
    rejected = [(place, row) for place, row in enumerate(rows) if row["answer"] == "reject"]
    ignored = len(rows) - len(accepted) - len(rejected)
    notes = []
    if ignored:
        notes.append(f"rows that Prodigy's user ignored are left out: {ignored:,}.")
    if any(isinstance(row.get("accept"), list) for row in rows):
        kept = [(place, {**row, "label": row.get("accept") or []}) for place, row in accepted]
        dropped = len(rejected)
    else:
        names = {str(row.get("label")) for row in rows}
        only = names.pop() if len(names) == 1 else None
        kept = accepted
        dropped = len(rejected) if only is None else 0
        if rejected and only is not None:
            kept = sorted(
                [*accepted, *((place, {**row, "label": f"not {only}"}) for place, row in rejected)], key=_place
            )
            notes.append(f"rows for which {only!r} was rejected are labelled {f'not {only}'!r}: {len(rejected):,}.")
    if dropped:
        notes.append(f"rows whose label was rejected, which do not say what it is instead, are left out: {dropped:,}.")
    aside = ("accept", "answer", "options")
    return Plain([(place, {key: cell for key, cell in row.items() if key not in aside}) for place, row in kept], notes)


def _place(entry: tuple[int, Row]) -> int:
    return entry[0]


def _spacy(row: Row) -> Row:
    """The categories that hold: 1 or true, as spaCy writes them; of scores, those above one half."""
    holds = [name for name, value in row["cats"].items() if _score(value) > 0.5]
    return {key: cell for key, cell in row.items() if key != "cats"} | {"label": holds}


def _score(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0


def _flat(row: Row) -> Row:
    """Objects within a row, their keys by their own name where that is free."""
    flat: Row = {}
    for key, cell in row.items():
        if isinstance(cell, dict):
            flat |= {
                inner if inner not in flat and inner not in row else f"{key}.{inner}": value
                for inner, value in cell.items()
            }
        else:
            flat[key] = cell
    return flat
