"""Figures of a classifier on labelled rows, each with the interval that its number of rows allows.

A metric is one row of METRICS: JSON, screen, comparison, report and model card read the table. Numpy alone: importing
sklearn.metrics takes seconds, and it has no intervals. The tests hold these figures against it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from classtune.judging.figures import Answered, Bin, Confused, Figures, LabelFigures
from classtune.judging.judged import Judged, judged
from classtune.stats import BoolArray, FloatArray, log_loss, ratio, wilson

CALIBRATION_BINS = 15
RESAMPLES = 1000
# A confusion matrix of more classes is not kept: of 5,000 it would be 75 MB. Its largest cells are.
MOST_IN_MATRIX, MOST_CONFUSIONS = 200, 1000
# Numbers drawn at once for the bootstrap: 32 MB.
_DRAWN_TOGETHER = 4_000_000


@dataclass(frozen=True)
class Metric:
    """A figure of every result.

    key: in JSON. name: in tables; name_of_labels: where a text may have several labels, if it is another.
    format: ``percent`` and ``share`` are of 0 … 1 (the screen shows 0.9910 of a share); a ``number`` has any range.
    better: what is better. function: the figure; None where it says nothing (of one label a text, or of several).
    interval: its 95 % interval. hub: the Hub's name for this kind of metric, for the model card; empty: none.
    """

    key: str
    name: str
    format: Literal["percent", "share", "number"]
    better: Literal["higher", "lower"]
    function: Callable[[Judged], float | None]
    interval: Callable[[Judged], list[float]] | None = None
    name_of_labels: str = ""
    hub: str = ""


def judge(
    probabilities: FloatArray,
    truth: npt.NDArray[Any],
    labels: Sequence[str],
    *,
    answers: npt.NDArray[Any] | None = None,
    seed: int = 123,
) -> Figures:
    """Every figure of a classifier on ``n`` test rows with ``k`` labels.

    One label a row: ``probabilities`` (n, k) in 0 … 1, rows summing to 1; ``truth`` (n,) class numbers 0 … k-1;
    ``answers`` (n,) the class numbers given, -1 where the answer is withheld; None: the most probable class.
    Several labels a row, or none: ``probabilities`` (n, k) of each label by itself; ``truth`` (n, k) whether a row has
    it; ``answers`` (n, k) whether it was given; None: where its probability is at least 0.5.

    A division by zero gives 0. Where answers are withheld, accuracy, F1, confusion and what follows from it are over
    the answered rows (0 … 1 is the interval of none), and ``answered`` says how many were, with a Wilson interval of
    their error. Log loss, calibration error and average precision are of the probabilities, whatever was answered.
    seed: of the bootstrap; its interval has no width where nothing is wrong.
    Of several labels, most decisions are an easy no: log loss, calibration error and Hamming loss look better than
    macro F1 for it. Raises DataError where rows, shapes, class numbers or probabilities cannot be judged.
    """
    rows = judged(probabilities, truth, len(labels), answers, seed)
    figures = {metric.key: metric.function(rows) for metric in METRICS}
    intervals = {metric.key: metric.interval(rows) for metric in METRICS if metric.interval is not None}
    values = {key: value for key, value in figures.items() if value is not None}
    return Figures(
        values=values,
        intervals={key: interval for key, interval in intervals.items() if key in values},
        rows=len(truth),
        confusion=_confusion(rows),
        largest_confusions=_largest_confusions(rows, labels),
        per_label=_per_label(rows, labels),
        answered=_answered(rows),
    )


def metrics_of(figures: Figures) -> list[Metric]:
    """The metrics that a classifier was judged by, in the order of the table."""
    return [metric for metric in METRICS if metric.key in figures.values]


def _confusion(rows: Judged) -> list[list[int]] | None:
    if rows.multi or rows.probabilities.shape[1] > MOST_IN_MATRIX:
        return None
    true, predicted, counts = rows.cells
    confusion = np.zeros((rows.probabilities.shape[1],) * 2, dtype=np.int64)
    confusion[true, predicted] = counts
    table: list[list[int]] = confusion.tolist()
    return table


def _largest_confusions(rows: Judged, labels: Sequence[str]) -> list[Confused] | None:
    """In the place of a matrix that would be too large."""
    if rows.multi or rows.probabilities.shape[1] <= MOST_IN_MATRIX:
        return None
    true, predicted, counts = rows.cells
    wrong = np.flatnonzero(true != predicted)
    largest = wrong[np.argsort(-counts[wrong], kind="stable")][:MOST_CONFUSIONS]
    return [Confused(labels[true[cell]], labels[predicted[cell]], int(counts[cell])) for cell in largest]


def _per_label(rows: Judged, labels: Sequence[str]) -> dict[str, LabelFigures]:
    right, support, claimed = rows.by_label
    precision, recall, f1 = ratio(right, claimed), ratio(right, support), ratio(2 * right, support + claimed)
    return {
        label: LabelFigures(
            precision=float(precision[i]),
            recall=float(recall[i]),
            f1=float(f1[i]),
            support=int(support[i]),
            average_precision=average_precision(
                rows.probabilities[:, i], rows.truth[:, i] if rows.multi else rows.truth == i
            ),
        )
        for i, label in enumerate(labels)
    }


def _answered(rows: Judged) -> Answered | None:
    count, total = int(rows.answered.sum()), len(rows.truth)
    if count == total:
        return None
    wrong = count - rows.rows_right
    return Answered(count / total, wrong / max(count, 1), wilson(wrong, count))


def _accuracy(rows: Judged) -> float:
    return rows.rows_right / max(int(rows.answered.sum()), 1)


def _accuracy_interval(rows: Judged) -> list[float]:
    return wilson(rows.rows_right, int(rows.answered.sum()))


def _macro_f1(rows: Judged) -> float:
    """Over the labels that occur in truth or answers, as scikit-learn has it."""
    return float(macro_f1(*rows.by_label))


def _micro_f1(rows: Judged) -> float | None:
    """Over all decisions of several labels a row; of one label a row it would be the accuracy again."""
    right, support, claimed = rows.by_label
    return float(ratio(2 * right.sum(), support.sum() + claimed.sum())) if rows.multi else None


def _hamming_loss(rows: Judged) -> float | None:
    """The share of wrong decisions."""
    return float((rows.given != rows.truth).mean()) if rows.multi else None


def _log_loss(rows: Judged) -> float:
    """Nats; with several labels a row the mean over all n x k decisions."""
    return float(log_loss(rows.probabilities, rows.truth).mean())


def _calibration_error(rows: Judged) -> float:
    """Of the most probable class; with several labels a row of all n x k decisions."""
    if rows.multi:
        return expected_calibration_error(rows.probabilities.ravel(), rows.truth.ravel())
    predicted = rows.probabilities.argmax(axis=1)
    return expected_calibration_error(rows.probabilities.max(axis=1), predicted == rows.truth)


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
    """Area under precision over recall of one label, in steps: (n,) scores and where the label holds; 0 where none."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(truth, scores)) if truth.any() else 0.0


