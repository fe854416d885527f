"""Figures of the answers that a classifier gives, whatever decides them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from classtune.decisions.decisions import Decisions
from classtune.judging.figures import Figures
from classtune.judging.metrics import judge
from classtune.stats import Floats, Truth


def judge_answers(decisions: Decisions, probabilities: Floats, truth: Truth) -> Figures:
    """`judge` of the answers that ``decisions`` make.

    Where answers are withheld, the figures are of every row as if it were answered, so that they compare with those of
    other classifiers; the share that is answered and its error stand beside them.
    """
    answering = replace(decisions, abstention=None)
    if decisions.multi:
        return judge(probabilities, truth, decisions.labels, answers=answering.answers(probabilities))
    judged = judge(probabilities, truth, decisions.labels, answers=answering.choices(probabilities))
    if decisions.abstention is None:
        return judged
    given = judge(probabilities, truth, decisions.labels, answers=decisions.choices(probabilities))
    return replace(judged, answered=given.answered)


def right_by_logits(logits: Floats, truth: Truth) -> npt.NDArray[np.bool_]:
    """Whether each row (n,) has its label, or exactly its labels, by the largest logit or by those above 0.

    A row without logits (NaN) is wrong.
    """
    return np.asarray(((logits > 0) == truth).all(1) if truth.ndim == 2 else logits.argmax(1) == truth)


def right_rows(decisions: Decisions, probabilities: Floats, truth: Truth) -> npt.NDArray[np.bool_]:
    """Whether each row (n,) would be answered rightly: with its label, or with all of its labels and no other."""
    answers = replace(decisions, abstention=None).answers(probabilities)
    right = (answers == truth).all(1) if decisions.multi else answers[np.arange(len(truth)), truth]
    return np.asarray(right, dtype=np.bool_)
