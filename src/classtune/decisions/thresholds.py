"""Which label a probability becomes: by what mistakes cost, or by a wanted precision or recall.

Costs are read in costs.py. A wanted precision or recall needs validation rows; what they can show is said with it, and
what they cannot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from classtune.decisions.abstention import CONFIDENCE, promise
from classtune.errors import SettingsError, counted, did_you_mean
from classtune.stats import FloatArray, Floats, Truth, wilson

# An own F1 threshold of a label counts as much as the shared one where the label has this many positive rows.
POSITIVES_FOR_OWN_THRESHOLD = 25
CURVE_POINTS = 60


@dataclass(frozen=True)
class Thresholds:
    """How probabilities become labels.

    least: for each label the probability from which it is given; None: no rule of its own.
    costs: for one label a text, what it costs to give label j to a text of label i, as rows (k, k); for several labels
        a text, what missing each label costs and what giving it wrongly, as rows (k, 2); None: no costs.
    facts: for each wanted precision or recall: ``label``, ``wish``, ``wanted``, ``threshold``, ``reached`` and
        ``ci95`` on the validation rows, ``shown`` (with 95 % confidence), ``rows``.
    """

    least: tuple[float | None, ...]
    costs: tuple[tuple[float, ...], ...] | None = None
    facts: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()

    def choose(self, probabilities: FloatArray) -> npt.NDArray[np.int64]:
        """The label number of each row (n,) of (n, k); -1 where every label has a threshold and none is reached.

        A label that reaches its threshold is given, the most probable of several. Else it is the best of the labels
        without one: the most probable, or with costs that of least expected cost.
        """
        if self.costs is not None:
            return np.asarray((probabilities @ np.array(self.costs)).argmin(axis=1))
        least = np.array([math.inf if bound is None else bound for bound in self.least])
        reached = probabilities >= least
        free = np.isinf(least)
        chosen = np.where(free, probabilities, -1.0).argmax(axis=1) if free.any() else np.full(len(probabilities), -1)
        return np.where(reached.any(axis=1), np.where(reached, probabilities, -1.0).argmax(axis=1), chosen)

    def marks(self, probabilities: FloatArray) -> npt.NDArray[np.bool_]:
        """The labels (n, k) of a multi-label task: each that reaches its threshold, 0.5 where it has none."""
        return np.asarray(probabilities >= np.array([0.5 if bound is None else bound for bound in self.least]))

    def costs_of(self, truth: Truth, given: npt.NDArray[Any]) -> Floats:
        """What each answer (n,) costs. truth, given: label numbers (n,), or with several labels booleans (n, k)."""
        costs = np.array(self.costs, dtype=np.float64)
        if truth.ndim == 1:
            return np.asarray(costs[truth, given])
        return np.asarray((truth & ~given) @ costs[:, 0] + (given & ~truth) @ costs[:, 1])

    def record(self) -> dict[str, Any]:
        """For JSON; ``from_record`` reads it."""
        return {
            "least": list(self.least),
            "costs": None if self.costs is None else [list(row) for row in self.costs],
            "facts": list(self.facts),
            "notes": list(self.notes),
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """What ``record`` gave, also after a journey through JSON."""
        costs = None if record["costs"] is None else tuple(tuple(row) for row in record["costs"])
        return cls(tuple(record["least"]), costs, tuple(record["facts"]), tuple(record["notes"]))


def by_wish(
    probabilities: FloatArray,
    truth: Truth,
    labels: Sequence[str],
    *,
    precision: Mapping[str, float],
    recall: Mapping[str, float],
    start: Sequence[float | None],
    weights: Floats,
    thin: npt.NDArray[np.bool_],
) -> Thresholds:
    """Thresholds for a wanted precision or recall of labels, over those of ``start`` for the other labels.

    ``probabilities`` (n, k) and ``truth``, (n,) numbers or (n, k) booleans, of validation rows. ``weights`` (n,): how
    much each row counts where labels have other shares in the field (else 1); ``thin`` (n,): rows that, taken by
    themselves, have those shares.

    Precision: the lowest threshold, 0.5 at least, of which it can be promised with 95 % confidence, else the lowest at
    which the rows have it. Recall: the highest, 0.5 at most, in the same way (an order statistic; Wilks 1941). Both:
    the threshold nearest 0.5 that gives both, or where there is none the precision's. What cannot be reached leaves
    ``start`` as it is. Raises SettingsError with every problem of the wishes.
    """
    check_wishes(precision, recall, labels)
    least, facts, notes = list(start), [], []
    for label in dict.fromkeys([*precision, *recall]):
        place = list(labels).index(label)
        scores = probabilities[:, place].astype(np.float64)
        positive = truth[:, place] if truth.ndim == 2 else truth == place
        found: dict[str, tuple[float | None, bool]] = {}
        if label in precision:
            found["precision"] = _for_precision(scores, positive, precision[label], weights, thin)
        if label in recall:
            found["recall"] = _for_recall(scores, positive, recall[label])
        low, high = (found.get(kind, (None, False))[0] for kind in ("precision", "recall"))
        bound = 0.5 if high is None else min(0.5, high)
        bound = bound if low is None else max(bound, low)
        if low is not None or high is not None:
            least[place] = bound
        for kind, (threshold, proved) in found.items():
            wanted = precision[label] if kind == "precision" else recall[label]
            outdone = kind == "recall" and threshold is not None and bound > threshold
            reached, ends, rows = _reached(kind, scores >= bound, positive, weights)
            fact = {"label": label, "wish": kind, "wanted": wanted, "threshold": None if threshold is None else bound}
            facts.append({**fact, "reached": reached, "ci95": ends, "shown": proved and not outdone, "rows": rows})
            if threshold is None:
                notes.append(
                    f"{label}: a {kind} of {wanted:g} is reached at no threshold on the held-out rows "
                    f"({int(positive.sum()):,} of them are {label}). Ask for less, or train on more rows."
                )
            elif outdone:
                notes.append(
                    f"{label}: no threshold gives both a precision of {precision[label]:g} and a recall of {wanted:g}; "
                    f"the precision is kept, and the recall is {reached:.3g}."
                )
            elif not proved:
                notes.append(
                    f"{label}: {kind} {reached:.3g} on {counted(rows, 'held-out row')}, 95 % interval {ends[0]:.3g} to "
                    f"{ends[1]:.3g}: so few rows do not prove {wanted:g} with 95 % confidence."
                )
    return Thresholds(tuple(least), facts=tuple(facts), notes=tuple(notes))


def by_f1(probabilities: FloatArray, truth: Truth) -> tuple[float, ...]:
    """For a multi-label task, the threshold of each label that is best for its F1 on validation rows.

    ``probabilities`` and ``truth`` (booleans): (n, k). A label's own best threshold is a noisy figure where few rows
    carry it, so it is drawn, in log-odds, towards the one threshold that is best for macro F1: half-way at 25 rows.
    """
    hot = truth.astype(bool)
    grid = np.unique(np.concatenate([np.geomspace(0.005, 0.5, 60), 1 - np.geomspace(0.02, 0.5, 40)]))
    scores = np.stack([_f1(probabilities >= bound, hot) for bound in grid])  # thresholds × labels
    odds = np.log(grid / (1 - grid))
    shared = odds[_peak(scores.mean(axis=1))]
    own = np.array([odds[_peak(column)] for column in scores.T])
    positives = hot.sum(axis=0)
    trust = positives / (positives + POSITIVES_FOR_OWN_THRESHOLD)
    return tuple((1 / (1 + np.exp(-(trust * own + (1 - trust) * shared)))).tolist())


def precision_recall(
    probabilities: FloatArray, truth: Truth, labels: Sequence[str]
) -> dict[str, dict[str, list[float]]]:
    """For each label with positive rows, ``precision`` and ``recall`` at rising ``thresholds``, 60 at most.

    ``probabilities`` (n, k); ``truth`` (n,) class numbers or booleans (n, k).
    """
    curves = {}
    for place, label in enumerate(labels):
        scores = probabilities[:, place].astype(np.float64)
        positive = truth[:, place] if truth.ndim == 2 else truth == place
        if not positive.any():
            continue
        bounds, claimed, right = _counts(scores, positive, np.ones(len(scores)))
        shown = np.unique(np.linspace(0, len(bounds) - 1, CURVE_POINTS).round().astype(np.int64))[::-1]
        curves[label] = {
            "precision": (right / claimed)[shown].tolist(),
            "recall": (right / right[-1])[shown].tolist(),
            "thresholds": bounds[shown].tolist(),
        }
    return curves


def check_wishes(precision: Mapping[str, float], recall: Mapping[str, float], labels: Sequence[str]) -> None:
    """Raise SettingsError with every label that does not exist and every share outside 0 … 1."""
    problems = []
    for flag, wishes in (("precision", precision), ("recall", recall)):
        for label, share in wishes.items():
            if label not in labels:
                problems.append(f"--{flag} {label}={share:g}: no such label. {did_you_mean(label, labels)}")
            elif not 0 < share < 1:
                problems.append(f"--{flag} {label}={share:g}: lies between 0 and 1. Write 0.95 for 95 %.")
    if problems:
        raise SettingsError(problems)


def _for_precision(
    scores: Floats, positive: npt.NDArray[np.bool_], wanted: float, weights: Floats, thin: npt.NDArray[np.bool_]
) -> tuple[float | None, bool]:
    """The lowest threshold with this precision, and whether the rows show it."""
    kept = promise(scores[thin], ~positive[thin], 1 - wanted)
    if kept.threshold is not None:
        return kept.threshold, True
    bounds, claimed, right = _counts(scores, positive, weights)
    reached = np.flatnonzero(right >= wanted * claimed)
    return (float(bounds[reached[-1]]), False) if len(reached) else (None, False)


def _for_recall(scores: Floats, positive: npt.NDArray[np.bool_], wanted: float) -> tuple[float | None, bool]:
    """The highest threshold with this recall, and whether the rows show it.

    The r-th lowest score of n positive rows leaves at most a share 1 - wanted of positives below it with 95 %
    confidence where P(Binomial(n, 1 - wanted) < r) is at most 5 %.
    """
    from scipy.stats import binom

    own = np.sort(scores[positive])
    if len(own) == 0:
        return None, False
    passing = binom.cdf(np.arange(len(own)), len(own), 1 - wanted) <= 1 - CONFIDENCE
    if passing[0]:
        return float(own[int(passing.sum()) - 1]), True
    return float(own[math.floor((1 - wanted) * len(own) + 1e-9)]), False


def _counts(scores: Floats, positive: npt.NDArray[np.bool_], weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Thresholds, falling, with the weight of the rows at or above each and of the positives among them."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    weight, hot = weights[order], positive[order]
    return scores[order][last], np.cumsum(weight)[last], np.cumsum(weight * hot)[last]


def _reached(
    kind: str, given: npt.NDArray[np.bool_], positive: npt.NDArray[np.bool_], weights: Floats
) -> tuple[float, list[float], int]:
    """Precision or recall, its Wilson interval, and its rows. Weighted rows count as the unweighted ones that would
    know as much (Kish 1965)."""
    chosen = given if kind == "precision" else positive
    weight = weights[chosen] if kind == "precision" else np.ones(np.count_nonzero(chosen))
    if not weight.sum() > 0:
        return 0.0, [0.0, 1.0], 0
    share = float(weight @ (given & positive)[chosen] / weight.sum())
    rows = max(1, round(float(weight.sum() ** 2 / (weight @ weight))))
    return share, wilson(round(share * rows), rows), rows


def _f1(marked: npt.NDArray[np.bool_], hot: npt.NDArray[np.bool_]) -> Floats:
    """F1 (k,) of each label; 0 where nothing is marked and nothing to be marked."""
    return np.asarray(2 * (marked & hot).sum(axis=0) / np.maximum(marked.sum(axis=0) + hot.sum(axis=0), 1))


def _peak(scores: Floats) -> int:
    """The middle of the best value of a jagged curve, smoothed over its neighbours."""
    smooth = np.convolve(np.pad(scores, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    best = np.flatnonzero(smooth >= smooth.max() - 1e-12)
    return int(best[len(best) // 2])
