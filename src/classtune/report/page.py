"""The page and the model card of a training run, from the JSON document that ``train --json`` prints.

Both need no script and no network, and a part of the document that is missing is left out.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from classtune.errors import BundleError
from classtune.report import curves, plots
from classtune.report.plots import percent, shown

# The page stays far below 1 MB however many classes, findings and mistakes there are; classtune.json holds all of them.
LIMITS = {
    "labels": 150,
    "open_rows": 12,
    "mistakes": 25,
    "notes": 50,
    "findings": 30,
    "advice": 6,
    "examples": 8,
    "lines": curves.MOST_LINES,
}
SHOWN_PAIRS, SHOWN_CHARACTERS = 10, 400
# The page's sections in their order, named as in sections.html.j2: what to do, the evidence, the data, the training.
CONTENTS = {
    "todo": "What to do",
    "worth": "Notes",
    "figures_on_test": "Figures on the test texts",
    "candidates": "Candidates compared",
    "confusion": "Confusion matrix",
    "per_label": "Per-class results",
    "certainty": "Calibration",
    "answers": "Coverage and error",
    "wrong": "Most confident mistakes",
    "audited": "Data audit",
    "rows": "Data",
    "made": "How it was trained",
}
# Every part that the templates know, so that a missing one is None and not an error.
PARTS = {"bundle", "data", "splits", "test", "baseline", "verdict", "depth", "trunk", "training", "settings"}
PARTS |= {"cut_texts", "timing", "versions", "notes", "mistakes", "audit", "comparison", "calibration", "decisions"}
PARTS |= {"curves", "keeps_texts", "labels", "cut_tokens", "quotes"}
PARTS |= {"chosen", "under_wishes", "cross_validated", "hugging_face"}
# Kinds of findings whose name is not plain enough.
FINDINGS = {
    "leak": "Copies across splits",
    "html-entities": "HTML entities",
    "mojibake": "Damaged characters (mojibake)",
}


def write_report(path: Path, result: dict[str, Any]) -> None:
    """Write ``result`` as one self-contained HTML page. Same result, same bytes. Raises BundleError if it cannot.

    Of the bundle's place it says the folder's name: reports are handed on, and served.
    """
    shown = result | {"bundle": Path(result["bundle"]).name} if result.get("bundle") else result
    page = _render("report.html.j2", shown, _figures(result))
    try:
        path.write_bytes(page.encode("utf-8", "replace"))
    except OSError as error:
        raise BundleError(f"{path}: the report cannot be written ({error.strerror}). Choose another folder.") from error


def model_card(result: dict[str, Any]) -> str:
    """The bundle's README.md: YAML front matter as the Hub reads it, then the figures in plain Markdown."""
    from huggingface_hub import ModelCardData

    front = ModelCardData(
        library_name="classtune" if result.get("hugging_face") is False else "transformers",
        pipeline_tag="text-classification",
        tags=["classtune", "text-classification"],
        metrics=["accuracy", "f1"] if result.get("test") else None,
        **_model_index(result),
    )
    body = _render("card.md.j2", result, {}).encode("utf-8", "replace").decode()
    return f"---\n{front.to_yaml()}\n---\n\n{body}"


def _render(template: str, result: dict[str, Any], figures: dict[str, str]) -> str:
    from jinja2 import ChainableUndefined, Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("classtune.report"),
        autoescape=template.endswith(".html.j2"),
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, number=_number, seconds=_seconds, milliseconds=_milliseconds)
    environment.filters.update(size=_size, shown=_shown, cell=_cell, finding=_finding, tinted=_tinted, coded=_coded)
    environment.filters.update(numeric=lambda title: f"#{title}")
    environment.globals.update(pair_up=lambda *columns: list(zip(*columns, strict=False)))
    parts = dict.fromkeys(PARTS) | {key: value for key, value in result.items() if key in PARTS}
    test = parts["test"] or {}
    labels = list(test.get("per_label") or {})
    pairs = _confused_pairs(test["confusion"], labels) if len(labels) > 2 and test.get("confusion") else []
    page = environment.get_template(template)
    return page.render(**parts, figures=figures, pairs=pairs, limits=LIMITS, contents=list(CONTENTS.items()))


