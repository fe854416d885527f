"""What the tables of a run are called: by the page and the card, and in the commands that go on from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from classtune.config.options import as_options
from classtune.data.dataset import DataFacts
from classtune.result import Result

# What tables are called that no command can read again, and what stands in a command for them.
_NO_FILE = dict.fromkeys(("training data", "standard input"), "table.csv")


def without_folders(data: DataFacts) -> DataFacts:
    """The same with the tables' names alone, not where they lie."""
    added = [Path(name).name for name in data.added]
    whole = bool(added) and data.name != data.added[0]  # else nothing that was added was new
    return replace(data, name=" and ".join(added) if whole else Path(data.name or "").name, added=added)


def told_again(result: Result) -> dict[str, Any]:
    """What a command is told again that makes the next version: the table and after it those that were added to it, and
    as options what answers were asked for."""
    tables = [_NO_FILE.get(name, name) for name in result.data.added or [result.data.name]]
    return {"tables": tables, "asked_for": as_options(result.settings.model_dump())}
