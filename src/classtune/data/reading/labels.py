"""The labels of a column: numbers and names that are one label, several labels a row, and what is odd about them.

A label is text, whatever type its cells have; the kind of a column says what they were, so that Python gets them back.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from classtune.data.reading.cells import Broken, LabelSet, Number, as_text, is_blank, is_missing, plain, without_unseen
from classtune.data.reading.faults import listed

MOST_CHARACTERS = 1000  # of a label
WHOLE_CELLS = "none"  # as a label separator: what stands in a cell is one label, whatever it looks like
_SEPARATORS = (";", "|", ",", "/")
_WHOLE = re.compile(r"([+-]?\d+)\.0+")
_TRUTH = {"true": True, "false": False}


def as_label(cell: object) -> str:
    """A cell as a label: `as_text`, but for a number that is whole. 1 and 1.0 are one number, and one label: "1".

    Raises ValueError as `as_text` does, and for what is too long for a name.
    """
    text = as_text(cell)
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"has {len(text):,} characters, and at most {MOST_CHARACTERS:,} are read. Name another column")
    whole = _WHOLE.fullmatch(text) if isinstance(cell, float | np.floating | Number | Decimal) else None
    return text if whole is None else "0" if whole[1] == "-0" else whole[1]


def label_kind(cells: Iterable[object]) -> str:
    """What the cells of a column are: "int", "float" or "bool" where all of them are, else "text"; "" for a missing."""
    kinds = {_kind(cell) for cell in cells} - {""}
    if kinds == {"int", "float"}:
        return "float"
    return kinds.pop() if len(kinds) == 1 else "text"


def _kind(cell: object) -> str:
    cell = plain(cell)
    if isinstance(cell, Number):
        return "int" if cell.removeprefix("-").isdecimal() else "float"
    if is_missing(cell):
        return ""
    return next((kind.__name__ for kind in (bool, int, float) if isinstance(cell, kind)), "text")


def other_kinds(cells: Iterable[object]) -> list[str]:
    """Names of the types of cells that are neither text, numbers nor truth values, nor missing."""
    return sorted({type(cell).__name__ for cell in cells if _kind(cell) == "text" and not isinstance(cell, str)})


def typed_labels(labels: Sequence[str], kind: str) -> list[Any]:
    """Labels as they came, by the kind of their column; as text where they are no such values after all, or two of
    them are one."""
    read: dict[str, Callable[[str], Any]] = {"bool": _TRUTH.__getitem__, "int": int, "float": float}
    try:
        typed = [read[kind](label) for label in labels]
    except (KeyError, ValueError):
        return list(labels)
    return typed if len(set(typed)) == len(set(labels)) else list(labels)


def same_values(labels: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """Labels that are not known, but as a number or a truth value are: {"1.0": "1"} where 1 is known, or the other way
    round; so with true (JSON, Parquet), True (Python) and TRUE (spreadsheets)."""
    values = {value_of(label): label for label in known}
    unknown = (label for label in labels if label not in known)
    return {label: values[value_of(label)] for label in unknown if value_of(label) in values}


def unknown_among(labels: Iterable[str], known: Collection[str]) -> list[str]:
    """Labels that are not known, but for those that reading refuses anyway: blank ones, and what could not be read."""
    return [label for label in labels if label not in known and not isinstance(label, Broken) and not is_blank(label)]


def value_of(label: str) -> str:
    """What ways to write one number or truth value share: "1" of 1.0, "true" of TRUE; other text as it is."""
    return label.lower() if label.lower() in ("true", "false") else _number(label)


def _number(label: str) -> str:
    whole = _WHOLE.fullmatch(label)
    return whole[1] if whole else label


def merge_numbers(labels: list[str]) -> tuple[list[str], list[str]]:
    """(labels, notes): a column in which 1 and 1.0 both stand has one label of them, "1"."""
    distinct = set(labels)
    same = {label: _number(label) for label in distinct if _number(label) != label and _number(label) in distinct}
    if not same:
        return labels, []
    shown = ", ".join(f"{label!r} as {number!r}" for label, number in sorted(same.items()))
    return [same.get(label, label) for label in labels], [f"labels that are one number are one label: {shown}."]


def joined_by(labels: Iterable[str]) -> str | None:
    """The separator that joins labels of this column in one cell (``a;b``), where it holds plain labels joined.

    Cells look joined where two or more different ones have parts that stand alone in other cells, or in several joins.
    """
    count = Counter(labels)
    for separator in _SEPARATORS:
        parts_of = {label: [part.strip() for part in label.split(separator)] for label in count if separator in label}
        joins = {label: parts for label, parts in parts_of.items() if len(parts) > 1 and all(parts)}
        if len(joins) < 2 or len(joins) < len(parts_of):
            continue
        seen = Counter(part for parts in joins.values() for part in parts)
        known = {part for part in seen if seen[part] > 1 or part in count}
        plain = [label for label, parts in joins.items() if set(parts) <= known]
        names = known | (set(count) - set(joins))
        if len(plain) >= 0.9 * len(joins) and len(names) < len(count):
            return separator
    return None


def several_in_one(label: str, known: Collection[str]) -> bool:
    """Whether a label that is not known is two known ones or more, joined as people join them."""
    apart = ({part.strip() for part in label.split(separator)} for separator in _SEPARATORS if separator in label)
    return label not in known and any(parts <= set(known) for parts in apart)


def label_names(where: str, rows: Iterable[LabelSet], lines: Sequence[int]) -> tuple[list[str], list[str]]:
    """(problems, notes): labels that differ only by case, blanks or what is not seen; labels with blanks around them.

    What is not seen: characters without a width, and the two ways to store an accented letter.
    """
    lines_of: dict[str, list[int]] = defaultdict(list)
    for labels, line in zip(rows, lines, strict=True):
        for label in labels:
            lines_of[label].append(line)
    alike: dict[str, list[str]] = defaultdict(list)
    for label in lines_of:
        alike[_seen(label)].append(label)

    def described(label: str, others: list[str]) -> str:
        same = sum(
            unicodedata.normalize("NFC", repr(other)) == unicodedata.normalize("NFC", repr(label)) for other in others
        )
        shown = ascii(label) if same > 1 else repr(label)
        return f"{shown} ({len(lines_of[label]):,}: {listed(lines_of[label]).partition(' (')[0]})"

    problems = [
        f"{where}s: labels that differ only by case, blanks or what is not seen: "
        f"{', '.join(described(label, labels) for label in labels)}. Write them alike."
        for key, labels in alike.items()
        if key and len(labels) > 1
    ]
    spaced = [label for label in lines_of if label.strip() and label != label.strip()]
    notes = [f"labels with spaces around them are kept so: {', '.join(map(repr, spaced))}."] if spaced else []
    return problems, notes


def _seen(label: str) -> str:
    """What the eye tells of a label, but for its case."""
    return " ".join(without_unseen(unicodedata.normalize("NFC", label)).split()).casefold()
