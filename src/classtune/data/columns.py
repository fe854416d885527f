"""Which column holds the texts and which the labels. Knows names and cells, not files.

A choice is made only where a single reading is possible; otherwise the error lists the candidates and the flags.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from classtune.errors import DataError, did_you_mean

# fmt: off
TEXT_NAMES = frozenset([
    "text", "texts", "message", "messages", "sentence", "review", "tweet", "content", "body", "question", "comment",
    "title", "utterance", "document", "post", "sms", "email", "query", "headline", "description",
])
LABEL_NAMES = frozenset([
    "label", "labels", "class", "category", "target", "intent", "sentiment", "tag", "y", "topic", "emotion",
])
# fmt: on
SHOWN_NAME = 40  # characters


@dataclass(frozen=True)
class TableFormat:
    """How to read a table. None: find out."""

    text: str | None = None  # name of the text column; "1", "2", … where there is no header
    label: str | None = None
    encoding: str | None = None  # any of Python's text encodings
    delimiter: str | None = None  # one character, or "tab"
    quoting: bool | None = None  # True: as pandas reads, however the quotes lie; False: a quote is a character
    header: bool | None = None
    sheet: str | None = None  # of an Excel file
    drop_unlabelled: bool = False
    drop_empty: bool = False


@dataclass
class Grid:
    """What a file holds: columns by position, cells as the format gives them, and where each row starts."""

    names: list[str]
    column: Callable[[int], Sequence[Any]]
    lines: Sequence[int]  # from 1
    unit: str = "line"
    encoding: str | None = None
    delimiter: str | None = None
    guessed: tuple[int, int] | None = None  # positions of text and label, told by their cells alone
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def is_known(name: str, names: frozenset[str] = TEXT_NAMES | LABEL_NAMES) -> bool:
    """Whether a column of this name is taken for a text or a label without being told."""
    return name.strip().casefold() in names


def has_header(rows: Sequence[Sequence[str]], asked: Sequence[str], *, labelled: bool) -> bool:
    """Whether the first row holds column names. ``asked``: names that the user gave, ``rows``: equally wide.

    A known name is a header unless its column holds it again below (a label may be called "question"). A table of
    two columns whose labels are plain, the first row's among them, has none; nor has a column of texts.
    """
    first = rows[0]
    if any(name in first for name in asked):
        return True
    if any(is_known(cell, TEXT_NAMES) for cell in first) and any(is_known(cell, LABEL_NAMES) for cell in first):
        return True
    known = [column for column, cell in enumerate(first) if is_known(cell)]
    if any(all(row[column] != first[column] for row in rows[1:]) for column in known):
        return True
    if len(first) == 1:
        return labelled
    label = label_of_two(rows)
    return label is None or all(row[label] != first[label] for row in rows[1:])


def label_of_two(rows: Sequence[Sequence[str]]) -> int | None:
    """Which of two columns (0 or 1) is the label: the one of few, repeated values. None when it is not plain."""
    if len(rows[0]) != 2:
        return None
    distinct = [len({row[column] for row in rows}) for column in (0, 1)]
    label = distinct.index(min(distinct))
    return label if 2 * distinct[label] <= min(len(rows), distinct[1 - label]) else None


def with_names(rows: list[list[str]], starts: list[int], table: TableFormat, *, labelled: bool) -> Grid:
    """The grid of rows of equal width, with their header taken off or, without one, columns called 1, 2, …"""
    asked = [name for name in (table.text, table.label) if name is not None]
    header = table.header if table.header is not None else has_header(rows, asked, labelled=labelled)
    if header:
        names, rows, starts = [name.strip() for name in rows[0]], rows[1:], starts[1:]
        return Grid(names, lambda column: [row[column] for row in rows], starts)
    grid = Grid(
        [str(column) for column in range(1, len(rows[0]) + 1)], lambda column: [row[column] for row in rows], starts
    )
    label = label_of_two(rows)
    if label is not None and not asked:
        grid.guessed = (1 - label, label)
        grid.notes = [f"no header: column {label + 1} is read as the label, column {2 - label} as the text."]
    elif len(grid.names) == 1:
        grid.notes = ["no header: every line is read as a text."]
    return grid


def choose_columns(
    where: str, names: Sequence[str], text: str | None, label: str | None, *, labelled: bool
) -> tuple[int, int | None]:
    """Positions of the text and the label column (None unless ``labelled``). ``text``, ``label``: names asked for.

    Raises DataError for names that stand twice, that do not exist, or that leave more or less than one reading.
    """
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        listed = ", ".join(map(repr, twice))
        raise DataError(f"{where}: columns of the same name: {listed}. Give each column its own name.")
    problems = [
        f"{where}: no column is called {name!r} ({flag}). {did_you_mean(name, filter(None, names))}"
        for flag, name in (("--text", text), ("--label", label))
        if name is not None and name not in names and (labelled or flag == "--text")
    ]
    if problems:
        raise DataError(problems)
    if text is not None and text == label and labelled:
        raise DataError(f"{where}: --text and --label both name {text!r}. Name two columns.")

    columns = [column for column, name in enumerate(names) if name]
    texts = [names.index(text)] if text is not None else [c for c in columns if is_known(names[c], TEXT_NAMES)]
    labels = [names.index(label)] if label in names else [c for c in columns if is_known(names[c], LABEL_NAMES)]
    if text is None and label is not None:
        texts = [column for column in texts if column not in labels]
    if label is None and text is not None:
        labels = [column for column in labels if column not in texts]
    # With one of two columns known, the other can only be the other; so can a column alone.
    if not texts and len(columns) == 2 and len(labels) == 1:
        texts = [column for column in columns if column not in labels]
    if not texts and len(columns) == 1 and not labelled:
        texts = columns
    if not labels and len(columns) == 2 and len(texts) == 1:
        labels = [column for column in columns if column not in texts]

    wanted = [("text", texts), ("label", labels)] if labelled else [("text", texts)]
    problems = [_ambiguous(where, role, names, found) for role, found in wanted if len(found) != 1]
    if problems:
        raise DataError(problems)
    return texts[0], labels[0] if labelled else None


def _ambiguous(where: str, role: str, names: Sequence[str], found: list[int]) -> str:
    if found:
        listed = ", ".join(repr(names[column]) for column in found)
        return f"{where}: more than one column could hold the {role}: {listed}. Choose with --{role} NAME."
    listed = ", ".join(repr(name if len(name) <= SHOWN_NAME else name[:SHOWN_NAME] + "…") for name in names if name)
    return (
        f"{where}: no column looks like the {role} among {listed}. "
        f"Name it with --{role} NAME or, if these are no names, --no-header --{role} NUMBER."
    )
