"""Two texts as one sequence, as a model's tokenizer pairs them: what stands round and between them, and which token is
of which segment.

The segment of a token (BERT's token type) travels in its id, above the bits that any vocabulary needs: whatever stores,
sorts, sends or compares token ids then carries it along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from torch import Tensor

from classtune.data.reading.cells import as_pair, parts_of
from classtune.model.tokens import Pieces, TextEncoder, TokenIds, TokenRules

_SHIFT = 24  # a vocabulary has less than 16 million tokens
_ID = (1 << _SHIFT) - 1


def typed(ids: Sequence[int], types: Sequence[int]) -> TokenIds:
    """Token ids that carry their token types."""
    return np.array(ids, dtype=np.int32) | (np.array(types, dtype=np.int32) << _SHIFT)


def plain_ids(values: Tensor) -> tuple[Tensor, Tensor | None]:
    """Token ids as a model knows them, and their types where any is not 0, both int64 [texts, tokens]."""
    types = values >> _SHIFT
    return (values & _ID, types) if bool(types.any()) else (values, None)


@dataclass(frozen=True)
class PairForm:
    """How a tokenizer pairs: the special tokens before, between and after the two texts; second: type of the second."""

    opening: TokenIds
    middle: TokenIds
    closing: TokenIds
    second: int

    @classmethod
    def of(cls, tokenizer: Any, *, types: bool) -> Self | None:
        """types: whether the model reads token types. None for a tokenizer that puts nothing between two texts."""
        words: list[list[int]] = tokenizer(["a", "b"], add_special_tokens=False)["input_ids"]
        whole = tokenizer("a", "b")
        ids: list[int] = whole["input_ids"]
        kinds = whole.get("token_type_ids") if types else None
        found = typed(ids, kinds or [0] * len(ids))
        first, start = _after(ids, words[0], 0)
        second, end = _after(ids, words[1], start)
        if first < 0 or second <= start:
            return None
        return cls(found[:first], found[start:second], found[end:], int(found[second]) >> _SHIFT)

    @property
    def special(self) -> int:
        """How many tokens stand round and between the texts."""
        return len(self.opening) + len(self.middle) + len(self.closing)

    def join(self, first: TokenIds, second: TokenIds) -> TokenIds:
        """The sequence of two texts' own tokens."""
        second = second | np.int32(self.second << _SHIFT)
        return np.concatenate([self.opening, first, self.middle, second, self.closing])


def encoder_of(tokenizer: Any, rules: TokenRules, *, needs_mask: bool, types: bool) -> TextEncoder:
    """What reads texts by these rules. types: whether the model reads token types."""
    if not rules.pairs:
        return TextEncoder(tokenizer, rules, needs_mask=needs_mask)
    form = PairForm.of(tokenizer, types=types)
    if form is None:
        raise ValueError("the tokenizer has no token between the texts of a pair")
    return PairEncoder(tokenizer, rules, form, needs_mask=needs_mask)


class PairEncoder(TextEncoder):
    """Reads each text as a pair (`as_pair`), one piece each; of a long one the longer text is cut first.

    A pair whose second text is empty is read as its first alone, as transformers' pipelines read it.
    """

    def __init__(self, tokenizer: Any, rules: TokenRules, form: PairForm, *, needs_mask: bool) -> None:
        super().__init__(tokenizer, rules, needs_mask=needs_mask)
        self.form = form
        self.types = form.second > 0

    def encode(self, texts: Sequence[str], places: Sequence[str] | None = None) -> list[TokenIds]:
        """Raises DataError for texts that are empty or hold half characters, each with its place."""
        named = places or [f"text {number}" for number in range(1, len(texts) + 1)]
        sides = [_sides(text) for text in texts]
        alone = [row for row, (_, second) in enumerate(sides) if not second]
        whole = [row for row, (_, second) in enumerate(sides) if second]
        encoded = dict(
            zip(alone, super().encode([sides[row][0] for row in alone], [named[row] for row in alone]), strict=True)
        )
        for row, both in zip(
            whole, self._both([sides[row] for row in whole], [named[row] for row in whole]), strict=True
        ):
            first, second = (
                part[self._kept(len(part), room)] for part, room in zip(both, self._rooms(both), strict=True)
            )
            lost = sum(map(len, both)) - len(first) - len(second)
            self.texts_cut += lost > 0
            self.tokens_cut += lost
            encoded[row] = self._padded(self.form.join(first, second))
        return [encoded[row] for row in range(len(texts))]

    def pieces(self, texts: Sequence[str], places: Sequence[str] | None = None) -> Pieces:
        return Pieces(self.encode(texts, places), np.arange(len(texts)))

    def lengths(self, texts: Sequence[str]) -> list[int]:
        sides = [_sides(text) for text in texts]
        alone = super().lengths([first for first, _ in sides])
        both = [self.form.special + sum(map(len, both)) for both in self._both(sides, None)]
        return [both[row] if second else alone[row] for row, (_, second) in enumerate(sides)]

    def spans(self, text: str) -> list[tuple[int, int]]:
        parts = parts_of(as_pair(text))
        if not parts[1][1]:
            return super().spans(parts[0][1])
        both = [
            [(start + first, start + end) for first, end in self._spans(part, special=False)] for start, part in parts
        ]
        first, second = (
            [part[place] for place in self._kept(len(part), room)]
            for part, room in zip(both, self._rooms(both), strict=True)
        )
        form = self.form
        opening, middle, closing = ([(0, 0)] * len(ids) for ids in (form.opening, form.middle, form.closing))
        return self._spans_padded([*opening, *first, *middle, *second, *closing])

    def _both(self, sides: Sequence[tuple[str, str]], places: Sequence[str] | None) -> list[tuple[TokenIds, TokenIds]]:
        """The tokens of both texts of each pair."""
        first, second = (self._ids([pair[side] for pair in sides], places, special=False) for side in (0, 1))
        return list(zip(first, second, strict=True))

    def _rooms(self, both: Sequence[Any]) -> tuple[int, int]:
        """How many tokens are kept of either text."""
        return longest_first(len(both[0]), len(both[1]), self.rules.limit - self.form.special)


def _sides(text: str) -> tuple[str, str]:
    (_, first), (_, second) = parts_of(as_pair(text))
    return first, second


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens are kept of two texts that may have ``room`` together: the longer gives first (transformers)."""
    if first + second <= room:
        return first, second
    short = min(first, second, room // 2)
    return (short, room - short) if first <= second else (room - short, short)


def _after(ids: Sequence[int], part: Sequence[int], start: int) -> tuple[int, int]:
    """Where a part of a sequence begins, from ``start`` on, and where it ends; (-1, -1) where it is not there."""
    for place in range(max(start, 0), len(ids) - len(part) + 1):
        if part and list(ids[place : place + len(part)]) == list(part):
            return place, place + len(part)
    return -1, -1
