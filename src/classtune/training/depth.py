"""At which depth to cut, and how to pool: cheap linear probes on the states of every block, on training rows only.

The middle of a language model often classifies better than its end, and no pooling is best everywhere. One pass of a
sample climbs the blocks one by one; at each, a ridge classifier (Hastie et al., The Elements of Statistical Learning,
4.2) is cross-validated for each pooling. The climb ends when many blocks have brought nothing, and the smallest depth
within noise of the best is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from classtune.config import Progress
from classtune.data.folds import FOLDS, deal
from classtune.model.batches import Batch, length_sorted_batches
from classtune.model.head import pool
from classtune.model.network import Network
from classtune.model.tokens import TokenIds
from classtune.model.trunk import Trunk
from classtune.stats import Floats
from classtune.training.probe import spread

# Ridge penalty on standardised features; the choice of depth is the same from 100 to 1,000.
PENALTY = 300.0
# The climb goes through this share of the blocks (the first rise slowly), then ends after PATIENCE without a new best.
LEAST_CLIMB = 2 / 3
PATIENCE = 4
# Of the states on the way, for the trunk.
CLIMBED_BYTES = 1 << 30
# Noise is this many standard errors of the paired difference: a block is worth a little doubt.
NOISE = 0.5


@dataclass
class DepthChoice:
    """kept: blocks to keep. pooling: how states are pooled there; None: not asked.

    curve: one entry a probed depth and pooling, score by cross-validation and its standard error.
    """

    kept: int
    of: int
    texts: int
    tokens: int
    pooling: str | None = None
    curve: list[dict[str, Any]] = field(default_factory=list)


class Climbed:
    """What the climb computed on its way, so that the trunk need not run again over the sample.

    The states of the last depths are kept, as many as CLIMBED_BYTES hold: the depth that is chosen is among them
    unless it lies far below the end of the climb.
    """

    def __init__(self) -> None:
        self.features: NDArray[np.float32] | None = None  # pooled states [texts, width] at the chosen depth
        self._batches: dict[int, list[Batch]] = {}
        self._order: list[NDArray[np.int64]] = []

    def keep(self, depth: int, batches: list[Batch], order: list[NDArray[np.int64]]) -> None:
        self._batches[depth], self._order = batches, order
        held = {place: sum(batch.values.nbytes for batch in kept) for place, kept in self._batches.items()}
        for place in sorted(held):
            if sum(held[kept] for kept in self._batches) > CLIMBED_BYTES:
                del self._batches[place]

    @torch.inference_mode()
    def pool(self, depth: int, how: str, norm: nn.Module) -> None:
        """Pool the states of the chosen depth, where they were kept."""
        if depth in self._batches:
            self.features = _pooled(self._batches[depth], self._order, how, norm)

    def at(self, depth: int, lengths: Sequence[int]) -> NDArray[np.float32] | None:
        """What leaves this depth [tokens of all texts, width], in the order of the texts; None where it was not kept.

        lengths: tokens of each text.
        """
        if depth not in self._batches:
            return None
        texts: dict[int, NDArray[np.float32]] = {}
        for rows, batch in zip(self._order, self._batches[depth], strict=True):
            for row, own in zip(rows, batch.values.float().cpu().numpy(), strict=True):
                texts[int(row)] = own[: lengths[row]]
        return np.concatenate([texts[row] for row in range(len(lengths))])


def choose_depth(
    network: Network,
    ids: Sequence[TokenIds],
    truth: NDArray[Any],
    *,
    floor: int,
    seed: int,
    progress: Progress,
    groups: NDArray[Any] | None = None,
    poolings: Sequence[str] | None = None,
    climbed: Climbed | None = None,
) -> DepthChoice:
    """Probe every depth and pooling on these texts and say which to keep.

    ids, truth: token ids of a sample of training rows, and their classes, int64 [rows], or labels, bool [rows, labels].
    groups: rows that are never divided by a fold. floor: the least depth (blocks that will be trained). poolings: what
    is tried; None: the network's own. climbed: keeps what is computed. A row's score is whether its class is found or,
    with labels, how far up the right ones stand (see ``_cross_validate``).
    """
    assert network.family is not None
    top = network.depth
    if truth.ndim == 2:  # having no label is an answer too, ranked among the others
        truth = np.column_stack([truth, ~truth.any(1)])
    poolings = poolings or [network.pooling]
    order = list(length_sorted_batches([len(item) for item in ids]))
    batches = [network.encoder.batch([ids[row] for row in rows]) for rows in order]
    fold = deal(truth, FOLDS, seed=seed, groups=groups)
    norm = network.final_norm
    scores: dict[tuple[int, str], Floats] = {}  # of each row
    best = (0, "")
    for depth in range(1, top + 1):
        batches = _one_block_further(network, batches, depth)
        if climbed is not None:
            climbed.keep(depth, batches, order)
        if depth >= floor:
            for pooling in poolings:
                scores[depth, pooling] = _cross_validate(_pooled(batches, order, pooling, norm), truth, fold)
            best = max(scores, key=lambda place: (scores[place].mean(), -place[0]))
        progress("depth", depth, top)
        if depth >= LEAST_CLIMB * top and depth - best[0] >= PATIENCE:
            break
    near = [place for place in scores if _within_noise(scores[place], scores[best])]
    least = min(depth for depth, _ in near)
    kept, pooling = max((place for place in near if place[0] == least), key=lambda place: scores[place].mean())
    if climbed is not None:
        climbed.pool(kept, pooling, norm)
    return DepthChoice(
        kept=kept,
        of=network.of,
        texts=len(ids),
        tokens=sum(len(item) for item in ids),
        pooling=pooling,
        curve=[
            {"depth": d, "pooling": p, "score": float(s.mean()), "se": _standard_error(s)}
            for (d, p), s in sorted(scores.items())
        ],
    )


def _one_block_further(network: Network, batches: list[Batch], depth: int) -> list[Batch]:
    step = Trunk(network, depth, start=depth - 1 if depth > 1 else None)
    batches = [batch.to(network.device) for batch in batches]
    left = dict(step.over(batches))
    return [Batch(left[number].to(network.device), b.mask, b.last) for number, b in enumerate(batches)]


@torch.inference_mode()
def _pooled(batches: list[Batch], order: list[NDArray[np.int64]], how: str, norm: nn.Module) -> NDArray[np.float32]:
    """Pooled states after the final norm, in the order of the texts [texts, width]: what a head at this depth is given.

    order: which texts each batch holds.
    """
    pooled = torch.cat([pool(norm(batch.values), batch.last, how) for batch in batches]).float().cpu().numpy()
    result: NDArray[np.float32] = np.empty_like(pooled)
    result[np.concatenate(order)] = pooled
    return result


def _cross_validate(features: NDArray[np.float32], truth: NDArray[Any], fold: NDArray[np.int64]) -> Floats:
    """A score in 0 … 1 of each row by a ridge probe fitted on the other folds.

    One class a row: 1 where a ridge classifier finds it. Labels: the ranking precision of a ridge regression on their
    matrix. It needs no thresholds and looks at the labels that a row has, so that the many it lacks do not hide the
    difference between two depths, as they do in the share of right labels.
    """
    from sklearn.linear_model import Ridge, RidgeClassifier

    several = truth.ndim == 2
    probe = (Ridge if several else RidgeClassifier)(alpha=PENALTY, solver="cholesky")
    scores = np.zeros(len(truth))
    for number in np.unique(fold):
        learn, held = fold != number, fold == number
        if not several and len(np.unique(truth[learn])) < 2:
            continue
        mean, scale = spread(features[learn])
        probe.fit((features[learn] - mean) / scale, truth[learn].astype(float) if several else truth[learn])
        answers = probe.predict((features[held] - mean) / scale)
        scores[held] = ranking_precision(answers, truth[held]) if several else answers == truth[held]
    return scores


def ranking_precision(answers: NDArray[Any], truth: NDArray[Any]) -> Floats:
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


def _within_noise(scores: Floats, best: Floats) -> bool:
    """Whether a depth is worse than the best by no more than the noise of the paired difference."""
    difference = best - scores
    return bool(difference.mean() <= NOISE * _standard_error(difference) + 1e-9)
