"""Batches: what a network is given at a time, and which texts go together so that little is padded.

Knows no texts and no tokenizer, only how long each text is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Tokens of one batch of the trunk: activations of some hundred tokens stay in a CPU's caches, more only cost memory.
BATCH_TOKENS = 768
# Padded share of a length-sorted batch, at most.
MAX_WASTE = 0.01


@dataclass(frozen=True)
class Batch:
    """What a network is given.

    values: token ids, int64 [texts, tokens], their types in them (`model/pairs.py`), or activations, float
        [texts, tokens, width]; padded on the right.
    mask: True on real tokens [texts, tokens]; None where no text needs it.
    last: index of the last pooled position of each text [texts].
    """

    values: Tensor
    mask: Tensor | None
    last: Tensor

    def to(self, device: torch.device) -> Batch:
        return Batch(self.values.to(device), None if self.mask is None else self.mask.to(device), self.last.to(device))


def padding_mask(lengths: NDArray[Any], width: int, needed: bool) -> Tensor | None:
    """[texts, tokens], True on real tokens; None where nothing is padded or padding on the right cannot be seen."""
    if not needed or bool((lengths == width).all()):
        return None
    return torch.from_numpy(np.arange(width)[None, :] < lengths[:, None])


def length_sorted_batches(
    lengths: Sequence[int], *, tokens: int = BATCH_TOKENS, waste: float = MAX_WASTE
) -> Iterator[NDArray[np.int64]]:
    """Indices of texts, shortest first, in batches of at most ``tokens`` positions and a padded share up to ``waste``.

    A text longer than ``tokens`` is a batch of its own.
    """
    order = np.argsort(np.asarray(lengths), kind="stable")
    start = real = 0
    for end, index in enumerate(order):
        length = int(lengths[index])
        positions = (end - start + 1) * length
        if end > start and (positions > tokens or (positions - real - length) > waste * positions):
            yield order[start:end]
            start, real = end, 0
        real += length
    if len(order):
        yield order[start:]
