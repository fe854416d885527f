"""The graph that is exported: the same pooling and probabilities as the network and its decisions give."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from classtune.decisions.calibration import METHODS, fit_calibration
from classtune.decisions.decisions import Decisions, Prior
from classtune.export.graph import Calibrated, ClassifierGraph
from classtune.model.batches import padding_mask
from classtune.model.network import Network

LABELS = ("a", "b", "c")


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shifted", [False, True])
def test_probabilities_are_those_of_the_decisions(method: str, multi: bool, shifted: bool) -> None:
    generator = np.random.default_rng(3)
    logits = generator.normal(size=(400, 3)) * 3
    noisy = logits + generator.normal(size=(400, 3))
    truth = noisy > 0 if multi else noisy.argmax(1)
    calibration = fit_calibration(logits, truth, method=method, multi=multi, seed=1)
    assert calibration.method == method
    prior = Prior((0.2, 0.3, 0.5), (0.6, 0.4, 0.0) if shifted else (0.2, 0.3, 0.5))
    decisions = Decisions(LABELS, multi, calibration, prior)
    asked = np.concatenate([generator.normal(size=(200, 3)) * 4, np.full((1, 3), 2.0), np.eye(3) * 60 - 30])
    asked = asked.astype(np.float32).astype(np.float64)
    given, found = Calibrated(decisions)(torch.from_numpy(asked).float())
    assert np.abs(found.numpy() - decisions.probabilities(asked)).max() < 2e-5
    others_see = given.sigmoid() if multi else given.softmax(1)
    assert np.abs(others_see.numpy() - decisions.probabilities(asked)).max() < 2e-5


@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral-window", "bert", "modernbert", "opt"])
def test_every_pooling_finds_its_positions_in_padded_batches(
    name: str, make_network: Callable[..., Network], texts: list[str]
) -> None:
    for pooling in ("auto",) if name == "opt" else ("last", "first", "mean", "last+mean"):
        network = make_network(name, pooling=pooling)
        network.classifier.eval()
        if network.own_head is not None:
            network.own_head.eval()
        ids = network.encoder.encode(texts)
        batch = network.encoder.batch(ids)
        lengths = np.array([len(item) for item in ids])
        mask = padding_mask(lengths, int(lengths.max()), needed=True)
        assert mask is not None
        graph = ClassifierGraph(network, Decisions.plain(["ham", "spam"]))
        with torch.inference_mode():
            found = graph(batch.values, mask.long())[0]
            expected = network.tail(None).eval()(batch)
        assert (found - expected).abs().max() < 1e-4 * expected.abs().max(), (name, pooling)


def test_padding_that_counts_is_pooled(make_network: Callable[..., Network], texts: list[str]) -> None:
    network = make_network("gpt2", pooling="mean", pool_padding=True, padding=40)
    batch = network.encoder.batch(network.encoder.encode(texts))
    graph = ClassifierGraph(network, Decisions.plain(["ham", "spam"]))
    with torch.inference_mode():
        found, expected = graph(batch.values, torch.ones_like(batch.values))[0], network.tail(None).eval()(batch)
        unpooled = graph(batch.values, (batch.values != network.encoder.pad_id).long())[0]
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
    assert (unpooled - expected).abs().max() > 1e-3 * expected.abs().max()
