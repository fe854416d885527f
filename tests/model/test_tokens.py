"""Texts to batches: nothing lost, nothing padded for nothing, every problem with its place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from classtune.errors import DataError, SettingsError
from classtune.model.network import Network
from classtune.model.tokens import BATCH_TOKENS, MAX_WASTE, length_sorted_batches

MakeNetwork = Callable[..., Network]


def test_a_cut_text_keeps_the_special_tokens_that_close_it(make_network: MakeNetwork, texts: list[str]) -> None:
    whole, encoder = make_network("bert").encoder, make_network("bert", max_tokens=12).encoder
    tokenizer = encoder.tokenizer
    for full, ids in zip(whole.encode(texts), encoder.encode(texts), strict=True):
        assert len(ids) == min(len(full), 12)
        assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
        assert (ids[:-1] == full[: len(ids) - 1]).all()
    assert encoder.texts_cut == sum(len(full) > 12 for full in whole.encode(texts)) > 0
    assert whole.texts_cut == 0


def test_a_cut_text_of_a_decoder_is_its_beginning(make_network: MakeNetwork, texts: list[str]) -> None:
    full = make_network("gpt2").encoder.encode(texts)
    cut = make_network("gpt2", max_tokens=5).encoder.encode(texts)
    assert [ids.tolist() for ids in cut] == [ids[:5].tolist() for ids in full]


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_texts_too_long_or_empty_are_refused_all_at_once_with_their_places(
    make_network: MakeNetwork, name: str
) -> None:
    encoder = make_network(name).encoder
    long = "zebra " * 40
    length = len(encoder.tokenizer(long)["input_ids"])
    with pytest.raises(DataError) as caught:
        encoder.encode(["fine", long, "", long], [f"t.csv line {line}" for line in (2, 3, 4, 5)])
    assert caught.value.problems == [
        f"t.csv line 3: the text has {length} tokens, and the model takes 64.",
        "t.csv line 4: the text is empty. Give it words, or leave it out.",
        f"t.csv line 5: the text has {length} tokens, and the model takes 64.",
        "Pass --set max_tokens=64 to cut long texts, or shorten them.",
    ]


def test_roberta_counts_its_positions_from_two(make_network: MakeNetwork) -> None:
    """Its 64 positions take texts of 62 tokens; a longer one would be an index error in the midst of the training."""
    network = make_network("roberta")
    assert network.encoder.rules.limit == 62
    longest = make_network("roberta", max_tokens=500).encoder.encode(["zebra " * 40])
    assert len(longest[0]) == 62
    assert torch.isfinite(network.tail(None)(network.encoder.batch(longest))).all()


def test_half_a_character_is_refused_with_its_place(make_network: MakeNetwork) -> None:
    with pytest.raises(DataError, match=r"^line 7: holds half a character \(a surrogate\)\. Write it whole\.$"):
        make_network("gpt2").encoder.encode(["whole 🎉 and مرحبا", "half \ud83c"], ["line 6", "line 7"])


def test_a_limit_that_the_special_tokens_fill_is_refused(make_network: MakeNetwork) -> None:
    with pytest.raises(SettingsError, match=r"max_tokens = 2: .*2 special tokens"):
        make_network("bert", max_tokens=2)
    assert make_network("gpt2", max_tokens=1).encoder.rules.limit == 1


def test_padding_to_a_length_counts_as_text_and_pools_as_told(make_network: MakeNetwork) -> None:
    for counted in (False, True):
        encoder = make_network("gpt2", padding=10, pool_padding=counted).encoder
        ids = encoder.encode(["ok"])
        real = len(make_network("gpt2").encoder.encode(["ok"])[0])
        assert ids[0].tolist()[real:] == [encoder.pad_id] * (10 - real)
        assert int(encoder.batch(ids).last[0]) == (9 if counted else real - 1)


def test_padding_like_the_tutorial_cuts_longer_texts(make_network: MakeNetwork, texts: list[str]) -> None:
    encoder = make_network("gpt2", max_tokens=30).encoder
    long = sum(len(ids) > 20 for ids in encoder.encode(texts))
    encoder.pad_and_cut(20)
    assert {len(ids) for ids in encoder.encode(texts)} == {20}
    assert encoder.texts_cut == long  # those cut while the length was found do not count


def test_a_batch_is_padded_on_the_right_and_masked_where_that_is_seen(make_network: MakeNetwork) -> None:
    for name in ("gpt2", "bert"):
        encoder = make_network(name).encoder
        ids = encoder.encode(["ok", "win a free prize now"])
        batch = encoder.batch(ids)
        short, long = len(ids[0]), len(ids[1])
        assert batch.values.tolist() == [ids[0].tolist() + [encoder.pad_id] * (long - short), ids[1].tolist()]
        assert batch.last.tolist() == [short - 1, long - 1]
        if name == "gpt2":
            assert batch.mask is None
        else:
            assert batch.mask is not None
            assert batch.mask.tolist() == [[True] * short + [False] * (long - short), [True] * long]
            assert encoder.batch(ids[:1]).mask is None


@given(st.lists(st.integers(1, 2000), max_size=300))
def test_length_sorted_batches_hold_every_text_once_with_little_waste(lengths: list[int]) -> None:
    batches = list(length_sorted_batches(lengths))
    assert sorted(row for rows in batches for row in rows) == list(range(len(lengths)))
    order = [lengths[row] for rows in batches for row in rows]
    assert order == sorted(lengths)
    for rows in batches:
        real = np.array([lengths[row] for row in rows])
        positions = len(rows) * real.max()
        assert len(rows) == 1 or positions <= BATCH_TOKENS
        assert positions - real.sum() <= MAX_WASTE * positions


def test_equal_lengths_fill_their_batches() -> None:
    assert [len(rows) for rows in length_sorted_batches([10] * 200)] == [76, 76, 48]
