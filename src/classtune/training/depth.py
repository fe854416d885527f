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
from classtune.model.slicing import part, states
from classtune.model.tokens import Batch, TokenIds, length_sorted_batches

FOLDS = 5
# Ridge penalty on standardised features; the choice of depth is the same from 100 to 1,000.
PENALTY = 300.0
# The climb goes through this share of the blocks (the first rise slowly), then ends after PATIENCE without a new best.
LEAST_CLIMB = 2 / 3
PATIENCE = 4


@dataclass
class DepthChoice:
    """kept: blocks to keep. curve: one entry a probed depth, score by cross-validation and its standard error.

    richer: score of ``last+mean`` pooling at the kept depth, its gain over the pooling in force, and that one's
        standard error.
    """

    kept: int
    of: int
    texts: int
    tokens: int
    curve: list[dict[str, float]] = field(default_factory=list)
    richer: dict[str, float] = field(default_factory=dict)


def choose_depth(
    network: Network, ids: Sequence[TokenIds], truth: NDArray[Any], *, floor: int, seed: int, progress: Progress
) -> DepthChoice:
    """Probe every depth on these texts and say which to keep.

    ids, truth: token ids of a sample of training rows, and their classes, int64 [rows], or labels, bool [rows, labels].
    floor: the least depth (blocks that will be trained). A row's score is whether its class is found or, with labels,
    how far up the right ones stand (see ``_cross_validate``).
    """
    assert network.family is not None
    of = network.depth
    if truth.ndim == 2:  # having no label is an answer too, ranked among the others
        truth = np.column_stack([truth, ~truth.any(1)])
    order = list(length_sorted_batches([len(item) for item in ids]))
    batches = [network.encoder.batch([ids[row] for row in rows]) for rows in order]
    scores: dict[int, NDArray[np.float64]] = {}  # of each row
    richer: dict[int, NDArray[np.float32]] = {}  # of the depths that may be kept: for all, it is hundreds of MB
    folds = _folds(_strata(truth), seed)
    best = 0
    for depth in range(1, of + 1):
        batches = _one_block_further(network, batches, depth)
        if depth >= floor:
            scores[depth] = _cross_validate(_pooled(batches, order, network.pooling), truth, folds)
            richer[depth] = _pooled(batches, order, "last+mean")
            best = max(scores, key=lambda d: (scores[d].mean(), -d))
            richer = {d: pooled for d, pooled in richer.items() if _within_noise(scores[d], scores[best])}
        progress("depth", depth, of)
        if depth >= LEAST_CLIMB * of and depth - best >= PATIENCE:
            break
    kept = min(richer)
    richer_scores = _cross_validate(richer[kept], truth, folds)
    gain = richer_scores - scores[kept]
    return DepthChoice(
        kept=kept,
        of=of,
        texts=len(ids),
        tokens=sum(len(item) for item in ids),
        curve=[{"depth": d, "score": float(s.mean()), "se": _standard_error(s)} for d, s in sorted(scores.items())],
        richer={"gain": float(gain.mean()), "se": _standard_error(gain), "score": float(richer_scores.mean())},
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


def _strata(truth: NDArray[Any]) -> NDArray[np.int64]:
    """What the folds spread evenly: a row's class, or the rarest of its labels (every row has one)."""
    if truth.ndim == 1:
        return truth
    strata: NDArray[np.int64] = np.where(truth, truth.sum(0), len(truth) + 1).argmin(1)
    return strata


def _folds(strata: NDArray[np.int64], seed: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Folds with each class spread evenly; a class with fewer rows than folds is in some of them alone."""
    rng = np.random.default_rng(seed)
    fold = np.empty(len(strata), dtype=np.int64)
    place = 0
    for stratum in np.unique(strata):
        rows = rng.permutation(np.flatnonzero(strata == stratum))
        fold[rows] = (place + np.arange(len(rows))) % FOLDS
        place += len(rows)
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in np.unique(fold)]


def _cross_validate(features: NDArray[np.float32], truth: NDArray[Any], folds: Any) -> NDArray[np.float64]:
    """A score in 0 … 1 of each row by a ridge probe fitted on the other folds.

    One class a row: 1 where a ridge classifier finds it. Labels: the ranking precision of a ridge regression on their
    matrix. It needs no thresholds and looks at the labels that a row has, so that the many it lacks do not hide the
    difference between two depths, as they do in the share of right labels.
    """
    from sklearn.linear_model import Ridge, RidgeClassifier

    several = truth.ndim == 2
    probe = (Ridge if several else RidgeClassifier)(alpha=PENALTY, solver="cholesky")
    scores = np.zeros(len(truth))
    for fit, held_out in folds:
        mean, scale = features[fit].mean(0), features[fit].std(0) + 1e-6
        probe.fit((features[fit] - mean) / scale, truth[fit].astype(float) if several else truth[fit])
        answers = probe.predict((features[held_out] - mean) / scale)
        scores[held_out] = ranking_precision(answers, truth[held_out]) if several else answers == truth[held_out]
    return scores


def ranking_precision(answers: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.float64]:
    """Of each row of scores [rows, labels], the mean over its true labels of the share of true ones ranked as high.

    Label ranking average precision (Tsoumakas et al., Mining Multi-label Data, 2010), row by row; 1 for a row without
    labels.
    """
    order = np.argsort(-answers, axis=1, kind="stable")
    hits = np.take_along_axis(truth, order, axis=1)
    precision = hits.cumsum(1) / np.arange(1, hits.shape[1] + 1)
    count = hits.sum(1)
    return np.where(count, (precision * hits).sum(1) / np.maximum(count, 1), 1.0)


def _standard_error(values: NDArray[Any]) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def _within_noise(scores: NDArray[np.float64], best: NDArray[np.float64]) -> bool:
    """Whether a depth is worse than the best by no more than one standard error of the paired difference."""
    difference = best - scores
    return bool(difference.mean() <= _standard_error(difference) + 1e-9)  # one row of a thousand is noise
