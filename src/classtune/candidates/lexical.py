"""The classifier that a language model must beat: TF-IDF of words and characters with logistic regression.

Strong on purpose. Single characters and punctuation count as words (they tell spam, and they tell one kind of question
from another), and the regularisation is the weak one that suits TF-IDF's unit rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from classtune.errors import DataError
from classtune.stats import BoolArray, FloatArray, IntArray

TOKEN = r"(?u)\b\w+\b|[^\w\s]"
INVERSE_REGULARISATION = 20.0
# Of a label's own yes or no: better log loss and ranking on GoEmotions than the above, in half the time.
INVERSE_REGULARISATION_OF_A_LABEL = 5.0
# L-BFGS keeps about 20 float64 copies of the coefficients: 800 MB at this many.
MOST_COEFFICIENTS = 5_000_000


@dataclass(frozen=True)
class TfidfBaseline:
    """A fitted baseline; made by ``fit_tfidf``."""

    name: ClassVar[str] = "TF-IDF + logistic regression"
    features: Any
    regression: Any
    classes: int

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


class _OneVsRest:
    """A logistic regression for each label that some rows have and others not; a label that all have is certain.

    scikit-learn's OneVsRestClassifier warns of labels without rows, and warnings are errors here.
    """

    def __init__(self, regression: Any) -> None:
        self.regression = regression

    def fit(self, features: Any, truth: BoolArray) -> None:
        from sklearn.base import clone

        self.classes_ = np.flatnonzero(truth.any(axis=0))
        columns = [truth[:, label] for label in self.classes_]
        self.fitted = [None if column.all() else clone(self.regression).fit(features, column) for column in columns]

    def predict_proba(self, features: Any) -> FloatArray:
        """Probabilities (n, labels met) in the order of ``classes_``."""
        certain = np.ones(features.shape[0])
        return np.column_stack([one.predict_proba(features)[:, 1] if one else certain for one in self.fitted])


def fit_tfidf(
    texts: Sequence[str],
    truth: IntArray | BoolArray,
    *,
    classes: int,
    seed: int,
    class_weight: Literal["balanced"] | None = None,
) -> TfidfBaseline:
    """Fit the baseline on n texts and their truth. Same input, same probabilities.

    ``truth``: class numbers (n,) in 0 … classes-1 or, where a text may have several labels, a matrix (n, classes) of
    True and False; each label then has a logistic regression of its own.
    Raises DataError where the rows hold fewer than two classes, or no label at all.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import FeatureUnion

    several = truth.ndim == 2
    if several and not truth.any():
        raise DataError(f"training rows: no label among {len(texts):,} rows. Give rows that have labels.")
    if not several and (found := len(np.unique(truth))) < 2:
        raise DataError(f"training rows: {found} class among {len(texts):,} rows. Give rows of at least two classes.")
    shared = {"sublinear_tf": True, "max_features": MOST_COEFFICIENTS // (2 * classes)}
    features = FeatureUnion(
        [
            ("words", TfidfVectorizer(ngram_range=(1, 2), token_pattern=TOKEN, **shared)),
            ("characters", TfidfVectorizer(ngram_range=(2, 5), analyzer="char_wb", **shared)),
        ]
    )
    regression: Any
    if several:  # two classes, sparse features: liblinear's dual descent is the fastest, and exact where L-BFGS is not
        regression = _OneVsRest(
            LogisticRegression(
                C=INVERSE_REGULARISATION_OF_A_LABEL,
                solver="liblinear",
                dual=True,
                tol=0.1,
                max_iter=1000,
                class_weight=class_weight,
                random_state=seed,
            )
        )
    else:  # A looser tolerance than scikit-learn's halves the time and costs no accuracy (on sms-spam, TREC, emotion).
        regression = LogisticRegression(
            C=INVERSE_REGULARISATION, tol=1e-3, max_iter=1000, class_weight=class_weight, random_state=seed
        )
    regression.fit(features.fit_transform(texts), truth)
    return TfidfBaseline(features, regression, classes)
