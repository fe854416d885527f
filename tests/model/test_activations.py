"""The store: each distinct text through the trunk once, the same bytes in memory and on disk."""

from __future__ import annotations

import errno
import math
import os
import re
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from classtune.errors import ClasstuneError
from classtune.model import activations
from classtune.model.activations import ActivationStore, Distinct
from classtune.model.families import FAMILIES
from classtune.model.network import Network
from classtune.model.trunk import Trunk
from classtune.training.depth import Climbed, choose_depth

MakeNetwork = Callable[..., Network]
BYTES_PER_TOKEN = 32 * 4


def no_progress(*_: object) -> None:
    pass


def filled(network: Network, texts: list[str], limit: int | None) -> ActivationStore:
    store = ActivationStore(network, Distinct.of(network.encoder.encode(texts)), limit)
    store.fill(Trunk(network, 2), no_progress)
    return store


def test_memory_and_file_hold_the_same_bytes_and_the_limit_decides(make_network: MakeNetwork, texts: list[str]) -> None:
    network = make_network("llama")
    needed = sum(len(ids) for ids in network.encoder.encode(texts)) * BYTES_PER_TOKEN
    in_memory, on_disk = filled(network, texts, needed), filled(network, texts, needed - 1)
    assert not in_memory.on_disk
    assert not isinstance(in_memory.values, np.memmap)
    assert on_disk.on_disk
    assert isinstance(on_disk.values, np.memmap)
    assert in_memory.values.tobytes() == on_disk.values.tobytes()
    assert np.abs(in_memory.values).sum(1).min() > 0  # every token's row is written
    rows = np.array([4, 0, 7, 0])
    a, b = in_memory.batch(rows), on_disk.batch(rows)
    assert torch.equal(a.values, b.values)
    assert torch.equal(a.last, b.last)


def test_distinct_texts_pass_the_trunk_once(make_network: MakeNetwork, texts: list[str]) -> None:
    network = make_network("bert")
    ids = network.encoder.encode([*texts, *texts[:4], texts[0]])
    distinct = Distinct.of([*ids, np.empty(0, np.int32)])
    assert distinct.of_row.tolist() == [*range(10), 0, 1, 2, 3, 0, -1]
    store = ActivationStore(network, distinct, None)
    trunk, passed = Trunk(network, 2), []
    trunk.register_forward_pre_hook(lambda _, given: passed.append(given[0].values.shape))
    store.fill(trunk, no_progress)
    real = sum(len(ids[row]) for row in range(10))
    assert sum(shape[0] for shape in passed) == 10
    assert store.tokens_passed == sum(shape.numel() for shape in passed)
    assert real <= store.tokens_passed <= real * 1.01
    assert distinct.tokens == real


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_what_the_climb_computed_is_not_computed_again(name: str, make_network: MakeNetwork, texts: list[str]) -> None:
    network = make_network(name)
    ids = network.encoder.encode([*texts, texts[0]])
    sample, climbed = np.array([7, 2, 10, 4, 0]), Climbed()
    truth = np.array([0, 1, 0, 1, 0])
    choose_depth(network, [ids[row] for row in sample], truth, floor=1, seed=1, progress=no_progress, climbed=climbed)
    states = climbed.at(2, [len(ids[row]) for row in sample])
    assert states is not None
    alone, helped = (ActivationStore(network, Distinct.of(ids), None) for _ in range(2))
    alone.fill(Trunk(network, 2), no_progress)
    helped.take(sample, states)
    trunk, passed = Trunk(network, 2), []
    trunk.register_forward_pre_hook(lambda _, given: passed.append(len(given[0].values)))
    helped.fill(trunk, no_progress)
    assert sum(passed) == 10 - 4  # rows 0 and 10 are one text
    assert np.abs(alone.values - helped.values).max() < 1e-5
    assert climbed.at(network.depth + 1, []) is None


@pytest.mark.parametrize("name", FAMILIES)
def test_stored_activations_are_those_of_the_trunk(make_network: MakeNetwork, texts: list[str], name: str) -> None:
    network = make_network(name)
    store = filled(network, texts, None)
    rows = np.array([3, 4, 1])
    ours = store.batch(rows)
    batch = network.encoder.batch(network.encoder.encode([texts[row] for row in rows]))
    theirs = Trunk(network, 2)(batch)
    assert torch.equal(ours.last, batch.last)
    assert (ours.mask is None) == (batch.mask is None)
    for place, row in enumerate(rows):
        length = len(network.encoder.encode([texts[row]])[0])
        torch.testing.assert_close(ours.values[place, :length], theirs[place, :length], rtol=1e-5, atol=1e-5)
        assert not ours.values[place, length:].any()


