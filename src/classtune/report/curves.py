"""Figures about trade-offs: accuracy and its cost, confidence and truth, precision and recall, error and answers.

Drawn as ``plots`` draws: inline SVG from numbers alone, each with its text. Lines differ in dash as well as in colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from classtune.judging.comparison import Comparison
from classtune.judging.figures import Bin, CalibrationFacts
from classtune.judging.learning_curve import LearningCurve
from classtune.report.plots import BASELINE, BEFORE, COLOURS, DASHES, INK, MODEL, percent, shown, squeezed, svg_of
from classtune.stats import Z95, wilson

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LINES, MOST_POINTS = 8, 120
# Of the reliability diagram: answers of a point, or, of few answers, how many points there are.
POINT_ROWS, LEAST_POINTS = 20, 4


def accuracy_over_cost(comparison: Comparison) -> str:
    """Accuracy of each candidate with its 95 % interval over its milliseconds per text; the chosen one is filled.

    The names stand beside the figure in the order of accuracy, spread so that none covers another, each tied to its
    point by a thin line.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    known = sorted(comparison.candidates, key=lambda one: one.figures.accuracy)
    # A time too short to measure still needs a place on a logarithmic axis.
    cost = np.maximum([one.ms_per_text for one in known], 1e-4)
    accuracy = 100 * np.array([one.figures.accuracy for one in known])
    ends = 100 * np.array([one.figures.accuracy_ci95 for one in known])

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.9g}")
        axes.xaxis.set_major_locator(LogLocator(numticks=4))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set(xlabel="milliseconds per text", ylabel="test accuracy, %")
        axes.set_xlim(cost.min() / 2, cost.max() * 2)
        low, high = ends[:, 0].min(), ends[:, 1].max()
        margin = max(0.06 * (high - low), 0.1)
        axes.set_ylim(low - margin, high + margin)
        places = _spread((accuracy - low + margin) / (high - low + 2 * margin), 0.95 / max(len(known), 8))
        for one, x, y, interval, place in zip(known, cost, accuracy, ends, places, strict=True):
            chosen = one.name == comparison.recommended
            colour = MODEL if chosen else BASELINE
            axes.plot([x, x], interval, color=colour, lw=2, solid_capstyle="butt")
            axes.plot([x], [y], "o", color=colour, mfc=colour if chosen else "none")
            axes.annotate(
                f"{shown(one.name, 30)} {percent(one.figures.accuracy)}",
                (x, y),
                xytext=(1.04, place),
                textcoords="axes fraction",
                va="center",
                fontsize=8,
                weight="bold" if chosen else "normal",
                arrowprops={"arrowstyle": "-", "color": INK, "lw": 0.5, "alpha": 0.4, "shrinkA": 1, "shrinkB": 4},
            )

    points = [f"{shown(one.name, 40)} {percent(one.figures.accuracy)} at {one.ms_per_text:.3g} ms" for one in known]
    return svg_of(draw, max(2.8, 0.3 * len(known)), f"Test accuracy over milliseconds per text: {'; '.join(points)}.")


