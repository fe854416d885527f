"""Which column holds the texts and which the labels. Knows names and cells, not files.

A choice is made only where a single reading is possible; otherwise the error lists the candidates and the flags.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from classtune.data.reading.guesses import by_cells, by_words
from classtune.errors import DataError, SettingsError, did_you_mean

# fmt: off
TEXT_NAMES = frozenset([
    "text", "texts", "message", "messages", "sentence", "review", "tweet", "content", "body", "question", "comment",
    "title", "utterance", "document", "post", "sms", "email", "query", "headline", "description",
])
LABEL_NAMES = frozenset([
    "label", "labels", "class", "category", "target", "intent", "sentiment", "tag", "y", "topic", "emotion",
    "annotation", "choice",
])
# fmt: on
SHOWN_NAME = 40  # characters
SHOWN_NAMES = 12
_OF_TEXTS = ("--with", "--pair")  # flags of columns that are read with the texts, labels or not


@dataclass(frozen=True)
class TableFormat:
    """How to read a table. None: find out."""

    text: str | None = None  # name of the text column, or names joined by commas; "1", "2", … without a header
    label: str | None = None
    encoding: str | None = None  # any of Python's text encodings
    delimiter: str | None = None  # one character, or "tab"
    quoting: bool | None = None  # True: as pandas reads, however the quotes lie; False: a quote is a character
    header: bool | None = None
    sheet: str | None = None  # of an Excel file
    drop_unlabelled: bool = False  # of several labels a row: rows that have none
    drop_empty: bool = False
    label_separator: str | None = None  # between the labels of a cell that holds several
    label_columns: tuple[str, ...] = ()  # names of columns of 1 and 0, one a label
    beside: tuple[str, ...] = ()  # names of columns that are features beside the text
    pair: str | None = None  # name of a column of texts, each of which makes a pair with the row's text
    may_lack: bool = False  # of ``beside`` and ``pair`` those are read that the table has; the others are empty cells
    group: str | None = None  # name of a column whose equal cells mark rows that belong together
    preferred_text: str | None = None  # taken where the table has it and ``text`` is unset: a bundle's own column
    preferred_label: str | None = None
    preferred_separator: str | None = None  # between labels, where ``label_separator`` is unset
    preferred_label_columns: tuple[str, ...] = ()  # where the table has them and nothing is said of labels
    lenient: bool = False  # keep what an audit reports: empty texts, empty labels, labels that are nearly the same
    keep: bool = False  # all columns, those that are not asked for too; always so where labels are not read

    def __post_init__(self) -> None:
        problems = []
        if self.label_separator is not None and not self.label_separator.strip(" "):
            problems.append(f"--label-separator {self.label_separator!r}: must be a character other than a space.")
        if self.label_columns and self.label_separator is not None:
            problems.append("--label-separator and --label-columns are two ways to write several labels. Give one.")
        if self.label_columns and self.label is not None:
            problems.append(f"--label {self.label!r} and --label-columns both say where the labels are. Give one.")
        if problems:
            raise SettingsError(problems)

    @property
    def named(self) -> list[tuple[str, str]]:
        """(flag, column) for each column that was asked for by name; those of the text together."""
        one = [("--text", self.text), ("--pair", self.pair), ("--label", self.label), ("--split-by", self.group)]
        several = [("--label-columns", name) for name in self.label_columns]
        several += [("--with", name) for name in self.beside]
        return [(flag, name) for flag, name in one if name is not None] + several

    @property
    def asked(self) -> list[str]:
        """Every name that may stand in the header because it was asked for; of a list of names each, and the whole."""
        names = {name: None for _, name in self.named}
        return list(names | dict.fromkeys(listed_names(self.text or "")))

    @property
    def preferred(self) -> list[str]:
        """Names of columns that are taken where the table has them; numbers are the names of no header."""
        names = [self.preferred_text or "", *listed_names(self.preferred_text or ""), self.preferred_label or ""]
        return [name for name in dict.fromkeys(names) if name and not name.isdecimal()]


@dataclass(frozen=True)
class Columns:
    """Positions of the columns that are read. texts: one, or those whose cells make one text, in this order."""

    texts: tuple[int, ...]
    label: int | None = None
    flags: tuple[int, ...] = ()  # one a label, where each has its own
    beside: tuple[int, ...] = ()  # features beside the text
    pair: int | None = None
    group: int | None = None
    notes: tuple[str, ...] = ()


def listed_names(names: str) -> list[str]:
    """``"subject, body"`` → subject, body."""
    return [name.strip() for name in names.split(",") if name.strip()]


def is_known(name: str, names: frozenset[str] = TEXT_NAMES | LABEL_NAMES) -> bool:
    """Whether a column of this name is taken for a text or a label without being told."""
    return name.strip().casefold() in names


def choose_columns(
    where: str,
    names: Sequence[str],
    table: TableFormat,
    *,
    labelled: bool,
    cells: Callable[[int], Sequence[Any]] | None = None,
) -> Columns:
    """Which columns are read: the text's alone, or with ``labelled`` the labels' too, and those asked for by name.

    cells: those of a column, to guess by where its name is not known. What was guessed is in ``Columns.notes``.
    Raises DataError for names that do not exist, that leave more or less than one reading, or that are two columns'.
    """
    flags, of_labels = table.preferred_label_columns, table.label or table.label_separator or table.label_columns
    if flags and not of_labels and (set(flags) <= set(names) or _lacks_some(flags, names)):
        table = replace(table, label_columns=flags)
    if table.may_lack:
        there = tuple(name for name in table.beside if name in names)
        table = replace(table, beside=there, pair=table.pair if table.pair in names else None)
    asked = [(flag, name) for flag, name in table.named if flag in _OF_TEXTS or (flag != "--text" and labelled)]
    told = _told_texts(where, names, table)
    asked = [("--text", name) for name in told if table.text is not None] + asked
    _check_asked(where, names, asked, table)
    one_label = labelled and not table.label_columns
    aside = [names.index(name) for flag, name in asked if flag in ("--label-columns", "--split-by", *_OF_TEXTS)]
    columns = [column for column, name in enumerate(names) if name and column not in aside]
    texts, labels = _by_names(names, columns, told, table, one_label=one_label)
    notes: list[str] = []
    if not texts:
        texts = _guess("text", names, [column for column in columns if column not in labels], cells, notes)
    if not labels and one_label:
        labels = _guess("label", names, [column for column in columns if column not in texts], cells, notes)
    wanted = [("text", texts, len(told) or 1), ("label", labels, 1)][: 1 + one_label]
    used = {names[column] for _, likely, _ in wanted for column in likely} | {name for _, name in asked}
    twice = [name for name, count in Counter(names).items() if count > 1 and name in used]
    if twice:
        listed = ", ".join(map(repr, twice))
        raise DataError(f"{where}: columns of the same name: {listed}. Give each column its own name.")
    problems = [_ambiguous(where, role, names, likely) for role, likely, many in wanted if len(likely) != many]
    if problems:
        if labelled and table.group is not None:
            _check_group(where, names, table, cells)
        raise DataError(problems)
    return Columns(
        texts=tuple(texts),
        label=labels[0] if one_label else None,
        flags=tuple(names.index(name) for name in table.label_columns) if labelled else (),
        beside=tuple(names.index(name) for name in table.beside),
        pair=None if table.pair is None else names.index(table.pair),
        group=names.index(table.group) if labelled and table.group is not None else None,
        notes=tuple(notes),
    )


def _lacks_some(flags: Sequence[str], names: Sequence[str]) -> bool:
    """Whether a table has some of the labels' columns and no other column of labels: what it lacks is then missed."""
    return not set(flags).isdisjoint(names) and not any(is_known(name, LABEL_NAMES) for name in names)


