"""Figures of a classifier on labelled rows, each with the interval that its number of rows allows.

Numpy alone: importing sklearn.metrics takes seconds, and it has no intervals. The tests hold these figures against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from classtune.errors import DataError
from classtune.judging.figures import Answered, Bin, Figures, LabelFigures
from classtune.stats import SMALLEST_PROBABILITY, FloatArray, IntArray, ratio, wilson

CALIBRATION_BINS = 15
RESAMPLES = 1000


def judge(
    probabilities: FloatArray,
    truth: IntArray,
    labels: Sequence[str],
    *,
    answers: IntArray | None = None,
    seed: int = 123,
) -> Figures:
    """Every figure of a classifier on ``n`` test rows with ``k`` classes.

    ``probabilities`` (n, k) in 0 … 1, rows summing to 1; ``truth`` (n,) class numbers 0 … k-1; ``labels`` the k names;
    ``answers`` (n,) the class numbers given, -1 where the answer is withheld; None: the most probable class.

    Values, all in 0 … 1 except ``log_loss`` (nats): ``accuracy`` with its Wilson interval; ``macro_f1`` over the
    classes that occur in truth or prediction (as scikit-learn has it) with its bootstrap interval (``seed``; it has no
    width where nothing is wrong); ``log_loss``; ``ece``. A division by zero gives 0.
    Where answers are withheld, accuracy, F1, confusion and what follows from it are over the answered rows (0 … 1 is
    the interval of none), and ``answered`` says how many were, with a Wilson interval of their error. Log loss, ece (of
    the most probable class) and average precision are of the probabilities, whatever was answered.
    Raises DataError where rows, shapes, class numbers or probabilities cannot be judged.
    """
    _check(probabilities, truth, labels, answers)
    rows, classes = probabilities.shape
    predicted = probabilities.argmax(axis=1)
    given = predicted if answers is None else answers
    answered = given >= 0
    confusion = np.bincount(truth[answered] * classes + given[answered], minlength=classes * classes)
    confusion = confusion.reshape(classes, classes)
    count, right = int(confusion.sum()), np.diag(confusion)
    support, claimed = confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall, f1 = ratio(right, claimed), ratio(right, support), ratio(2 * right, support + claimed)
    of_truth = probabilities[np.arange(rows), truth].astype(np.float64)
    wrong = count - int(right.sum())
    return Figures(
        values={
            "accuracy": float(right.sum() / max(count, 1)),
            "macro_f1": float(macro_f1(right, support, claimed)),
            "log_loss": float(-np.log(np.clip(of_truth, SMALLEST_PROBABILITY, 1.0)).mean()),
            "ece": expected_calibration_error(probabilities.max(axis=1), predicted == truth),
        },
        intervals={
            "accuracy": wilson(int(right.sum()), count),
            "macro_f1": _bootstrap_macro_f1(confusion, seed),
        },
        rows=rows,
        confusion=confusion.tolist(),
        per_label={
            label: LabelFigures(
                precision=float(precision[i]),
                recall=float(recall[i]),
                f1=float(f1[i]),
                support=int(support[i]),
                average_precision=average_precision(probabilities[:, i], truth == i),
            )
            for i, label in enumerate(labels)
        },
        answered=Answered(count / rows, wrong / max(count, 1), wilson(wrong, count)) if count < rows else None,
    )


def expected_calibration_error(confidence: FloatArray, right: npt.NDArray[np.bool_]) -> float:
    """Mean gap between top-label confidence (n,) and accuracy over 15 bins of equal mass, weighted by their rows.

    Rows of equal confidence share their accuracy, so that the order of rows never changes the figure.
    """
    levels, level = np.unique(confidence.astype(np.float64), return_inverse=True)
    accuracy = np.bincount(level, weights=right) / np.bincount(level)
    level.sort()
    gaps = [abs((levels[part] - accuracy[part]).sum()) for part in np.array_split(level, CALIBRATION_BINS)]
    return float(sum(gaps) / len(confidence))


def reliability(probabilities: FloatArray, truth: npt.NDArray[Any], bins: int = CALIBRATION_BINS) -> list[Bin]:
    """Confidence beside accuracy in bins of equal mass, least confident first: the reliability diagram of ``ece``.

    ``probabilities`` (n, k). With ``truth`` (n,) the confidence is that of the top label; with booleans (n, k) every
    label of every row counts, and ``accuracy`` is the share of rows that carry it. Rows of equal confidence share
    their accuracy. Empty bins are left out.
    """
    if truth.ndim == 2:
        confidence, right = probabilities.ravel(), truth.ravel()
    else:
        confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    levels, level = np.unique(confidence.astype(np.float64), return_inverse=True)
    accuracy = np.bincount(level, weights=right) / np.bincount(level)
    level.sort()
    return [
        Bin(float(levels[part].mean()), float(accuracy[part].mean()), len(part))
        for part in np.array_split(level, bins)
        if len(part)
    ]


def average_precision(scores: FloatArray, truth: npt.NDArray[np.bool_]) -> float:
    """Area under precision over recall of one label, as steps: (n,) scores and whether the label holds; 0 where none.

    Rows of equal score come together, as with scikit-learn's ``average_precision_score``.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # the last row of each score
    found = truth[order].cumsum()[ends]
    gained = np.diff(found, prepend=0)
    return float(ratio((gained * found / (ends + 1)).sum(), found[-1]))


