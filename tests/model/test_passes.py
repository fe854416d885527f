"""One pass by several workers: every batch once, whoever is slow, and the first error ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from classtune.model.activations import ActivationStore, Distinct
from classtune.model.batches import Batch
from classtune.model.network import Network
from classtune.model.passes import Run, Span, shared
from classtune.model.pooled import PooledStates
from classtune.model.tokens import Pieces
from classtune.model.trunk import Trunk, Vectors, frozen
from classtune.training.depth import choose_depth

MakeNetwork = Callable[..., Network]


def silent(*_: object) -> None:
    """Nobody asked."""


def numbered(count: int) -> list[Batch]:
    return [Batch(torch.full((1, 2), number), None, torch.tensor([1])) for number in range(count)]


def doubled(batch: Batch) -> Tensor:
    return 2 * batch.values


@pytest.mark.parametrize("own", [doubled, None])
@pytest.mark.parametrize(("workers", "batches"), [(0, 5), (1, 1), (3, 40), (3, 2), (2, 0)])
def test_every_batch_is_done_once(own: Run | None, workers: int, batches: int) -> None:
    if own is None and not workers:
        return
    found = list(shared(own, [doubled] * workers, iter(numbered(batches))))
    assert sorted(number for number, _ in found) == list(range(batches))
    assert all(bool((states == 2 * number).all()) for number, states in found)


def test_a_slow_worker_has_fewer() -> None:
    by_slow, first = [], threading.Event()

    def slow(batch: Batch) -> Tensor:
        by_slow.append(batch)
        first.wait(30)
        return doubled(batch)

    found = []
    for number, _ in shared(doubled, [slow], numbered(20)):
        found.append(number)
        if len(found) == 19:  # all but the one that is waited for
            first.set()
    assert sorted(found) == list(range(20))
    assert len(by_slow) <= 1


@pytest.mark.parametrize("own", [doubled, None])
def test_the_error_of_a_worker_ends_the_pass_and_its_threads(own: Run | None) -> None:
    before = threading.active_count()

    def fails(batch: Batch) -> Tensor:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(shared(own, [fails, doubled], (batch for batch in numbered(1000))))
    assert threading.active_count() == before


class Helped:
    """An engine with another copy of the network, which does every second batch; counts them."""

    def __init__(self, other: Network) -> None:
        self.other, self.done, self.spans = other, 0, list[Span]()

    def __call__(self, span: Span, run: Run, batches: Iterable[Batch]) -> Iterator[tuple[int, Tensor]]:
        there = frozen(self.other, span)
        self.spans.append(span)
        for number, batch in reversed(list(enumerate(batches))):
            self.done += number % 2
            yield number, there(batch) if number % 2 else run(batch)


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_whoever_runs_it_the_climb_the_store_and_the_pooled_states_are_the_same(
    family: str, make_network: MakeNetwork, texts: list[str], truth: list[int]
) -> None:
    def all_of_it(network: Network) -> list[Any]:
        ids = network.encoder.encode([text for text in texts for _ in range(2)])
        ids = [np.concatenate([item[:-1], [number], item[-1:]]).astype(np.int32) for number, item in enumerate(ids)]
        options: dict[str, Any] = {"floor": 1, "seed": 1, "progress": silent, "poolings": ["mean"]}
        choice = choose_depth(network, ids, np.repeat(truth, 2), **options)
        distinct = Distinct.of(ids)
        store = ActivationStore(network, distinct, None)
        store.fill(Trunk(network, 2), silent)
        network.cut(3)
        network.pool_by("mean")
        pooled = PooledStates(network, Pieces(ids, np.arange(len(ids))), silent)
        return [choice.curve, store.values, store.tokens_passed, pooled.of(np.arange(len(ids))), pooled.tokens_passed]

    whole, helped = make_network(family), make_network(family)
    helped.engine = engine = Helped(make_network(family))
    alone, together = all_of_it(whole), all_of_it(helped)
    assert engine.done > 0
    assert Span(None, 3, "mean") in engine.spans
    assert (alone[0], alone[2], alone[4]) == (together[0], together[2], together[4])
    assert (alone[1] == together[1]).all()
    assert (alone[3] == together[3]).all()


@torch.inference_mode()
def test_vectors_are_what_goes_into_the_head(make_network: MakeNetwork, texts: list[str]) -> None:
    network = make_network("bert", pooling="mean")
    batch = network.encoder.batch(network.encoder.encode(texts))
    states = Vectors(network)(batch)
    assert states.shape == (len(texts), network.width)
    assert torch.allclose(network.head.eval()(states), network.tail(None).eval()(batch), atol=1e-5)
