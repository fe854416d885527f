"""Figures of a classifier whose texts may have several labels, or none: `judge` for a matrix of yes and no."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from classtune.errors import DataError
from classtune.judging.figures import Figures, LabelFigures
from classtune.judging.metrics import RESAMPLES, average_precision, expected_calibration_error, macro_f1
from classtune.stats import SMALLEST_PROBABILITY, BoolArray, FloatArray, ratio, wilson

# Numbers drawn at once for the bootstrap: 32 MB.
_DRAWN_TOGETHER = 4_000_000


def judge_multilabel(
    probabilities: FloatArray,
    truth: BoolArray,
    labels: Sequence[str],
    *,
    answers: BoolArray | None = None,
    seed: int = 123,
) -> Figures:
    """Every figure of a classifier on ``n`` test rows with ``k`` labels of which a row may have any number.

    ``probabilities`` (n, k), each label's own, in 0 … 1; ``truth`` (n, k) whether a row has a label; ``labels`` the k
    names; ``answers`` (n, k) the labels given; None: those with a probability of at least 0.5.

    Values as those of ``judge``: ``accuracy`` is the share of rows with every label right; ``macro_f1`` the mean over
    the labels that occur in truth or answers, its interval by drawing rows anew (``seed``); ``log_loss`` (nats) and
    ``ece`` are over all n x k decisions, ece being the gap between a label's probability and how often the label
    holds; ``confusion`` is None. And ``micro_f1``, over all decisions, and ``hamming_loss``, the share of wrong ones.
    Most decisions are an easy no: ``log_loss``, ``ece`` and ``hamming_loss`` look better than ``macro_f1`` for it.
    Raises DataError where rows, shapes or probabilities cannot be judged.
    """
    _check(probabilities, truth, labels, answers)
    rows = len(truth)
    given = probabilities >= 0.5 if answers is None else answers
    right, support, claimed = (truth & given).sum(0), truth.sum(0), given.sum(0)
    precision, recall, f1 = ratio(right, claimed), ratio(right, support), ratio(2 * right, support + claimed)
    exact = int((given == truth).all(1).sum())
    of_truth = np.where(truth, probabilities, 1 - probabilities.astype(np.float64))
    return Figures(
        values={
            "accuracy": exact / rows,
            "macro_f1": float(macro_f1(right, support, claimed)),
            "micro_f1": float(ratio(2 * right.sum(), support.sum() + claimed.sum())),
            "hamming_loss": float((given != truth).mean()),
            "log_loss": float(-np.log(np.clip(of_truth, SMALLEST_PROBABILITY, 1.0)).mean()),
            "ece": expected_calibration_error(probabilities.ravel(), truth.ravel()),
        },
        intervals={"accuracy": wilson(exact, rows), "macro_f1": _bootstrap_macro_f1(truth, given, seed)},
        rows=rows,
        per_label={
            label: LabelFigures(
                precision=float(precision[i]),
                recall=float(recall[i]),
                f1=float(f1[i]),
                support=int(support[i]),
                average_precision=average_precision(probabilities[:, i], truth[:, i]),
            )
            for i, label in enumerate(labels)
        },
    )


def _bootstrap_macro_f1(truth: BoolArray, given: BoolArray, seed: int) -> list[float]:
    """95 % percentile interval. Drawing rows anew is drawing the distinct pairs of truth and answer anew."""
    packed = np.packbits(np.hstack([truth, given]), axis=1)
    _, first, counts = np.unique(packed, axis=0, return_index=True, return_counts=True)
    truth, given = truth[first], given[first]
    counted = np.hstack([truth & given, truth, given]).astype(np.float64)
    rng, together = np.random.default_rng(seed), max(1, _DRAWN_TOGETHER // len(first))
    scores = []
    for done in range(0, RESAMPLES, together):
        size = min(together, RESAMPLES - done)
        draws = rng.multinomial(counts.sum(), counts / counts.sum(), size=size) @ counted
        scores.append(macro_f1(*np.split(draws, 3, axis=1)))
    return [float(end) for end in np.quantile(np.concatenate(scores), [0.025, 0.975])]


def _check(probabilities: FloatArray, truth: BoolArray, labels: Sequence[str], answers: BoolArray | None) -> None:
    problems = []
    if len(truth) == 0:
        problems.append("test rows: there are none, so nothing can be judged. Give a test file or a larger test share.")
    for name, array in (("probabilities", probabilities), ("truth", truth), ("answers", answers)):
        if array is not None and array.shape != (len(truth), len(labels)):
            problems.append(
                f"{name}: shape {array.shape} for {len(truth):,} rows and {len(labels)} labels. "
                "Give one row a text and one column a label."
            )
    for name, array in (("truth", truth), ("answers", answers)):
        if array is not None and array.dtype != np.bool_:
            problems.append(f"{name}: {array.dtype} numbers where True or False is meant. Convert with .astype(bool).")
    if wrong := np.count_nonzero(~((probabilities >= 0) & (probabilities <= 1))):
        problems.append(f"probabilities: {wrong:,} are not between 0 and 1. Give probabilities, not scores.")
    if problems:
        raise DataError(problems)
