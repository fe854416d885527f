"""The words of a text: where each stands, and the text without some of them. Knows nothing of models or weights."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from classtune.data.reading.cells import as_beside, parts_of
from classtune.errors import DataError

# Leaving out each word in turn reads the text as often: characters that are read so, at most.
MOST_CHARACTERS = 20_000_000
# A word is a run of letters and digits with the marks that stand within (don't, 1,000, www.site.com), one letter of a
# script that is written without spaces, or a run of other signs.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+(?:[.,:'’@/-][^\W{_UNSPACED}]+)*|[^\w\s]+")


class Piece(NamedTuple):
    """A part of a text and where it stands: ``text[start:end]``; both 0 for what the model put around the text."""

    text: str
    start: int
    end: int


def words_of(text: str) -> list[Piece]:
    """The words and signs of a text, in order. A text without any (spaces alone) is one word."""
    return [Piece(word.group(), *word.span()) for word in _WORD.finditer(text)] or [Piece(text, 0, len(text))]


def check_length(text: str) -> None:
    """Raise DataError where a text is too long to leave out each of its words in turn."""
    words = sum(1 for _ in _WORD.finditer(text))
    if words * len(text) > MOST_CHARACTERS:
        raise DataError(
            f"The text has {words:,} words in {len(text):,} characters: to leave each of them out in turn would take "
            "too long. Explain a part of it."
        )


def without(text: str, left_out: Sequence[Piece]) -> str:
    """The text, or the pair of texts, with some of its words left out."""
    words = sorted(left_out, key=lambda word: word.start)
    return as_beside([_without(part, words, start) for start, part in parts_of(text)], text)


def _without(part: str, words: Sequence[Piece], start: int) -> str:
    """A part of a text that begins at ``start`` without those of the words that stand in it."""
    kept, place = [], 0
    for word in words:
        if start <= word.start < start + len(part):
            kept.append(part[place : word.start - start])
            place = word.end - start
    return " ".join("".join([*kept, part[place:]]).split())
