"""The last word on a classifier: against TF-IDF, against what loses to nothing, and on rows that differ. One voice."""

from __future__ import annotations

from dataclasses import replace

from classtune.errors import counted
from classtune.judging.comparison import LEXICAL_IN_WORDS, Candidate
from classtune.judging.paired import Verdict, verdict
from classtune.stats import BoolArray

SHIFTED = 0.01  # p of the difference between held-out and test accuracy, below which it is said


def last_word(
    chosen: Candidate, lexical: Candidate, majority: Candidate, right: BoolArray, lexical_right: BoolArray
) -> Verdict:
    """The classifier against TF-IDF on the same test rows; its sentence says too where the majority class is better.

    right, lexical_right (n,): whether each row was right. chosen may be ``lexical``, which is then what was saved.
    """
    found = verdict(
        right,
        lexical_right,
        baseline=LEXICAL_IN_WORDS,
        ms_per_text=chosen.ms_per_text,
        baseline_ms_per_text=lexical.ms_per_text,
    )
    sentence = found.sentence
    if chosen.name == lexical.name:
        errors = counted(found.model_errors, "error")
        sentence = (
            f"{LEXICAL_IN_WORDS} is enough here, and is what was saved: {errors} on {chosen.figures.rows:,} test texts."
        )
    if chosen.figures.accuracy < majority.figures.accuracy:
        sentence += (
            f" Do not use it as it is: always giving the most common label is right more often "
            f"({100 * majority.figures.accuracy:.1f} % against {100 * chosen.figures.accuracy:.1f} %)."
        )
    return replace(found, sentence=sentence)


def shift(held_out_right: BoolArray, right: BoolArray) -> str:
    """A sentence where held-out and test rows (each: was it right?) disagree beyond noise; "" where they do not.

    Fisher's exact test; rows of the two are different ones.
    """
    from scipy.stats import fisher_exact

    if not len(held_out_right) or not len(right):
        return ""
    held_out, rows, tested = int(held_out_right.sum()), len(held_out_right), int(right.sum())
    p = float(fisher_exact([[held_out, rows - held_out], [tested, len(right) - tested]]).pvalue)
    if p >= SHIFTED or held_out / rows <= tested / len(right):
        return ""
    return (
        f"It is right on {100 * held_out / rows:.1f} % of the held-out rows and on {100 * tested / len(right):.1f} % "
        "of the test rows, beyond noise: the test rows differ from those it learned from, and so may the texts "
        "to come. Label some of those, and train again with them."
    )
