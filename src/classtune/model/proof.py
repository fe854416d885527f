"""The proof that a network may be split: trunk then tail give what the whole network gives (rule 6)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from classtune.model.batches import Batch
from classtune.model.head import pool
from classtune.model.network import Network, Whole
from classtune.model.slicing import states
from classtune.model.trunk import Trunk

# A split is used when it changes no logit by more than this share of the largest.
TOLERANCE = 1e-4


@torch.inference_mode()
def prove_split(network: Network, start: int | None, texts: Sequence[str]) -> bool:
    """Whether trunk then tail equals the whole network on a few texts; a failure is noted.

    From then on the full last block, or where that is not it, the whole network is run.
    """
    if network.family is None:
        return False
    batch = network.encoder.batch(network.encoder.encode(texts)).to(network.device)
    network.classifier.eval()
    if network.is_hugging_face:
        whole = Whole(network)(batch)
    else:
        hidden = states(network.base, batch.values, batch.mask)
        whole = network.head.eval()(pool(hidden, batch.last, network.pooling))
    error = _difference(network, whole, start, batch)
    if error <= TOLERANCE:
        return True
    network.one_position = False
    if _difference(network, whole, start, batch) <= TOLERANCE:
        network.notes.append(f"The one-position form of the last block differs by {error:.1e}: the full block is run.")
        return True
    network.notes.append(f"Trunk and tail differ from the whole network by {error:.1e}: the whole network is run.")
    network.whole = network.is_hugging_face
    return False


def _difference(network: Network, whole: Tensor, start: int | None, batch: Batch) -> float:
    """Largest difference in a logit as a share of the largest logit."""
    try:
        values = batch if start is None else Batch(Trunk(network, start)(batch), batch.mask, batch.last)
        split = network.tail(start).eval()(values)
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError):  # a row that does not fit the model
        return math.inf
    error = float((split - whole).abs().max() / whole.abs().max().clamp_min(1e-6))
    return math.inf if math.isnan(error) else error