def macro_f1(right: npt.NDArray[Any], support: npt.NDArray[Any], claimed: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Macro F1 (…,) of counts per class (…, k), over the classes that occur in truth or prediction."""
    occurrences = support + claimed
    return ratio(ratio(2 * right, occurrences).sum(axis=-1), (occurrences > 0).sum(axis=-1))


def _macro_f1_interval(rows: Judged) -> list[float]:
    """95 % percentile interval of the bootstrap."""
    if not rows.answered.any():
        return [0.0, 1.0]
    scores = _drawn_of_labels(rows.truth, rows.given, rows.seed) if rows.multi else _drawn_of_classes(rows)
    return [float(end) for end in np.quantile(scores, [0.025, 0.975])]


def _drawn_of_classes(rows: Judged) -> npt.NDArray[np.float64]:
    """Macro F1 of rows drawn anew: drawing them is drawing the filled cells of the confusion matrix."""
    true, predicted, cells = rows.cells
    draws = np.random.default_rng(rows.seed).multinomial(cells.sum(), cells / cells.sum(), size=RESAMPLES)
    classes = rows.probabilities.shape[1]

    def counted(cells: BoolArray, label: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Rows of each class [draws, classes]."""
        order = np.flatnonzero(cells)[np.argsort(label[cells], kind="stable")]
        found, starts = np.unique(label[order], return_index=True)
        by_class = np.zeros((RESAMPLES, classes), dtype=np.int64)
        if len(found):
            by_class[:, found] = np.add.reduceat(draws[:, order], starts, axis=1)
        return by_class

    every = np.ones(len(cells), dtype=np.bool_)
    return macro_f1(counted(true == predicted, true), counted(every, true), counted(every, predicted))


def _drawn_of_labels(truth: BoolArray, given: BoolArray, seed: int) -> npt.NDArray[np.float64]:
    """Macro F1 of rows drawn anew: drawing them is drawing the distinct pairs of truth and answer."""
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
    return np.concatenate(scores)


# The first leads: where there is place for one interval, it is that of the first.
METRICS: tuple[Metric, ...] = (
    Metric(
        *("accuracy", "accuracy", "percent", "higher", _accuracy, _accuracy_interval),
        name_of_labels="exactly the right labels",
        hub="accuracy",
    ),
    Metric("macro_f1", "macro F1", "share", "higher", _macro_f1, _macro_f1_interval, hub="f1"),
    Metric("micro_f1", "micro F1", "share", "higher", _micro_f1, hub="f1"),
    Metric("hamming_loss", "Hamming loss", "share", "lower", _hamming_loss),
    Metric("log_loss", "log loss", "number", "lower", _log_loss),
    Metric("ece", "calibration error", "share", "lower", _calibration_error),
)
