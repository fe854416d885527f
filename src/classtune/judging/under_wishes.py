"""What the user's costs and class priors do, for the classifier and for its baseline alike: a table beside the figures.

The figures themselves compare plain calibrated answers: like with like.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from classtune.config.areas import DecisionSettings
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
    wishes: DecisionSettings, truth: np.ndarray[Any, Any], classifiers: Mapping[str, tuple[Decisions, Floats]]
) -> UnderWishes | None:
    """Test figures of each classifier with decisions as wished; None where nothing was wished.

    truth: class numbers [rows] or booleans [rows, labels]. classifiers: name → decisions and logits [rows, labels].
    """
    if not (wishes.deploy_prior or wishes.cost or wishes.precision or wishes.recall):
        return None
    figures = {}
    for name, (decisions, logits) in classifiers.items():
        probabilities = decisions.probabilities(logits)
        right = right_rows(decisions, probabilities, truth)
        weights = _weights(decisions, truth, weighted=bool(wishes.deploy_prior))
        costs = decisions.thresholds.costs if decisions.thresholds and not decisions.multi else None
        cost = None
        if costs is not None:
            # Withheld ones too, as accuracy has them.
            given = replace(decisions, abstention=None).choices(probabilities)
            cost = float(np.average(np.array(costs)[truth, given], weights=weights))
        weighted = float(np.average(right, weights=weights)) if wishes.deploy_prior else None
        figures[name] = Wished(float(right.mean()), weighted, cost)
    return UnderWishes(len(truth), figures)


def _weights(decisions: Decisions, truth: np.ndarray[Any, Any], *, weighted: bool) -> Floats:
    """Weights [rows] that give the labels their deployed shares; equal ones for several labels a text."""
    if not weighted or decisions.multi or decisions.prior is None:
        return np.ones(len(truth))
    present = np.bincount(truth, minlength=len(decisions.labels)) / len(truth)
    deployed = np.array(decisions.prior.deployed)
    return np.asarray((deployed / np.maximum(present, 1 / len(truth)))[truth])
