"""The page and the model card of a training run, from its result.

Both need no script and no network, and a part of the result that is None or empty is left out.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from classtune.data.audit.in_force import NOTHING_TO_DO
from classtune.judging.comparison import LEXICAL
from classtune.judging.figures import Confused, Figures
from classtune.judging.metrics import Metric, metrics_of
from classtune.report import curves, plots
from classtune.report.plots import percent, shown
from classtune.report.tables import told_again, without_folders
from classtune.result import Mistake, Result

# The page stays far below 1 MB however many classes, findings and mistakes there are; `train --json` holds all of them.
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
    "next": "What next",
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
# Kinds of findings whose name is not plain enough.
FINDINGS = {
    "leak": "Copies across splits",
    "html-entities": "HTML entities",
    "mojibake": "Damaged characters (mojibake)",
}


def write_report(
    path: Path,
    result: Result,
    *,
    quotes: str | None = None,
    sections: Collection[str] = CONTENTS,
    figures: Mapping[str, str] | None = None,
) -> None:
    """Write a result as one self-contained HTML page. Same result, same bytes. Raises OSError.

    Of the bundle's place it says the folder's name: reports are handed on, and served. quotes: where the page that
    quotes the rows lies, for one that does not. sections: which of CONTENTS it has. figures: what `figures_of` drew,
    where several pages have them.
    """
    result = replace(_apart(result), bundle=Path(result.bundle).name if result.bundle else None)
    contents = [(key, title) for key, title in CONTENTS.items() if key in sections]
    to_do = [one for one in result.data.audit.findings if one.advice and not one.advice.startswith(NOTHING_TO_DO)]
    more = {
        "figures": figures_of(result) if figures is None else figures,
        "quotes": quotes,
        "contents": contents,
        "to_do": to_do,
    }
    page = _render("report.html.j2", result, **more)
    path.write_bytes(page.encode("utf-8", "replace"))


def model_card(result: Result) -> str:
    """The bundle's README.md: YAML front matter as the Hub reads it, then the figures in plain Markdown."""
    from huggingface_hub import ModelCardData

    result = _apart(result)
    front = ModelCardData(
        library_name="transformers" if result.hugging_face else "classtune",
        pipeline_tag="text-classification",
        tags=["classtune", "text-classification"],
        metrics=list(dict.fromkeys(metric.hub for metric in _of_the_hub(result.test))) or None,
        **_model_index(result),
    )
    body = _render("card.md.j2", result).encode("utf-8", "replace").decode()
    return f"---\n{front.to_yaml()}\n---\n\n{body}"


def _apart(result: Result) -> Result:
    """Without the baseline where it is the classifier itself, for nothing stands beside itself; of the table and of the
    version before it says the names alone, not where they lie."""
    result = replace(result, data=without_folders(result.data))
    if (before := result.earlier) is not None:
        sentence = before.sentence.replace(before.bundle, Path(before.bundle).name)
        result = replace(result, earlier=replace(before, sentence=sentence))
    return replace(result, baseline=None) if result.chosen.name == LEXICAL else result


def _render(template: str, result: Result, **more: Any) -> str:
    from jinja2 import ChainableUndefined, Environment, PackageLoader
    from jinja2.exceptions import UndefinedError

    class Unfound(ChainableUndefined):
        """A part that is None has no parts, and asking is no error; a typed part without such an attribute is one."""

        def __init__(self, hint: str | None = None, obj: Any = None, name: str | None = None, *given: Any) -> None:
            if is_dataclass(obj):
                raise UndefinedError(f"{template}: {type(obj).__name__} has no {name}")
            super().__init__(hint, obj, name, *given)

    environment = Environment(
        loader=PackageLoader("classtune.report"),
        autoescape=template.endswith(".html.j2"),
        undefined=Unfound,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, number=_number, seconds=_seconds, milliseconds=_milliseconds)
    environment.filters.update(size=_size, shown=_shown, cell=_cell, finding=_finding, tinted=_tinted, coded=_coded)
    environment.filters.update(numeric=lambda title: f"#{title}", quoted=shlex.quote, named=_named, measured=_measured)
    environment.globals.update(pair_up=lambda *columns: list(zip(*columns, strict=False)), metrics_of=metrics_of)
    parts = {part.name: getattr(result, part.name) for part in fields(result)}
    parts |= {"settings": result.settings.model_dump(), "pairs": _confused_pairs(result.test), "limits": LIMITS}
    parts |= told_again(result)
    return environment.get_template(template).render(**parts, **more)


