"""Terms of texts for TF-IDF: words with their neighbours, and the characters of words.

Texts are cut into terms once. Whatever learns from some of them, a fold or all, takes its rows of the counts: they are
what it would have counted itself, for a fraction of the time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from classtune.errors import DataError

# Single characters and punctuation count as words.
TOKEN = r"(?u)\b\w+\b|[^\w\s]"
_CUTS: dict[str, dict[str, Any]] = {
    "words": {"ngram_range": (1, 2), "token_pattern": TOKEN},
    "characters": {"ngram_range": (2, 5), "analyzer": "char_wb"},
}
_TOGETHER = 10_000  # texts


@dataclass(frozen=True)
class Counts:
    """How often each text has each term.

    rows: the row of each text. terms: of each kind of term by name, all that there are, sorted; counts: of each kind,
    int32, sparse [texts, terms].
    """

    rows: dict[str, int]
    terms: dict[str, NDArray[np.object_]]
    counts: dict[str, Any]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """Count in texts, equal ones once."""
        from sklearn.feature_extraction.text import CountVectorizer

        rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        terms, counts = {}, {}
        for kind, cut in _CUTS.items():
            vectorizer = CountVectorizer(dtype=np.int32, **cut)
            with contextlib.suppress(ValueError):  # there are none
                counts[kind] = vectorizer.fit_transform(rows)
                terms[kind] = vectorizer.get_feature_names_out()
        return cls(rows, terms, counts)

    def rows_of(self, texts: Iterable[str]) -> NDArray[np.int64]:
        """Their rows. Raises KeyError for a text that was not counted."""
        return np.array([self.rows[text] for text in texts], dtype=np.int64)

    def chosen(self, texts: Iterable[str], *, least: int, most: int, dtype: type[np.floating[Any]]) -> Terms:
        """The terms, of each kind at most so many, that stand in ``least`` of these texts or more, and how rare each is
        in them. Raises DataError where there are none.
        """
        from sklearn.feature_extraction.text import TfidfTransformer

        rows, columns, weights = self.rows_of(texts), {}, {}
        for kind, counts in self.counts.items():
            own = _part(counts, rows)
            kept = np.flatnonzero(np.bincount(own.indices, minlength=own.shape[1]) >= least)
            if len(kept) > most:  # those that stand in them most often
                often = np.asarray(own.sum(axis=0)).ravel()[kept]
                kept = np.sort(kept[(-often).argsort()[:most]])
            if len(kept):
                columns[kind] = kept
                weights[kind] = TfidfTransformer(sublinear_tf=True).fit(_part(own, columns=kept).astype(dtype))
        if not columns:
            raise DataError("training rows: no two texts share a word or a few letters. Pass --set keep_texts=true.")
        return Terms(self, columns, weights)


@dataclass(frozen=True)
class Terms:
    """Terms that were chosen of counts: of each kind, their columns, and a TfidfTransformer that weighs them."""

    counts: Counts
    columns: dict[str, NDArray[np.int64]]
    weights: dict[str, Any]

    def features(self, texts: Iterable[str]) -> Any:
        """TF-IDF of texts that were counted, sparse [texts, terms]."""
        from scipy.sparse import hstack

        rows, parts = self.counts.rows_of(texts), []
        for kind, weights in self.weights.items():
            counts = _part(self.counts.counts[kind], rows, self.columns[kind])
            parts.append(weights.transform(counts.astype(weights.idf_.dtype), copy=False))
        return hstack(parts).tocsr()

    def vectorizers(self) -> Any:
        """A FeatureUnion that gives the same of any texts: TfidfVectorizers by the names of their kinds."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.pipeline import FeatureUnion

        union = []
        for kind, weights in self.weights.items():
            terms, dtype = self.counts.terms[kind][self.columns[kind]], weights.idf_.dtype.type
            vocabulary = {term: place for place, term in enumerate(terms)}
            vectorizer = TfidfVectorizer(sublinear_tf=True, vocabulary=vocabulary, dtype=dtype, **_CUTS[kind])
            vectorizer.idf_ = weights.idf_
            union.append((kind, vectorizer))
        return FeatureUnion(union)


def _part(counts: Any, rows: NDArray[np.int64] | None = None, columns: NDArray[np.int64] | None = None) -> Any:
    """Rows and columns of a sparse matrix; the matrix itself, which takes no more memory, where they are all of it."""
    for axis, wanted in enumerate((rows, columns)):
        if wanted is not None and not np.array_equal(wanted, np.arange(counts.shape[axis])):
            counts = counts[:, wanted] if axis else counts[wanted]
    return counts


def transformed(vectorizers: Any, texts: Sequence[str], made: Callable[[int], None]) -> Any:
    """Features of many texts, sparse [texts, terms]: part by part, since what is made on the way takes far more room
    than what comes out. made: is told how many texts are done."""
    from scipy.sparse import csr_array

    values, columns, lengths = [], [], [np.zeros(1, np.int64)]
    for start in range(0, len(texts), _TOGETHER):
        part = vectorizers.transform(texts[start : start + _TOGETHER]).tocsr()
        values.append(part.data)
        columns.append(part.indices)
        lengths.append(np.diff(part.indptr))
        made(start + part.shape[0])
    shape, ends = (len(texts), part.shape[1]), np.concatenate(lengths).cumsum().astype(np.int32)
    data = np.concatenate(values)
    values.clear()  # before as much again is taken
    return csr_array((data, np.concatenate(columns), ends), shape=shape)
