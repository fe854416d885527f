"""A file that is given to the page: what can be chosen of it, its rows, and what is wrong with it in the page's words.

Knows no classifier, only the record that says which columns it reads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from classtune.bundle import columns_of
from classtune.data.reading.columns import TableFormat, listed_names
from classtune.data.reading.isolated import read_upload, read_upload_columns
from classtune.data.reading.tables import Table
from classtune.errors import reworded
from classtune.inference.tables import of_bundles
from classtune.server.page import html as wording

# What errors tell people at a command line to do, and what they do here.
_HERE = (
    (re.compile(r"(Choose|Name it) with --text NAME\b.*"), "Choose it in the list above."),
    (re.compile(r"--text and --pair both name (.*)\. Name two columns\."), r"both lists name \1. Choose two columns."),
    (re.compile(r",? or name what is read instead \(--text\)"), ", or choose one column in the list above"),
    (re.compile(r" \(--(text|with|pair|no-quoting)\)"), ""),
    (re.compile(r"Choose with --sheet NAME\."), "Leave one of them in the file."),
    (re.compile(r"Pass (another )?--encoding\b[^.]*\."), "Save it as UTF-8."),
    (re.compile(r"Text saved as UTF-16 [^.]* needs --encoding \S+\."), "If it is text, save it as UTF-8."),
    (re.compile(r"Pass (another )?--delimiter\."), "Save it as .csv, with commas between columns."),
    (re.compile(r"Pass --no-quoting [^.]*\."), "Double the quotes that are part of texts."),
    (re.compile(r",? or pass --[a-z-]+"), ""),
)


@dataclass(frozen=True)
class FileColumns:
    """The columns of an uploaded file to choose from.

    texts: (what is shown, its name as ``--text`` takes it). pairs: none for a bundle that reads no pairs. text, pair:
    those that are likely meant. told: what the bundle reads, and whether it is there; problem: why there is nothing to
    choose; both as HTML.
    """

    texts: Sequence[tuple[str, str]] = ()
    text: str | None = None
    pairs: Sequence[str] = ()
    pair: str | None = None
    told: str = ""
    problem: str = ""


def offered_columns(file: str, record: dict[str, Any]) -> FileColumns:
    """What can be chosen of a file for the bundle of this record. Raises DataError."""
    with _said_here(file):
        offered = read_upload_columns(file, of_bundles(TableFormat(), [record]))
    names, expected = offered.names, columns_of(record)
    texts = [(each, each) for each in names]
    if offered.text is not None and offered.text not in names:  # several, whose cells make one text
        texts.insert(0, (f"{wording.listed(listed_names(offered.text))}, joined", offered.text))
    pair = expected.get("pair")
    return FileColumns(
        texts=texts,
        text=offered.text,
        pairs=names if pair else [],
        pair=pair if pair in names else None,
        told=wording.columns_html(expected, names),
    )


def read_rows(file: str, record: dict[str, Any], *, text: str | None, pair: str | None) -> Table:
    """The rows of a file that have a text. text, pair: its columns; None: as the bundle's own table had them.

    Raises DataError.
    """
    format = TableFormat(text=text or None, pair=pair or None, drop_empty=True)
    with _said_here(file):
        table = read_upload(file, of_bundles(format, [record]))
    return replace(table, name=Path(file).name)  # where it lies on this server is nobody's business


def _said_here(file: str) -> AbstractContextManager[None]:
    """What is wrong with a file, in the words of this page."""

    def here(problem: str) -> str:
        problem = problem.replace(file, Path(file).name)
        for flag, words in _HERE:
            problem = flag.sub(words, problem)
        return problem

    return reworded(here)
