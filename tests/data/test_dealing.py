"""A part of many rows is spread over the classes, loses no rare one, and divides no group."""

from __future__ import annotations

import numpy as np
import pytest

from classtune.data.folds import KEPT_OF_A_CLASS, part_of_each

SIZES = (100_000, 20_000, 300, 40)


@pytest.mark.parametrize("several", [False, True])
def test_each_class_gives_its_share_and_a_rare_one_all_of_it(several: bool) -> None:
    truth = np.random.default_rng(0).permutation(np.repeat(np.arange(len(SIZES)), SIZES))
    rows = part_of_each(truth[:, None] == np.arange(len(SIZES)) if several else truth, 0.1, seed=1)
    assert np.bincount(truth[rows]).tolist() == [10_000, 2_000, KEPT_OF_A_CLASS, 40]
    assert (np.diff(rows) > 0).all()
    assert not np.array_equal(rows, part_of_each(truth, 0.1, seed=2))


def test_a_group_is_in_a_part_or_not() -> None:
    groups = np.repeat(np.arange(1000), 3)
    rows = part_of_each(groups % 2, 0.3, seed=1, groups=groups)
    assert np.unique(np.bincount(groups[rows], minlength=1000)).tolist() == [0, 3]
    assert len(rows) == 900


def test_the_whole_is_every_row() -> None:
    assert part_of_each(np.zeros(5, dtype=int), 1.0, seed=1).tolist() == [0, 1, 2, 3, 4]
