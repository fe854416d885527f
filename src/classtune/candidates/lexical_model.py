"""TF-IDF + logistic regression as a classifier that ships: plain arrays, saved without pickle, the same scores again.

``vocabulary.json`` holds the terms and how texts are cut into them, ``weights.safetensors`` the numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from classtune.candidates.lexical import TfidfBaseline
from classtune.candidates.linear import coefficients_of, read_linear, write_linear
from classtune.candidates.terms import TOKEN
from classtune.errors import reading
from classtune.stats import Floats

VOCABULARY = "vocabulary.json"
_TOGETHER = 10_000  # texts whose features are held at once


def _words(text: str) -> Iterator[str]:
    """Words and pairs of neighbours."""
    before = None
    for found in re.finditer(TOKEN, text.lower()):
        word = found.group()
        yield word
        if before is not None:
            yield f"{before} {word}"
        before = word


def _characters(text: str) -> Iterator[str]:
    """Every 2 to 5 characters of each word with a space round it; all of a shorter one once."""
    for found in re.finditer(r"\S+", text.lower()):
        word = f" {found.group()} "
        for size in range(2, 6):
            yield word[:size]
            if size >= len(word):
                break
            for start in range(1, len(word) - size + 1):
                yield word[start : start + size]


# How each vectorizer cuts texts into terms, by its name: as scikit-learn does, but one by one. A list of all terms of
# a text of 10 million characters takes gigabytes.
_CUTS: dict[str, Callable[[str], Iterator[str]]] = {"words": _words, "characters": _characters}


@dataclass(frozen=True)
class LexicalModel:
    """Logits = tf-idf features @ coefficients.T + intercept. coefficients float32 [labels, terms].

    terms, idf: of each vectorizer by name, its terms in the order of its columns and their weights.
    """

    terms: dict[str, list[str]]
    idf: dict[str, NDArray[np.float64]]
    coefficients: NDArray[np.float32]
    intercept: NDArray[np.float32]

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "_vectorizers", [_vectorizer(name, self.terms[name], self.idf[name]) for name in self.terms]
        )

    @classmethod
    def of(cls, fitted: TfidfBaseline) -> Self:
        """The fitted baseline as arrays."""
        vectorizers = dict(fitted.features.transformer_list)
        terms = {
            name: sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
            for name, vectorizer in vectorizers.items()
        }
        idf = {name: np.asarray(vectorizer.idf_, dtype=np.float64) for name, vectorizer in vectorizers.items()}
        coefficients, intercept = coefficients_of(fitted.regression, fitted.classes, sum(map(len, terms.values())))
        return cls(terms, idf, coefficients, intercept)

    def features(self, texts: Sequence[str]) -> Any:
        """TF-IDF of the terms, a sparse matrix [texts, terms]."""
        from scipy.sparse import hstack

        vectorizers: list[Any] = self._vectorizers  # type: ignore[attr-defined]
        return hstack([vectorizer.transform(texts) for vectorizer in vectorizers]).tocsr()

    def logits(self, texts: Sequence[str]) -> Floats:
        """Logits [texts, labels]; of several labels a text their log-odds."""
        if not len(texts):
            return np.zeros((0, len(self.intercept)))
        weights = self.coefficients.T.astype(np.float64)
        parts = (texts[start : start + _TOGETHER] for start in range(0, len(texts), _TOGETHER))
        return np.concatenate([self.features(part) @ weights + self.intercept for part in parts])

    @property
    def bytes(self) -> int:
        """What it takes on disk, about."""
        letters = sum(len(term.encode()) + 4 for terms in self.terms.values() for term in terms)
        return int(letters + self.coefficients.nbytes + sum(idf.nbytes for idf in self.idf.values()))

    def save(self, folder: Path, labels: Sequence[str]) -> None:
        """Write the two files. labels: what the rows of the coefficients mean. Raises BundleError where it cannot."""
        numbers: dict[str, NDArray[Any]] = {f"idf.{name}": idf for name, idf in self.idf.items()}
        numbers |= {"coefficients": self.coefficients, "intercept": self.intercept}
        write_linear(folder, VOCABULARY, self.terms, numbers, labels)

    @classmethod
    def load(cls, folder: Path, labels: Sequence[str]) -> Self:
        """Read what `save` wrote. Raises BundleError for files that are missing, damaged, or of other labels."""
        with reading(folder, "the lexical member"):
            terms, numbers = read_linear(folder, VOCABULARY, labels, unlabelled=True)
            idf = {name: numbers[f"idf.{name}"] for name in terms}
            columns = sum(map(len, terms.values()))
            coefficients, intercept = numbers["coefficients"], numbers["intercept"]
            fits = [idf[name].shape == (len(terms[name]),) for name in terms]
            shapes = intercept.shape == (len(labels),) and coefficients.shape == (len(labels), columns)
            if not terms.keys() <= _CUTS.keys() or not all(fits) or not shapes:
                raise ValueError("its terms and its numbers do not fit, or not its labels")
            return cls(terms, idf, coefficients, intercept)


def _vectorizer(name: str, terms: list[str], idf: NDArray[np.float64]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        sublinear_tf=True, vocabulary={term: place for place, term in enumerate(terms)}, analyzer=_CUTS[name]
    )
    vectorizer.idf_ = idf
    return vectorizer
