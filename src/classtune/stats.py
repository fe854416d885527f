"""Names for kinds of arrays, and the few formulas that several rooms share. Numpy alone, since `--help` may load it."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]
BoolArray = npt.NDArray[np.bool_]
# Numbers of labels (n,), or booleans (n, k) where a text may have several.
Truth = npt.NDArray[Any]

# Logarithms of the least and the largest factor of logits that is looked at.
_SCALES = (-4.0, 4.0)
Z95 = NormalDist().inv_cdf(0.975)
# Probabilities mostly come out of a float32 softmax; every classifier is held to the same smallest doubt.
SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)


def wilson(right: int, rows: int) -> list[float]:
    """Wilson's 95 % score interval ``[lo, hi]`` of a share ``right / rows`` (E. B. Wilson, 1927); of no rows 0 … 1."""
    from scipy.stats import binomtest

    if rows == 0:
        return [0.0, 1.0]
    interval = binomtest(right, rows).proportion_ci(method="wilson")
    return [float(interval.low), float(interval.high)]


def ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """``part / whole``, and 0 where the whole is 0."""
    return np.asarray(np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole != 0))


def log_probabilities(logits: FloatArray, *, multi: bool) -> Floats:
    """Logarithms of a softmax [rows, labels] or, with ``multi``, of a sigmoid a label."""
    values = np.asarray(logits, dtype=np.float64)
    if multi:
        return np.asarray(-np.logaddexp(0, -values))
    shifted = values - values.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def softmax(logits: Floats) -> Floats:
    """Probabilities [rows, labels] whose rows sum to 1."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def sigmoid(logits: Floats) -> Floats:
    """A probability for each logit by itself."""
    return np.asarray(np.exp(-np.logaddexp(0, -logits)))


def log_loss(probabilities: FloatArray, truth: npt.NDArray[Any]) -> Floats:
    """Log loss (nats) of probabilities [rows, labels]: of each row [rows] for class numbers [rows], of each label of
    each row [rows, labels] for booleans. None is infinite: see SMALLEST_PROBABILITY."""
    if truth.ndim == 2:
        of_truth = np.where(truth, probabilities, 1 - probabilities.astype(np.float64))
    else:
        of_truth = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    return np.asarray(-np.log(np.clip(of_truth, SMALLEST_PROBABILITY, 1.0)))


def row_losses(logits: FloatArray, truth: npt.NDArray[Any]) -> Floats:
    """Log loss (nats) of each row [rows]: class numbers [rows] or, over all labels, booleans [rows, labels]. NaN for
    rows that have no logits (NaN)."""
    if truth.ndim == 1:
        return np.asarray(-log_probabilities(logits, multi=False)[np.arange(len(truth)), truth])
    signed = np.where(truth, 1.0, -1.0) * np.asarray(logits, dtype=np.float64)
    with np.errstate(invalid="ignore"):  # what is no number stays none, without a warning
        return np.asarray(np.logaddexp(0, -signed).sum(axis=1))


def best_scale(logits: FloatArray, truth: npt.NDArray[Any]) -> float:
    """The factor of the logits (one over the temperature) of least log loss, no surer than so many rows can show.

    Of n rows that are all right, none says that the next one will be: targets are (n + 1) / (n + 2) and the rest
    instead of 1 and 0 (Platt 1999), so that separable rows do not drive the factor to infinity.
    """
    from scipy.optimize import minimize_scalar

    scores = np.asarray(logits, dtype=np.float64)
    if len(scores) == 0:
        return 1.0
    doubt = 1 / (len(scores) + 2)
    if truth.ndim == 1:
        target = np.full(scores.shape, doubt / max(1, scores.shape[1] - 1))
        target[np.arange(len(truth)), truth] = 1 - doubt
    else:
        target = np.where(truth, 1 - doubt, doubt)

    def loss(power: float) -> float:
        scaled = np.exp(power) * scores
        if truth.ndim == 1:
            return float(-(target * log_probabilities(scaled, multi=False)).sum(axis=1).mean())
        return float((np.logaddexp(0, scaled) - target * scaled).mean())

    return float(np.exp(minimize_scalar(loss, bounds=_SCALES, method="bounded", options={"xatol": 1e-3}).x))
