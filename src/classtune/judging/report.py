"""The page and the model card of a training run, from the JSON document that ``train --json`` prints.

Both need no script and no network, and a part of the document that is missing is left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from classtune.errors import BundleError
from classtune.judging import plots
from classtune.judging.plots import percent, shown

# The page stays below 300 KB however many classes and mistakes there are; classtune.json holds all of them.
SHOWN_LABELS, SHOWN_MISTAKES, SHOWN_PAIRS, SHOWN_NOTES = 150, 25, 10, 50
# Every part that the templates know, so that a missing one is None and not an error.
PARTS = {"bundle", "data", "splits", "test", "baseline", "verdict", "depth", "trunk", "training", "settings"}
PARTS |= {"cut_texts", "timing", "versions", "notes", "mistakes"}


def write_report(path: Path, result: dict[str, Any]) -> None:
    """Write ``result`` as one self-contained HTML page. Same result, same bytes. Raises BundleError if it cannot."""
    page = _render("report.html.j2", result, _figures(result))
    try:
        path.write_bytes(page.encode("utf-8", "replace"))
    except OSError as error:
        raise BundleError(f"{path}: the report cannot be written ({error.strerror}). Choose another folder.") from error


def model_card(result: dict[str, Any]) -> str:
    """The bundle's README.md: YAML front matter as the Hub reads it, then the figures in plain Markdown."""
    from huggingface_hub import ModelCardData

    front = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["classtune", "text-classification"],
        metrics=["accuracy", "f1"] if result.get("test") else None,
    )
    body = _render("card.md.j2", result, {}).encode("utf-8", "replace").decode()
    return f"---\n{front.to_yaml()}\n---\n\n{body}"


def _render(template: str, result: dict[str, Any], figures: dict[str, str]) -> str:
    from jinja2 import ChainableUndefined, Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("classtune.judging"),
        autoescape=template.endswith(".html.j2"),
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, number=_number, seconds=_seconds, shown=_shown, cell=_cell)
    parts = dict.fromkeys(PARTS) | {key: value for key, value in result.items() if key in PARTS}
    test = parts["test"] or {}
    labels = list(test.get("per_label") or {})
    limits = {"labels": SHOWN_LABELS, "mistakes": SHOWN_MISTAKES, "notes": SHOWN_NOTES}
    pairs = _confused_pairs(test["confusion"], labels) if len(labels) > 2 and test.get("confusion") else []
    return environment.get_template(template).render(**parts, figures=figures, pairs=pairs, limits=limits)


def _figures(result: dict[str, Any]) -> dict[str, str]:
    """The SVG figures that ``result`` has the numbers for, safe to stand in the page."""
    from markupsafe import Markup

    test, baseline, depth = result.get("test"), result.get("baseline"), result.get("depth") or {}
    found = {}
    if test and baseline:
        found["comparison"] = plots.comparison(test, baseline)
    if depth.get("curve"):
        found["depth"] = plots.depth_curve(depth["curve"], depth["kept"], depth["of"])
    if history := (result.get("training") or {}).get("history"):
        found["training"] = plots.training_curves(history)
    if test and test.get("confusion"):
        found["confusion"] = plots.confusion_matrix(test["confusion"], list(test["per_label"]))
    return {name: Markup(svg) for name, svg in found.items()}


def _confused_pairs(confusion: list[list[int]], labels: list[str]) -> list[tuple[int, str, str]]:
    """(count, true, predicted) of the most frequent mix-ups, most frequent first."""
    pairs = [
        (count, labels[true], labels[predicted])
        for true, row in enumerate(confusion)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    return sorted(pairs, key=lambda pair: -pair[0])[:SHOWN_PAIRS]


def _number(value: Any) -> str:
    """A count with thousands marked, a figure with three digits after the point, anything else as it is."""
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _seconds(value: float) -> str:
    """``4.25`` → ``4.2 s``, ``75`` → ``1 min 15 s``."""
    if value < 60:
        return f"{value:.1f}\u00a0s"
    return f"{round(value) // 60:,}\u00a0min {round(value) % 60}\u00a0s"


def _shown(value: Any, limit: int = 300) -> str:
    return shown(str(value), limit)


def _cell(value: Any, limit: int = 80) -> str:
    """A text as plain Markdown that cannot leave its table cell, link anywhere or hold HTML."""
    return re.sub(r"([\\`*_{}\[\]<>|~#&!:])", r"\\\1", shown(str(value), limit))
