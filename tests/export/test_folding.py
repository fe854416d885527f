"""Calibration in the head's own weights: every reader of the logits gets classtune's probabilities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from classtune.decisions.calibration import fit_calibration
from classtune.decisions.decisions import Decisions, Prior
from classtune.export.folding import fold_calibration, folded_logits
from classtune.inference.predictor import Predictor
from classtune.model.network import Network

LABELS = ["ham", "spam"]


def calibrated(method: str, prior: Prior | None = None) -> Decisions:
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(80, 2))
    truth = ((logits[:, 1] > logits[:, 0] + 0.3) ^ (generator.random(80) < 0.2)).astype(np.int64)
    return Decisions(tuple(LABELS), calibration=fit_calibration(logits, truth, method=method, seed=1), prior=prior)


def logits_of(network: Network, texts: list[str]) -> Any:
    return Predictor(network, LABELS, Decisions.plain(LABELS)).logits(texts)


@pytest.mark.parametrize(
    ("name", "method", "settings"),
    [
        ("llama", "temperature", {}),
        ("bert", "vector", {}),
        ("distilbert", "vector", {}),
        ("gpt2", "vector", {"head_bias": True}),
        ("bert", "temperature", {"pooling": "last+mean"}),
    ],
)
def test_the_head_carries_the_calibration(
    name: str, method: str, settings: dict[str, Any], make_network: Callable[..., Network], texts: list[str]
) -> None:
    network, decisions = make_network(name, **settings), calibrated(method)
    network.classifier.eval()
    before = logits_of(network, texts)
    expected = decisions.probabilities(before)
    left = fold_calibration(network, decisions)
    assert left.calibration.method == "none"
    assert left.calibration.folded is not None
    assert left.calibration.folded["method"] == method
    after = logits_of(network, texts)
    assert np.abs(Decisions.plain(LABELS).probabilities(after) - expected).max() < 1e-5
    assert np.abs(left.probabilities(after) - expected).max() < 1e-5
    assert np.abs(folded_logits(left, before) - after).max() < 1e-4  # validation rows, for later decisions
    assert Decisions.from_record(LABELS, left.record()) == left
    again = fold_calibration(network, left)
    assert np.abs(logits_of(network, texts) - after).max() == 0
    assert again == left


def test_transformers_alone_gives_the_calibrated_scores(
    make_network: Callable[..., Network], texts: list[str], tmp_path: Path
) -> None:
    from transformers import pipeline

    from classtune.bundle import write_model

    network, decisions = make_network("llama"), calibrated("temperature")
    network.classifier.eval()
    expected = decisions.probabilities(logits_of(network, texts))
    fold_calibration(network, decisions)
    write_model(tmp_path, network)
    rows = pipeline("text-classification", model=str(tmp_path), device="cpu", top_k=None)(texts)
    scores = [[{row["label"]: row["score"] for row in ranked}[label] for label in LABELS] for ranked in rows]
    assert np.abs(np.array(scores) - expected).max() < 1e-5


@pytest.mark.parametrize(("name", "method"), [("llama", "vector"), ("bert", "isotonic"), ("opt", "temperature")])
def test_what_cannot_be_folded_stays_with_the_decisions(
    name: str, method: str, make_network: Callable[..., Network]
) -> None:
    network, decisions = make_network(name), calibrated(method)
    before: dict[str, Tensor] = {key: value.clone() for key, value in network.classifier.state_dict().items()}
    assert fold_calibration(network, decisions, prior=True) is decisions
    assert all(torch.equal(before[key], value) for key, value in network.classifier.state_dict().items())


def test_shares_of_the_field_go_into_a_bias_where_there_is_one(
    make_network: Callable[..., Network], texts: list[str]
) -> None:
    decisions = calibrated("temperature", Prior((0.5, 0.5), (0.9, 0.1)))
    for name in ("bert", "llama"):
        network = make_network(name)
        network.classifier.eval()
        expected = decisions.probabilities(logits_of(network, texts))
        left = fold_calibration(network, decisions, prior=True)
        after = logits_of(network, texts)
        assert np.abs(left.probabilities(after) - expected).max() < 1e-5
        alone = np.abs(Decisions.plain(LABELS).probabilities(after) - expected).max()
        assert (alone < 1e-5) == (name == "bert")
