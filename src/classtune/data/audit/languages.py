"""Which script a text is written in, from the names of its letters in Unicode. Knows single texts.

Every text of a table is asked, so that it must be quick; languages of one script are told apart by a sample
(`classtune.data.languages`).
"""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter

_LEAST_LETTERS = 3  # fewer say nothing
_ONE_SCRIPT = {"CJK": "Chinese or Japanese", "HIRAGANA": "Chinese or Japanese", "KATAKANA": "Chinese or Japanese"}


def script(text: str) -> str | None:
    """The script of most letters, such as ``Latin``, ``Cyrillic`` or ``Chinese or Japanese``; None under 3 letters."""
    if text.isascii():
        return "Latin" if sum(map(str.isalpha, text)) >= _LEAST_LETTERS else None
    scripts = Counter(filter(None, map(_script_of, text)))
    if scripts.total() < _LEAST_LETTERS:
        return None
    return scripts.most_common(1)[0][0]


@functools.lru_cache(maxsize=1 << 16)
def _script_of(character: str) -> str | None:
    """The first word of a letter's name: ``CYRILLIC SMALL LETTER A``. Styled letters (𝓪, ａ) count for their script."""
    if not character.isalpha():
        return None
    name = unicodedata.name(unicodedata.normalize("NFKC", character)[0], "").partition(" ")[0]
    return _ONE_SCRIPT.get(name, name.capitalize()) or None