def _check(probabilities: FloatArray, truth: IntArray, labels: Sequence[str], answers: IntArray | None) -> None:
    problems = []
    if len(truth) == 0:
        problems.append("test rows: there are none, so nothing can be judged. Give a test file or a larger test share.")
    if probabilities.shape != (len(truth), len(labels)):
        problems.append(
            f"probabilities: shape {probabilities.shape} for {len(truth):,} rows and {len(labels)} labels. "
            "Give one row of probabilities a text and one column a label."
        )
    if len(truth) and not 0 <= truth.min() <= truth.max() < len(labels):
        problems.append(f"truth: class numbers {truth.min()} … {truth.max()} for {len(labels)} labels. Count from 0.")
    if answers is not None and (answers.shape != truth.shape or (answers >= len(labels)).any()):
        problems.append(
            f"answers: {len(answers):,} class numbers up to {answers.max(initial=-1)} for {len(truth):,} rows and "
            f"{len(labels)} labels. Give one a row, counted from 0, or -1."
        )
    if wrong := np.count_nonzero(~np.isfinite(probabilities)):
        problems.append(f"probabilities: {wrong:,} are not finite. The training diverged; lower the learning rate.")
    if problems:
        raise DataError(problems)


def macro_f1(right: npt.NDArray[Any], support: npt.NDArray[Any], claimed: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Macro F1 (…,) of counts per class (…, k), over the classes that occur in truth or prediction."""
    occurrences = support + claimed
    return ratio(ratio(2 * right, occurrences).sum(axis=-1), (occurrences > 0).sum(axis=-1))


def _bootstrap_macro_f1(confusion: IntArray, seed: int) -> list[float]:
    """95 % percentile interval. Drawing rows anew is drawing the filled cells of the confusion matrix anew."""
    if not confusion.any():
        return [0.0, 1.0]
    true, predicted = np.nonzero(confusion)
    cells, rows = confusion[true, predicted], int(confusion.sum())
    draws = np.random.default_rng(seed).multinomial(rows, cells / rows, size=RESAMPLES).astype(np.float64)
    one_hot = np.eye(len(confusion))
    right = (draws * (true == predicted)) @ one_hot[true]
    scores = macro_f1(right, draws @ one_hot[true], draws @ one_hot[predicted])
    return [float(end) for end in np.quantile(scores, [0.025, 0.975])]
