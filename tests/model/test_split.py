"""Trunk then tail is the whole network, at every depth, for every family; so is a network that was cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from classtune.model import last_position
from classtune.model.backbone import quiet_transformers
from classtune.model.batches import Batch
from classtune.model.families import FAMILIES
from classtune.model.network import Network, Tail, Whole
from classtune.model.proof import prove_split
from classtune.model.trunk import Trunk

MakeNetwork = Callable[..., Network]
WINDOWS = ["mistral-window", "qwen2-window", "qwen2-window-first"]
DECODERS = [name for name, family in FAMILIES.items() if family.causal]


def batch_of(network: Network, texts: list[str]) -> Batch:
    return network.encoder.batch(network.encoder.encode(texts))


@torch.no_grad()
def split_logits(network: Network, start: int, batch: Batch, *, frozen: bool = False) -> Tensor:
    tail = network.tail(start, frozen=frozen).eval()
    logits: Tensor = tail(Batch(Trunk(network, start)(batch), batch.mask, batch.last))
    return logits


@torch.no_grad()
def whole_logits(network: Network, batch: Batch) -> Tensor:
    network.classifier.eval()
    logits: Tensor = Whole(network)(batch)
    return logits


def assert_equal(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [*FAMILIES, *WINDOWS])
def test_split_equals_whole_at_every_depth(make_network: MakeNetwork, texts: list[str], name: str) -> None:
    network = make_network(name)
    batch = batch_of(network, texts)
    whole = whole_logits(network, batch)
    assert whole.std() > 0.01  # texts differ, or nothing is tested
    for start in range(network.depth + 1):
        assert_equal(split_logits(network, start, batch), whole)
    with torch.no_grad():  # as the predictor runs it
        assert_equal(network.tail(None, frozen=True).eval()(batch), whole)


@pytest.mark.parametrize("name", [*FAMILIES, *WINDOWS])
def test_a_cut_network_is_what_transformers_loads(
    make_network: MakeNetwork, texts: list[str], tmp_path: Path, name: str
) -> None:
    uncut, network = make_network(name), make_network(name)
    network.cut(3)
    assert (network.depth, network.of) == (3, 4)
    batch = batch_of(network, texts)
    for start in range(4):
        assert_equal(split_logits(network, start, batch), whole_logits(network, batch))
    assert not torch.allclose(whole_logits(network, batch), whole_logits(uncut, batch), atol=1e-3)
    with quiet_transformers():
        network.classifier.save_pretrained(str(tmp_path))
        again = AutoModelForSequenceClassification.from_pretrained(str(tmp_path)).eval()
    assert again.config.num_hidden_layers == 3
    assert_equal(again(input_ids=batch.values, attention_mask=batch.mask).logits.detach(), whole_logits(network, batch))


@pytest.mark.parametrize("name", DECODERS)
def test_last_position_equals_the_full_block(make_network: MakeNetwork, texts: list[str], name: str) -> None:
    network = make_network(name, trainable=1)
    network.freeze(3)
    batch = batch_of(network, texts)
    values = Batch(Trunk(network, 3)(batch).clone(), None, batch.last)
    fast, full = (Tail(network, 3, one_position=wanted) for wanted in (True, False))
    assert fast.last_block is not None
    assert full.last_block is None
    gradients = []
    for tail in (fast, full):
        logits = tail(values)
        network.classifier.zero_grad()
        logits.square().sum().backward()
        gradients.append([p.grad for p in network.classifier.parameters() if p.grad is not None])
    assert_equal(fast(values), full(values))
    assert len(gradients[0]) == len(gradients[1]) == len(list(filter(lambda p: p.requires_grad, fast.parameters())))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", WINDOWS)
def test_a_window_in_the_last_block_takes_the_full_block(make_network: MakeNetwork, name: str) -> None:
    network = make_network(name)
    last = Tail(network, 3).last_block
    assert (last is None) == (name != "qwen2-window-first")


@pytest.mark.parametrize("name", [*FAMILIES, *WINDOWS, "opt", "electra"])
def test_a_text_scores_the_same_alone_and_in_a_padded_batch(
    make_network: MakeNetwork, texts: list[str], name: str
) -> None:
    network = make_network(name)
    tail = network.tail(None).eval()
    with torch.no_grad():
        together = tail(batch_of(network, texts))
        alone = torch.cat([tail(batch_of(network, [text])) for text in texts])
    assert_equal(together, alone)


@pytest.mark.parametrize("pooling", ["last", "first", "mean", "last+mean"])
@pytest.mark.parametrize("name", ["llama", "bert"])
def test_other_poolings_split_and_pad_alike(
    make_network: MakeNetwork, texts: list[str], name: str, pooling: str
) -> None:
    network = make_network(name, pooling=pooling, head_bias=True)
    batch = batch_of(network, texts)
    with torch.no_grad():
        alone = torch.cat([network.tail(None).eval()(batch_of(network, [text])) for text in texts])
    assert_equal(split_logits(network, 2, batch), alone)
    assert prove_split(network, 2, texts)
    # A pooling or a bias that the Hugging Face class does not have is said to be one.
    assert network.is_hugging_face == (name == "bert" and pooling == "first")


def test_parts_share_their_parameters_with_the_classifier(make_network: MakeNetwork, texts: list[str]) -> None:
    network = make_network("llama", trainable=1)
    network.freeze(3)
    batch = batch_of(network, texts)
    before = whole_logits(network, batch)
    trained = [p for p in network.tail(3).parameters() if p.requires_grad]
    with torch.no_grad():
        for parameter in trained:
            parameter.add_(0.1)
    after = whole_logits(network, batch)
    assert (after - before).abs().max() > 0.1
    assert_equal(split_logits(network, 3, batch), after)


def test_parts_leave_the_network_as_it_was(make_network: MakeNetwork) -> None:
    network = make_network("gpt2")
    kinds = [type(module) for module in network.classifier.modules()]
    config = network.base.config.to_dict()
    Trunk(network, 2)
    network.tail(2)
    network.tail(None, frozen=True)
    assert [type(module) for module in network.classifier.modules()] == kinds
    assert network.base.config.to_dict() == config


@pytest.mark.parametrize(
    "wrong",
    [{"norm": None}, {"norm": "no_such_norm"}, {"norm": "embed_tokens"}, {"head": lambda _: nn.Linear(32, 2)}],
)
def test_a_wrong_row_of_the_table_is_found_and_not_used(
    make_network: MakeNetwork, texts: list[str], wrong: dict[str, Any]
) -> None:
    network = make_network("llama")
    whole = whole_logits(network, batch_of(network, texts))
    assert network.family is not None
    network.family = dataclasses.replace(network.family, **wrong)
    assert not prove_split(network, 2, texts)
    assert len(network.notes) == 1
    assert "the whole network is run" in network.notes[0]
    with torch.no_grad():
        assert_equal(network.tail(None).eval()(batch_of(network, texts)), whole)


def test_a_wrong_last_position_form_is_found_and_not_used(
    make_network: MakeNetwork, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make_network("llama")
    right = last_position.run_block
    monkeypatch.setattr(last_position, "run_block", lambda *given: right(*given) + 0.1)
    assert prove_split(network, 2, texts)
    assert not network.one_position
    assert len(network.notes) == 1
    assert "the full block is run" in network.notes[0]
    batch = batch_of(network, texts)
    assert_equal(split_logits(network, 2, batch), whole_logits(network, batch))


def test_a_right_split_is_proved_without_a_word(
    make_network: MakeNetwork, texts: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    for name in FAMILIES:
        network = make_network(name)
        capfd.readouterr()
        assert prove_split(network, 2, texts)
        assert network.one_position
        assert network.notes == []
        assert capfd.readouterr() == ("", "")
