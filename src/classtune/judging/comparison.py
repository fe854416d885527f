"""The comparison: candidates side by side on the same test rows, from cheap to dear.

Knows figures only: what each candidate scored and cost, and which test rows it had right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from classtune.errors import DataError
from classtune.judging.figures import Figures
from classtune.judging.paired import PairedTest, paired_test
from classtune.stats import BoolArray

# TF-IDF with logistic regression, the baseline of every result: its name as a candidate, and in sentences.
LEXICAL, LEXICAL_IN_WORDS = "tf-idf", "TF-IDF + logistic regression"
MAJORITY = "majority class"
COLUMNS = "columns"  # those of --with, alone


def in_words(name: str) -> str:
    """A classifier as sentences name it: TF-IDF alone by its long name, any other as tables and ``--keep`` do."""
    return LEXICAL_IN_WORDS if name == LEXICAL else name


@dataclass(frozen=True)
class Candidate:
    """A candidate on the test rows. ms_per_text: milliseconds; bytes: of its weights.

    against: its paired test against the candidate before it; None for the first.
    """

    figures: Figures
    train_seconds: float
    ms_per_text: float
    bytes: int
    against: PairedTest | None = None

    @property
    def name(self) -> str:
        """As ``--keep`` takes it."""
        return self.figures.name

    def document(self) -> dict[str, Any]:
        """For JSON."""
        test = self.against
        figures: dict[str, Any] = {}
        for key, value in self.figures.values.items():
            figures[key] = value
            if key == "accuracy":
                figures["accuracy_ci95"] = self.figures.accuracy_ci95
        return {
            "name": self.name,
            **figures,
            "train_seconds": self.train_seconds,
            "ms_per_text": self.ms_per_text,
            "bytes": self.bytes,
            "p_value": test and test.p_value,
            "difference": test and test.difference,
            "difference_ci95": test and test.difference_ci95,
        }


@dataclass(frozen=True)
class Comparison:
    """Candidates, cheapest first, on the same test ``rows``.

    recommended: the name of the one that held-out rows have chosen: no test row chooses another. rule: what the
    one-line rule says; None where there is none.
    """

    candidates: list[Candidate]
    recommended: str
    rows: int
    rule: str | None = None

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "candidates": [one.document() for one in self.candidates],
            "recommended": self.recommended,
            "rows": self.rows,
            "rule": self.rule,
        }


def side_by_side(
    candidates: Sequence[Candidate], right: Mapping[str, BoolArray], *, chosen: str, rule: str | None = None
) -> Comparison:
    """Candidates, cheapest first, each with its paired test against the one before it.

    ``right[name]`` (n,): was the row classified right? chosen: the name of the one that held-out rows have chosen.
    Raises DataError where rows or names differ.
    """
    names = [one.name for one in candidates]
    rows = {len(right[name]) for name in names if name in right}
    if not names or len(set(names)) < len(names) or not set(names) <= set(right) or len(rows) != 1 or 0 in rows:
        raise DataError(
            f"comparison: candidates {names} with right or wrong answers of {sorted(right)}, {sorted(rows)} rows. "
            "Give every candidate a name of its own and its answers on the same rows."
        )
    tests = [None, *(paired_test(right[name], right[before]) for before, name in pairwise(names))]
    tested = [replace(one, against=test) for one, test in zip(candidates, tests, strict=True)]
    return Comparison(tested, chosen, rows.pop(), rule)
