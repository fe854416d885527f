"""One cell of a table: as text, as a set of labels, or as yes or no. Knows nothing of columns and files."""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import numpy as np

YES = frozenset(["1", "1.0", "true", "yes", "x"])
NO = frozenset(["0", "0.0", "false", "no", ""])
MOST_CHARACTERS = 10_000_000  # of a text
PART_END = "\n\n"  # between the parts of a text, which every tokenizer and every person reads as a new paragraph
# Control characters, and what is written and not seen: zero-width spaces, soft hyphens, marks of direction and byte
# order, variation selectors, and whatever else Unicode lets a font ignore (Default_Ignorable_Code_Point).
_UNSEEN = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_BRAILLE_BLANK = "\u2800"  # no white space to Unicode, and a blank to who sees it: it parts words
_BLANK = re.compile(rf"[\s{_BRAILLE_BLANK}{_UNSEEN.pattern[1:]}*")
LabelSet = tuple[str, ...]  # sorted, each label once; () for none


class Number(str):
    """A number of JSON lines, to the digit as it is written there; text like any other cell."""


class Broken(str):
    """A cell that shows something and has no value. reason: what is wrong with it."""

    reason: str

    def __new__(cls, shown: str, reason: str) -> Broken:
        cell = super().__new__(cls, shown)
        cell.reason = reason
        return cell


class RowText(str):
    """A text with what else of its row is read: cells of other columns (``--with``), or the two parts of a pair
    (``--pair``), which it is the join of. It is equal to the text alone.

    What reads texts need not know of them; what reads columns asks `cells_beside`, what reads pairs `pair_of`.
    """

    cells: dict[str, str]  # by the name of their column
    pair: tuple[str, str] | None

    def __new__(cls, text: str, cells: dict[str, str] | None = None, pair: tuple[str, str] | None = None) -> RowText:
        row = super().__new__(cls, text)
        row.cells, row.pair = cells or {}, pair
        return row

    def __getnewargs__(self) -> tuple[str, dict[str, str], tuple[str, str] | None]:  # type: ignore[override]
        return str(self), self.cells, self.pair  # what copies and pickles are made of


@dataclass(frozen=True)
class RowCells:
    """The cell of a text, or a tuple of its parts, with what else of its row is read, none of it read yet.

    beside: cells by column. pair: a tuple of the one cell of its pair; () where texts have none.
    """

    text: object
    beside: Mapping[str, object] = field(default_factory=dict)
    pair: tuple[object, ...] = ()


def cells_beside(text: str) -> Mapping[str, str]:
    """The cells beside a text by the name of their column; none for a text alone."""
    return text.cells if isinstance(text, RowText) else {}


def paired(first: str, second: str, cells: Mapping[str, str] | None = None) -> RowText:
    """A pair, as the text that its parts make together; a second part of blanks is none. cells: those beside it."""
    second = "" if is_blank(second) else str(second)
    return RowText(_joined([first, second]), dict(cells or {}), (str(first), second))


def as_pair(text: str) -> RowText:
    """A text as a pair; one that was not read as a pair is parted at its first blank line, which joins a pair."""
    if isinstance(text, RowText) and text.pair:
        return text
    first, _, second = text.partition(PART_END)
    return paired(first, second, cells_beside(text))


def parts_of(text: str) -> list[tuple[int, str]]:
    """Where in a text each of its parts begins, and the part: both of a pair, or a text alone as it is."""
    if not (isinstance(text, RowText) and text.pair):
        return [(0, text)]
    first, second = text.pair
    return [(0, first), (len(text) - len(second), second)]


def with_cells(text: str) -> tuple[str, ...]:
    """A text, its parts and the cells beside it: rows of which all are equal get one answer."""
    return (text, *(part for _, part in parts_of(text)), *cells_beside(text).values())


def with_beside(text: str, cells: dict[str, str]) -> RowText:
    """A text, or a pair, with cells beside it."""
    return RowText(text, cells, text.pair if isinstance(text, RowText) else None)


def as_beside(parts: Sequence[str], other: str) -> str:
    """The parts of a text (`parts_of`) in other words, with what stands beside it."""
    if not isinstance(other, RowText):
        return parts[0]
    return paired(parts[0], parts[1], other.cells) if other.pair else RowText(parts[0], other.cells)


def is_blank(text: str) -> bool:
    """Whether there is nothing in a text to read: no classifier is asked about it, of whatever kind it is."""
    return _BLANK.fullmatch(text) is not None


def without_unseen(text: str) -> str:
    """The text without what is written and not seen; its spaces stay, and blanks that are no white space become one."""
    return _UNSEEN.sub("", text).replace(_BRAILLE_BLANK, " ")


