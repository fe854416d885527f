"""scikit-learn's contract over everything else: `TextClassifier`, and `load` for one that was saved (`loaded.py`)."""

from __future__ import annotations

from classtune.estimator.classifier import NotFittedError, TextClassifier

__all__ = ["NotFittedError", "TextClassifier"]
