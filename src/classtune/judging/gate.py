"""Whether a new classifier may take the place of an old one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from classtune.judging.paired import SIGNIFICANT, PairedTest


@dataclass(frozen=True)
class Gate:
    """Whether a new bundle is at least as good as an old one; margin: points of accuracy that it may have lost."""

    passed: bool
    margin: float
    sentence: str

    @classmethod
    def of(cls, tests: Sequence[PairedTest], margin: float) -> Self:
        """By each of the tests of the new bundle against the old one; without any it is not shown."""
        if not tests:
            return cls(False, margin, "failed: one of the two learned from each of these rows: give rows new to both.")
        worse = any(test.p_value < SIGNIFICANT and test.lost > test.gained for test in tests)
        least = min(test.difference_ci95[0] for test in tests)
        if worse:
            reason = "the new bundle is worse than the old one, beyond noise."
        elif least < -margin:
            reason = (
                f"these rows do not exclude that the new bundle loses more than {margin:g} points (the interval goes "
                f"down to {least:+.1f}): test on more rows, or allow a larger --margin."
            )
        else:
            reason = f"the new bundle is not worse beyond noise, and loses at most {margin:g} points."
        passed = not worse and least >= -margin
        return cls(passed, margin, f"{'passed' if passed else 'failed'}: {reason}")
