"""The folds of every cross-validation: no group of rows (copies of a text, near copies, windows of it) is divided."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDS = 5


def deal(truth: NDArray[Any], folds: int, *, seed: int, groups: NDArray[Any] | None = None) -> NDArray[np.int64]:
    """The fold of each row, 0 … folds - 1: each class is spread evenly, and no group is divided.

    truth: class numbers [rows], or bool [rows, labels], whose rows count for the rarest of their labels. groups: rows
    of equal number are copies of one text, near copies, or windows of it; None: each row for itself. A group counts for
    the class of its first row. A class with fewer groups than folds is in some of them alone.
    """
    groups = np.arange(len(truth)) if groups is None else groups
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    stratum = strata(truth)[first]
    order = np.lexsort((np.random.default_rng(seed).random(len(first)), stratum))
    fold_of_group = np.empty(len(first), dtype=np.int64)
    fold_of_group[order] = np.arange(len(first)) % folds
    return fold_of_group[group]


def strata(truth: NDArray[Any]) -> NDArray[np.int64]:
    """What folds spread evenly: a row's class, or the rarest of its labels; one more for rows without any."""
    if truth.ndim == 1:
        return truth
    rarest: NDArray[np.int64] = np.where(truth, truth.sum(0), len(truth) + 1).argmin(1)
    rarest[~truth.any(1)] = truth.shape[1]
    return rarest
