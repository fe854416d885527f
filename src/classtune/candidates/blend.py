"""A blend: the weighted sum of the members' calibrated log-probabilities, and how members and weights are chosen.

Greedy selection of weights on held-out log loss (Caruana et al. 2004, "Ensemble Selection from Libraries of Models"),
then parsimony: what costs much must help much. Knows arrays, not models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classtune.stats import Floats, best_scale, log_probabilities, row_losses

# Rounds of greedy selection: weights are quarters. A finer weight, chosen on a few hundred rows, is no better.
ROUNDS = 4
# Log loss (nats) that is nothing, however sure it is.
NEGLIGIBLE = 0.003
# How many parts of a blend each of its members has, by name.
Counts = dict[str, int]


@dataclass(frozen=True)
class Weight:
    """A member's part in a blend. scale: what its logits are multiplied by (one over its temperature)."""

    weight: float
    scale: float


@dataclass(frozen=True)
class Option:
    """What selection knows of a candidate: logits [held-out rows, labels], and what a text costs.

    logits: NaN in rows that it was not judged on; of two candidates, the rows that judged both compare them.
    cost: in any unit that is the same for all; ms_per_text: in milliseconds, for a limit that the user sets.
    """

    name: str
    logits: Floats
    cost: float
    ms_per_text: float = 0.0


@dataclass(frozen=True)
class Choice:
    """What was chosen. members: name → its part. losses: of each option, and loss: of what was chosen, the mean
    held-out log loss on the rows that judged them all (NaN without such rows); rows: how many these are.
    """

    members: dict[str, Weight]
    scales: dict[str, float]
    losses: dict[str, float]
    loss: float
    rows: int

    @property
    def name(self) -> str:
        """``tf-idf + minilm-l6 tail``."""
        return " + ".join(self.members)


def blended(logits: Sequence[Floats], weights: Sequence[Weight], *, multi: bool) -> Floats:
    """Logits [rows, labels] of a blend of members' logits; of one member of weight 1 and scale 1 its own."""
    if len(weights) == 1 and weights[0] == Weight(1.0, 1.0):
        return logits[0]
    parts = [part.weight * _as_summed(part.scale * own, multi=multi) for own, part in zip(logits, weights, strict=True)]
    return np.asarray(np.sum(parts, axis=0))


def _as_summed(logits: Floats, *, multi: bool) -> Floats:
    """What is summed: log-probabilities, or log-odds of a label each."""
    return logits if multi else log_probabilities(logits, multi=False)


def choose(
    options: Sequence[Option],
    truth: NDArray[Any],
    *,
    single: bool = False,
    most_ms: float | None = None,
    small_cost: float = 0.0,
) -> Choice:
    """The classifier of the least held-out log loss that parsimony leaves.

    options: at least one; truth: class numbers [rows] or booleans [rows, labels]. single: no blend. most_ms: what a
    text may cost in all. small_cost: what is cheaper than this has to help little.

    From the blend of least loss, members leave where the loss rises by less than the noise (one standard error of the
    paired difference) times the share of the cost that leaves with them, and a trifle: a member that is almost free, or
    as good as free by ``small_cost``, stays if it helps, one that is nearly all of the cost must help beyond noise. A
    single option takes the place of a blend on the same terms.
    """
    field = _Field(options, truth, most_ms)
    best = field.lightened(field.blend(1 if single else ROUNDS), small_cost)
    total = sum(best.values())
    order = sorted(best, key=lambda name: (-best[name], field.cost[name]))
    members = {name: Weight(best[name] / total, field.scales[name]) for name in order}
    if len(members) == 1:  # its own logits, which are calibrated like any classifier's
        members = {order[0]: Weight(1.0, 1.0)}
    losses = {name: field.losses({name: 1}) for name in field.summed}
    common = ~np.isnan(sum(losses.values()))
    means = {name: _mean(loss[common]) for name, loss in losses.items()}
    return Choice(members, field.scales, means, _mean(field.losses(best)[common]), int(common.sum()))


