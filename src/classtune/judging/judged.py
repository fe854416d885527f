"""Answers beside the truth, checked and counted once, for every metric to read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from classtune.errors import DataError
from classtune.stats import FloatArray

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Judged:
    """``n`` test rows with ``k`` labels, of which a row has one or, where ``multi``, any number.

    probabilities (n, k). truth, given: the labels that rows have and got; class numbers (n,), -1 where an answer is
    withheld, or with ``multi`` booleans (n, k). seed: for what is drawn.
    """

    probabilities: FloatArray
    truth: npt.NDArray[Any]
    given: npt.NDArray[Any]
    seed: int = 123

    @property
    def multi(self) -> bool:
        """Whether a row may have several labels, or none."""
        return self.truth.ndim == 2

    @cached_property
    def answered(self) -> npt.NDArray[np.bool_]:
        """Whether each row (n,) got an answer."""
        return np.ones(len(self.truth), dtype=np.bool_) if self.multi else np.asarray(self.given >= 0)

    @cached_property
    def rows_right(self) -> int:
        """Answered rows with exactly the right label or labels."""
        same = self.given == self.truth
        return int(np.count_nonzero(same.all(axis=1) if self.multi else same[self.answered]))

    @cached_property
    def cells(self) -> tuple[Counts, Counts, Counts]:
        """Filled cells of the confusion matrix, row by row: true class, predicted class, rows. Not for ``multi``."""
        classes = self.probabilities.shape[1]
        pairs = self.truth[self.answered].astype(np.int64) * classes + self.given[self.answered]
        cells, rows = np.unique(pairs, return_counts=True)
        return cells // classes, cells % classes, rows

    @cached_property
    def by_label(self) -> tuple[Counts, Counts, Counts]:
        """Of each label (k,), counted over answered rows: given rightly, held, given."""
        if self.multi:
            return (self.truth & self.given).sum(0), self.truth.sum(0), self.given.sum(0)
        classes = self.probabilities.shape[1]
        true, predicted, rows = self.cells

        def counted(cells: npt.NDArray[np.bool_], label: Counts) -> Counts:
            return np.bincount(label[cells], weights=rows[cells], minlength=classes).astype(np.int64)

        every = np.ones(len(rows), dtype=np.bool_)
        return counted(true == predicted, true), counted(every, true), counted(every, predicted)


def judged(
    probabilities: FloatArray,
    truth: npt.NDArray[Any],
    labels: int,
    answers: npt.NDArray[Any] | None = None,
    seed: int = 123,
) -> Judged:
    """Rows to judge, checked. answers: as ``Judged.given``; None: the most probable class, or with several labels a row
    those of 0.5 or more. Raises DataError with everything that cannot be judged."""
    problems = []
    if len(truth) == 0:
        problems.append("test rows: there are none, so nothing can be judged. Give a test file or a larger test share.")
    if truth.ndim == 2:
        problems += _problems_of_labels(probabilities, truth, labels, answers)
    else:
        problems += _problems_of_classes(probabilities, truth, labels, answers)
    if problems:
        raise DataError(problems)
    if answers is None:
        answers = probabilities >= 0.5 if truth.ndim == 2 else probabilities.argmax(axis=1)
    return Judged(probabilities, truth, answers, seed)


def _problems_of_classes(
    probabilities: FloatArray, truth: npt.NDArray[Any], labels: int, answers: npt.NDArray[Any] | None
) -> list[str]:
    problems = []
    if probabilities.shape != (len(truth), labels):
        problems.append(
            f"probabilities: shape {probabilities.shape} for {len(truth):,} rows and {labels} labels. "
            "Give one row of probabilities a text and one column a label."
        )
    if len(truth) and not 0 <= truth.min() <= truth.max() < labels:
        problems.append(f"truth: class numbers {truth.min()} … {truth.max()} for {labels} labels. Count from 0.")
    if answers is not None and (answers.shape != truth.shape or (answers >= labels).any()):
        problems.append(
            f"answers: {len(answers):,} class numbers up to {answers.max(initial=-1)} for {len(truth):,} rows and "
            f"{labels} labels. Give one a row, counted from 0, or -1."
        )
    if wrong := np.count_nonzero(~np.isfinite(probabilities)):
        problems.append(f"probabilities: {wrong:,} are not finite. The training diverged; lower the learning rate.")
    return problems


def _problems_of_labels(
    probabilities: FloatArray, truth: npt.NDArray[Any], labels: int, answers: npt.NDArray[Any] | None
) -> list[str]:
    problems = []
    for name, array in (("probabilities", probabilities), ("truth", truth), ("answers", answers)):
        if array is not None and array.shape != (len(truth), labels):
            problems.append(
                f"{name}: shape {array.shape} for {len(truth):,} rows and {labels} labels. "
                "Give one row a text and one column a label."
            )
    for name, array in (("truth", truth), ("answers", answers)):
        if array is not None and array.dtype != np.bool_:
            problems.append(f"{name}: {array.dtype} numbers where True or False is meant. Convert with .astype(bool).")
    if wrong := np.count_nonzero(~((probabilities >= 0) & (probabilities <= 1))):
        problems.append(f"probabilities: {wrong:,} are not between 0 and 1. Give probabilities, not scores.")
    return problems
