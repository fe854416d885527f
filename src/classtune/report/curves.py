"""Figures about trade-offs: accuracy and its cost, confidence and truth, precision and recall, error and answers.

Drawn as ``plots`` draws: inline SVG from numbers alone, each with its text. Lines differ in dash as well as in colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from classtune.report.plots import BASELINE, COLOURS, DASHES, INK, MODEL, percent, shown, squeezed, svg_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LINES, MOST_POINTS = 8, 120


def accuracy_over_cost(candidates: Sequence[Mapping[str, Any]], chosen: str | None = None) -> str:
    """Accuracy of each candidate with its 95 % interval over its milliseconds per text; the chosen one is filled.

    Every candidate must have both (see ``has_cost``). The names stand beside the figure in the order of
    accuracy, spread so that none covers another, each tied to its point by a thin line.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    known = sorted(candidates, key=lambda candidate: candidate["accuracy"])
    # A time too short to measure still needs a place on a logarithmic axis.
    cost = np.maximum([candidate["ms_per_text"] for candidate in known], 1e-4)
    accuracy = 100 * np.array([candidate["accuracy"] for candidate in known])

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.9g}")
        axes.xaxis.set_major_locator(LogLocator(numticks=4))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set(xlabel="milliseconds per text", ylabel="test accuracy, %")
        axes.set_xlim(cost.min() / 2, cost.max() * 2)
        low = 100 * min(candidate["accuracy_ci95"][0] for candidate in known)
        high = 100 * max(candidate["accuracy_ci95"][1] for candidate in known)
        margin = max(0.06 * (high - low), 0.1)
        axes.set_ylim(low - margin, high + margin)
        places = _spread((accuracy - low + margin) / (high - low + 2 * margin), 0.95 / max(len(known), 8))
        for candidate, x, y, place in zip(known, cost, accuracy, places, strict=True):
            is_chosen = candidate["name"] == chosen
            colour = MODEL if is_chosen else BASELINE
            axes.plot([x, x], 100 * np.array(candidate["accuracy_ci95"]), color=colour, lw=2, solid_capstyle="butt")
            axes.plot([x], [y], "o", color=colour, mfc=colour if is_chosen else "none")
            axes.annotate(
                f"{shown(candidate['name'], 30)} {percent(candidate['accuracy'])}",
                (x, y),
                xytext=(1.04, place),
                textcoords="axes fraction",
                va="center",
                fontsize=8,
                weight="bold" if is_chosen else "normal",
                arrowprops={"arrowstyle": "-", "color": INK, "lw": 0.5, "alpha": 0.4, "shrinkA": 1, "shrinkB": 4},
            )

    points = [f"{shown(r['name'], 40)} {percent(r['accuracy'])} at {r['ms_per_text']:.3g} ms" for r in known]
    return svg_of(draw, max(2.8, 0.3 * len(known)), f"Test accuracy over milliseconds per text: {'; '.join(points)}.")


def has_cost(candidate: Mapping[str, Any]) -> bool:
    """Whether ``accuracy_over_cost`` can show this candidate."""
    return candidate.get("ms_per_text") is not None and bool(candidate.get("accuracy_ci95"))


def reliability(calibration: Mapping[str, Any]) -> str:
    """Reliability diagram: accuracy over confidence, before and after calibration, with the ideal diagonal.

    ``calibration`` holds ``before`` and ``after``, each with ``bins``: ``confidence``, ``accuracy`` (0 … 1), ``rows``.
    """
    sides = [
        (side, [b for b in calibration[side]["bins"] if b["rows"]], colour, line, marker)
        for side, colour, line, marker in (("before", BASELINE, "--", "s"), ("after", MODEL, "-", "o"))
        if (calibration.get(side) or {}).get("bins")
    ]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        least = min((b[key] for _, bins, *_ in sides for b in bins for key in ("confidence", "accuracy")), default=0)
        low = 10 * (10 * least // 1)
        axes.plot([low, 100], [low, 100], ":", color=INK, lw=1, label="perfect")
        for side, bins, colour, line, marker in sides:
            x, y = ([100 * b[key] for b in bins] for key in ("confidence", "accuracy"))
            axes.plot(
                x, y, line, color=colour, marker=marker, ms=4, mfc="none" if side == "before" else colour, label=side
            )
        axes.set(xlabel="confidence, %", ylabel="accuracy, %")
        axes.legend(loc="upper left")

    gaps = [
        f"{side} calibration the mean gap is {percent(calibration[side]['ece'])}"
        for side, *_ in sides
        if calibration[side].get("ece") is not None
    ]
    return svg_of(draw, 3.2, f"Reliability diagram: {'; '.join(gaps) or 'confidence against accuracy'}.")


def precision_recall(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Precision over recall as the threshold moves, a line per label; at most the first eight labels."""
    lines = list(curves.items())[:MOST_LINES]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for place, (_, curve) in enumerate(lines):
            recall, precision = _thinned(curve["recall"], curve["precision"])
            style: dict[str, Any] = {"color": COLOURS[place], "ls": DASHES[place % len(DASHES)]}
            axes.plot(100 * recall, 100 * precision, **style)
        axes.set(xlabel="recall, %", ylabel="precision, %", xlim=(0, 101), ylim=(0, 102))
        # Given by hand: a name that starts with "_" would be left out.
        handles = axes.get_lines()
        names = [squeezed(label, 26) for label, _ in lines]
        figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=8)

    names = ", ".join(shown(label, 40) for label, _ in lines)
    return svg_of(
        draw, 3 + 0.17 * ((len(lines) + 1) // 2), f"Precision over recall as the threshold moves, for {names}."
    )


def risk_coverage(curve: Mapping[str, Sequence[float]], max_error: float | None = None) -> str:
    """Error among the answered texts over the share of texts answered, the surest first; and the error allowed."""
    answered, error = (np.asarray(curve[key], dtype=np.float64) for key in ("answered", "error"))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        x, y = _thinned(answered, error)
        axes.plot(100 * x, 100 * y, color=MODEL)
        if max_error is not None:
            axes.axhline(100 * max_error, color=BASELINE, ls="--")
            axes.text(1, 100 * max_error, f"allowed: {percent(max_error)}", va="bottom")
        top = 100 * max([*error.tolist(), max_error or 0, 1e-3])
        axes.set(xlabel="coverage: texts answered, %", ylabel="error of the answers, %", xlim=(0, 101))
        axes.set_ylim(0, 1.15 * top)

    parts = [
        f"{percent(_at(answered, error, share))} when {100 * share:.0f}\u00a0% are answered"
        for share in (0.5, 0.9, 1.0)
    ]
    return svg_of(draw, 2.6, f"Error among answered texts: {', '.join(parts)}.")


def _at(answered: Any, error: Any, share: float) -> float:
    """The error where the given share of texts is answered, or the nearest one that was measured."""
    return float(error[int(np.abs(answered - share).argmin())])


def _thinned(x: Any, y: Any) -> tuple[Any, Any]:
    """At most ``MOST_POINTS`` of a long curve, its ends among them."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS)).round().astype(int))
    return x[kept], y[kept]


def _spread(wanted: Any, gap: float) -> list[float]:
    """Places up to 1 near the ``wanted`` ones (ascending), at least ``gap`` apart."""
    places: list[float] = []
    for value in wanted:
        places.append(max(float(value), places[-1] + gap) if places else float(value))
    ceiling = 1.0
    for index in range(len(places) - 1, -1, -1):
        places[index] = ceiling = min(places[index], ceiling)
        ceiling -= gap
    return places
