"""The probe: a linear classifier on the pooled states of a frozen network, and the one cross-validation that judges it.

Multinomial logistic regression (or one logistic regression a label) on standardised features, its strength chosen by
cross-validation in which no group of rows is divided. Its solution is where a tail's head starts (Kumar et al. 2022,
"Fine-Tuning can Distort Pretrained Features"; Tomihari & Sato 2024). Knows arrays, not models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from classtune.data.folds import FOLDS, deal
from classtune.stats import Floats

# Strengths tried: scikit-learn's C, from the strongest regularisation to the weakest; features have unit variance.
STRENGTHS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
# Rows that choose the strength, at most: beyond, the choice no longer changes.
ROWS_THAT_CHOOSE = 4000
# A feature's spread counts as at least this share of the usual one: one that hardly varies would get a weight so large
# that the smallest step of training below it throws every answer over.
LEAST_SPREAD = 0.2
_STEPS = 60  # of L-BFGS, at most


@dataclass(frozen=True)
class Probe:
    """A fitted probe: logits = features @ weight.T + bias. weight [labels, width], bias [labels], C: its strength."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    strength: float

    def logits(self, features: NDArray[Any]) -> Floats:
        """Logits [rows, labels] of features [rows, width]."""
        return np.asarray(features.astype(np.float32) @ self.weight.T + self.bias, dtype=np.float64)


def fit_probe(
    features: NDArray[Any],
    truth: NDArray[Any],
    *,
    classes: int,
    seed: int,
    groups: NDArray[Any] | None = None,
    strength: float | None = None,
    bias: bool = True,
    balanced: bool = False,
    weights: NDArray[np.float32] | None = None,
) -> Probe:
    """Fit a probe on features [rows, width] and their truth, class numbers [rows] or bool [rows, labels].

    strength: None has it chosen by grouped cross-validation (the least log loss on rows that were not learned from).
    bias: a head without one can start from a probe without one. balanced: every class weighs the same. weights: how
    often each row counts [rows].
    """
    if strength is None:
        strength = _choose_strength(
            features, truth, classes, seed, groups, bias=bias, balanced=balanced, weights=weights
        )
    return _Solver(features, truth, classes, bias=bias, balanced=balanced, weights=weights).solve(strength)


def out_of_sample(
    features: NDArray[Any],
    truth: NDArray[Any],
    *,
    classes: int | None = None,
    folds: int = FOLDS,
    seed: int = 123,
    groups: NDArray[Any] | None = None,
) -> Floats:
    """Logits [rows, labels] of every row by a probe that learned from the other folds; see `deal` and `fit_probe`."""
    classes = classes or (truth.shape[1] if truth.ndim == 2 else int(truth.max()) + 1)
    fold = deal(truth, folds, seed=seed, groups=groups)
    strength = _choose_strength(features, truth, classes, seed, groups, bias=True, balanced=False)
    logits = np.zeros((len(truth), classes))
    for number in np.unique(fold):
        held = fold == number
        probe = fit_probe(features[~held], truth[~held], classes=classes, seed=seed, strength=strength)
        logits[held] = probe.logits(features[held])
    return logits


