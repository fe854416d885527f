"""At which depth to cut: cheap linear probes on the pooled states of every block, on training rows only.

The middle of a language model often classifies better than its end. One pass of a sample climbs the blocks one by one;
at each a ridge classifier (Hastie et al., The Elements of Statistical Learning, 4.2) is cross-validated. The climb ends
when many blocks have brought nothing, and the smallest depth within noise of the best is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from classtune.config import Progress
from classtune.model import kernels
from classtune.model.head import pool
from classtune.model.network import Network
from classtune.model.parts import part, states
from classtune.model.tokens import Batch, TokenIds, length_sorted_batches

FOLDS = 5
# Ridge penalty on standardised features; the choice of depth is the same from 100 to 1,000.
PENALTY = 300.0
# The climb goes through this share of the blocks (the first rise slowly), then ends after PATIENCE without a new best.
LEAST_CLIMB = 2 / 3
PATIENCE = 4


@dataclass
class DepthChoice:
    """kept: blocks to keep. curve: one entry a probed depth, accuracy by cross-validation and its standard error.

    richer: accuracy of ``last+mean`` pooling at the kept depth, its gain over the pooling in force, and that one's
        standard error.
    """

    kept: int
    of: int
    texts: int
    tokens: int
    curve: list[dict[str, float]] = field(default_factory=list)
    richer: dict[str, float] = field(default_factory=dict)


def choose_depth(
    network: Network, ids: Sequence[TokenIds], truth: NDArray[np.int64], *, floor: int, seed: int, progress: Progress
) -> DepthChoice:
    """Probe every depth on these texts and say which to keep.

    ids, truth: token ids and class of a sample of training rows. floor: the least depth (blocks that will be trained).
    """
    assert network.family is not None
    of = network.depth
    order = list(length_sorted_batches([len(item) for item in ids]))
    batches = [network.encoder.batch([ids[row] for row in rows]) for rows in order]
    right: dict[int, NDArray[np.bool_]] = {}
    richer: dict[int, NDArray[np.float32]] = {}  # of the depths that may be kept: for all, it is hundreds of MB
    folds = _folds(truth, seed)
    best = 0
    for depth in range(1, of + 1):
        batches = _one_block_further(network, batches, depth)
        if depth >= floor:
            right[depth] = _cross_validate(_pooled(batches, order, network.pooling), truth, folds)
            richer[depth] = _pooled(batches, order, "last+mean")
            best = max(right, key=lambda d: (right[d].mean(), -d))
            richer = {d: pooled for d, pooled in richer.items() if _within_noise(right[d], right[best])}
        progress("depth", depth, of)
        if depth >= LEAST_CLIMB * of and depth - best >= PATIENCE:
            break
    kept = min(richer)
    richer_right = _cross_validate(richer[kept], truth, folds)
    gain = richer_right.astype(float) - right[kept]
    return DepthChoice(
        kept=kept,
        of=of,
        texts=len(ids),
        tokens=sum(len(item) for item in ids),
        curve=[{"depth": d, "score": float(r.mean()), "se": _standard_error(r)} for d, r in sorted(right.items())],
        richer={"gain": float(gain.mean()), "se": _standard_error(gain), "score": float(richer_right.mean())},
    )


@torch.inference_mode()
def _one_block_further(network: Network, batches: list[Batch], depth: int) -> list[Batch]:
    assert network.family is not None
    step = part(network.base, network.family, depth - 1 if depth > 1 else None, depth, norm=False).eval()
    kernels.accelerate(step, frozen=True)
    moved = [batch.to(network.device) for batch in batches]
    return [Batch(states(step, b.values, b.mask), b.mask, b.last) for b in moved]


def _pooled(batches: list[Batch], order: list[NDArray[np.int64]], how: str) -> NDArray[np.float32]:
    """Pooled states in the order of the texts [texts, width]; ``order`` says which texts each batch holds."""
    pooled = torch.cat([pool(batch.values, batch.last, how) for batch in batches]).float().cpu().numpy()
    result: NDArray[np.float32] = np.empty_like(pooled)
    result[np.concatenate(order)] = pooled
    return result


def _folds(truth: NDArray[np.int64], seed: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Folds with each class spread evenly; a class with fewer rows than folds is in some of them alone."""
    rng = np.random.default_rng(seed)
    fold = np.empty(len(truth), dtype=np.int64)
    place = 0
    for label in np.unique(truth):
        rows = rng.permutation(np.flatnonzero(truth == label))
        fold[rows] = (place + np.arange(len(rows))) % FOLDS
        place += len(rows)
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in np.unique(fold)]


def _cross_validate(features: NDArray[np.float32], truth: NDArray[np.int64], folds: Any) -> NDArray[np.bool_]:
    """Whether each row is classified rightly by a ridge classifier fitted on the other folds."""
    from sklearn.linear_model import RidgeClassifier

    right = np.zeros(len(truth), dtype=np.bool_)
    for fit, held_out in folds:
        mean, scale = features[fit].mean(0), features[fit].std(0) + 1e-6
        probe = RidgeClassifier(alpha=PENALTY, solver="cholesky").fit((features[fit] - mean) / scale, truth[fit])
        right[held_out] = probe.predict((features[held_out] - mean) / scale) == truth[held_out]
    return right


def _standard_error(values: NDArray[Any]) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def _within_noise(right: NDArray[np.bool_], best: NDArray[np.bool_]) -> bool:
    """Whether a depth is worse than the best by no more than one standard error of the paired difference."""
    difference = best.astype(float) - right
    return bool(difference.mean() <= _standard_error(difference) + 1e-9)  # one row of a thousand is noise