def least_losses(options: Sequence[Option], truth: NDArray[Any]) -> Floats:
    """Log loss of each row by the best blend of the options, whatever it costs."""
    field = _Field(options, truth, None)
    return field.losses(field.blend(ROUNDS))


class _Field:
    """The options with what is known of them, and the two ways to go from one blend to another."""

    def __init__(self, options: Sequence[Option], truth: NDArray[Any], most_ms: float | None) -> None:
        self.truth, self.most_ms = truth, most_ms
        self.scales: dict[str, float] = {}
        self.summed: dict[str, Floats] = {}
        for option in options:
            judged = ~np.isnan(option.logits).any(axis=1)
            self.scales[option.name] = scale = best_scale(option.logits[judged], truth[judged])
            self.summed[option.name] = _as_summed(scale * option.logits, multi=truth.ndim == 2)
        self.cost = {option.name: max(option.cost, 1e-6) for option in options}
        self.ms = {option.name: option.ms_per_text for option in options}

    def losses(self, counts: Counts) -> Floats:
        """Log loss of each row by a blend of so many parts of each option; NaN in rows that did not judge all."""
        parts = [count / sum(counts.values()) * self.summed[name] for name, count in counts.items()]
        return row_losses(np.sum(parts, axis=0), self.truth)

    def total(self, counts: Counts) -> float:
        """What a text costs."""
        return sum(self.cost[name] for name in counts)

    def blend(self, rounds: int) -> Counts:
        """The best of the blends that greedy selection goes through."""
        best = counts = self._of_least_loss([{name: 1} for name in self.summed])
        for _ in range(rounds - 1):
            steps = [{**counts, name: counts.get(name, 0) + 1} for name in self.summed]
            if self.most_ms is not None:
                steps = [step for step in steps if sum(self.ms[name] for name in step) <= self.most_ms]
            counts = self._of_least_loss(steps)
            if _rise(self.losses(counts), self.losses(best))[0] < 0:
                best = counts
        return best

    def _of_least_loss(self, choices: Sequence[Counts]) -> Counts:
        """What the most rows have judged is what the others are compared with."""
        losses = [self.losses(counts) for counts in choices]
        order = sorted(range(len(choices)), key=lambda n: (np.isnan(losses[n]).sum(), self.total(choices[n])))
        best = order[0]
        for other in order[1:]:
            if _rise(losses[other], losses[best])[0] < 0:
                best = other
        return choices[best]

    def lightened(self, best: Counts, small_cost: float) -> Counts:
        """The cheapest of the best blend's parts, and of the options, that may take its place; of those that cost the
        same, within a tenth, the one of least loss."""
        sizes = range(1, len(best))
        parts = [{name: best[name] for name in names} for size in sizes for names in combinations(best, size)]
        before, enough = self.total(best), [(self.total(best), 0.0, best)]
        for counts in [*parts, *({name: 1} for name in self.summed)]:
            after = self.total(counts)
            rise, error = _rise(self.losses(counts), self.losses(best))
            saved = before - after
            if saved > 0 and rise <= error * saved / (before + small_cost) + NEGLIGIBLE * saved / before:
                enough.append((after, rise, counts))
        cheapest = min(after for after, _, _ in enough)
        return min((one for one in enough if one[0] <= 1.1 * cheapest), key=lambda one: (one[1], one[0]))[2]


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _rise(losses: Floats, before: Floats) -> tuple[float, float]:
    """The mean by which losses rise on the rows that both have, and its standard error; 0 without such rows."""
    rise = losses - before
    rise = rise[~np.isnan(rise)]
    if not len(rise):
        return 0.0, 0.0
    return float(rise.mean()), float(rise.std(ddof=1) / np.sqrt(len(rise))) if len(rise) > 1 else 0.0