def _figures(result: dict[str, Any]) -> dict[str, str]:
    """The SVG figures that ``result`` has the numbers for, safe to stand in the page."""
    from markupsafe import Markup

    parts = {key: result.get(key) or {} for key in PARTS}
    test, depth, drawn = parts["test"], parts["depth"], parts["curves"]
    figures = {}
    if test.get("accuracy_ci95") and parts["baseline"].get("accuracy_ci95"):
        figures["comparison"] = plots.comparison(test, parts["baseline"], parts["chosen"].get("name"))
    if candidates := [one for one in parts["comparison"].get("candidates") or [] if curves.has_cost(one)]:
        figures["over_cost"] = curves.accuracy_over_cost(candidates, parts["comparison"].get("recommended"))
    if test.get("confusion"):
        figures["confusion"] = plots.confusion_matrix(test["confusion"], list(test["per_label"]))
    if lines := drawn.get("precision_recall"):
        per_label = test.get("per_label") or {}
        worst = sorted(lines, key=lambda label: per_label.get(label, {}).get("f1", 0.0))
        figures["precision_recall"] = curves.precision_recall({label: lines[label] for label in worst})
    if any((parts["calibration"].get(side) or {}).get("bins") for side in ("before", "after")):
        figures["reliability"] = curves.reliability(parts["calibration"])
    if (drawn.get("risk_coverage") or {}).get("answered"):
        abstention = parts["decisions"].get("abstention") or {}
        figures["risk_coverage"] = curves.risk_coverage(drawn["risk_coverage"], abstention.get("max_error"))
    if depth.get("curve"):
        figures["depth"] = plots.depth_curve(depth["curve"], depth["kept"], depth["of"])
    if history := parts["training"].get("history"):
        figures["training"] = plots.training_curves(history)
    return {name: Markup(svg) for name, svg in figures.items()}


def _model_index(result: dict[str, Any]) -> dict[str, Any]:
    """The test figures as the Hub's front matter has them, with the model's name; nothing where nothing was tested."""
    from huggingface_hub import EvalResult

    test, name = result.get("test") or {}, shown(str((result.get("data") or {}).get("name") or "texts"), 80)
    kinds = {"accuracy": ("accuracy", "Accuracy"), "macro_f1": ("f1", "Macro F1"), "micro_f1": ("f1", "Micro F1")}
    figures = [
        EvalResult(
            task_type="text-classification",
            dataset_type=re.sub(r"[^\w.-]+", "-", name).strip("-").lower() or "texts",
            dataset_name=name,
            dataset_split="test",
            metric_type=kind,
            metric_name=title,
            metric_value=round(test[key], 6),
        )
        for key, (kind, title) in kinds.items()
        if test.get(key) is not None
    ]
    model = shown(Path(result.get("bundle") or "").name, 80) or "classtune classifier"
    return {"model_name": model, "eval_results": figures} if figures else {}


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


def _milliseconds(value: float) -> str:
    """``0.0123`` → ``0.012 ms``, ``4.25`` → ``4.2 ms``, ``420.1`` → ``420 ms``."""
    return f"{value:.2g}\u00a0ms" if value < 10 else f"{value:,.0f}\u00a0ms"


def _size(value: float) -> str:
    """``93_000_000`` bytes → ``93 MB``, in powers of ten."""
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g}\u00a0{unit}"
        value /= 1000
    return f"{value:,.3g}\u00a0GB"


def _finding(kind: str) -> str:
    """``exact-duplicates`` → ``Exact duplicates``."""
    return FINDINGS.get(kind, shown(kind.replace("-", " "), 60).capitalize())


def _tinted(mistake: dict[str, Any]) -> list[tuple[str, str]]:
    """A mistake's text in pieces, each with how it spoke: ``for1`` … ``for3``, ``against1`` … ``against3`` or nothing.

    Of a long text the part around the word that spoke loudest is shown.
    """
    text = str(mistake["text"])
    words = sorted(mistake.get("words") or [], key=lambda word: word["start"])
    loudest = max(words, key=lambda word: abs(word["weight"]), default=None)
    if loudest is None or not loudest["weight"]:
        return [(shown(text, SHOWN_CHARACTERS), "")]
    place = max(0, loudest["end"] - SHOWN_CHARACTERS * 2 // 3) if loudest["end"] > SHOWN_CHARACTERS else 0
    end = place + SHOWN_CHARACTERS
    pieces = [("…", "")] if place else []
    for word in words:
        level = math.ceil(3 * abs(word["weight"]) / abs(loudest["weight"]) - 0.5)
        if level and place <= word["start"] < word["end"] <= end:
            side = "for" if word["weight"] > 0 else "against"
            pieces += [(text[place : word["start"]], ""), (text[word["start"] : word["end"]], f"{side}{level}")]
            place = word["end"]
    pieces += [(text[place:end], ""), ("…" if len(text) > end else "", "")]
    return [(_printable(piece), kind) for piece, kind in pieces if piece]


def _printable(piece: str) -> str:
    """A part of a text fit to be shown, its spaces at both ends kept."""
    before, after = (" " if piece[end].isspace() else "" for end in (0, -1))
    return f"{before}{shown(piece, len(piece))}{after}" if piece.strip() else " "


def _shown(value: Any, limit: int = 300) -> str:
    return shown(", ".join(map(str, value)) if isinstance(value, list) else str(value), limit)


def _coded(value: Any, limit: int = 500) -> Any:
    """A sentence as HTML in which what stands between backticks is code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(_shown(value, limit)))))


def _cell(value: Any, limit: int = 80) -> str:
    """A text as plain Markdown that cannot leave its table cell, link anywhere or hold HTML."""
    return re.sub(r"([\\`*_{}\[\]<>|~#&!:])", r"\\\1", _shown(value, limit))
