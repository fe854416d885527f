"""Training on pairs: one class's texts come together, those of two part, and whatever a batch holds, nothing breaks."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from classtune.model.batches import Batch
from classtune.training.contrastive import STEPS, TEXTS, _batches, draw_together, pair_loss
from classtune.training.loop import Examples


def test_the_loss_is_that_of_all_pairs() -> None:
    states, truth = torch.randn(7, 5, generator=torch.manual_seed(1)), torch.tensor([0, 0, 1, 1, 1, 2, 0])
    within, between = [], []
    for one, other in itertools.combinations(range(7), 2):
        cosine = float(nn.functional.cosine_similarity(states[one], states[other], dim=0))
        if truth[one] == truth[other]:
            within.append((cosine - 1) ** 2)
        else:
            between.append(cosine**2)
    assert float(pair_loss(states, truth)) == pytest.approx(np.mean(within) + np.mean(between), abs=1e-6)


@pytest.mark.parametrize("truth", [[0, 1], [0, 0, 0], [0, 1, 2, 3]])
def test_a_batch_without_pairs_of_a_kind_has_a_loss(truth: list[int]) -> None:
    states = torch.eye(5)[: len(truth)].requires_grad_()
    loss = pair_loss(states, torch.tensor(truth))
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    assert states.grad is not None
    assert bool(torch.isfinite(states.grad).all())


@pytest.mark.parametrize("counts", [[100, 3], [2] * 200, [1, 1, 1], [5, 1]])
def test_each_batch_has_equally_many_rows_of_its_classes_where_they_have_so_many(counts: list[int]) -> None:
    truth = np.repeat(np.arange(len(counts)), counts)
    rows = 1000 + np.arange(len(truth))
    batches = list(_batches(rows, truth, seed=5))
    assert len(batches) == STEPS
    for batch in batches:
        assert len(set(batch.tolist())) == len(batch) <= TEXTS
        found = np.bincount(truth[batch - 1000], minlength=len(counts))
        each = max(2, TEXTS // len(counts))
        assert all(have in (0, min(each, count)) for have, count in zip(found, counts, strict=True))
        assert np.count_nonzero(found) >= 2
    assert [b.tolist() for b in _batches(rows, truth, seed=5)] == [b.tolist() for b in batches]


def test_it_draws_the_texts_of_a_class_together() -> None:
    """Two classes that differ in the sign of one of ten numbers, hidden among larger ones."""
    rng = np.random.default_rng(3)
    truth = np.tile([0, 1], 30)
    inputs = rng.normal(size=(60, 10)).astype(np.float32) * 2
    inputs[:, 0] = np.where(truth == 1, 1.0, -1.0)
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 16))

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, batch: Batch) -> torch.Tensor:
            states: torch.Tensor = self.layers(batch.values)
            return states

    def batch(rows: Any) -> Batch:
        return Batch(torch.from_numpy(inputs[rows]), None, torch.zeros(len(rows), dtype=torch.int64))

    examples = Examples(batch, truth, np.ones(60, dtype=np.int64))
    encoder, told = Encoder(), list[tuple[str, int, int]]()

    def loss() -> float:
        return pair_loss(encoder(batch(np.arange(60))), torch.from_numpy(truth)).item()

    before = loss()
    for seed in range(5):
        draw_together(encoder, examples, np.arange(60), seed=seed, progress=lambda *news: told.append(news))
    assert loss() < 0.9 * before
    assert told[STEPS - 1] == ("epochs", STEPS, STEPS)
    assert not encoder.training
