"""What the user's costs and class priors do, for several classifiers or answers alike: a table beside the figures.

The figures themselves compare plain calibrated answers: like with like.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from classtune.decisions.decisions import Decisions
from classtune.judging.answers import right_rows
from classtune.stats import Floats


@dataclass(frozen=True)
class Wished:
    """Of one classifier: the accuracy of its answers; the same, rows weighted to the deployed class prior (None without
    one); the expected cost of a text by the user's costs, on rows so weighted (None without costs)."""

    accuracy: float
    weighted_accuracy: float | None
    expected_cost: float | None


@dataclass(frozen=True)
class UnderWishes:
    """Figures of each classifier on the test ``rows`` with decisions as wished."""

    rows: int
    classifiers: dict[str, Wished]


def judge_under_wishes(
    told: Decisions, truth: np.ndarray[Any, Any], classifiers: Mapping[str, tuple[Decisions, Floats]]
) -> UnderWishes | None:
    """Figures of each classifier's answers by the costs and the class prior of ``told``; None where nothing was told.

    truth: class numbers [rows] or booleans [rows, labels], of at least one row. classifiers: name → decisions and
    probabilities [rows, labels].
    """
    if not any(told.told):
        return None
    weights, thresholds = _weights(told, truth), told.thresholds
    figures = {}
    for name, (decisions, probabilities) in classifiers.items():
        answering = replace(decisions, abstention=None)  # withheld answers count as accuracy has them: as if given
        right = right_rows(answering, probabilities, truth)
        cost = None
        if thresholds is not None and thresholds.costs is not None:
            given = answering.answers(probabilities) if told.multi else answering.choices(probabilities)
            cost = float(np.average(thresholds.costs_of(truth, given), weights=weights))
        weighted = None if weights is None else float(np.average(right, weights=weights))
        figures[name] = Wished(float(right.mean()), weighted, cost)
    return UnderWishes(len(truth), figures)


def beside_plain(decisions: Decisions, probabilities: Floats, truth: np.ndarray[Any, Any]) -> UnderWishes | None:
    """Figures of the answers as the user told them to be, and beside them of those without costs and thresholds."""
    answers = {"the answers given": (decisions, probabilities)}
    if decisions.thresholds is not None:
        plain = "each label of 0.5 or more" if decisions.multi else "the most probable label"
        answers[plain] = (replace(decisions, thresholds=None), probabilities)
    return judge_under_wishes(decisions, truth, answers)


def pooled(parts: Sequence[UnderWishes]) -> UnderWishes | None:
    """One table of parts of the rows, each judged by classifiers of its own that have the same names: means of their
    figures in which every row counts once. None without parts."""

    def mean(name: str, figure: str) -> float | None:
        values = [(getattr(part.classifiers[name], figure), part.rows) for part in parts]
        known = [(value, rows) for value, rows in values if value is not None]
        rows = sum(rows for _, rows in known)
        return sum(value * rows for value, rows in known) / rows if rows else None

    if not parts:
        return None
    figures = {}
    for name in parts[0].classifiers:
        accuracy = mean(name, "accuracy")
        assert accuracy is not None
        figures[name] = Wished(accuracy, mean(name, "weighted_accuracy"), mean(name, "expected_cost"))
    return UnderWishes(sum(part.rows for part in parts), figures)


def _weights(told: Decisions, truth: np.ndarray[Any, Any]) -> Floats | None:
    """Weights [rows] that give the labels their deployed shares; None without such, for several labels a text, and
    where no row counts."""
    if told.multi or told.prior is None or told.prior.deployed == told.prior.trained:
        return None
    present = np.bincount(truth, minlength=len(told.labels)) / len(truth)
    deployed = np.array(told.prior.deployed)
    weights = np.asarray((deployed / np.maximum(present, 1 / len(truth)))[truth])
    return weights if weights.any() else None
