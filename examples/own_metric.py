"""A figure of your own: a callable of truth (class numbers [rows]) and probabilities [rows, labels].

It is computed on validation and test rows, from calibrated probabilities.
"""

import numpy as np
from tickets import LABELS, MODEL, TEXTS

from classtune import TextClassifier


def brier(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """The Brier score, 0 (best) to 2."""
    return float(((np.eye(probabilities.shape[1])[truth] - probabilities) ** 2).sum(1).mean())


classifier = TextClassifier(MODEL, metrics={"brier": brier}, test=0.2, epochs=2).fit(TEXTS, LABELS)
print(classifier.result_["metrics"])  # {'validation': {'brier': …}, 'test': {'brier': …}}
