"""Every candidate side by side on the same test rows, with what it costs, and the one that `train` would ship."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from classtune.config import Progress, Settings
from classtune.data.reading.tables import Table
from classtune.errors import SettingsError
from classtune.files import new_file
from classtune.jobs.steps import Notify
from classtune.jobs.train import train
from classtune.report.curves import accuracy_over_cost
from classtune.report.page import write_report
from classtune.result import Result

# The tutorial's; a network that is trained as a whole forgets at the rate that suits its last blocks.
FULL_LEARNING_RATE = 5e-5
# What of a run's result is told beside the candidates.
PARTS = ("data", "splits", "cross_validated", "depth", "settings", "timing", "chosen", "verdict", "under_wishes")
SECTIONS = ("candidates", "rows", "made")


def compare(
    table: Table,
    settings: Settings,
    *,
    validation: Table | None = None,
    test: Table | None = None,
    full: bool = False,
    notify: Notify,
    progress: Progress,
) -> Result:
    """What `train` compares, and nothing is saved: the same candidates, the same choice.

    full: every backbone is tried, and all its blocks are trained. Raises DataError, SettingsError or SourceError.
    """
    if test is None and settings.test == 0:
        raise SettingsError("test = 0: candidates are compared on test rows. Leave them a share, or give test rows.")
    if full:
        rate = min(settings.learning_rate, FULL_LEARNING_RATE)
        told = {"effort": "best", "trainable": "all", "learning_rate": rate}
        settings = settings.model_copy(update=told)
    return train(table, settings, validation=validation, test=test, notify=notify, progress=progress).result


def document(result: Result) -> dict[str, Any]:
    """What ``compare --json`` prints: the comparison, and what is told beside it."""
    whole = result.document()
    return {**whole["comparison"], **{part: whole[part] for part in PARTS}}


def write_comparison(path: Path, result: Result, *, force: bool = False) -> None:
    """The comparison as an HTML page like a bundle's report; see `new_file`."""
    shown = replace(result, test=None, baseline=None, trunk=None, training=None, versions={})
    with new_file(path, force=force) as scratch:
        write_report(scratch, shown, sections=SECTIONS)


def write_picture(path: Path, result: Result, *, force: bool = False) -> None:
    """Accuracy over cost as an SVG file; see `new_file`."""
    assert result.comparison is not None
    with new_file(path, force=force) as scratch:
        scratch.write_text(accuracy_over_cost(result.comparison), encoding="utf-8")
