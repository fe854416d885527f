"""The tutorial's table as Markdown, CSV and one HTML page with its curves, from the document of `jobs/tutorial/`.

Knows the document only. Same document, same bytes.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from classtune.errors import counted
from classtune.files import new_file
from classtune.report.plots import training_curves

HEADER = (
    "row",
    "what it changes",
    "train %",
    "validation %",
    "test %",
    "95 % interval",
    "test % without copies",
    "seconds",
    "published train / validation / test %",
    "published minutes (A100)",
)


def table(document: dict[str, Any]) -> list[tuple[str, ...]]:
    """The cells of each row, as `HEADER` names them; then the baselines, which have no number."""
    rows: list[tuple[str, ...]] = []
    for row in document["rows"]:
        published = row["published"]
        figures = (_percent(published[part] / 100) for part in ("train", "validation", "test")) if published else ()
        rows.append(
            (
                str(row["row"]),
                row["change"],
                _percent(row["train"]),
                _percent(row["validation"]),
                *_tested(row),
                f"{row['seconds']:,.0f}",
                " / ".join(figures),
                f"{published['minutes']:.2f}" if published else "",
            )
        )
    for baseline in document["baselines"]:
        rows.append(("", baseline["name"], "", "", *_tested(baseline), "", "", ""))
    return rows


def sentences(document: dict[str, Any]) -> list[str]:
    """What belongs to the table, in words."""
    splits, passes = document["splits"], document["passes"]
    parts = ", ".join(f"{size:,} {part}" for part, size in splits.items())
    lines = [f"{document['data']}: {parts} texts. Backbone of the rows: {_named(document)}."]
    if document["rows"]:
        first = document["rows"][0]
        fresh, tested = first["without_copies"]["rows"], first["test"]["rows"]
        lines.append(
            f"{tested - fresh:,} of {tested:,} test texts stand in the training rows when only letters count; "
            f"the column without copies is of the {fresh:,} others."
        )
    for one in passes["of"]:
        if len(one["rows"]) > 1:
            numbers = ", ".join(map(str, one["rows"]))
            lines.append(f"Rows {numbers} shared one pass of the trunk in this run ({one['seconds']:,.0f} s).")
    if passes["saved"]:
        done = passes["done"]
        lines.append(f"{counted(done, 'pass', 'passes')} of a trunk in place of {done + passes['saved']}.")
    lines.append("Seconds are what a row takes alone: its trunk's pass is counted in each row that shares it.")
    lines += [f"Row {row['row']} is row {row['same_as']}." for row in document["rows"] if row["same_as"]]
    lines += [f"Row {one['row']} ({one['change']}) was skipped: {one['reason']}" for one in document["skipped"]]
    return lines


def write_tables(folder: Path, document: dict[str, Any]) -> None:
    """Write ``tutorial.json``, ``.md``, ``.csv`` and ``.html``. Raises BundleError where one cannot be written."""
    pages = {
        "json": json.dumps(document, indent=2, ensure_ascii=False) + "\n",
        "md": markdown(document),
        "csv": _csv(document),
        "html": page(document),
    }
    for suffix, text in pages.items():
        with new_file(folder / f"tutorial.{suffix}", force=True) as scratch:
            scratch.write_text(text, encoding="utf-8", newline="")


def markdown(document: dict[str, Any]) -> str:
    """The table and its sentences."""
    lines = [f"# The tutorial's rows on {_named(document)}", ""]
    lines += ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table(document)]
    return "\n".join([*lines, "", *(f"- {sentence}" for sentence in sentences(document))]) + "\n"


def page(document: dict[str, Any]) -> str:
    """The table, its sentences, and the curves of loss and accuracy over epochs and texts seen, a figure a row."""
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("classtune.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    curves = [
        (f"Row {row['row']}: {row['change']}", f"row-{row['row']}", Markup(training_curves(row["history"])))
        for row in document["rows"]
        if row["history"]
    ]
    values = {"named": _named(document), "header": HEADER, "rows": table(document), "sentences": sentences(document)}
    return environment.get_template("tutorial.html.j2").render(**values, curves=curves)


def _csv(document: dict[str, Any]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([HEADER, *table(document)])
    return stream.getvalue()


def _named(document: dict[str, Any]) -> str:
    """The backbone: of a folder its name alone, since pages are handed on."""
    model: str = document["model"]
    return Path(model).name if Path(model).is_absolute() or model.startswith((".", "~")) else model


def _tested(row: dict[str, Any]) -> tuple[str, str, str]:
    low, high = row["test"]["ci95"]
    fresh = row["without_copies"]["accuracy"]
    interval = f"{100 * low:.2f} to {100 * high:.2f}"
    return _percent(row["test"]["accuracy"]), interval, "" if fresh is None else _percent(fresh)


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"
