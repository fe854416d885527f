"""Which languages the texts of a table are in, by py3langid: 139 languages in 5 MB, no pickle, nothing fetched.

A short text says little, and its language may be guessed wrong; of many texts the shares are right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

_LOOKED_AT = 300
_LEAST = 20  # fewer texts in some language say nothing of a table
_LEAST_LETTERS = 10  # numbers and codes are in no language, and would be given one
_NO_LANGUAGE = "zxx"
# A language of fewer of the texts may be nothing but short texts that were guessed wrong: at most 3 % of one in 300
# texts of each of ten English tables.
_LEAST_SHARE = 0.1


def language_shares(texts: Sequence[str], *, seed: int) -> dict[str, float]:
    """Share of the texts by language code (``{"it": 0.95}``), the largest first; empty where they say too little.

    At most _LOOKED_AT texts are looked at, and the share is among those that are in some language.
    """
    from py3langid import classify

    places = np.random.default_rng(seed).permutation(len(texts))[:_LOOKED_AT]
    worded = [texts[place] for place in places if sum(map(str.isalpha, texts[place])) >= _LEAST_LETTERS]
    found = Counter(str(classify(text)[0]) for text in worded)
    del found[_NO_LANGUAGE]
    if found.total() < _LEAST:
        return {}
    shares = {code: count / found.total() for code, count in found.most_common()}
    return {code: share for code, share in shares.items() if share >= _LEAST_SHARE}