def test_a_batch_stays_as_it_is_while_someone_holds_it(make_network: MakeNetwork, texts: list[str]) -> None:
    store = filled(make_network("bert"), texts, None)
    rows = [np.array([0, 1, 2]), np.array([3, 4, 5]), np.array([6])]
    held = [store.batch(part) for part in rows]
    view = store.batch(rows[0]).values[1:]  # of a batch that is gone otherwise
    for part in rows:
        store.batch(part)
    for part, batch in zip(rows, held, strict=True):
        assert torch.equal(batch.values, store.batch(part).values)
    assert torch.equal(view, held[0].values[1:])


def test_room_on_disk_is_taken_before_the_work(
    make_network: MakeNetwork, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(os, "posix_fallocate"):
        pytest.skip("this system cannot reserve blocks of a file")

    reserved: list[int] = []

    def full(_: int, start: int, size: int) -> None:
        reserved.append(size)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(ClasstuneError, match=r"no room for .* MB of activations \(No space left on device\)"):
            filled(make_network("llama"), texts, 0)
    store = filled(make_network("llama"), texts, 0)
    assert reserved == [store.values.nbytes + BYTES_PER_TOKEN]  # and one row of zeros


def test_a_store_larger_than_the_disk_is_refused(
    make_network: MakeNetwork, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(psutil, "disk_usage", lambda _: usage(free=10))
    with pytest.raises(
        ClasstuneError, match=r"The activations take .* MB; .* are free\. Set TMPDIR.* --set store=float16"
    ):
        filled(make_network("llama"), texts, 0)


def test_progress_counts_tokens_to_the_end(make_network: MakeNetwork, texts: list[str]) -> None:
    network = make_network("llama")
    store = ActivationStore(network, Distinct.of(network.encoder.encode(texts)), None)
    told: list[tuple[str, int, int]] = []
    store.fill(Trunk(network, 1), lambda *news: told.append(news))
    assert told[-1] == ("trunk", store.distinct.tokens, store.distinct.tokens)
    assert [done for _, done, _ in told] == sorted({done for _, done, _ in told})


def test_half_precision_takes_half_the_room_and_batches_stay_float32(
    make_network: MakeNetwork, texts: list[str]
) -> None:
    network = make_network("llama")
    distinct = Distinct.of(network.encoder.encode(texts))
    whole = filled(network, texts, None)
    for limit in (None, 0):
        half = ActivationStore(network, distinct, limit, half=True)
        half.fill(Trunk(network, 2), no_progress)
        assert half.on_disk == (limit == 0)
        assert half.values.nbytes * 2 == whole.values.nbytes
        ours, theirs = half.batch(np.array([4, 0, 7])), whole.batch(np.array([4, 0, 7]))
        assert ours.values.dtype == torch.float32
        torch.testing.assert_close(ours.values, theirs.values, rtol=1e-3, atol=1e-4)
    assert half.facts().precision == "float16"


def test_precision_is_chosen_by_room_and_by_what_it_changes(
    make_network: MakeNetwork, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make_network("llama")
    distinct = Distinct.of(network.encoder.encode(texts))
    assert 0 < activations.half_changes(network, 2, distinct) < activations.HALF_TOLERANCE

    def chosen(precision: Any, limit: int | None) -> tuple[str, bool]:
        store = ActivationStore.fitting(network, distinct, limit, precision=precision, start=2)
        return str(store.dtype), store.on_disk

    needed = distinct.tokens * BYTES_PER_TOKEN
    assert chosen("auto", needed) == ("float32", False)
    assert chosen("auto", needed - 1) == ("float16", False)
    assert chosen("auto", 0) == ("float16", True)
    assert chosen("float32", needed - 1) == ("float32", True)
    assert chosen("float16", needed) == ("float16", False)
    monkeypatch.setattr(activations, "HALF_TOLERANCE", 0.0)
    assert chosen("auto", needed - 1) == ("float32", True)


def test_activations_beyond_half_precision_are_refused(
    make_network: MakeNetwork, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make_network("bert")
    distinct = Distinct.of(network.encoder.encode(texts))
    real = Trunk.forward
    monkeypatch.setattr(Trunk, "forward", lambda self, batch: real(self, batch) * 1e6)
    assert activations.half_changes(network, 2, distinct) == math.inf
    store = ActivationStore(network, distinct, None, half=True)
    with pytest.raises(ClasstuneError, match='Set store = "float32"'):
        store.fill(Trunk(network, 2), no_progress)


def test_long_work_is_announced_once_with_its_cost(
    make_network: MakeNetwork, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make_network("bert")
    store = ActivationStore(network, Distinct.of(network.encoder.encode(texts)), None)
    told: list[str] = []
    store.fill(Trunk(network, 2), no_progress, told.append)
    assert told == []  # a moment's work
    monkeypatch.setattr(activations, "SAMPLE_SECONDS", 0.0)
    monkeypatch.setattr(activations, "LONG_SECONDS", 0.0)
    store.fill(Trunk(network, 2), no_progress, told.append)
    (said,) = told
    assert re.match(
        r"trunk: about 1 min for 10 distinct texts of .* tokens; the activations take .* MB of memory", said
    )
