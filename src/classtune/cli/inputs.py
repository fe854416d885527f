"""What the words after a command mean, and how its result is printed as JSON."""

from __future__ import annotations

import glob
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from classtune.errors import C1_ESCAPES, SettingsError

LARGE_BYTES = 1 << 28  # a Parquet file beyond this is not read at once
_ANSWER_FILES = (".csv", ".xlsx", ".jsonl")


def what_is_given(words: Sequence[str], output: str | None) -> Literal["texts", "table", "shards"]:
    """What `predict` is given: texts; one table; or what is answered in shards (folders, patterns, several tables, one
    that is large, or anything where ``output`` is a folder).

    A word names a table where it is ``-``, a file or a pipe, a folder written with a separator (or any, where answers
    go to a folder), a pattern that tables fit, or has no space and ends as tables do: a missing file is no text.
    Raises SettingsError for tables and texts together, and for several tables into one file.
    """
    to_folder = output is not None and Path(output).suffix not in _ANSWER_FILES
    tables = [word for word in words if _names_table(word, to_folder=to_folder)]
    texts = [word for word in words if word not in tables]
    if tables and texts:
        raise SettingsError(
            f"{tables[0]!r} is a table and {texts[0][:60]!r} is a text: give tables or texts, not both. "
            "A text that is called like a file can come through standard input: -."
        )
    if output is not None and (output.endswith(("/", os.sep)) or Path(output).is_dir()):
        return "shards"
    if not tables:
        return "texts"
    if len(tables) == 1 and not _is_bulky(tables[0]):
        return "table"
    if not to_folder and output is not None:
        raise SettingsError(f"-o {output}: several tables are answered into a folder. Name one, such as -o answers/.")
    return "shards"


def _names_table(word: str, *, to_folder: bool) -> bool:
    from classtune.data.reading.formats import is_table_name

    path = Path(word)
    try:
        if path.is_dir():
            return os.sep in word or "/" in word or (to_folder and word != "")
        if word == "-" or path.exists():
            return True
        if is_table_name(word) and len(word.split()) == 1:
            return True
        return glob.has_magic(word) and any(map(_is_table_file, glob.iglob(word, recursive=True)))
    except (OSError, ValueError):  # too long for a path: it is a text
        return False


def _is_table_file(path: str) -> bool:
    from classtune.data.reading.formats import is_table_name

    return is_table_name(path) and os.path.isfile(path)


def _is_bulky(table: str) -> bool:
    path = Path(table)
    if path.is_file():
        return path.suffix.lower() == ".parquet" and path.stat().st_size > LARGE_BYTES
    return path.is_dir() or glob.has_magic(table)


def print_json(document: Any) -> None:
    """The result, as one JSON document. Control characters are written as escapes: a terminal would run them. So are
    characters that standard output may lack."""
    unicode = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    text = json.dumps(document, ensure_ascii=not unicode, allow_nan=False)
    print(text.translate(C1_ESCAPES))