def figures_of(result: Result) -> dict[str, str]:
    """The SVG figures that ``result`` has the numbers for, safe to stand in the page. They quote no row."""
    from markupsafe import Markup

    result = _apart(result)
    test, figures = result.test, {}
    if test and result.baseline:
        figures["comparison"] = plots.comparison(test, result.baseline, result.chosen.in_words)
    if result.comparison:
        figures["over_cost"] = curves.accuracy_over_cost(result.comparison)
    if test and test.confusion:
        figures["confusion"] = plots.confusion_matrix(test.confusion, list(test.per_label))
    if test and result.curves and (lines := result.curves.precision_recall):
        worst = sorted(lines, key=lambda label: test.per_label[label].f1)
        figures["precision_recall"] = curves.precision_recall({label: lines[label] for label in worst})
    if result.calibration:
        figures["reliability"] = curves.reliability(result.calibration)
    if result.curves and result.curves.risk_coverage:
        abstention = result.decisions.abstention
        figures["risk_coverage"] = curves.risk_coverage(
            result.curves.risk_coverage, abstention.max_error if abstention else None
        )
    if result.depth and result.depth.curve:
        figures["depth"] = plots.depth_curve(result.depth.curve, result.depth.kept, result.depth.of)
    if result.learning_curve:
        figures["learning"] = curves.learning_curve(result.learning_curve)
    if result.training and result.training.history:
        figures["training"] = plots.training_curves(result.training.history)
    return {name: Markup(svg) for name, svg in figures.items()}


def _model_index(result: Result) -> dict[str, Any]:
    """The test figures as the Hub's front matter has them, with the model's name; nothing where nothing was tested."""
    from huggingface_hub import EvalResult

    values, name = result.test.values if result.test else {}, shown(result.data.name or "texts", 80)
    figures = [
        EvalResult(
            task_type="text-classification",
            dataset_type=re.sub(r"[^\w.-]+", "-", name).strip("-").lower() or "texts",
            dataset_name=name,
            dataset_split="test",
            metric_type=metric.hub,
            metric_name=f"{metric.name[:1].upper()}{metric.name[1:]}",
            metric_value=round(values[metric.key], 6),
        )
        for metric in _of_the_hub(result.test)
    ]
    model = shown(Path(result.bundle or "").name, 80) or "classtune classifier"
    return {"model_name": model, "eval_results": figures} if figures else {}


def _of_the_hub(test: Figures | None) -> list[Metric]:
    """The metrics that the Hub has a name for; none where nothing was tested."""
    return [] if test is None else [metric for metric in metrics_of(test) if metric.hub]


def _confused_pairs(test: Figures | None) -> list[Confused]:
    """The most frequent mix-ups of three classes or more, most frequent first."""
    if test is None or len(test.per_label) < 3:
        return []
    if test.largest_confusions is not None:
        return test.largest_confusions[:SHOWN_PAIRS]
    labels = list(test.per_label)
    pairs = [
        Confused(labels[true], labels[predicted], count)
        for true, row in enumerate(test.confusion or [])
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    return sorted(pairs, key=lambda pair: -pair.texts)[:SHOWN_PAIRS]


def _named(metric: Metric, multi: bool) -> str:
    """A metric's name in a table."""
    return metric.name_of_labels if multi and metric.name_of_labels else metric.name


def _measured(value: float, metric: Metric) -> str:
    return _number(value) if metric.format == "number" else percent(value)


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


def _tinted(mistake: Mistake) -> list[tuple[str, str]]:
    """A mistake's text in pieces, each with how it spoke: ``for1`` … ``for3``, ``against1`` … ``against3`` or nothing.

    Of a long text the part around the word that spoke loudest is shown.
    """
    text = mistake.text
    words = sorted(mistake.words, key=lambda word: word.start)
    loudest = max(words, key=lambda word: abs(word.weight), default=None)
    if loudest is None or not loudest.weight:
        return [(shown(text, SHOWN_CHARACTERS), "")]
    place = max(0, loudest.end - SHOWN_CHARACTERS * 2 // 3) if loudest.end > SHOWN_CHARACTERS else 0
    end = place + SHOWN_CHARACTERS
    pieces = [("…", "")] if place else []
    for word in words:
        level = math.ceil(3 * abs(word.weight) / abs(loudest.weight) - 0.5)
        if level and place <= word.start < word.end <= end:
            side = "for" if word.weight > 0 else "against"
            pieces += [(text[place : word.start], ""), (text[word.start : word.end], f"{side}{level}")]
            place = word.end
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
