"""When the gate opens: by the test of the difference, and by its interval."""

from __future__ import annotations

import numpy as np
import pytest

from classtune.judging.gate import Gate
from classtune.judging.paired import PairedTest, paired_test


def versions(rows: int, gained: int, lost: int) -> PairedTest:
    """A new version that has ``gained`` rows right that the old one has wrong, and has ``lost`` others."""
    new, old = np.ones(rows, dtype=bool), np.ones(rows, dtype=bool)
    old[:gained] = new[gained : gained + lost] = False
    return paired_test(new, old)


@pytest.mark.parametrize(
    ("tests", "passed", "sentence"),
    [
        ([versions(500, 3, 3)], True, "passed: the new bundle is not worse beyond noise, and loses at most 5 points."),
        ([versions(500, 2, 14)], False, "failed: the new bundle is worse than the old one, beyond noise."),
        (
            [versions(20, 0, 0)],
            False,
            "failed: these rows do not exclude that the new bundle loses more than 5 points ",
        ),
        ([versions(500, 3, 3), versions(500, 2, 14)], False, "failed: the new bundle is worse"),
        ([], False, "failed: one of the two learned from each of these rows"),
    ],
)
def test_it_opens_where_every_test_lets_it(tests: list[PairedTest], passed: bool, sentence: str) -> None:
    gate = Gate.of(tests, 5.0)
    assert gate.passed == passed
    assert gate.sentence.startswith(sentence)