def spread(features: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and scale [width] that standardise features; a scale is at least LEAST_SPREAD of the usual one."""
    deviation = features.std(0, dtype=np.float64)
    usual = float(np.median(deviation)) or 1.0
    return features.mean(0, dtype=np.float64).astype(np.float32), np.maximum(deviation, LEAST_SPREAD * usual).astype(
        np.float32
    )


def _choose_strength(
    features: NDArray[Any],
    truth: NDArray[Any],
    classes: int,
    seed: int,
    groups: NDArray[Any] | None,
    *,
    bias: bool,
    balanced: bool,
    weights: NDArray[np.float32] | None = None,
) -> float:
    """The strength of least held-out log loss; of rows beyond ROWS_THAT_CHOOSE a random part decides."""
    rows = np.arange(len(truth))
    if len(rows) > ROWS_THAT_CHOOSE:
        rows = np.sort(np.random.default_rng(seed).permutation(len(rows))[:ROWS_THAT_CHOOSE])
    features, truth, weights = features[rows], truth[rows], None if weights is None else weights[rows]
    fold = deal(truth, FOLDS, seed=seed, groups=None if groups is None else groups[rows])
    parts = [(fold != number, fold == number) for number in np.unique(fold)]
    if len(parts) < 2:
        return STRENGTHS[0]
    solvers = [
        _Solver(
            features[learn],
            truth[learn],
            classes,
            bias=bias,
            balanced=balanced,
            weights=None if weights is None else weights[learn],
        )
        for learn, _ in parts
    ]
    best, least = STRENGTHS[0], np.inf
    for strength in STRENGTHS:
        probes = [solver.solve(strength) for solver in solvers]
        loss = sum(
            float(_losses(torch.from_numpy(probe.logits(features[held])), _targets(truth[held])).sum())
            for probe, (_, held) in zip(probes, parts, strict=True)
        )
        if loss > least:  # weaker ones only fit more noise
            break
        best, least = strength, loss
    return best


class _Solver:
    """Fits probes to the same rows at several strengths, each begun where the one before it ended."""

    def __init__(
        self,
        features: NDArray[Any],
        truth: NDArray[Any],
        classes: int,
        *,
        bias: bool,
        balanced: bool,
        weights: NDArray[np.float32] | None = None,
    ) -> None:
        self.mean, self.scale = spread(features)
        if not bias:  # nothing may be taken off where nothing can be added
            self.mean = np.zeros_like(self.mean)
        self.inputs = torch.from_numpy((features.astype(np.float32) - self.mean) / self.scale)
        self.targets = _targets(truth)
        self.row_weights = _row_weights(truth, classes) if balanced else None
        if weights is not None:
            own = torch.from_numpy(weights / weights.mean())
            self.row_weights = own if self.row_weights is None else own * self.row_weights
        self.weight = torch.zeros(classes, self.inputs.shape[1], requires_grad=True)
        self.offset = torch.zeros(classes, requires_grad=bias)

    def solve(self, strength: float) -> Probe:
        """Lower the mean loss and the penalty on the weights by L-BFGS."""
        free = [self.weight, self.offset] if self.offset.requires_grad else [self.weight]
        penalty = 1 / (strength * max(1, len(self.inputs)))
        optimizer = torch.optim.LBFGS(
            free, max_iter=_STEPS, tolerance_grad=1e-5, tolerance_change=1e-6, line_search_fn="strong_wolfe"
        )

        def closure() -> float:
            optimizer.zero_grad()
            losses = _losses(F.linear(self.inputs, self.weight, self.offset), self.targets)
            loss = losses.mean() if self.row_weights is None else (losses * self.row_weights).mean()
            total = loss + 0.5 * penalty * self.weight.square().sum()
            total.backward()  # type: ignore[no-untyped-call]
            return float(total.detach())

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        solved = (self.weight.detach() / torch.from_numpy(self.scale)).numpy()
        return Probe(solved, self.offset.detach().numpy() - solved @ self.mean, strength)


def _targets(truth: NDArray[Any]) -> Tensor:
    return torch.from_numpy(truth.astype(np.float32) if truth.ndim == 2 else truth.astype(np.int64))


def _losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Nats of each row [rows]; of several labels their sum."""
    if targets.ndim == 1:
        return F.cross_entropy(logits, targets, reduction="none")
    return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none").sum(1)


def _row_weights(truth: NDArray[Any], classes: int) -> Tensor | None:
    """Weights [rows] by which every class counts the same; None for several labels a row."""
    if truth.ndim == 2:
        return None
    counts = np.bincount(truth, minlength=classes)
    return torch.from_numpy((len(truth) / (np.count_nonzero(counts) * np.maximum(counts, 1)))[truth].astype(np.float32))
