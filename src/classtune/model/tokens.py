"""Texts to token batches: the one path that training and serving share.

Nothing here is padded but at the right edge of a batch. No truncation state is set on the tokenizer, so that threads
can share it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from classtune.errors import DataError

TokenIds = NDArray[np.int32]

_SURROGATE = re.compile("[\ud800-\udfff]")

# Tokens of one batch of the trunk: activations of some hundred tokens stay in a CPU's caches, more only cost memory.
BATCH_TOKENS = 768
# Padded share of a length-sorted batch, at most.
MAX_WASTE = 0.01


@dataclass(frozen=True)
class Batch:
    """What a network is given.

    values: token ids, int64 [texts, tokens], or activations, float [texts, tokens, width]; padded on the right.
    mask: True on real tokens [texts, tokens]; None where no text needs it.
    last: index of the last pooled position of each text [texts].
    """

    values: Tensor
    mask: Tensor | None
    last: Tensor

    def to(self, device: torch.device) -> Batch:
        return Batch(self.values.to(device), None if self.mask is None else self.mask.to(device), self.last.to(device))


@dataclass(frozen=True)
class TokenRules:
    """How texts become tokens; saved in the bundle.

    limit: longest text in tokens, special tokens included. cut: longer texts are cut (True) or refused (False).
    pad_to: every text is padded to this length, and padding counts as text, as in the tutorial; None: real tokens only.
    pool_padding: padded positions count in pooling.
    """

    limit: int
    cut: bool
    pad_to: int | None = None
    pool_padding: bool = False


class TextEncoder:
    """Turns texts into token ids and token ids into batches."""

    def __init__(self, tokenizer: Any, rules: TokenRules, *, needs_mask: bool) -> None:
        self.tokenizer = tokenizer
        self.rules = rules
        self.needs_mask = needs_mask
        self.pad_id = int(tokenizer.pad_token_id)
        self._closing = _closing_tokens(tokenizer)
        self._special = int(tokenizer.num_special_tokens_to_add())
        self.texts_cut = 0

    def encode(self, texts: Sequence[str], places: Sequence[str] | None = None) -> list[TokenIds]:
        """Token ids of each text, cut to the limit and padded where the rules say so; `texts_cut` counts what was cut.

        Raises DataError for texts that are empty, half characters, or longer than the limit, each with its place.
        """
        if not texts:
            return []
        rules = self.rules
        problems = [
            f"{places[index] if places else f'text {index + 1}'}: holds half a character (a surrogate). Write it whole."
            for index, text in enumerate(texts)
            if _SURROGATE.search(text)
        ]
        if problems:  # the tokenizer cannot be given them
            raise DataError(problems)
        encoded = self.tokenizer(list(texts), add_special_tokens=True, verbose=False)["input_ids"]
        result = []
        too_long = False
        for index, ids in enumerate(encoded):
            where = places[index] if places else f"text {index + 1}"
            tokens = np.asarray(ids, dtype=np.int32)
            if len(tokens) <= self._special:
                problems.append(f"{where}: the text is empty. Give it words, or leave it out.")
            if len(tokens) > rules.limit:
                if rules.cut:
                    self.texts_cut += 1
                    closing = tokens[len(tokens) - self._closing :]
                    tokens = np.concatenate([tokens[: rules.limit - self._closing], closing])
                else:
                    too_long = True
                    problems.append(f"{where}: the text has {len(ids):,} tokens, and the model takes {rules.limit:,}.")
            if rules.pad_to and len(tokens) < rules.pad_to:
                tokens = np.pad(tokens, (0, rules.pad_to - len(tokens)), constant_values=self.pad_id)
            result.append(tokens)
        if too_long:
            problems.append(f"Pass --set max_tokens={rules.limit} to cut long texts, or shorten them.")
        if problems:
            raise DataError(problems)
        return result

    def pad_and_cut(self, length: int) -> None:
        """From now on, pad every text to this length and cut (and count) what is longer, as the tutorial does."""
        self.texts_cut = 0
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


def padding_mask(lengths: NDArray[Any], width: int, needed: bool) -> Tensor | None:
    """[texts, tokens], True on real tokens; None where nothing is padded or padding on the right cannot be seen."""
    if not needed or bool((lengths == width).all()):
        return None
    return torch.from_numpy(np.arange(width)[None, :] < lengths[:, None])


def length_sorted_batches(
    lengths: Sequence[int], *, tokens: int = BATCH_TOKENS, waste: float = MAX_WASTE
) -> Iterator[NDArray[np.int64]]:
    """Indices of texts, shortest first, in batches of at most ``tokens`` positions and a padded share up to ``waste``.

    A text longer than ``tokens`` is a batch of its own.
    """
    order = np.argsort(np.asarray(lengths), kind="stable")
    start = real = 0
    for end, index in enumerate(order):
        length = int(lengths[index])
        positions = (end - start + 1) * length
        if end > start and (positions > tokens or (positions - real - length) > waste * positions):
            yield order[start:end]
            start, real = end, 0
        real += length
    if len(order):
        yield order[start:]


def _closing_tokens(tokenizer: Any) -> int:
    """How many special tokens the tokenizer puts after a text (BERT's [SEP])."""
    word = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a", add_special_tokens=True)["input_ids"]
    for opening in range(len(whole) - len(word) + 1):
        if whole[opening : opening + len(word)] == word:
            return len(whole) - len(word) - opening
    return 0
