"""The choice of depth: the smallest within noise, found on the rows it is given and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import label_ranking_average_precision_score

from classtune.model.families import FAMILIES
from classtune.model.head import pool
from classtune.model.network import Network
from classtune.model.slicing import states
from classtune.training import depth as depth_module
from classtune.training.depth import DepthChoice, choose_depth, ranking_precision

MakeNetwork = Callable[..., Network]
ROWS = 200
TRUTH = np.arange(ROWS) % 2


def choose(network: Network, truth: Any, *, floor: int = 1, seed: int = 1, told: Any = None) -> DepthChoice:
    ids = [np.array([1 + row % 7] * (1 + row % 3), dtype=np.int32) for row in range(len(truth))]
    progress = (lambda *news: told.append(news)) if told is not None else (lambda *_: None)
    return choose_depth(network, ids, np.asarray(truth), floor=floor, seed=seed, progress=progress)


def states_that_tell(monkeypatch: pytest.MonkeyPatch, rights: Sequence[float]) -> None:
    """Let a probe at depth d find the class of the share ``rights[d - 1]`` of the rows."""
    probes = 0
    answers = []
    for number, share in enumerate(rights):
        right = np.arange(ROWS) < round(share * ROWS)
        answers.append(np.roll(right, 10 * number))  # each depth errs on other rows

    def answer(*_: Any) -> NDArray[np.float64]:
        nonlocal probes
        probes += 1
        return answers[probes - 1].astype(float)

    monkeypatch.setattr(depth_module, "_cross_validate", answer)


@pytest.mark.parametrize(
    ("rights", "kept"),
    [
        ([0.6, 0.7, 0.9, 0.8], 3),  # the middle is best
        ([0.6, 0.7, 0.8, 0.9], 4),  # the end is
        ([0.6, 0.9, 0.9, 0.9], 2),  # the smallest of equals
        ([0.6, 0.895, 0.8, 0.9], 2),  # one row of 200 fewer is within noise
        ([0.6, 0.86, 0.8, 0.9], 4),  # eight rows fewer are not
    ],
)
def test_the_smallest_depth_within_noise_is_kept(
    make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch, rights: list[float], kept: int
) -> None:
    states_that_tell(monkeypatch, rights)
    choice = choose(make_network("llama"), TRUTH)
    assert (choice.kept, choice.of) == (kept, 4)
    assert [entry["depth"] for entry in choice.curve] == [1, 2, 3, 4]
    assert [entry["score"] for entry in choice.curve] == pytest.approx(rights)
    assert choice.curve[0]["se"] == pytest.approx((0.6 * 0.4 / (ROWS - 1)) ** 0.5)


def test_no_depth_below_the_trained_blocks_is_probed(
    make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    states_that_tell(monkeypatch, [0.9, 0.9])
    choice = choose(make_network("llama"), TRUTH, floor=3)
    assert choice.kept == 3
    assert [entry["depth"] for entry in choice.curve] == [3, 4]


def test_the_climb_ends_where_blocks_bring_nothing(make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depth_module, "PATIENCE", 2)
    states_that_tell(monkeypatch, [0.9, 0.8, 0.8, 0.8])
    told: list[tuple[str, int, int]] = []
    choice = choose(make_network("llama"), TRUTH, told=told)
    assert choice.kept == 1
    assert told == [("depth", 1, 4), ("depth", 2, 4), ("depth", 3, 4)]


def test_probes_find_where_the_class_can_be_read(make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """For real: what blocks 1 and 4 give is noise, what 2 and 3 give holds the class."""
    rng = np.random.default_rng(0)

    def one_block_further(_: Network, batches: list[Any], depth: int) -> list[Any]:
        found = []
        place = 0
        for batch in batches:
            count, tokens = batch.mask.shape if batch.mask is not None else batch.values.shape[:2]
            values = torch.from_numpy(rng.normal(size=(count, tokens, 32)).astype(np.float32))
            if depth in (2, 3):
                values += 3 * torch.from_numpy(by_batch[place : place + count].astype(np.float32))[:, None, None]
            place += count
            found.append(type(batch)(values, batch.mask, batch.last))
        return found

    network = make_network("llama")
    lengths = [1 + row % 3 for row in range(ROWS)]
    by_batch = TRUTH[np.argsort(lengths, kind="stable")]
    monkeypatch.setattr(depth_module, "_one_block_further", one_block_further)
    choice = choose(network, TRUTH)
    assert choice.kept == 2
    scores = [entry["score"] for entry in choice.curve]
    assert scores[1] > 0.95
    assert max(scores[0], scores[3]) < 0.7


@pytest.mark.parametrize("name", FAMILIES)
def test_the_climb_passes_the_states_of_every_block(
    make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch, name: str, texts: list[str]
) -> None:
    """What is probed at a depth is what the head of a network cut there is given, after its final norm."""
    probed: list[NDArray[Any]] = []

    def answer(features: NDArray[Any], given: NDArray[Any], _: Any) -> NDArray[np.float64]:
        probed.append(features)
        return (np.arange(len(given)) < 5 + len(probed)).astype(float)  # always a little better

    monkeypatch.setattr(depth_module, "_cross_validate", answer)
    network = make_network(name)
    ids = network.encoder.encode(texts)
    choice = choose_depth(network, ids, np.arange(10) % 2, floor=1, seed=1, progress=lambda *_: None)
    assert (choice.texts, choice.tokens) == (10, sum(len(item) for item in ids))
    batch = network.encoder.batch(ids)
    for kept in (4, 3, 2, 1):
        network.cut(kept)
        part = network.base.eval()
        with torch.no_grad():
            pooled = pool(states(part, batch.values, batch.mask), batch.last, network.pooling)
        np.testing.assert_allclose(probed[kept - 1], pooled.numpy(), rtol=1e-4, atol=1e-4)


def test_the_same_rows_give_the_same_choice_and_the_network_stays(
    make_network: MakeNetwork, texts: list[str], truth: list[int]
) -> None:
    network = make_network("bert")
    before = {name: value.clone() for name, value in network.classifier.state_dict().items()}
    ids = network.encoder.encode([*texts, *(f"{text} again" for text in texts)])
    choices = [
        choose_depth(network, ids, np.array([*truth, *truth]), floor=1, seed=seed, progress=lambda *_: None)
        for seed in (1, 1)
    ]
    assert asdict(choices[0]) == asdict(choices[1])
    assert network.depth == 4
    assert all(torch.equal(value, before[name]) for name, value in network.classifier.state_dict().items())


@pytest.mark.parametrize("truth", [[0, 1], [0, 0, 1], [0] * 20 + [1], [0, 1, 2, 3] * 2])
def test_few_rows_and_rare_classes_still_give_a_choice(make_network: MakeNetwork, truth: list[int]) -> None:
    """Fewer rows than folds, and folds of one class."""
    choice = choose(make_network("llama"), truth)
    assert 1 <= choice.kept <= 4
    assert all(0 <= entry["score"] <= 1 for entry in choice.curve)


@pytest.mark.parametrize(("labels", "share"), [(12, 0.1), (1, 0.5)])
def test_several_labels_choose_a_depth_too(
    make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch, labels: int, share: float
) -> None:
    """For real: labels can be read at depth 2 and 3 alone; most of a large matrix is no, and some rows have none."""
    rng = np.random.default_rng(0)
    truth = rng.random((ROWS, labels)) < share
    directions = rng.normal(size=(labels, 32))
    lengths = [1 + row % 3 for row in range(ROWS)]
    signal = torch.from_numpy((truth @ directions)[np.argsort(lengths, kind="stable")].astype(np.float32))

    def one_block_further(_: Network, batches: list[Any], depth: int) -> list[Any]:
        found, place = [], 0
        for batch in batches:
            count, tokens = batch.values.shape[:2]
            values = torch.from_numpy(rng.normal(size=(count, tokens, 32)).astype(np.float32))
            found.append(
                type(batch)(
                    values + (depth in (2, 3)) * 3 * signal[place : place + count, None], batch.mask, batch.last
                )
            )
            place += count
        return found

    monkeypatch.setattr(depth_module, "_one_block_further", one_block_further)
    choice = choose(make_network("llama"), truth)
    assert choice.kept in (2, 3)
    scores = [entry["score"] for entry in choice.curve]
    assert scores[1] > 0.9
    assert (
        max(scores[0], scores[3]) < scores[1] - 0.15
    )  # though nine tenths of the matrix are right where nothing is known


def test_ranking_precision_is_scikit_learns_row_by_row() -> None:
    rng = np.random.default_rng(1)
    truth, answers = rng.random((50, 7)) < 0.3, rng.normal(size=(50, 7))
    assert not truth.any(1).all()
    found = ranking_precision(answers, truth)
    rows = [label_ranking_average_precision_score(truth[[i]], answers[[i]]) for i in range(50)]
    np.testing.assert_allclose(found, rows)


def test_copies_do_not_make_noise_look_like_knowledge(
    make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four copies of each text of pure noise: folds that part them find the copy, and call it knowledge."""
    rng = np.random.default_rng(0)
    truth, groups = np.repeat(rng.integers(0, 2, 50), 4), np.repeat(np.arange(50), 4)
    noise = np.repeat(rng.normal(size=(50, 32)), 4, axis=0).astype(np.float32)
    monkeypatch.setattr(depth_module, "_pooled", lambda *_: noise)
    monkeypatch.setattr(depth_module, "PENALTY", 1.0)
    network = make_network("llama")
    ids = [np.array([1 + row % 7], dtype=np.int32) for row in range(200)]

    def best(groups: Any) -> float:
        choice = choose_depth(network, ids, truth, floor=1, seed=1, groups=groups, progress=lambda *_: None)
        return max(float(entry["score"]) for entry in choice.curve)

    assert best(groups) < 0.7
    assert best(None) > 0.8


def test_the_pooling_that_tells_is_chosen(make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    told = (rng.normal(size=(ROWS, 32)) + 3 * TRUTH[:, None]).astype(np.float32)

    def pooled(_: Any, __: Any, how: str, ___: Any) -> NDArray[Any]:
        return told if how == "mean" else rng.normal(size=(ROWS, 32)).astype(np.float32)

    monkeypatch.setattr(depth_module, "_pooled", pooled)
    ids = [np.array([1 + row % 7], dtype=np.int32) for row in range(ROWS)]
    network = make_network("llama")
    options: Any = {"floor": 1, "seed": 1, "progress": lambda *_: None, "poolings": ["last", "mean", "last+mean"]}
    choice = choose_depth(network, ids, TRUTH, **options)
    assert (choice.pooling, choice.kept) == ("mean", 1)
    assert {entry["pooling"] for entry in choice.curve} == {"last", "mean", "last+mean"}
