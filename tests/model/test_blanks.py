"""Blanks that nobody sees decide nothing, and whoever reads the bundle's tokenizer sees as little of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, GPT2Tokenizer, RobertaTokenizer

from classtune.model.blanks import fold_blanks
from classtune.model.network import Network

SEEN_ALIKE = ["call  now", "call now  ", " call now", "call \t now", "call\u00a0now", "call now"]


@pytest.mark.parametrize("family", ["gpt2", "llama", "roberta", "bert"])
def test_texts_that_look_alike_are_alike(make_network: Callable[..., Network], family: str, tmp_path: Path) -> None:
    network = make_network(family)
    first, *others = [ids.tolist() for ids in network.encoder.encode(SEEN_ALIKE)]
    assert all(other == first for other in others)
    network.encoder.tokenizer.save_pretrained(str(tmp_path))
    tokens = AutoTokenizer.from_pretrained(str(tmp_path))(SEEN_ALIKE)["input_ids"]
    assert all(text == first for text in tokens)


@pytest.mark.parametrize("kind", [GPT2Tokenizer, RobertaTokenizer])
def test_a_class_that_builds_its_own_steps_does_not_forget_them(
    kind: Any, backbone_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    model = json.loads((backbone_folder("gpt2") / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    specials = ["<s>", "</s>", "<pad>", "<unk>", "<mask>"]
    vocabulary = model["vocab"] | {token: len(model["vocab"]) + place for place, token in enumerate(specials)}
    tokenizer = kind(vocab=vocabulary, merges=[tuple(pair) for pair in model["merges"]], model_max_length=64)
    folded = fold_blanks(tokenizer)
    folded.save_pretrained(str(tmp_path))
    again = AutoTokenizer.from_pretrained(str(tmp_path))
    assert again(SEEN_ALIKE)["input_ids"] == [kind.__call__(tokenizer, "call now")["input_ids"]] * len(SEEN_ALIKE)
    assert again.model_max_length == 64
    assert again.special_tokens_map == tokenizer.special_tokens_map


def test_line_breaks_stay_and_places_are_those_of_the_text(make_network: Callable[..., Network]) -> None:
    encoder = make_network("gpt2").encoder
    one, two = encoder.encode(["call\nnow", "call now"])
    assert one.tolist() != two.tolist()
    text = "  call   now "
    places = encoder.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    assert "".join(text[start:end] for start, end in places).split() == ["call", "now"]


def test_keep_is_the_tokenizer_as_it_came(make_network: Callable[..., Network], backbone_folder: Any) -> None:
    own = AutoTokenizer.from_pretrained(str(backbone_folder("gpt2")))
    kept = make_network("gpt2", blanks="keep").encoder.encode(SEEN_ALIKE)
    assert [ids.tolist() for ids in kept] == own(SEEN_ALIKE)["input_ids"]
    assert len({tuple(ids) for ids in kept}) == len(SEEN_ALIKE)