def _check_group(
    where: str, names: Sequence[str], table: TableFormat, cells: Callable[[int], Sequence[Any]] | None
) -> None:
    """Raise DataError where what rows are kept together by would be read as their text or label, and nothing else."""
    try:
        chosen = choose_columns(where, names, replace(table, group=None), labelled=True, cells=cells)
    except DataError:
        return
    if chosen.label is not None and names[chosen.label] == table.group:
        raise DataError(_by_label(where, table.group))
    if table.group in [names[column] for column in chosen.texts]:
        raise DataError(
            f"{where}: --split-by {table.group!r} names the column of the texts: copies of a text are kept together "
            "anyway. Write --split-by exact."
        )


def _by_label(where: str, group: str) -> str:
    return (
        f"{where}: --split-by {group!r} names the column of the labels: rows of one label cannot be kept together, for "
        "every part needs each label. Name another column, near or exact."
    )


def _check_asked(where: str, names: Sequence[str], asked: Sequence[tuple[str, str]], table: TableFormat) -> None:
    """Raise DataError for (flag, name) that are no columns, or one column for two things."""
    problems = [
        f"{where}: no column is called {name!r} ({flag}). {did_you_mean(name, filter(None, names))}"
        for flag, name in asked
        if name not in names
    ]
    if problems:
        raise DataError(problems)
    texts = [name for flag, name in asked if flag == "--text"]
    labels = [name for flag, name in asked if flag in ("--label", "--label-columns")]
    if table.group in labels and ("--split-by", table.group) in asked:
        raise DataError(_by_label(where, table.group))
    clash = [("--text", flag, name) for flag, name in asked if name in texts and flag in ("--label", "--label-columns")]
    clash += [("--label", flag, name) for flag, name in asked if name in labels and flag in _OF_TEXTS]
    clash += [("--text", flag, name) for flag, name in asked if name in texts and flag == "--pair"]
    if clash:
        one, other, name = clash[0]
        raise DataError(f"{where}: {one} and {other} both name {name!r}. Name two columns.")


