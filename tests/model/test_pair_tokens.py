"""Two texts as one sequence: what transformers' own tokenizer makes of them, cut where it cuts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import LIMIT, save_model

from classtune.config import resolve
from classtune.data.reading.cells import paired
from classtune.errors import DataError, SettingsError
from classtune.explain.attributions import attribute
from classtune.model.backbone import load_backbone
from classtune.model.network import Whole
from classtune.model.pairs import PairForm, longest_first, plain_ids

PAIRS = [
    ("is it open", "yes, until nine"),
    ("short", "a very long answer " * 20),
    ("a very long question " * 20, "short"),
    ("long on both sides " * 20, "long on both sides too " * 20),
    ("", "an answer to nothing"),
    ("with\n\na blank line", "and [SEP] what parts"),
]


def tokenizer_of(kind: str, folder: Path) -> Any:
    """A tokenizer of characters that pairs as a family does."""
    from tokenizers import processors
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(save_model(folder / kind, "bert")))
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    around = {
        "roberta": processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2), trim_offsets=False, add_prefix_space=False),
        "two openings": processors.TemplateProcessing("[CLS] $A", "[CLS] $A [CLS]:1 $B:1", [("[CLS]", 2)]),
        "nothing between": processors.TemplateProcessing("[CLS] $A", "[CLS] $A $B:1", [("[CLS]", 2)]),
    }
    if kind in around:
        tokenizer.backend_tokenizer.post_processor = around[kind]
    return tokenizer


def typed(folder: Path) -> None:
    """Have the tokenizer of a folder give types, as those of BERT models do."""
    path = folder / "tokenizer_config.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(told | {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}))


@pytest.mark.parametrize("kind", ["bert", "roberta", "two openings"])
@pytest.mark.parametrize("limit", [None, 40, 41, 9])
def test_ids_and_types_are_those_of_transformers(kind: str, limit: int | None, tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", "bert")
    tokenizer_of(kind, tmp_path).save_pretrained(str(folder))
    typed(folder)
    told = {} if limit is None else {"max_tokens": limit}
    network = load_backbone(folder, ["a", "b"], resolve(overrides={"blanks": "keep", **told}), pairs=True)
    encoder = network.encoder
    expected = encoder.tokenizer(
        *map(list, zip(*PAIRS, strict=True)), truncation="longest_first", max_length=limit or LIMIT
    )
    for number, ids in enumerate(encoder.encode([paired(*pair) for pair in PAIRS])):
        found, types = plain_ids(torch.from_numpy(ids.astype(np.int64))[None])
        assert found[0].tolist() == expected["input_ids"][number]
        types = torch.zeros_like(found) if types is None else types
        assert types[0].tolist() == expected["token_type_ids"][number]
    assert encoder.texts_cut == sum(len(encoder.tokenizer(*pair)["input_ids"]) > (limit or LIMIT) for pair in PAIRS)
    assert encoder.lengths([paired(*pair) for pair in PAIRS]) == [
        len(encoder.tokenizer(*pair)["input_ids"]) for pair in PAIRS
    ]


@given(st.integers(0, 60), st.integers(0, 60), st.integers(2, 60))
def test_the_longer_gives_first(first: int, second: int, room: int) -> None:
    kept = longest_first(first, second, room)
    assert sum(kept) == min(first + second, room)
    assert kept[0] <= first
    assert kept[1] <= second
    given_up = first - kept[0], second - kept[1]
    if all(given_up):
        assert abs(kept[0] - kept[1]) <= 1
    elif any(given_up):  # the other is whole, and no longer
        assert max(kept[given_up.index(max(given_up))] + 1, kept[0], kept[1]) >= kept[given_up.index(0)]


@pytest.mark.parametrize("truncate", ["head", "tail", "both"])
def test_of_both_texts_the_part_is_kept_that_is_asked_for(truncate: str, tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", "bert")
    settings = resolve(overrides={"max_tokens": 19, "truncate": truncate})
    encoder = load_backbone(folder, ["a", "b"], settings, pairs=True).encoder
    (ids,) = encoder.encode([paired("abcdefghijklmnop", "ABCDEFGHIJKLMNOP")])
    kept = encoder.tokenizer.decode(plain_ids(torch.from_numpy(ids.astype(np.int64)))[0]).replace(" ", "")
    wanted = {"head": "[CLS]abcdefgh[SEP]ABCDEFGH[SEP]", "tail": "[CLS]ijklmnop[SEP]IJKLMNOP[SEP]"}
    assert kept == wanted.get(truncate, "[CLS]abcdmnop[SEP]ABCDMNOP[SEP]")
    spans = encoder.spans(paired("abcdefghijklmnop", "ABCDEFGHIJKLMNOP"))
    text = paired("abcdefghijklmnop", "ABCDEFGHIJKLMNOP")
    assert "".join(text[start:end] for start, end in spans) == kept.replace("[CLS]", "").replace("[SEP]", "")


def test_a_network_reads_the_types(tmp_path: Path) -> None:
    """In parts, as transformers runs it, and along the path of gradients."""
    folder = save_model(tmp_path / "model", "bert")
    typed(folder)
    network = load_backbone(folder, ["a", "b"], resolve(), pairs=True)
    with torch.no_grad():  # far from their start at nearly nothing
        network.base.embeddings.token_type_embeddings.weight.normal_()
    network.classifier.eval()
    text = paired(*PAIRS[0])
    batch = network.encoder.batch(network.encoder.encode([text, paired(*PAIRS[4])]))
    told = network.encoder.tokenizer(
        *map(list, zip(PAIRS[0], PAIRS[4], strict=True)), padding=True, return_tensors="pt"
    )
    with torch.inference_mode():
        expected = network.classifier(**told).logits
        untyped = network.classifier(**(dict(told) | {"token_type_ids": torch.zeros_like(told["input_ids"])})).logits
        for way in (Whole(network), network.tail(None).eval()):
            assert (way(batch) - expected).abs().max() < 1e-5
    assert (expected - untyped).abs().max() > 1e-3
    attribution = attribute(network, text, 1)
    assert attribution.score == pytest.approx(float(expected[0, 1] - expected[0, 0]), abs=1e-5)
    assert "".join(piece.text for piece in attribution.pieces) == "".join(PAIRS[0])


def test_an_empty_second_text_is_none(tmp_path: Path) -> None:
    encoder = load_backbone(save_model(tmp_path / "model", "bert"), ["a", "b"], resolve(), pairs=True).encoder
    for text in ("is it open", paired("is it open", ""), paired("is it open", " ")):
        (ids,) = encoder.encode([text])
        assert ids.tolist() == encoder.tokenizer("is it open")["input_ids"]
        assert encoder.lengths([text]) == [len(ids)]
        assert encoder.spans(text)[1:-1] == [(place, place + 1) for place in range(10)]


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    joined = save_model(tmp_path / "llama", "llama")
    network = load_backbone(joined, ["a", "b"], resolve(), pairs=True)
    assert any("reads a pair as one text, joined by a blank line" in note for note in network.notes)
    assert not network.encoder.rules.pairs
    (ids,) = network.encoder.encode([paired("a", "b")])
    assert ids.tolist() == network.encoder.tokenizer("a\n\nb")["input_ids"]
    assert PairForm.of(tokenizer_of("nothing between", tmp_path), types=True) is None
    folder = save_model(tmp_path / "model", "bert")
    with pytest.raises(SettingsError, match=r"a window would hold a part of a pair \(--pair\)"):
        load_backbone(folder, ["a", "b"], resolve(overrides={"long_texts": "windows"}), pairs=True)
    encoder = load_backbone(folder, ["a", "b"], resolve(), pairs=True).encoder
    with pytest.raises(DataError, match="row 2: the text is empty"):
        encoder.encode([paired("a", "b"), paired(" ", "")], ["row 1", "row 2"])
