"""What commands read and print."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from classtune.data.reading.columns import TableFormat
    from classtune.data.reading.tables import Table
    from classtune.screen import Screen


def open_table(data: str, format: TableFormat, view: Screen, *, labelled: bool = True) -> Table:
    """The table that DATA names."""
    from classtune.data.catalogue import open_data

    return open_data(data, format, labelled=labelled, stdin=sys.stdin.buffer, notify=view.note)


def is_table(text: str) -> bool:
    """Whether `predict` is given no text but a table: standard input, a file, or the name of one that is missing."""
    from classtune.data.reading.formats import KINDS

    try:
        return text == "-" or Path(text).is_file() or (Path(text).suffix in KINDS and len(text.split()) == 1)
    except OSError:  # too long for a path: it is a text
        return False


def print_json(document: Any) -> None:
    """The result, as one JSON document."""
    print(json.dumps(document, ensure_ascii=False, allow_nan=False))
