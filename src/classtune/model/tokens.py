"""Texts to token batches: the one path that training and serving share.

Nothing here is padded but at the right edge of a batch. No truncation state is set on the tokenizer, so that threads
can share it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from classtune.data.reading.cells import is_blank
from classtune.errors import DataError
from classtune.model.batches import Batch, padding_mask

TokenIds = NDArray[np.int32]

_SURROGATE = re.compile("[\ud800-\udfff]")

# Texts, and characters of them, that are tokenised at once: what the tokenizer says of each takes 40 times the room of
# its ids, up to 250 bytes a character.
_TOGETHER = 10_000
_CHARACTERS_TOGETHER = 1_000_000


@dataclass(frozen=True)
class TokenRules:
    """How texts become tokens; saved in the bundle. Records written before a rule existed load with its default.

    limit: longest text in tokens, special tokens included. cut: longer texts are cut (True) or refused (False).
    pad_to: every text is padded to this length, and padding counts as text, as in the tutorial; None: real tokens only.
    pool_padding: padded positions count in pooling.
    truncate: what of a cut text is kept: its ``head``, its ``tail``, or half of ``both``; special tokens always are.
    windows: `TextEncoder.pieces` reads a longer text in windows of ``limit`` tokens instead of cutting it.
    overlap: share of a window, special tokens aside, that the next one holds too, at least; 0 ≤ overlap < 1.
    pairs: a text is two, which are read as the tokenizer pairs them (`model/pairs.py`).
    """

    limit: int
    cut: bool
    pad_to: int | None = None
    pool_padding: bool = False
    truncate: Literal["head", "tail", "both"] = "head"
    windows: bool = False
    overlap: float = 0.25
    pairs: bool = False


@dataclass(frozen=True)
class Pieces:
    """Texts in pieces of at most the limit: one piece a text, or several windows of a long one.

    ids: token ids of each piece. of_text: number of the text that each piece comes from [pieces].
    """

    ids: list[TokenIds]
    of_text: NDArray[np.int64]

    def rows(self, texts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers of the pieces of these texts, text by text."""
        return self._found(texts)[0]

    def pooled(self, logits: Tensor, texts: NDArray[np.int64]) -> Tensor:
        """Logits of the pieces ``rows(texts)`` [pieces, labels] → logits of the texts [texts, labels]."""
        return pool_pieces(logits, self._found(texts)[1], len(texts))

    def _found(self, texts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Numbers of the pieces of these texts, and the place in ``texts`` that each belongs to."""
        order = np.argsort(self.of_text, kind="stable")
        starts, ends = (np.searchsorted(self.of_text[order], texts, side) for side in ("left", "right"))
        places = np.repeat(np.arange(len(texts)), ends - starts)
        before = np.cumsum(ends - starts) - (ends - starts)  # pieces of the texts that stand before each
        return order[np.arange(len(places)) + (starts - before)[places]], places


def pool_pieces(logits: Tensor, of_text: NDArray[np.int64], texts: int) -> Tensor:
    """Mean logits over the pieces of each text: [pieces, labels] → [texts, labels]. A text of one piece keeps its own.

    The mean of logits is the (normalised) geometric mean of the pieces' probabilities, or of their odds with one
    sigmoid a label: a window that is sure outweighs several that are not. A text without pieces gets zeros.
    """
    index = torch.from_numpy(of_text).to(logits.device)
    total = torch.zeros(texts, logits.shape[1], dtype=logits.dtype, device=logits.device).index_add_(0, index, logits)
    return total / torch.bincount(index, minlength=texts).clamp_min(1)[:, None]


class TextEncoder:
    """Turns texts into token ids and token ids into batches.

    types: whether its ids carry token types.
    Counted since it was made: ``texts_cut``, ``tokens_cut`` (what they lost) and ``texts_windowed``.
    """

    types = False

    def __init__(self, tokenizer: Any, rules: TokenRules, *, needs_mask: bool) -> None:
        self.tokenizer = tokenizer
        self.rules = rules
        self.needs_mask = needs_mask
        self.pad_id = int(tokenizer.pad_token_id)
        self._opening, self._closing = _special_tokens(tokenizer)
        self._special = int(tokenizer.num_special_tokens_to_add())
        self.texts_cut = self.tokens_cut = self.texts_windowed = 0

    def encode(self, texts: Sequence[str], places: Sequence[str] | None = None) -> list[TokenIds]:
        """Token ids of each text, cut to the limit and padded where the rules say so; what was cut is counted.

        Raises DataError for texts that are empty, half characters, or longer than the limit, each with its place.
        """
        return [self._padded(self._cut(tokens)) for tokens in self._tokens(texts, places, refuse=not self.rules.cut)]

    def pieces(self, texts: Sequence[str], places: Sequence[str] | None = None) -> Pieces:
        """Token ids of each text as `encode` gives them or, where the rules ask for windows, a long text in windows.

        Windows stand evenly from the text's first token to its last, none longer than the limit, special tokens round
        each; two neighbours share at least ``overlap`` of the text that a window holds. Raises as `encode` does.
        """
        windows = self.rules.windows
        by_text = [
            self._windows(tokens) if windows else [self._cut(tokens)]
            for tokens in self._tokens(texts, places, refuse=not (self.rules.cut or windows))
        ]
        of_text = np.repeat(np.arange(len(by_text)), [len(pieces) for pieces in by_text])
        return Pieces([self._padded(piece) for pieces in by_text for piece in pieces], of_text)

    def _tokens(self, texts: Sequence[str], places: Sequence[str] | None, *, refuse: bool) -> list[TokenIds]:
        """All tokens of each text, special ones included. refuse: a text beyond the limit is an error."""
        encoded = self._ids(texts, places, special=True)
        problems = []
        limit = self.rules.limit
        too_long = False
        for index, tokens in enumerate(encoded):
            where = places[index] if places else f"text {index + 1}"
            if len(tokens) <= self._special or is_blank(texts[index]):
                problems.append(f"{where}: the text is empty. Give it words, or leave it out.")
            if refuse and len(tokens) > limit:
                too_long = True
                problems.append(f"{where}: the text has {len(tokens):,} tokens, and the model takes {limit:,}.")
        if too_long:
            problems.append(
                f"Train with --set max_tokens={limit} to cut long texts (with --set truncate=tail or truncate=both to "
                "keep their end, or half of each end), --set long_texts=windows to read them whole, or shorten them."
            )
        if problems:
            raise DataError(problems)
        return encoded

    def _ids(self, texts: Sequence[str], places: Sequence[str] | None, *, special: bool) -> list[TokenIds]:
        """Whatever the tokenizer makes of each text. Raises DataError for half characters, each with its place."""
        problems = [
            f"{places[index] if places else f'text {index + 1}'}: holds half a character (a surrogate). Write it whole."
            for index, text in enumerate(texts)
            if _SURROGATE.search(text)
        ]
        if problems:  # the tokenizer cannot be given them
            raise DataError(problems)
        ids: list[TokenIds] = []
        for part in _parts(texts):
            read = self.tokenizer(part, add_special_tokens=special, verbose=False)
            ids += [np.asarray(tokens, dtype=np.int32) for tokens in read["input_ids"]]
        return ids

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, uncut. Raises DataError for half characters."""
        return [len(ids) for ids in self._ids(texts, None, special=True)]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where in a text each of the tokens that `encode` gives of it stands: (start, end), both 0 for one that is of
        no text. The tokenizer must be a fast one."""
        whole = self._spans(text, special=True)
        return self._spans_padded([whole[place] for place in self._uncut(len(whole))])

    def _spans(self, text: str, *, special: bool) -> list[tuple[int, int]]:
        told = self.tokenizer(text, add_special_tokens=special, return_offsets_mapping=True, verbose=False)
        return [tuple(span) for span in told["offset_mapping"]]

    def _spans_padded(self, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
        return spans + [(0, 0)] * ((self.rules.pad_to or 0) - len(spans))

    def _kept(self, count: int, room: int) -> NDArray[np.int64]:
        """Which of a text's own tokens are kept where ``room`` are, as the rules say."""
        ahead = {"head": room, "tail": 0, "both": room - room // 2}[self.rules.truncate]
        places = np.arange(count)
        return places if count <= room else np.concatenate([places[:ahead], places[count - (room - ahead) :]])

    def _uncut(self, count: int) -> NDArray[np.int64]:
        """Which of a text's ``count`` tokens, special ones among them, are within the limit."""
        around = self._opening + self._closing
        kept = self._opening + self._kept(count - around, self.rules.limit - around)
        return np.concatenate([np.arange(self._opening), kept, np.arange(count - self._closing, count)])

    def _cut(self, tokens: TokenIds) -> TokenIds:
        """At most the limit of a text's tokens, as the rules say; counted."""
        lost = len(tokens) - self.rules.limit
        if lost <= 0:
            return tokens
        self.texts_cut += 1
        self.tokens_cut += lost
        return tokens[self._uncut(len(tokens))]

    def _windows(self, tokens: TokenIds) -> list[TokenIds]:
        """A text's tokens in as few evenly placed windows as the overlap allows; counted where they are several."""
        opening, text, closing = np.split(tokens, [self._opening, len(tokens) - self._closing])
        room = self.rules.limit - self._opening - self._closing
        rest = len(text) - room
        if rest <= 0:
            return [tokens]
        self.texts_windowed += 1
        # The small number makes up for rounding: a quarter of 100 is to leave steps of 75, not of 74.
        stride = max(1, int(room * (1 - self.rules.overlap) + 1e-9))
        steps = -(-rest // stride)
        starts = [rest * step // steps for step in range(steps + 1)]
        return [np.concatenate([opening, text[start : start + room], closing]) for start in starts]

    def _padded(self, tokens: TokenIds) -> TokenIds:
        missing = (self.rules.pad_to or 0) - len(tokens)
        return np.pad(tokens, (0, missing), constant_values=self.pad_id) if missing > 0 else tokens

    def pad_and_cut(self, length: int) -> None:
        """From now on, pad every text to this length and cut (and count) what is longer, as the tutorial does."""
        self.texts_cut = self.tokens_cut = self.texts_windowed = 0
        self.rules = replace(self.rules, limit=min(length, self.rules.limit), cut=True, pad_to=length)

    def last_pooled(self, ids: TokenIds) -> int:
        """Index of the last position that pooling counts: as Hugging Face has it, the last unlike the padding token."""
        if self.rules.pool_padding:
            return len(ids) - 1
        real = np.flatnonzero(ids != self.pad_id)
        return int(real[-1]) if len(real) else 0

    def batch(self, ids: Sequence[TokenIds]) -> Batch:
        """Pad to the longest of these texts."""
        lengths = np.array([len(item) for item in ids])
        width = int(lengths.max())
        values = np.full((len(ids), width), self.pad_id, dtype=np.int64)
        for row, item in enumerate(ids):
            values[row, : len(item)] = item
        last = torch.tensor([self.last_pooled(item) for item in ids])
        return Batch(torch.from_numpy(values), padding_mask(lengths, width, self.needs_mask), last)


def _parts(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts in order, as many at a time as are tokenised at once."""
    part: list[str] = []
    characters = 0
    for text in texts:
        if part and (len(part) == _TOGETHER or characters + len(text) > _CHARACTERS_TOGETHER):
            yield part
            part, characters = [], 0
        part.append(text)
        characters += len(text)
    if part:
        yield part


def _special_tokens(tokenizer: Any) -> tuple[int, int]:
    """How many special tokens the tokenizer puts before a text and after it (BERT's [CLS] and [SEP])."""
    word = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a", add_special_tokens=True)["input_ids"]
    for opening in range(len(whole) - len(word) + 1):
        if whole[opening : opening + len(word)] == word:
            return opening, len(whole) - len(word) - opening
    return 0, 0
