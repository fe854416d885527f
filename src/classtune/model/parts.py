"""A training batch in parts: this process and others run some of its texts each, and their gradients are added up.

Knows no transport: `classtune.jobs.passes` gives the others. The loss sees the logits of the whole batch, so that it
and its gradients are those of one process up to floating point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from classtune.model.batches import Batch

# Bytes a second between two processes, copies included, and what several processes of one machine need of the time
# that one needs with all its threads (benchmarks/ranks.py).
BYTES_A_SECOND, SEVERAL_FOR_ONE = 4e8, 0.8


@dataclass(frozen=True)
class TailPlan:
    """How a process that has loaded the same backbone makes the same tail of it.

    depth, pooling, one_position, start: as of `Network`. trained: names of the parameters of the tail that are trained.
    lora: rank and alpha of its matrices, where it has some.
    """

    depth: int
    pooling: str
    one_position: bool
    start: int | None
    trained: Sequence[str]
    lora: tuple[int, float] | None = None


def trained_names(tail: nn.Module) -> list[str]:
    """Of the parameters that ask for gradients."""
    return [name for name, parameter in tail.named_parameters() if parameter.requires_grad]


class Learner(Protocol):
    """Another process with the same tail."""

    def forward(self, batch: Batch, weights: Sequence[Tensor]) -> Tensor:
        """Logits [texts, labels] of some texts, under the trained weights as they are now."""

    def backward(self, gradient: Tensor) -> Mapping[int, Tensor]:
        """The gradients of these weights by their places, from that of the logits; none where a weight has no part."""


@dataclass(frozen=True)
class Learners:
    """Other processes that can train with this one.

    count: how many they are; machines: on how many, this one among them. learning: while it lasts, they have the tail
    of a plan. few_threads: within, this process takes no more threads than each of them.
    """

    count: int
    machines: int
    learning: Callable[[TailPlan], AbstractContextManager[Sequence[Learner]]]
    few_threads: Callable[[], AbstractContextManager[None]]

    def least_seconds(self, weights: int) -> float:
        """How long a batch must take this process alone, for it to pay that so many weights and their gradients are
        sent."""
        saved = 1 - SEVERAL_FOR_ONE / self.machines
        return 2 * 4 * weights * self.count / BYTES_A_SECOND / saved


class InParts:
    """A network whose training batches are divided where they have at least so many tokens."""

    def __init__(
        self,
        network: nn.Module,
        learners: Sequence[Learner],
        least_tokens: float,
        few_threads: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._network, self._learners = network, learners
        self._least_tokens, self._few_threads = least_tokens, few_threads
        self._trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._pool = ThreadPoolExecutor(len(learners), "part")
        self._own = torch.empty(0)  # logits of this process's part, with their graph

    def __call__(self, batch: Batch) -> Tensor:
        """Logits [texts, labels]."""
        logits: Tensor
        if len(batch.last) < 2 or batch.values.shape[:2].numel() < self._least_tokens:
            logits = self._network(batch)
        else:
            logits = _Parts.apply(self._trained[0], self, batch)  # type: ignore[no-untyped-call]
        return logits

    def forward(self, batch: Batch) -> list[Tensor]:
        """Logits of each part, with no graph that leads out of here. Of few texts, some processes have no part."""
        own, *others = _divided(batch, 1 + len(self._learners))
        weights = [parameter.detach() for parameter in self._trained]
        asked = [
            self._pool.submit(learner.forward, part, weights)
            for learner, part in zip(self._learners, others, strict=False)
        ]
        with self._few_threads(), torch.enable_grad():
            self._own = self._network(own)
        return [self._own.detach(), *_results(asked)]

    def backward(self, gradients: Sequence[Tensor]) -> None:
        """Add up what the gradients of each part's logits are for the trained weights."""
        asked = [
            self._pool.submit(learner.backward, gradient)
            for learner, gradient in zip(self._learners, gradients[1:], strict=False)
        ]
        with self._few_threads():
            torch.autograd.backward(self._own, gradients[0])
        for found in _results(asked):
            for place, gradient in found.items():
                parameter = self._trained[place]
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


class _Parts(torch.autograd.Function):
    """What lets a loss's backward reach all parts. anchor: any trained weight, or torch would ask for no gradient."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, parts: InParts, batch: Batch) -> Tensor:
        logits = parts.forward(batch)
        ctx.parts, ctx.sizes = parts, [len(part) for part in logits]
        return torch.cat(logits)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, None]:
        ctx.parts.backward(torch.split(gradient, ctx.sizes))
        return None, None, None


def _divided(batch: Batch, parts: int) -> list[Batch]:
    """About as many texts each, and none without."""
    masks: Sequence[Tensor | None] = [None] * parts if batch.mask is None else batch.mask.tensor_split(parts)
    divided = zip(batch.values.tensor_split(parts), masks, batch.last.tensor_split(parts), strict=True)
    return [Batch(values, mask, last) for values, mask, last in divided if len(last)]


def _results(asked: Sequence[Future[Any]]) -> list[Any]:
    """Of all, and not before all have ended: none is left in the middle of something when one fails."""
    for one in asked:
        one.exception()
    return [one.result() for one in asked]
