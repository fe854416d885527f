"""Which texts are nearly the same: groups that an honest split keeps together. Knows texts, not labels or files.

Two texts are near when the sets of their shingles (every run of four characters of the folded text) have a Jaccard
similarity (what they share over what either has) of at least the threshold. Four characters serve short messages,
where one other word already changes a third of all word pairs, languages without spaces, and long reviews, of which
two unrelated ones share a tenth; at 0.8 a message of 80 characters may differ in a short word or two typos.

MinHash with banding finds the candidates (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets,
chapter 3), and each pair is then proved on its true sets: banding may miss a pair, it never makes one up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from classtune.config import Progress
from classtune.data.splits import fold
from classtune.errors import SettingsError

SHINGLE = 4  # characters
_HASHES = 128  # a signature's length: the similarity it estimates is off by 0.035 (one standard deviation) at 0.8
_WANTED_RECALL = 0.99  # of pairs exactly at the threshold; nearer ones are found more surely still
_NEIGHBOURS = 16  # a text is compared with so many next ones of its bucket: buckets up to 17 fully, no bucket n times n
_FAILURES = 32  # comparisons a text may lose before it is left alone: a table of one template stays linear
_CHUNK, _CHUNK_CHARACTERS = 20_000, 2_000_000  # texts, or pairs, worked on at a time; twice as many have 16-bit numbers
_OWNER_BITS, _HASH_BITS = np.uint64(16), np.uint64(48)  # of a number that holds an owner and a hash
_HASH_MASK = np.uint64(2**48 - 1)

Numbers: TypeAlias = NDArray[np.int64]


def near_groups(
    texts: Sequence[str], *, threshold: float = 0.8, seed: int = 123, progress: Progress | None = None
) -> Numbers:
    """A group number for each row, from 0 in the order of first rows: equal numbers for texts that are near.

    Near is passed on: where a is near b, and b near c, the three are one group. Equal folded texts always share one;
    texts under four characters are near to their equals only. threshold: Jaccard similarity, above 0 and up to 1.
    About 600 bytes a distinct text are held beside the texts. The same texts, threshold and seed give the same groups.
    Raises SettingsError for an impossible threshold.
    """
    numbers: dict[str, int] = {}
    rows = np.fromiter((numbers.setdefault(fold(text), len(numbers)) for text in texts), np.int64, len(texts))
    return groups_of_folded(list(numbers), threshold=threshold, seed=seed, progress=progress)[rows]


def groups_of_folded(
    distinct: Sequence[str], *, threshold: float = 0.8, seed: int = 123, progress: Progress | None = None
) -> Numbers:
    """``near_groups`` of texts that are folded already, none of them twice."""
    if not 0 < threshold <= 1:
        raise SettingsError(f"threshold = {threshold}: a similarity of texts is above 0 and at most 1.")
    width = _band_width(threshold)
    bands = _HASHES // width

    def report(share: float) -> None:
        if progress and distinct:
            progress("near copies", int(share * len(distinct)), len(distinct))

    report(0)
    sizes = np.fromiter(map(len, distinct), np.int64, len(distinct))
    signatures = _signatures(distinct, sizes, seed, lambda share: report(share / 2))  # about as long as all bands
    least_estimate = threshold - 3 * np.sqrt(threshold * (1 - threshold) / _HASHES)
    parents = np.arange(len(distinct))
    failures = np.zeros(len(distinct), dtype=np.int64)
    following = _keys(signatures[:, :width])
    for band in range(bands):
        keys, start = following, (band + 1) % bands * width
        following = _keys(signatures[:, start : start + width])
        order = np.lexsort((following, keys))  # in a crowded bucket the likest texts stand side by side
        keys = keys[order]
        for distance in range(1, _NEIGHBOURS + 1):
            alike = np.flatnonzero(keys[distance:] == keys[:-distance])
            if not len(alike):
                break
            pairs = np.sort(np.stack([order[alike], order[alike + distance]], axis=1), axis=1)
            pairs = pairs[parents[pairs[:, 0]] != parents[pairs[:, 1]]]
            pairs = pairs[(failures[pairs] < _FAILURES).all(axis=1)]
            pairs = pairs[_estimates(signatures, pairs) >= least_estimate]
            near = _are_near(distinct, pairs, sizes, threshold)
            np.add.at(failures, pairs[~near], 1)
            if near.any():
                _join(parents, pairs[near])
                parents = _roots(parents)
        report((1 + (band + 1) / bands) / 2)
    return np.unique(parents, return_inverse=True)[1].astype(np.int64)  # a root is its group's first row


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of two folded texts' shingles, 0 to 1."""
    mine, yours = _shingles(one), _shingles(other)
    shared = len(mine & yours)
    return shared / (len(mine) + len(yours) - shared)


def _shingles(text: str) -> set[str]:
    return {text[start : start + SHINGLE] for start in range(len(text) - SHINGLE + 1)} or {text}


