"""The folds of every cross-validation: no group of rows (copies of a text, near copies, windows of it) is divided."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
# A part of many rows has so many of a class, or all that there are: the rare ones are hard enough to learn.
KEPT_OF_A_CLASS = 50


def deal(truth: NDArray[Any], folds: int, *, seed: int, groups: NDArray[Any] | None = None) -> NDArray[np.int64]:
    """The fold of each row, 0 … folds - 1: each class is spread evenly, and no group is divided.

    truth: class numbers [rows], or bool [rows, labels], whose rows count for the rarest of their labels. groups: rows
    of equal number are copies of one text, near copies, or windows of it; None: each row for itself. A group counts for
    the class of its first row. A class with fewer groups than folds is in some of them alone.
    """
    _, order, group = _shuffled(truth, seed, groups)
    fold_of_group = np.empty(len(order), dtype=np.int64)
    fold_of_group[order] = np.arange(len(order)) % folds
    return fold_of_group[group]


def part_of_each(
    truth: NDArray[Any], share: float, *, seed: int, groups: NDArray[Any] | None = None
) -> NDArray[np.int64]:
    """Row numbers, sorted, of this share (1 or more: all) of each class, though of none fewer than KEPT_OF_A_CLASS.

    truth, groups: as of `deal`; a group is in it or not.
    """
    if share >= 1:
        return np.arange(len(truth))
    stratum, order, group = _shuffled(truth, seed, groups)
    sizes = np.bincount(stratum)
    rank = np.empty(len(order), dtype=np.int64)  # of a group in its class
    rank[order] = np.arange(len(order)) - (np.cumsum(sizes) - sizes)[stratum[order]]
    kept = np.maximum(KEPT_OF_A_CLASS, np.ceil(share * sizes))
    return np.flatnonzero((rank < kept[stratum])[group])


def _shuffled(
    truth: NDArray[Any], seed: int, groups: NDArray[Any] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The class of each group, the groups class by class in a random order, and the group of each row."""
    groups = np.arange(len(truth)) if groups is None else groups
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    stratum = strata(truth)[first]
    return stratum, np.lexsort((np.random.default_rng(seed).random(len(first)), stratum)), group


def strata(truth: NDArray[Any]) -> NDArray[np.int64]:
    """What folds spread evenly: a row's class, or the rarest of its labels; one more for rows without any."""
    if truth.ndim == 1:
        return truth
    rarest: NDArray[np.int64] = np.where(truth, truth.sum(0), len(truth) + 1).argmin(1)
    rarest[~truth.any(1)] = truth.shape[1]
    return rarest
