"""Texts to batches: nothing lost, nothing padded for nothing, every problem with its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from classtune.errors import DataError, SettingsError
from classtune.model.network import Network
from classtune.model.tokens import Pieces, TextEncoder, TokenRules, pool_pieces

MakeNetwork = Callable[..., Network]


def test_a_cut_text_keeps_the_special_tokens_that_close_it(make_network: MakeNetwork, texts: list[str]) -> None:
    whole, encoder = make_network("bert").encoder, make_network("bert", max_tokens=12).encoder
    tokenizer = encoder.tokenizer
    for full, ids in zip(whole.encode(texts), encoder.encode(texts), strict=True):
        assert len(ids) == min(len(full), 12)
        assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
        assert (ids[:-1] == full[: len(ids) - 1]).all()
    lost = [max(0, len(full) - 12) for full in whole.encode(texts)]
    assert encoder.texts_cut == np.count_nonzero(lost) > 0
    assert encoder.tokens_cut == sum(lost)
    assert whole.texts_cut == whole.tokens_cut == 0


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_many_texts_are_tokenised_in_parts_and_alike(
    name: str, make_network: MakeNetwork, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, other = make_network(name).encoder, make_network(name).encoder
    at_once: list[int] = []

    def tokenizer(part: list[str], **told: Any) -> Any:
        at_once.append(len(part))
        return other.tokenizer(part, **told)

    whole = encoder.encode(texts)
    monkeypatch.setattr("classtune.model.tokens._TOGETHER", 3)
    monkeypatch.setattr(encoder, "tokenizer", tokenizer)
    assert [ids.tolist() for ids in encoder.encode(texts)] == [ids.tolist() for ids in whole]
    assert max(at_once) == 3
    with pytest.raises(DataError, match=f"text {len(texts) + 1}: the text is empty"):
        encoder.encode([*texts, ""])
    at_once.clear()
    monkeypatch.setattr("classtune.model.tokens._CHARACTERS_TOGETHER", 1)
    assert [ids.tolist() for ids in encoder.encode(texts)] == [ids.tolist() for ids in whole]
    assert at_once == [1] * len(texts)


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
        "Train with --set max_tokens=64 to cut long texts (with --set truncate=tail or truncate=both to keep their "
        "end, or half of each end), --set long_texts=windows to read them whole, or shorten them.",
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


@pytest.mark.parametrize("name", ["max_tokens", "padding"])
def test_a_limit_that_the_special_tokens_fill_is_refused(make_network: MakeNetwork, name: str) -> None:
    with pytest.raises(SettingsError, match=rf"{name} = 2: 2 special tokens"):
        make_network("bert", **{name: 2})
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


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert"])
@pytest.mark.parametrize("limit", [12, 13])
def test_what_is_kept_of_a_cut_text_is_what_the_rules_say(make_network: MakeNetwork, name: str, limit: int) -> None:
    text = "call me when you get there please I want to know that all is well with the family"
    opening, closing = {"gpt2": (0, 0), "llama": (1, 0), "bert": (1, 1)}[name]
    full = make_network(name).encoder.encode([text])[0].tolist()
    before, inside, after = full[:opening], full[opening : len(full) - closing], full[len(full) - closing :]
    room = limit - opening - closing
    kept = {
        "head": inside[:room],
        "tail": inside[-room:],
        "both": inside[: (room + 1) // 2] + inside[-(room // 2) :],
    }
    for truncate, expected in kept.items():
        encoder = make_network(name, max_tokens=limit, truncate=truncate).encoder
        assert encoder.encode([text])[0].tolist() == before + expected + after
        assert (encoder.texts_cut, encoder.tokens_cut) == (1, len(full) - limit)


def test_rules_that_were_saved_before_there_were_windows_still_load() -> None:
    record: dict[str, Any] = {"limit": 64, "cut": True, "pad_to": None, "pool_padding": False}
    rules = TokenRules(**record)
    assert (rules.truncate, rules.windows) == ("head", False)


class Words:
    """A tokenizer of numbers between spaces, with special tokens around a text: 1 before it, ``closing`` times 2 after.

    It stands for a Hugging Face tokenizer where many texts are made up; real ones are tested above and below.
    """

    pad_token_id = 0

    def __init__(self, closing: int) -> None:
        self.closing = closing

    def num_special_tokens_to_add(self) -> int:
        return 1 + self.closing

    def __call__(self, texts: Any, *, add_special_tokens: bool, verbose: bool = False) -> dict[str, Any]:
        if isinstance(texts, str):
            ids = [5 if word == "a" else int(word) for word in texts.split()]
            return {"input_ids": [1, *ids, *[2] * self.closing] if add_special_tokens else ids}
        return {"input_ids": [self(text, add_special_tokens=add_special_tokens)["input_ids"] for text in texts]}


@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=6),
    st.integers(0, 2),
    st.integers(1, 40),
    st.one_of(st.floats(0, 0.9), st.sampled_from([0.25, 0.5])),
)
def test_windows_hold_every_token_and_overlap_as_asked(
    lengths: list[int], closing: int, room: int, overlap: float
) -> None:
    limit = room + 1 + closing
    rules = TokenRules(limit, cut=True, windows=True, overlap=overlap)
    encoder = TextEncoder(Words(closing), rules, needs_mask=False)
    texts = [" ".join(str(10 + place) for place in range(length)) for length in lengths]  # every token tells its place
    pieces = encoder.pieces(texts)
    assert np.unique(pieces.of_text).tolist() == list(range(len(texts)))
    for number, length in enumerate(lengths):
        own = [pieces.ids[row] for row in pieces.rows(np.array([number]))]
        if length <= room:
            assert len(own) == 1
            assert own[0].tolist() == encoder.encode([texts[number]])[0].tolist()
            continue
        windows = [piece[1 : len(piece) - closing] - 10 for piece in own]
        for piece, window in zip(own, windows, strict=True):
            assert piece[0] == 1
            assert piece[len(piece) - closing :].tolist() == [2] * closing
            assert len(window) == room  # all are full, none is longer than the limit
            assert (np.diff(window) == 1).all()
        assert windows[0][0] == 0
        assert windows[-1][-1] == length - 1
        steps = np.diff([window[0] for window in windows])
        # A window of one token has no room for an overlap; otherwise it is what was asked for or more.
        longest = max(1, room * (1 - overlap) + 1e-9)
        assert 1 <= steps.min() <= steps.max() <= longest
        assert len(steps) == np.ceil((length - room) / max(1, np.floor(longest)))  # and no window too many
        assert steps.max() - steps.min() <= 1
    assert encoder.texts_windowed == sum(length > room for length in lengths)


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "roberta"])
def test_windows_of_a_real_tokenizer(make_network: MakeNetwork, texts: list[str], name: str) -> None:
    """With windows no text is too long; what is short is encoded as ever, and `encode` cuts what is long."""
    encoder = make_network(name, long_texts="windows", max_tokens=12, window_overlap=0.5).encoder
    full = make_network(name).encoder.encode(texts)
    pieces = encoder.pieces(texts)
    assert max(len(piece) for piece in pieces.ids) == 12
    assert (encoder.texts_cut, encoder.texts_windowed) == (0, sum(len(ids) > 12 for ids in full))
    for number, ids in enumerate(full):
        own = [pieces.ids[row] for row in np.flatnonzero(pieces.of_text == number)]
        assert set(ids.tolist()) == {int(token) for piece in own for token in piece}
        assert {int(piece[0]) for piece in own} == {int(ids[0])} or name == "gpt2"
        if len(ids) <= 12:
            assert [piece.tolist() for piece in own] == [ids.tolist()]
    assert [len(ids) for ids in encoder.encode(texts)] == [min(12, len(ids)) for ids in full]
    whole = make_network(name, long_texts="windows").encoder
    long = "zebra " * 40
    assert max(len(piece) for piece in whole.pieces([long]).ids) == whole.rules.limit


def test_without_windows_pieces_are_the_texts_and_their_problems(make_network: MakeNetwork, texts: list[str]) -> None:
    encoder = make_network("bert", max_tokens=12).encoder
    pieces = encoder.pieces(texts)
    assert [ids.tolist() for ids in pieces.ids] == [ids.tolist() for ids in encoder.encode(texts)]
    assert pieces.of_text.tolist() == list(range(len(texts)))
    assert pieces.rows(np.array([3, 1])).tolist() == [3, 1]
    with pytest.raises(DataError, match=r"line 4: the text has [\d,]+ tokens, .*\n.*long_texts=windows"):
        make_network("bert").encoder.pieces(["zebra " * 40], ["line 4"])
    with pytest.raises(DataError, match="text 1: the text is empty"):
        make_network("bert", long_texts="windows").encoder.pieces([""])
    assert encoder.pieces([]).ids == []


def test_pieces_are_padded_and_counted_as_texts_are(make_network: MakeNetwork) -> None:
    encoder = make_network("gpt2", long_texts="windows", padding=10).encoder
    pieces = encoder.pieces(["ok", "zebra " * 20])
    assert len(pieces.ids) > 2
    assert {len(piece) for piece in pieces.ids} == {10}
    encoder.pad_and_cut(8)
    assert encoder.texts_windowed == 0
    assert {len(piece) for piece in encoder.pieces(["ok", "zebra " * 20]).ids} == {8}


def test_rows_and_pooled_logits_follow_the_texts_asked_for() -> None:
    """Numbers of texts may have gaps and stand in any order, as the rows of a split do."""
    pieces = Pieces([np.array([number], dtype=np.int32) for number in range(6)], np.array([7, 7, 2, 4, 4, 4]))
    asked = np.array([4, 2, 7, 3])
    rows = pieces.rows(asked)
    assert rows.tolist() == [3, 4, 5, 2, 0, 1]
    logits = torch.tensor([[0.0, 2], [4, 6], [1, 1], [3, 0], [6, 0], [9, 3]])
    assert pieces.pooled(logits[rows], asked).tolist() == [[6, 1], [1, 1], [2, 4], [0, 0]]
    assert pieces.rows(np.array([], dtype=np.int64)).tolist() == []


def test_pooling_takes_the_mean_and_leaves_a_single_piece_as_it_is() -> None:
    logits = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(pool_pieces(logits, np.arange(50), 50), logits)
    of_text = np.repeat(np.arange(5), 10)
    torch.testing.assert_close(pool_pieces(logits, of_text, 5), logits.reshape(5, 10, 3).mean(1))