def reliability(calibration: CalibrationFacts) -> str:
    """Reliability diagram: accuracy over confidence, before and after calibration, with the ideal diagonal.

    It says of how many answers a point is; after calibration each has its 95 % interval. Where nothing was calibrated
    there is one line.
    """
    changed = calibration.before.bins != calibration.after.bins
    before, after = _points(calibration.before.bins), _points(calibration.after.bins)
    intervals = np.array([wilson(round(one.accuracy * one.rows), one.rows) for one in after]).reshape(-1, 2)
    counts = _range_of([one.rows for one in after])

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        x, y = ([getattr(one, part) for one in after] for part in ("confidence", "accuracy"))
        lows = [*x, *intervals[:, 0], *(min(one.confidence, one.accuracy) for one in before)]
        low = 10 * (10 * min(lows, default=0) // 1)
        axes.plot([low, 100], [low, 100], ":", color=INK, lw=1, label="perfect")
        was = [(100 * one.confidence, 100 * one.accuracy) for one in before]
        if changed:
            axes.plot(*zip(*was, strict=True), "--", color=BEFORE, marker="s", ms=4, mfc="none", label="before")
        axes.vlines(100 * np.array(x), *(100 * intervals.T), color=MODEL, lw=1)
        axes.plot(
            100 * np.array(x),
            100 * np.array(y),
            color=MODEL,
            marker="o",
            ms=4,
            label=f"{'after' if changed else 'the classifier'}, {counts}",
        )
        axes.set(xlabel="confidence, %", ylabel="accuracy, %")
        axes.legend(loc="upper left", fontsize=8)

    sides = (("before", calibration.before), ("after", calibration.after))
    gaps = [f"{name} calibration the mean gap is {percent(side.ece)}" for name, side in sides]
    return svg_of(draw, 3.2, f"Reliability diagram, {len(after)} points, {counts}: {'; '.join(gaps)}.")


def _points(bins: Sequence[Bin]) -> list[Bin]:
    """Neighbouring bins of equal mass as one, so that a point is no accident of two or three answers."""
    filled = [one for one in bins if one.rows]
    wanted = max(LEAST_POINTS, sum(one.rows for one in filled) // POINT_ROWS)
    points = []
    for part in np.array_split(np.arange(len(filled)), min(wanted, len(filled)) or 1):
        some = [filled[place] for place in part]
        if rows := sum(one.rows for one in some):
            confidence = sum(one.confidence * one.rows for one in some) / rows
            points.append(Bin(confidence, sum(one.accuracy * one.rows for one in some) / rows, rows))
    return points


def _range_of(counts: Sequence[int]) -> str:
    """``20 answers a point``, or ``20 to 27``."""
    ends = dict.fromkeys(f"{count:,}" for count in (min(counts, default=0), max(counts, default=0)))
    return f"{' to '.join(ends)} answers a point"


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
            axes.axhline(100 * max_error, color=INK, ls="--", lw=1)
            axes.text(1, 100 * max_error, f"allowed: {percent(max_error)}", va="bottom")
        top = 100 * max([*error.tolist(), max_error or 0, 1e-3])
        axes.set(xlabel="coverage: texts answered, %", ylabel="error of the answers, %", xlim=(0, 101))
        axes.set_ylim(0, 1.15 * top)

    parts = [
        f"{percent(_at(answered, error, share))} when {100 * share:.0f}\u00a0% are answered"
        for share in (0.5, 0.9, 1.0)
    ]
    return svg_of(draw, 2.6, f"Error among answered texts: {', '.join(parts)}.")


def learning_curve(curve: LearningCurve) -> str:
    """Error on held-out rows over training rows, with one standard error, and what twice the rows would make of it."""
    rows, error, spread = (np.array(values) for values in (curve.rows, curve.error, curve.error_se))
    ahead, expected = 2 * rows[-1], max(0.0, error[-1] - curve.gain)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set_xscale("log", base=2)
        axes.errorbar(rows, 100 * error, 100 * spread, color=MODEL, marker="o", ms=4)
        axes.plot([rows[-1], ahead], [100 * error[-1], 100 * expected], "--", color=MODEL)
        axes.errorbar(
            [ahead], [100 * expected], [100 * curve.half_width / Z95], color=MODEL, marker="o", mfc="none", ms=4
        )
        axes.set_xticks([*rows, ahead], [f"{count:,}" for count in [*rows.tolist(), ahead]])
        axes.minorticks_off()
        axes.set(xlabel="training rows", ylabel="held-out error, %")

    points = [f"{percent(value)} after {count:,} rows" for count, value in zip(curve.rows, curve.error, strict=True)]
    return svg_of(draw, 2.6, f"Held-out error of {shown(curve.candidate, 40)}: {'; '.join(points)}.")


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