def _told_texts(where: str, names: Sequence[str], table: TableFormat) -> list[str]:
    """The columns of the text as asked for, or as preferred where the table has them; else none.

    A column whose own name has commas comes before those that it would list. Raises DataError where the table has some
    of the preferred ones and not all: what is read would be another kind of text than the classifier knows.
    """
    if table.text is not None:
        return [table.text] if table.text in names else list(dict.fromkeys(listed_names(table.text))) or [table.text]
    preferred = table.preferred_text
    if preferred is None or preferred in names:
        return [preferred] if preferred is not None and preferred != table.label else []
    parts = listed_names(preferred)
    missing = [name for name in parts if name not in names]
    if len(missing) in (0, len(parts)):
        return [] if missing or table.label in parts else parts
    raise DataError(
        f"{where}: the texts are {_listed(parts)} joined, and no column is called {_listed(missing)}. "
        "Add it, with empty cells if need be, or name what is read instead (--text)."
    )


def _by_names(
    names: Sequence[str], columns: list[int], told: Sequence[str], table: TableFormat, *, one_label: bool
) -> tuple[list[int], list[int]]:
    """The columns that hold or could hold the text, and the label: as told, as preferred, or by known names."""
    label = table.label
    if label is None and table.preferred_label in names and table.preferred_label not in told:
        label = table.preferred_label
    texts = [names.index(name) for name in told] or [c for c in columns if is_known(names[c], TEXT_NAMES)]
    labels = [names.index(label)] if label in names else [c for c in columns if is_known(names[c], LABEL_NAMES)]
    if not told and label is not None:
        texts = [column for column in texts if column not in labels]
    if label is None and told:
        labels = [column for column in labels if column not in texts]
    # With one of two columns known, the other can only be the other; so can a column alone.
    if not texts and len(columns) == 2 and len(labels) == 1:
        texts = [column for column in columns if column not in labels]
    if not texts and len(columns) == 1 and not one_label:
        texts = columns
    if not labels and len(columns) == 2 and len(texts) == 1:
        labels = [column for column in columns if column not in texts]
    return texts, labels


def _guess(
    role: str,
    names: Sequence[str],
    columns: Sequence[int],
    cells: Callable[[int], Sequence[Any]] | None,
    notes: list[str],
) -> list[int]:
    """The columns that could hold a text or a label; of one, which is taken, ``notes`` says so."""
    likely, why = by_words(role, names, columns), "its name"
    if len(likely) != 1 and cells is not None:
        by_name, why = likely, "what stands in it"
        likely = by_cells(role, names, cells, by_name or columns) or by_name
    if len(likely) == 1:
        name = names[likely[0]]
        notes.append(f"the {role} is read from column {name!r}, by {why}. Choose another with --{role} NAME.")
    return likely


def _listed(names: Sequence[str]) -> str:
    named = [name for name in names if name]
    if not named:
        return "columns without a name"
    shown = ", ".join(
        repr(name if len(name) <= SHOWN_NAME else name[:SHOWN_NAME] + "…") for name in named[:SHOWN_NAMES]
    )
    return shown + (f" and {len(named) - SHOWN_NAMES:,} more" if len(named) > SHOWN_NAMES else "")


def _ambiguous(where: str, role: str, names: Sequence[str], likely: list[int]) -> str:
    if likely:
        listed = _listed([names[column] for column in likely])
        both = " Several are joined by --text A,B." if role == "text" else ""
        return f"{where}: more than one column could hold the {role}: {listed}. Choose with --{role} NAME.{both}"
    listed = _listed(names)
    return (
        f"{where}: no column looks like the {role} among {listed}. "
        f"Name it with --{role} NAME or, if these are no names, --no-header --{role} NUMBER."
    )
