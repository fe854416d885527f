"""Pooled states as they are asked for: those of the network, each text once, and room for nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import SEVERAL, rows

from classtune.candidates import backbone, folds
from classtune.config import resolve
from classtune.data.reading.tables import table_from_rows
from classtune.jobs import drift, more_rows
from classtune.jobs.steps import load_network
from classtune.jobs.train import Trained, train
from classtune.model.network import Network
from classtune.model.pooled import PooledStates, pooled_states
from classtune.model.tokens import Pieces

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")


def silent(*_: object) -> None:
    """Nobody asked."""


@pytest.fixture
def network(small_llama: Path) -> Network:
    return load_network(["ham", "spam"], resolve(overrides={"model": str(small_llama)}), multi=False, notify=silent)


def pieces_of(network: Network, texts: list[str]) -> Pieces:
    return network.encoder.pieces(texts)


@pytest.mark.parametrize(
    ("name", "settings"), [("llama", {}), ("gpt2", {"pooling": "last+mean"}), ("bert", {}), ("opt", {})]
)
def test_they_are_what_the_head_is_given(
    name: str, settings: dict[str, Any], make_network: Callable[..., Network], texts: list[str]
) -> None:
    network = make_network(name, **settings)
    told: list[tuple[int, int]] = []
    pooled = pooled_states(network, network.encoder.encode(texts), progress=lambda *done: told.append(done))
    assert told[-1] == (len(texts), len(texts))
    if network.family is None:
        assert pooled.shape == (len(texts), network.width)
        return
    tail = network.tail(None, frozen=True).eval()  # as the predictor runs it
    with torch.inference_mode():
        logits = network.head(torch.from_numpy(pooled))
        expected = torch.cat([tail(network.encoder.batch(network.encoder.encode([text]))) for text in texts])
    assert logits.numpy() == pytest.approx(expected.numpy(), abs=1e-4)


def test_they_are_what_the_network_gives_and_each_text_passes_once(network: Network) -> None:
    texts = ["a prize", "see you", "a prize", "then, mate", "win"]
    states = PooledStates(network, pieces_of(network, texts), silent)
    wanted = pooled_states(network, network.encoder.encode(texts))
    assert states.of(np.array([0, 2, 1])) == pytest.approx(wanted[[0, 2, 1]], abs=1e-5)
    assert states.facts().texts == 2  # nobody asked for the others
    assert states.of(np.arange(5)) == pytest.approx(wanted, abs=1e-5)
    passed = states.facts()
    assert (passed.texts, passed.tokens) == (4, passed.distinct_tokens)


def test_a_text_in_pieces_has_their_mean(network: Network) -> None:
    ids = network.encoder.encode(["a prize", "see you", "win"])
    states = PooledStates(network, Pieces(ids, np.array([0, 0, 1])), silent)
    each = pooled_states(network, ids)
    assert states.of(np.array([1, 0])) == pytest.approx(np.array([each[2], each[:2].mean(0)]), abs=1e-5)


def test_what_was_kept_does_not_pass_again(network: Network, tmp_path: Path) -> None:
    pieces = pieces_of(network, ["a prize", "see you", "win"])
    first, again = (PooledStates(network, pieces, silent) for _ in range(2))
    wanted = first.of(np.array([0, 1]))
    first.save(tmp_path / "kept")
    again.restore(tmp_path / "kept")
    assert (again.of(np.array([0, 1])) == wanted).all()
    assert again.tokens_passed == 0


def run(model: Path, **told: Any) -> Trained:
    lines = [(text, label if row % 7 else "ham") for row, (text, label) in enumerate(rows(320))]
    texts, labels = zip(*lines, strict=True)
    settings = resolve(overrides={**SEVERAL, "model": str(model), "keep": f"{model.name} probe", **told})
    return train(table_from_rows(texts, labels, name="rows"), settings, notify=silent, progress=silent)


def test_a_probe_alone_is_the_probe_that_has_a_tail_beside_it(small_bert: Path) -> None:
    alone, beside = run(small_bert, effort="fast", depth="auto"), run(small_bert, effort="best", depth="auto")
    texts = [text for text, _ in rows(20)]
    scores = [trained.predictor.probabilities(texts) for trained in (alone, beside)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)
    assert alone.result.trunk is not None
    assert alone.result.trunk.texts == 320
    assert alone.neighbours is not None
    assert beside.neighbours is not None
    assert alone.neighbours.vectors == pytest.approx(beside.neighbours.vectors, abs=1e-2)


def test_of_many_rows_a_probe_learns_from_some_and_says_so(small_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone, "MOST_PROBED", 120)
    monkeypatch.setattr(folds, "ENOUGH_ROWS", 10)  # the validation rows judge
    monkeypatch.setattr(drift, "MOST_VECTORS", 10)
    monkeypatch.setattr(more_rows, "LEAST_ROWS", 50)
    trained = run(small_bert, effort="fast", validation=0.2, probe_tokens=1000)
    note = next(note for note in trained.result.notes if "learns from" in note)
    assert note.endswith(" of 192 training rows.")
    learned = int(note.split()[6])
    assert 90 < learned <= 125
    assert trained.result.trunk is not None
    drift_and_depth = 10 + 50  # training texts that these look at
    assert trained.result.trunk.texts <= 320 - 192 + learned + drift_and_depth < 320
    assert trained.result.learning_curve is not None
    assert trained.neighbours is not None
    assert len(trained.neighbours.texts) == learned
