"""A batch in parts has the logits and the gradients of the whole one."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from classtune.model.batches import Batch
from classtune.model.network import Network
from classtune.model.parts import InParts, Learners, TailPlan

TEXTS = ["win a prize", "see you at 4 then", "ok", "call now", "where are you"]


class Near:
    """A learner in this process, with a copy of the tail."""

    def __init__(self, tail: nn.Module) -> None:
        self.tail = copy.deepcopy(tail)
        self.trained = [parameter for parameter in self.tail.parameters() if parameter.requires_grad]
        self.texts: list[int] = []

    def forward(self, batch: Batch, weights: Sequence[Tensor]) -> Tensor:
        self.texts.append(len(batch.last))
        with torch.no_grad():
            for parameter, weight in zip(self.trained, weights, strict=True):
                parameter.copy_(weight)
        self.logits = self.tail(batch)
        logits: Tensor = self.logits.detach()
        return logits

    def backward(self, gradient: Tensor) -> dict[int, Tensor]:
        found = torch.autograd.grad(self.logits, self.trained, gradient, allow_unused=True)
        return {place: one for place, one in enumerate(found) if one is not None}


def trained(network: nn.Module, run: Callable[[Batch], Tensor], batches: Sequence[Batch]) -> list[Tensor]:
    """Logits of each batch, then the gradients of all together, as `accumulate` adds them up."""
    network.zero_grad()
    logits = []
    for batch in batches:
        logits.append(run(batch))
        torch.nn.functional.cross_entropy(logits[-1], torch.arange(len(batch.last)) % 2).backward()  # type: ignore[no-untyped-call]
    return [*(one.detach() for one in logits), *(p.grad.clone() for p in network.parameters() if p.grad is not None)]


@pytest.mark.parametrize("name", ["bert", "llama"])
@pytest.mark.parametrize(("least", "texts"), [(0, [[2, 1], [1]]), (1e9, [[], []])])
def test_parts_have_the_gradients_of_the_whole(
    name: str, least: float, texts: list[list[int]], make_network: Callable[..., Network]
) -> None:
    network = make_network(name)
    network.freeze(None)
    tail = network.tail(None).eval()
    batches = [network.encoder.batch(network.encoder.encode(texts)) for texts in (TEXTS, TEXTS[2:3], TEXTS[:2])]
    learners = [Near(tail) for _ in range(2)]
    divided = InParts(tail, learners, least, contextlib.nullcontext)
    for expected, found in zip(trained(tail, tail, batches), trained(tail, divided, batches), strict=True):
        assert torch.allclose(expected, found, atol=1e-6)
    assert [learner.texts for learner in learners] == texts


def test_what_is_sent_must_take_less_than_it_saves() -> None:
    @contextlib.contextmanager
    def nobody(plan: TailPlan):  # type: ignore[no-untyped-def]
        yield []

    one, two = (Learners(3, machines, nobody, contextlib.nullcontext) for machines in (1, 2))
    assert one.least_seconds(1_000_000) == pytest.approx(0.3)  # 24 MB at 400 MB/s, for a fifth of the time
    assert one.least_seconds(1_000_000) > two.least_seconds(1_000_000) > 0
