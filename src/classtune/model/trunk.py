"""What of a network stays as it is: the trunk below the first trained block, or everything up to the head.

Knows no texts and no store; `activations.py` and `pooled.py` keep what comes out here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from classtune.model import kernels
from classtune.model.batches import Batch
from classtune.model.network import Network
from classtune.model.passes import Span, alone
from classtune.model.slicing import part, states


class Frozen(nn.Module):
    """Blocks that stay as they are; a batch in, what leaves them out."""

    def __init__(self, network: Network, span: Span) -> None:
        super().__init__()
        self.span, self.device, self.engine = span, network.device, network.engine

    def over(self, batches: Iterable[Batch]) -> Iterator[tuple[int, Tensor]]:
        """The number of each batch and what leaves the blocks of it, in any order, wherever the network's engine runs
        them. Raises ClasstuneError where the engine fails."""
        if self.engine is None:
            return alone(self._run, batches)
        return self.engine(self.span, self._run, batches)

    def _run(self, batch: Batch) -> Tensor:
        result: Tensor = self(batch.to(self.device))
        return result


class Trunk(Frozen):
    """Embeddings and frozen blocks below ``stop``: token ids → activations [texts, tokens, width].

    start: leave out the embeddings and the blocks below it; the trunk then takes activations.
    """

    def __init__(self, network: Network, stop: int, *, start: int | None = None) -> None:
        super().__init__(network, Span(start, stop))
        assert network.family is not None
        self.base = part(network.base, network.family, start, stop, norm=False)
        kernels.accelerate(self.base, frozen=True)
        self.eval()

    @torch.inference_mode()
    def forward(self, batch: Batch) -> Tensor:
        return states(self.base, batch.values, batch.mask)


class Vectors(Frozen):
    """A whole network up to its head, as it is now: token ids → pooled states, float32 [texts, width]."""

    def __init__(self, network: Network) -> None:
        super().__init__(network, Span(None, network.depth, network.pooling, network.one_position))
        self.tail: Any = network.tail(None, frozen=True).eval()
        self.tail.head = nn.Identity()  # of this copy alone

    @torch.inference_mode()
    def forward(self, batch: Batch) -> Tensor:
        pooled: Tensor = self.tail(batch)
        return pooled.float()


def frozen(network: Network, span: Span) -> Frozen:
    """A span of another copy of a network; pooled, the network loses the blocks above it."""
    if span.pooling is None:
        return Trunk(network, span.stop, start=span.start)
    network.cut(span.stop)
    network.pool_by(span.pooling)
    network.one_position = span.one_position
    return Vectors(network)


class Passes:
    """What a process that is sent batches has: whichever span of its network is asked for, the last one ready."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._module: Frozen | None = None

    def __call__(self, span: Span, batch: Batch) -> Tensor:
        """What leaves the span of a batch."""
        if self._module is None or self._module.span != span:
            self._module = None  # room for the next
            self._module = frozen(self._network, span)
        states: Tensor = self._module(batch.to(self._network.device))
        return states
