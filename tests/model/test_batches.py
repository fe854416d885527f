"""Which texts go together in a batch: all of them once, and little padding."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from classtune.model.batches import BATCH_TOKENS, MAX_WASTE, length_sorted_batches


@given(st.lists(st.integers(1, 2000), max_size=300))
def test_length_sorted_batches_hold_every_text_once_with_little_waste(lengths: list[int]) -> None:
    batches = list(length_sorted_batches(lengths))
    assert sorted(row for rows in batches for row in rows) == list(range(len(lengths)))
    order = [lengths[row] for rows in batches for row in rows]
    assert order == sorted(lengths)
    for rows in batches:
        real = np.array([lengths[row] for row in rows])
        positions = len(rows) * real.max()
        assert len(rows) == 1 or positions <= BATCH_TOKENS
        assert positions - real.sum() <= MAX_WASTE * positions


def test_equal_lengths_fill_their_batches() -> None:
    assert [len(rows) for rows in length_sorted_batches([10] * 200)] == [76, 76, 48]
