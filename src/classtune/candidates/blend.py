"""A blend: the weighted sum of the members' calibrated log-probabilities, and how members and weights are chosen.

Greedy selection of weights on held-out log loss (Caruana et al. 2004, "Ensemble Selection from Libraries of Models"),
then parsimony: what costs much must help much. Knows arrays, not models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classtune.stats import Floats, best_scale, log_probabilities, row_losses

# Rounds of greedy selection: weights are quarters. A finer weight, chosen on a few hundred rows, is no better.
ROUNDS = 4
# Log loss (nats) that is nothing, however sure it is.
NEGLIGIBLE = 0.003
LossOf = Callable[[Mapping[str, int]], Floats]


@dataclass(frozen=True)
class Weight:
    """A member's part in a blend. scale: what its logits are multiplied by (one over its temperature)."""

    weight: float
    scale: float


@dataclass(frozen=True)
class Option:
    """What selection knows of a candidate: logits [held-out rows, labels], and what a text costs.

    cost: in any unit that is the same for all; ms_per_text: in milliseconds, for a limit that the user sets.
    """

    name: str
    logits: Floats
    cost: float
    ms_per_text: float = 0.0


@dataclass(frozen=True)
class Choice:
    """What was chosen. members: name → its part. losses: held-out log loss of each option and of the blend, by row."""

    members: dict[str, Weight]
    scales: dict[str, float]
    losses: dict[str, Floats]
    blend_losses: Floats

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
    options: Sequence[Option], truth: NDArray[Any], *, single: bool = False, most_ms: float | None = None
) -> Choice:
    """The classifier of the least held-out log loss that parsimony leaves.

    options: at least one; truth: class numbers [rows] or booleans [rows, labels]. single: no blend.
    most_ms: what a text may cost in all.

    From the blend of least loss, members leave one by one, the dearest first, where the loss rises by less than the
    noise (one standard error of the paired difference, and a trifle) times the share of the cost that leaves with them:
    a member that is almost free stays if it helps at all, one that is nearly all of the cost must help beyond noise. A
    single option takes the place of a blend on the same terms.
    """
    multi = truth.ndim == 2
    scales = {option.name: best_scale(option.logits, truth) for option in options}
    summed = {option.name: _as_summed(scales[option.name] * option.logits, multi=multi) for option in options}
    losses = {name: row_losses(values, truth) for name, values in summed.items()}
    cost = {option.name: max(option.cost, 1e-6) for option in options}
    ms = {option.name: option.ms_per_text for option in options}

    def loss_of(counts: Mapping[str, int]) -> Floats:
        total = sum(counts.values())
        return row_losses(np.sum([count / total * summed[name] for name, count in counts.items()], axis=0), truth)

    counts = {min(losses, key=lambda name: (losses[name].mean(), cost[name])): 1}
    best, best_losses = counts, losses[next(iter(counts))]
    for _ in range(0 if single else ROUNDS - 1):
        steps = {name: {**counts, name: counts.get(name, 0) + 1} for name in summed}
        if most_ms is not None:
            steps = {name: step for name, step in steps.items() if sum(ms[one] for one in step) <= most_ms}
        added = min(steps, key=lambda name: (loss_of(steps[name]).mean(), cost[name]))
        counts = steps[added]
        now = loss_of(counts)
        if now.mean() < best_losses.mean():
            best, best_losses = counts, now
    alternatives: list[dict[str, int]] = [{name: 1} for name in summed]
    while True:
        lighter = [{name: count for name, count in best.items() if name != gone} for gone in best if len(best) > 1]
        found = [counts for counts in [*lighter, *alternatives] if _is_enough(counts, best, loss_of, cost)]
        if not found:
            break
        best = min(found, key=lambda counts: (sum(cost[name] for name in counts), loss_of(counts).mean()))
    total = sum(best.values())
    order = sorted(best, key=lambda name: (-best[name], cost[name]))
    members = {name: Weight(best[name] / total, scales[name]) for name in order}
    if len(members) == 1:  # its own logits, which are calibrated like any classifier's
        members = {order[0]: Weight(1.0, 1.0)}
    return Choice(members, scales, losses, loss_of(best))


def _is_enough(counts: Mapping[str, int], best: Mapping[str, int], loss_of: LossOf, cost: Mapping[str, float]) -> bool:
    """Whether a cheaper choice may take the place of the best one."""
    before, after = (sum(cost[name] for name in chosen) for chosen in (best, counts))
    if after >= before:
        return False
    rise = loss_of(counts) - loss_of(best)
    error = float(rise.std(ddof=1) / np.sqrt(len(rise))) if len(rise) > 1 else 0.0
    return float(rise.mean()) <= (error + NEGLIGIBLE) * (1 - after / before)
