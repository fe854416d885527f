"""The classifier that a language model must beat: TF-IDF of words and characters with logistic regression.

Strong on purpose. Single characters and punctuation count as words (they tell spam, and they tell one kind of question
from another), and the regularisation is the weak one that suits TF-IDF's unit rows.

A regression of thousands of classes takes minutes and gigabytes: there each class is its centroid, which is as good
where a class has a few rows (banking77 with 3 rows a class: 54.7 % against 54.3 %, with 10: 71.0 against 74.3).

Of many rows time and memory stay in bounds too: they are learned from in a few passes, their terms are those of a part
of them, and beyond a length of all texts together a part of the rows is all that is learned from.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from classtune.candidates.linear import OneVsRest
from classtune.candidates.terms import Counts, transformed
from classtune.data.folds import part_of_each
from classtune.data.splits import Rows, fold
from classtune.errors import DataError
from classtune.stats import BoolArray, FloatArray, IntArray, row_losses

INVERSE_REGULARISATION = 20.0
# Of a label's own yes or no: better log loss and ranking on GoEmotions than the above, in half the time.
INVERSE_REGULARISATION_OF_A_LABEL = 5.0
# Up to so many rows x classes L-BFGS solves the regression to the end. Beyond, SAGA passes over the rows a few times,
# in float32: a fraction of the seconds, and as good or better (docs/log.md).
MOST_IN_LBFGS, PASSES = 100_000, 12
# From so many rows on SAGA takes any regression (a label's own needs fewer passes), and so many give the terms and how
# rare each is.
MANY_ROWS, PASSES_OF_A_LABEL = 50_000, 4
# Characters of all texts that are learned from: short ones have 2.5 features a character, of 8 bytes each, so 0.8 GB.
MOST_CHARACTERS = 40_000_000
# Characters of texts whose counts are held for all that learn from parts of them: 0.1 GB, and as much for the terms.
_MOST_HELD = 5_000_000
# What the passes over a row take for each label, against making its features.
_PASSES_A_LABEL = 0.07
# L-BFGS keeps about 20 float64 copies of the coefficients: 800 MB at this many.
MOST_COEFFICIENTS = 5_000_000
# From this many classes on, a regression over more rows x classes than these is too slow: L-BFGS makes them, in
# float64, some hundred times.
MANY_CLASSES, MOST_SCORES = 500, 5_000_000
# Centroids are made once, in float32: 200 MB at this many.
MOST_IN_CENTROIDS = 50_000_000


@dataclass(frozen=True)
class TfidfBaseline:
    """A fitted baseline; made by ``fit_tfidf``."""

    features: Any
    regression: Any
    classes: int
    name: str = "TF-IDF + logistic regression"

    def probabilities(self, texts: Sequence[str]) -> FloatArray:
        """Probabilities (n, k) of the classes, rows summing to 1, or of the labels, each its own.

        A class or label that no training row had gets 0.
        """
        full = np.zeros((len(texts), self.classes))
        full[:, self.regression.classes_] = self.regression.predict_proba(self.features.transform(texts))
        return full

    @property
    def bytes(self) -> int:
        """What its vocabulary, weights and coefficients would take on disk, uncompressed."""
        vocabularies = [vectorizer.vocabulary_ for _, vectorizer in self.features.transformer_list]
        terms = sum(map(len, vocabularies))
        letters = sum(len(term.encode()) for vocabulary in vocabularies for term in vocabulary)
        return letters + 8 * terms * (1 + (1 if self.classes == 2 else self.classes))


class _Centroids:
    """Softmax of the cosine between a text and the mean of each class's rows (Rocchio; Manning, Raghavan and Schütze,
    Introduction to Information Retrieval, 14.2), in the form of a linear model: ``coef_`` and ``intercept_``.

    How sharp the softmax is, and whether frequent classes are favoured, has the least log loss where each row is left
    out of its own centroid.
    """

    def __init__(self, *, balanced: bool, seed: int) -> None:
        self.balanced = balanced
        self.seed = seed

    def fit(self, features: Any, truth: IntArray, weights: FloatArray | None = None) -> None:
        """weights [n]: how often each row counts in its centroid, and nowhere else."""
        from scipy.optimize import minimize_scalar
        from scipy.sparse import csr_array

        self.classes_, own, counts = np.unique(truth, return_inverse=True, return_counts=True)
        weights = np.ones(len(own), np.float32) if weights is None else weights
        one_hot = csr_array((weights, (own, np.arange(len(own)))))
        self.coef_ = (one_hot @ features.astype(np.float32)).toarray()
        norms = np.maximum(np.linalg.norm(self.coef_, axis=1), 1e-6)
        self.coef_ /= norms[:, None]
        rows = np.random.default_rng(self.seed).permutation(len(own))
        rows = rows[: max(200, MOST_SCORES // len(counts))]
        cosines = self._without_themselves(features[rows].astype(np.float32), own[rows], norms, weights[rows])
        self.intercept_ = np.zeros(len(counts), np.float32)
        best = np.inf
        priors = [self.intercept_] if self.balanced else [self.intercept_, np.log(counts / len(own))]
        for prior in priors:
            found = minimize_scalar(
                lambda power, prior=prior: float(row_losses(np.exp(power) * cosines + prior, own[rows]).mean()),
                bounds=(0, np.log(200)),
                method="bounded",
                options={"xatol": 1e-2},
            )
            if found.fun < best:
                best, sharpness, self.intercept_ = found.fun, np.float32(np.exp(found.x)), prior.astype(np.float32)
        self.coef_ *= sharpness

    def _without_themselves(self, features: Any, own: IntArray, norms: FloatArray, weights: FloatArray) -> FloatArray:
        """Cosines [rows, classes]; of its own class with what is left of it, 0 where nothing is."""
        cosines: FloatArray = features @ self.coef_.T
        squares = np.asarray(features.multiply(features).sum(axis=1)).ravel()
        places = np.arange(len(own)), own
        shared = cosines[places] * norms[own]  # with the sum of the class's rows
        left = np.sqrt(np.maximum(norms[own] ** 2 - 2 * weights * shared + weights**2 * squares, 0))
        cosines[places] = np.where(left > 1e-3, (shared - weights * squares) / np.maximum(left, 1e-3), 0)
        return cosines

    def predict_proba(self, features: Any) -> FloatArray:
        """Probabilities (n, classes met) in the order of ``classes_``."""
        scores = features.astype(np.float32) @ self.coef_.T + self.intercept_
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return np.asarray(scores)


def rows_to_learn(texts: Sequence[str], truth: IntArray | BoolArray, *, seed: int) -> Rows:
    """Numbers of the texts that `fit_tfidf` learns from: all or, where they have more than MOST_CHARACTERS, a part of
    each class. Sorted."""
    return part_of_each(truth, MOST_CHARACTERS / max(1, sum(map(len, texts))), seed=seed)


def shared_counts(texts: Sequence[str]) -> Counts | None:
    """Counts for classifiers that learn from parts of these texts. None where they are so many that each counts its
    own, for memory's sake."""
    held = len(texts) <= MANY_ROWS and sum(map(len, texts)) <= _MOST_HELD
    return Counts.of(texts) if held else None