def _band_width(threshold: float) -> int:
    """The most hashes a band (the fewest chance candidates) with which a pair at the threshold shares some band."""
    widths = [
        width
        for width in range(1, 17)
        if 1 - (1 - threshold**width) ** (_HASHES // width) >= _WANTED_RECALL or width == 1
    ]
    return max(widths)


def _signatures(texts: Sequence[str], sizes: Numbers, seed: int, report: Callable[[float], None]) -> NDArray[np.uint16]:
    """MinHash signatures [texts, hashes]; 16 bits of each hash tell texts apart well enough."""
    import rensa

    signatures = np.empty((len(texts), _HASHES), dtype=np.uint16)
    for chunk in _chunks(sizes):
        hashes, starts = _hashed_shingles(texts[chunk])
        matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(hashes, starts, _HASHES, seed)
        signatures[chunk] = np.array(matrix.to_rows(), dtype=np.uint32) & 0xFFFF
        report(chunk.stop / len(texts))
    return signatures


def _chunks(sizes: Numbers) -> Iterator[slice]:
    """Runs of items, short in number and in characters, so that what is made of each stays small."""
    filled = np.cumsum(sizes) // _CHUNK_CHARACTERS
    start = 0
    while start < len(sizes):
        end = max(start + 1, int(np.searchsorted(filled, filled[start], side="right")))
        end = min(end, start + _CHUNK)
        yield slice(start, end)
        start = end


def _hashed_shingles(texts: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """A 64-bit hash of every shingle, repeated ones too, and where each text's begin and end [texts + 1]."""
    padded = [text.ljust(SHINGLE, "\0") for text in texts]
    ends = np.cumsum([len(text) for text in padded])
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    hashes = codes[: len(codes) - SHINGLE + 1].copy()
    for place in range(1, SHINGLE):
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + codes[place : place + len(hashes)]
    hashes ^= hashes >> np.uint64(29)  # as splitmix64 ends: near codes must not give near hashes
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(32)
    whole = np.ones(len(hashes), dtype=bool)
    for place in range(1, SHINGLE):
        whole[ends[:-1] - place] = False  # these reach into the next text
    offsets = np.concatenate([[0], ends - (SHINGLE - 1) * np.arange(1, len(texts) + 1)])
    return hashes[whole], offsets.astype(np.uint64)


def _keys(columns: NDArray[np.uint16]) -> NDArray[np.uint64]:
    """One number for each row of a band [texts, width]."""
    keys = np.zeros(len(columns), dtype=np.uint64)
    for column in columns.T:
        keys = keys * np.uint64(0x9E3779B97F4A7C15) + column
    return keys


def _estimates(signatures: NDArray[np.uint16], pairs: Numbers) -> NDArray[np.float64]:
    """The similarity that the signatures of each pair [pairs, 2] give it."""
    estimates = np.empty(len(pairs))
    for start in range(0, len(pairs), _CHUNK):
        chunk = pairs[start : start + _CHUNK]
        estimates[start : start + _CHUNK] = (signatures[chunk[:, 0]] == signatures[chunk[:, 1]]).mean(axis=1)
    return estimates


def _are_near(texts: Sequence[str], pairs: Numbers, sizes: Numbers, threshold: float) -> NDArray[np.bool_]:
    """Whether each pair [pairs, 2] is at the threshold or above, by all its shingles.

    Hashed shingles, many pairs at once, tell nearly all that are not; 48 bits of a hash can only make a pair look
    nearer, so those that seem near are proved on the shingles themselves.
    """
    near = np.zeros(len(pairs), dtype=bool)
    for chunk in _chunks(sizes[pairs].sum(axis=1)):
        rows, places = np.unique(pairs[chunk], return_inverse=True)
        hashes, starts = _hashed_shingles([texts[row] for row in rows])
        keys = np.sort(_numbered(np.diff(starts)) | hashes >> _OWNER_BITS)  # each text's shingles, in the texts' order
        keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])]  # as np.unique does, but 20 times faster
        counts = np.bincount((keys >> _HASH_BITS).astype(np.int64), minlength=len(rows))
        both = places.reshape(-1, 2).ravel()
        ends = np.cumsum(counts[both])
        taken = np.arange(ends[-1]) + np.repeat((np.cumsum(counts) - counts)[both] - ends + counts[both], counts[both])
        of_pair = counts[both].reshape(-1, 2).sum(axis=1)
        shingles = np.sort(_numbered(of_pair) | keys[taken] & _HASH_MASK)
        twice = shingles[1:][shingles[1:] == shingles[:-1]] >> _HASH_BITS
        shared = np.bincount(twice.astype(np.int64), minlength=len(of_pair))
        near[chunk] = shared >= threshold * (of_pair - shared)
    for place in np.flatnonzero(near):
        near[place] = similarity(texts[pairs[place, 0]], texts[pairs[place, 1]]) >= threshold
    return near


def _numbered(counts: NDArray[Any]) -> NDArray[np.uint64]:
    """The number of each item above the bits of a hash, once for each of its hashes."""
    numbers = np.arange(len(counts), dtype=np.uint64) << _HASH_BITS
    return np.repeat(numbers, counts.astype(np.int64))


def _join(parents: Numbers, pairs: Numbers) -> None:
    for one, other in pairs.tolist():
        first, second = _root(parents, one), _root(parents, other)
        parents[max(first, second)] = min(first, second)


def _root(parents: Numbers, row: int) -> int:
    while (parent := int(parents[row])) != row:
        row = parent
    return row


def _roots(parents: Numbers) -> Numbers:
    """Every row's root, all at once."""
    while not np.array_equal(above := parents[parents], parents):
        parents = above
    return parents