def as_text(cell: object) -> str:
    """A cell as a file would show it, "" for a missing one. Raises ValueError that says what is wrong."""
    cell = plain(cell)
    if isinstance(cell, Broken):
        raise ValueError(cell.reason)
    if isinstance(cell, str):
        try:
            cell.encode()
        except UnicodeEncodeError as error:
            code = f"U+{ord(cell[error.start]):04X}"
            raise ValueError(
                f"holds half a character (surrogate {code}), which no file can store. Write it whole"
            ) from None
        return str(cell)
    if is_missing(cell):
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, bytes):  # of Parquet files that were written without saying that they are text
        try:
            return cell.decode()
        except UnicodeDecodeError:
            raise ValueError("is bytes that are no UTF-8. Give text") from None
    if isinstance(cell, datetime.date | datetime.time | datetime.timedelta):
        return _moment(cell)
    if isinstance(cell, int | float | decimal.Decimal):
        return str(cell)
    raise ValueError(f"is of type {type(cell).__name__}. Give text")


def is_missing(cell: object) -> bool:
    """Whether a cell holds nothing: None, a number that is none, pandas's NA."""
    return cell is None or (isinstance(cell, float) and math.isnan(cell)) or type(cell).__name__ == "NAType"


def plain(cell: object) -> object:
    """NumPy's values as Python's, and members of an Enum that are text or numbers as what they stand for."""
    if isinstance(cell, np.generic):
        return to_microseconds(cell).item()
    return cell.value if isinstance(cell, enum.Enum) and isinstance(cell, str | int | float) else cell


def to_microseconds(values: Any) -> Any:
    """NumPy's moments and times, an array or one, as fine as Python's are: finer ones become mere numbers there."""
    return values.astype(f"{values.dtype.kind}8[us]") if values.dtype.kind in "mM" else values


def _moment(cell: datetime.date | datetime.time | datetime.timedelta) -> str:
    """As ISO 8601 has it, a blank between date and time. Midnight without a zone is the date alone: Excel, which knows
    no dates without a time, has it so."""
    if cell != cell:  # noqa: PLR0124 - pandas has a moment that is none
        return ""
    if isinstance(cell, datetime.timedelta):
        return str(cell)
    if isinstance(cell, datetime.datetime):
        if cell.tzinfo is None and cell.time() == datetime.time():
            return cell.date().isoformat()
        return cell.isoformat(sep=" ")
    return cell.isoformat()


def as_whole_text(cell: object) -> str:
    """`as_text` for a text to classify; a tuple holds its parts, those that are not blank joined by a blank line.

    `RowCells` are read to a RowText. Raises ValueError for one that takes gigabytes to cut into tokens, too.
    """
    if isinstance(cell, RowCells):
        cells = {name: as_text(one).strip() for name, one in cell.beside.items()}
        text = as_whole_text(cell.text)
        return paired(text, as_whole_text(cell.pair[0]), cells) if cell.pair else RowText(text, cells)
    parts = [as_text(part) for part in cell] if isinstance(cell, tuple) else [as_text(cell)]
    text = parts[0] if len(parts) == 1 else _joined(parts)
    text = cell if isinstance(cell, RowText) else text
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"has {len(text):,} characters, and at most {MOST_CHARACTERS:,} are read. Shorten it")
    return text


def _joined(parts: Sequence[str]) -> str:
    return PART_END.join(part for part in parts if not is_blank(part))


def holds_several(cell: object) -> TypeGuard[Any]:
    """Whether the cell is a list, tuple, set or array: of JSON, Parquet or Python."""
    return isinstance(cell, list | tuple | set | frozenset | np.ndarray)


def is_matrix(cells: Sequence[object]) -> bool:
    """Whether all cells are lists of 0 and 1 of one length, 2 or more: a matrix, or lists of labels of such names."""
    several = [cell for cell in cells if holds_several(cell)]
    lengths = {len(cell) for cell in several}
    if len(several) < len(cells) or len(lengths) != 1 or max(lengths) < 2:
        return False
    return all(str(item) in ("0", "1") for cell in several for item in cell)


def as_labels(cell: object, separator: str | None = None) -> LabelSet:
    """The labels in a cell: a list of them, or text cut at ``separator``. Spaces round a label are no part of it.

    Raises ValueError that says what is wrong.
    """
    if holds_several(cell):
        names = [as_text(item) for item in cell]
    else:
        text = as_text(cell)
        names = [text] if separator is None else text.split(separator)
    return tuple(sorted({name.strip() for name in names} - {""}))


def as_flag(cell: object) -> bool:
    """Whether the label of a column holds for a row: 1/0, true/false, yes/no or x/nothing, in any case.

    Raises ValueError for anything else.
    """
    text = as_text(cell)
    flag = text.strip().casefold()
    if flag not in YES | NO:
        raise ValueError(f"is {text!r}. Write 1 or 0, true or false, yes or no, or x or nothing")
    return flag in YES