def fit_tfidf(
    texts: Sequence[str],
    truth: IntArray | BoolArray,
    *,
    classes: int,
    seed: int,
    class_weight: Literal["balanced"] | None = None,
    shared_terms: bool = False,
    weights: FloatArray | None = None,
    counts: Counts | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> TfidfBaseline:
    """Fit the baseline on n texts and their truth. Same input, same probabilities.

    ``truth``: class numbers (n,) in 0 … classes-1 or, where a text may have several labels, a matrix (n, classes) of
    True and False; each label then has a logistic regression of its own. From MANY_CLASSES on, where rows times classes
    are more than MOST_SCORES, the classifier is one of centroids, and its name says so.
    shared_terms: only terms that two different texts have, so that none quotes one of them.
    weights: how often each row counts (n,), 1 on average. Of many rows see `rows_to_learn`.
    counts: of these texts and others, where several are fitted to parts of them (see `shared_counts`).
    progress: of many rows, is told what share of the work is done, above 0 … 1.
    Raises DataError where the rows hold fewer than two classes, no label at all, or no term that may be used.
    """
    several = truth.ndim == 2
    if several and not truth.any():
        raise DataError(f"training rows: no label among {len(texts):,} rows. Give rows that have labels.")
    if not several and (found := len(np.unique(truth))) < 2:
        raise DataError(f"training rows: {found} class among {len(texts):,} rows. Give rows of at least two classes.")
    taught = rows_to_learn(texts, truth, seed=seed)
    if len(taught) < len(texts):
        texts, truth = [texts[row] for row in taught], truth[taught]
        weights = None if weights is None else weights[taught]
    centroids = not several and classes >= MANY_CLASSES and len(texts) * classes > MOST_SCORES
    many = len(texts) > MANY_ROWS
    passes = many or (not several and not centroids and len(texts) * classes > MOST_IN_LBFGS)
    some = [texts[row] for row in part_of_each(truth, MANY_ROWS / len(texts), seed=seed)] if many else texts
    counts = Counts.of(some) if counts is None or many else counts
    # Where terms must be shared, copies do not count.
    chosen = counts.chosen(
        {fold(text): text for text in some}.values() if shared_terms else some,
        least=2 if shared_terms else 1,
        most=(MOST_IN_CENTROIDS if centroids else MOST_COEFFICIENTS) // (2 * classes),
        dtype=np.float32 if passes else np.float64,
    )
    features = chosen.vectorizers()
    made = None if many else chosen.features(texts)
    del counts, chosen  # as much memory as the features take
    if many:
        work = len(some) + len(texts) * (1 + _PASSES_A_LABEL * classes)
        progress(len(some) / work)
        made = transformed(features, texts, lambda count: progress((len(some) + count) / work))
    if centroids:
        regression: Any = _Centroids(balanced=class_weight == "balanced", seed=seed)
    else:
        regression = _regression(several=several, passes=passes, class_weight=class_weight, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The max_iter was reached")  # the passes are all that is wanted
        regression.fit(made, truth, weights)
    progress(1.0)
    if centroids:
        return TfidfBaseline(features, regression, classes, name="TF-IDF + nearest centroid")
    return TfidfBaseline(features, regression, classes)


def _regression(*, several: bool, passes: bool, **told: Any) -> Any:
    """Not fitted yet. several: one for each label; passes: in some passes over the rows, of which there are many."""
    from sklearn.linear_model import LogisticRegression

    if passes:
        told |= {"solver": "saga", "tol": 1e-9, "max_iter": PASSES_OF_A_LABEL if several else PASSES}
    elif several:  # two classes, sparse features: liblinear's dual descent is fastest, and exact where L-BFGS is not
        told |= {"solver": "liblinear", "dual": True, "tol": 0.1, "max_iter": 1000}
    else:  # A looser tolerance than scikit-learn's halves the time and costs no accuracy (on sms-spam, TREC, emotion).
        told |= {"tol": 1e-3, "max_iter": 1000}
    if several:
        return OneVsRest(LogisticRegression(C=INVERSE_REGULARISATION_OF_A_LABEL, **told))
    return LogisticRegression(C=INVERSE_REGULARISATION, **told)
