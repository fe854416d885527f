"""What a bundle measures texts by, to tell whether they are like those that it was trained on; numbers only.

The words of training are bits at hashes; the classes of training are the means of their texts' vectors.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from classtune.bundle import read_arrays
from classtune.decisions.decisions import Decisions
from classtune.inference.vectors import Vectors, unit
from classtune.judging.drift import MEASURES, Reference, Seen
from classtune.stats import Floats

FILE = "reference.safetensors"
_WORD = re.compile(r"\w+|[^\w\s]")
_BITS = 1 << 20
# Words of a text that are looked up: a long one takes no longer.
_MOST_WORDS = 1000
_LARGEST = 1 << 28  # bytes of the file


@dataclass(frozen=True)
class Yardstick:
    """words: bit h is set where a word of training has the hash h (uint8, packed). centres: float32 [labels, width],
    of length 1, or None for a classifier without a network. reference: what was seen of held-out rows."""

    words: NDArray[np.uint8]
    centres: Vectors | None
    reference: Reference

    def unknown(self, texts: Iterable[str]) -> Floats:
        """The share of each text's words that no training text had, 0 … 1 [texts]."""
        known = self._known
        shares = []
        for text in texts:
            places = _places(text)
            shares.append(1 - known[places].mean() if len(places) else 0.0)
        return np.array(shares, dtype=np.float64)

    @property
    def _known(self) -> NDArray[np.bool_]:
        cached: NDArray[np.bool_] | None = self.__dict__.get("bits")
        if cached is None:
            cached = np.unpackbits(self.words).astype(np.bool_)
            object.__setattr__(self, "bits", cached)
        return cached

    def seen(self, decisions: Decisions, scores: Floats, texts: Sequence[str], vectors: Vectors | None = None) -> Seen:
        """What is seen of texts by their scores [texts, labels] and, where there are any, their vectors."""
        measures = {"certainty": certainty(scores, multi=decisions.multi), "unknown": self.unknown(texts)}
        if vectors is not None and self.centres is not None:
            measures["distance"] = 1 - (vectors @ self.centres.T).max(axis=1).astype(np.float64)
        return Seen(decisions.answers(scores), measures)

    def save(self, folder: Path) -> None:
        """Write the file."""
        from safetensors.numpy import save_file

        arrays = {
            "words": self.words,
            "counts": self.reference.counts,
            "rows": np.array([self.reference.rows, self.reference.measured]),
        }
        arrays |= {f"values.{name}": values for name, values in self.reference.values.items()}
        if self.centres is not None:
            arrays["centres"] = self.centres
        save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, str(folder / FILE))

    @classmethod
    def load(cls, folder: Path, labels: int) -> Self:
        """Read what `save` wrote. Raises BundleError where it is not there or damaged."""
        missing = (
            "keeps nothing to compare texts with: it was written by an earlier classtune, or had no held-out rows. "
            "Train it again."
        )
        with read_arrays(folder / FILE, "what texts are compared with", missing, _LARGEST) as arrays:
            values = {name: arrays[f"values.{name}"] for name in MEASURES if f"values.{name}" in arrays}
            rows, measured = arrays["rows"].tolist()
            reference = Reference(rows, arrays["counts"], measured, values)
            if len(reference.counts) != labels + 1 or arrays["words"].shape != (_BITS // 8,):
                raise ValueError("its arrays have other sizes")
            return cls(arrays["words"], arrays.get("centres"), reference)


def make_yardstick(
    learned: Iterable[str],
    centres: Vectors | None,
    decisions: Decisions,
    scores: Floats,
    texts: Sequence[str],
    vectors: Vectors | None,
    others: Floats,
) -> Yardstick:
    """Of training texts (``learned``) and class centres, and what is seen of held-out ``texts`` by their scores.

    others: scores [rows, labels] of further rows, whose answers only count.
    """
    bits = np.zeros(_BITS, dtype=np.bool_)
    for text in learned:
        bits[_places(text)] = True
    empty = Reference(0, np.zeros(len(decisions.labels) + 1, dtype=np.int64), 0, {})
    made = Yardstick(np.packbits(bits), centres, empty)
    seen = made.seen(decisions, scores, texts, vectors)
    return replace(made, reference=Reference.of(seen, decisions.answers(others)))


def class_centres(vectors: Vectors, truth: NDArray[np.bool_]) -> Vectors:
    """The mean vector of the texts of each label that has any, of length 1 [labels, width]. truth: [texts, labels]."""
    counts = truth.sum(axis=0)
    sums = truth.T.astype(np.float32) @ vectors
    return unit(sums[counts > 0])


def certainty(scores: Floats, *, multi: bool) -> Floats:
    """How certain each answer is [texts]: the score of the likeliest label; of several labels the mean of
    max(score, 1 - score)."""
    if multi:
        return np.asarray(np.maximum(scores, 1 - scores).mean(axis=1), dtype=np.float64)
    return np.asarray(scores.max(axis=1), dtype=np.float64)


def _places(text: str) -> NDArray[np.int64]:
    words = [found[0] for found in islice(_WORD.finditer(text.casefold()), _MOST_WORDS)]
    return np.array([zlib.crc32(word.encode(errors="replace")) % _BITS for word in words], dtype=np.int64)
