"""Figures as inline SVG: small, the same bytes for the same numbers, legible on light and dark, each with its text.

Knows numbers and labels only. Text stays text, in the page's own font and colour.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from classtune.judging.figures import Figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Each at least 3:1 on white and on near-black. In every figure the first is the classifier, the second what it is
# compared with, the third what it was before, or is on rows that it learned from.
MODEL, BASELINE, BEFORE = "#3b82c4", "#d97a1e", "#8b929a"
# Of lines that are none of these. They differ in dash as well as in colour.
COLOURS = ("#2e9b6b", "#b56bc0", "#c9524a", "#8a8a3c", "#2b98a3", "#a5714f", "#d1578f", "#6f9e3a")
DASHES = ("-", "--", "-.", ":")
INK = "#010203"  # stands for the page's text colour until the SVG is finished
FONT = "DejaVu Sans"  # matplotlib's own, for measuring; it is wider than most, so nothing overlaps
STYLE = {
    "svg.hashsalt": "classtune",
    "svg.fonttype": "none",
    "font.family": FONT,
    "font.size": 9,
    "text.parse_math": False,  # a label may hold dollar signs
    "path.simplify": True,
    **dict.fromkeys(["text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"], INK),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "legend.frameon": False,
}
WIDTH = 4.8  # inches; wide enough for a page, and a telephone still shows its 9-point text legibly
TICKED_CLASSES, COUNTED_CLASSES = 80, 12


def training_curves(history: Sequence[dict[str, Any]]) -> str:
    """Loss, and accuracy where it was measured, of train and validation over epochs, with examples seen above."""
    from matplotlib.ticker import MaxNLocator

    kinds = [kind for kind in ("loss", "accuracy") if any(_points(history, f"{s}_{kind}") for s in SPLITS)]
    examples_per_epoch = history[-1]["examples"] / history[-1]["epoch"] if history and history[-1]["epoch"] else 0

    def draw(figure: Figure) -> None:
        for row, kind in enumerate(kinds, start=1):
            axes = figure.add_subplot(len(kinds), 1, row)
            for split, colour, line in zip(SPLITS, (BEFORE, MODEL), ("--", "-"), strict=True):
                if points := _points(history, f"{split}_{kind}"):
                    axes.plot(*zip(*points, strict=True), line, color=colour, marker=".", label=split)
            axes.set(xlabel="epoch", ylabel=kind)
            axes.legend()
            if examples_per_epoch:
                scale = (lambda x: x * examples_per_epoch, lambda x: x / examples_per_epoch)
                above = axes.secondary_xaxis("top", functions=scale)
                above.set_xlabel("examples seen")
                above.xaxis.set_major_formatter("{x:,.0f}")
                above.xaxis.set_major_locator(MaxNLocator(5))

    ends = [
        f"{split} {kind} {points[0][1]:.3g} at first, {points[-1][1]:.3g} at last"
        for kind in kinds
        for split in SPLITS
        if (points := _points(history, f"{split}_{kind}"))
    ]
    return svg_of(draw, 2.5 * max(1, len(kinds)), f"Training curves: {'; '.join(ends) or 'nothing was measured'}.")


def depth_curve(curve: Sequence[dict[str, Any]], kept: int, of: int) -> str:
    """Score of a linear probe after each block, a line for each pooling, and the depth that was ``kept``.

    One standard error is drawn around the line that reaches the highest score.
    """
    best = max(curve, key=lambda point: point["score"])
    poolings = list(dict.fromkeys(point.get("pooling") for point in curve))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for place, pooling in enumerate(poolings):
            points = [point for point in curve if point.get("pooling") == pooling]
            depths, scores, errors = (np.array([point[key] for point in points]) for key in ("depth", "score", "se"))
            colour, dash = COLOURS[place % len(COLOURS)], DASHES[place % len(DASHES)]
            if pooling == best.get("pooling"):
                colour = MODEL
                axes.fill_between(
                    depths, 100 * (scores - errors), 100 * (scores + errors), color=colour, alpha=0.2, lw=0
                )
            axes.plot(depths, 100 * scores, dash, color=colour, marker=".", label=pooling)
        axes.axvline(kept, color=INK, ls="--", lw=1)
        if len(poolings) > 1:
            figure.legend(title="pooling", loc="outside lower center", ncols=4, fontsize=8)
        axes.annotate(
            f"kept: {kept} of {of}",
            (kept, 0.03),
            xycoords=("data", "axes fraction"),
            xytext=(-5 if kept > of / 2 else 5, 0),
            textcoords="offset points",
            ha="right" if kept > of / 2 else "left",
        )
        axes.set(xlabel="blocks kept", ylabel="probe accuracy, %", xlim=(0, of + 0.5))

    how = f" with {best['pooling']} pooling" if best.get("pooling") else ""
    peak = f"best {percent(best['score'])} after block {best['depth']}{how}"
    return svg_of(
        draw, 2.6 if len(poolings) == 1 else 3.1, f"Probe accuracy by depth: {peak}; {kept} of {of} blocks kept."
    )


def confusion_matrix(confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    """Counts of true (rows) × predicted (columns), shaded by the share of the row. Up to 80 classes are all named."""
    counts = np.array(confusion)
    classes = len(labels)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # Shade by opacity, so that the page's own light or dark ground shows through.
    image = np.zeros((classes, classes, 4))
    image[..., :3] = [int(MODEL[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    image[..., 3] = 0.65 * np.sqrt(share)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.imshow(image, interpolation="none", aspect="auto" if classes <= COUNTED_CLASSES else "equal")
        ticks = range(0, classes, -(-classes // TICKED_CLASSES))
        size = min(9.0, max(3.5, 260 / classes))
        names = [squeezed(labels[i], 16) for i in ticks]
        upright = classes > 4 or max(map(len, names)) > 10
        axes.set_xticks(ticks, names, rotation=90 if upright else 0, fontsize=size)
        axes.set_yticks(ticks, names, fontsize=size)
        axes.set(xlabel="predicted", ylabel="true")
        axes.tick_params(length=0)
        if classes <= COUNTED_CLASSES:
            for (row, column), count in np.ndenumerate(counts):
                axes.text(column, row, f"{count:,}", ha="center", va="center", fontsize=size)

    right, rows = int(np.trace(counts)), int(counts.sum())
    height = 1.4 + 0.45 * classes if classes <= COUNTED_CLASSES else WIDTH
    return svg_of(
        draw, min(height, WIDTH), f"Confusion matrix of {classes} classes: {right:,} of {rows:,} texts right."
    )


def comparison(model: Figures, baseline: Figures, name: str) -> str:
    """Test accuracy of the classifier called ``name`` and of its baseline, with their 95 % intervals."""
    both = [(baseline.name, baseline, BASELINE), (name, model, MODEL)]

    def draw(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        for row, (_, figures, colour) in enumerate(both):
            low, high = figures.accuracy_ci95
            axes.plot([100 * low, 100 * high], [row, row], color=colour, lw=2, solid_capstyle="butt")
            axes.plot([100 * figures.accuracy], [row], "o", color=colour)
            axes.text(100 * figures.accuracy, row + 0.18, percent(figures.accuracy), ha="center", va="bottom")
        axes.set_yticks(range(2), [shown(name, 40) for name, _, _ in both])
        axes.set(xlabel="test accuracy, %, with 95 % interval", ylim=(-0.5, 1.6))

    parts = [
        f"{shown(name, 40)} {percent(figures.accuracy)} ({' to '.join(map(percent, figures.accuracy_ci95))})"
        for name, figures, _ in reversed(both)
    ]
    return svg_of(draw, 1.5, f"Test accuracy: {', '.join(parts)}.")


def percent(share: float) -> str:
    """``0.992`` → ``99.2 %``; what is not all, or not nothing, is never rounded to it."""
    digits = 1 if share in (0, 1) or 0.0005 <= share < 0.9995 else 2
    return f"{100 * share:.{digits}f}\u00a0%"


def shown(text: str, limit: int) -> str:
    """A text fit to be shown: on one line, at most ``limit`` characters, without control characters or surrogates."""
    line = " ".join(text[: 4 * limit + 100].split())
    printable = "".join(c if c.isprintable() or c == "\u200d" else "\ufffd" for c in line)
    return printable if len(printable) <= limit else printable[: limit - 1] + "…"


def squeezed(label: str, limit: int) -> str:
    """A label as ``shown``, but cut in its middle: the names of many classes differ at their ends."""
    whole = shown(label, 200)
    head = (limit - 1) * 3 // 5
    return whole if len(whole) <= limit else f"{whole[:head]}…{whole[head + 1 - limit :]}"


SPLITS = ("train", "validation")


def _points(history: Sequence[dict[str, Any]], key: str) -> list[tuple[float, float]]:
    return [(entry["epoch"], entry[key]) for entry in history if entry.get(key) is not None]


def svg_of(draw: Any, height: float, text: str) -> str:
    """Draw on a figure of ``height`` inches and give it as SVG that can stand in a page, with ``text`` as its title."""
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", STYLE]), warnings.catch_warnings():
        # The browser has glyphs for labels that the measuring font lacks.
        warnings.filterwarnings("ignore", message="Glyph")
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure)
        figure.patch.set_alpha(0)
        for axes in figure.axes:
            axes.patch.set_alpha(0)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    # Several figures share a page, so their group names would clash; the rest is weight.
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<g id=\"[^\"]*\"/>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    svg = re.sub(r"\s+", " ", svg).replace("> <", "><").strip()
    svg = svg.replace(f" font-family: '{FONT}'; fill: {INK}", "").replace(f" font-family: '{FONT}';", "")
    alt = html.escape(text)
    page_font = 'style="font-family: system-ui, sans-serif; fill: currentColor"'
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{alt}" {page_font} ', 1).replace(INK, "currentColor")
    return svg.replace(">", f"><title>{alt}</title>", 1)
