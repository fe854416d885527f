"""What more labelled rows would gain: the cheapest of the chosen candidates learns from a quarter and from half of the
rows, and is judged where it was judged before. Test rows play no part.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from classtune.candidates import probe
from classtune.candidates.blend import Choice
from classtune.data.folds import deal
from classtune.jobs.contest import Contest
from classtune.jobs.entries import Entry, Fitted, Learn
from classtune.judging.answers import right_by_logits
from classtune.judging.learning_curve import LearningCurve, Part, learning_curve
from classtune.stats import Floats

LEAST_ROWS = 200  # to learn from: a quarter of fewer shows nothing
DRAWS = 3  # of quarters and halves, where one fold judges all
# TF-IDF takes longer to fit than a probe: one fold, of no more rows than these.
MOST_LEXICAL_ROWS = 20_000
# Rows x width x labels of a probe: beyond, a fit is dear.
MOST_WORK = 5e9


def curve_of(contest: Contest, choice: Choice) -> LearningCurve | None:
    """The learning curve of the probe of the main network or, where TF-IDF alone was chosen, of that.

    None where nothing judges, and where rows are too few or fits too dear.
    """
    found = _judged(contest, choice)
    if found is None:
        return None
    entry, learn, folds = found
    if not folds or min(len(rows) for rows, _ in folds) < LEAST_ROWS:
        return None
    truth, seed = contest.material.truth, contest.settings.seed
    place = {int(row): number for number, row in enumerate(contest.held_out.rows)}
    parts = []
    for number, (learned, judged) in enumerate(folds):
        rows = learned if entry.backbone is None else entry.backbone.taught_of(learned)
        quarter = (deal(truth[rows], 4, seed=seed, groups=contest.material.groups[rows]) - number) % 4
        some = [rows[quarter == 0], rows[quarter < 2]]
        logits = [learn(part).logits(judged) for part in some]
        logits.append(entry.held_out[[place[int(row)] for row in judged]])
        parts.append(Part((len(rows) // 4, len(rows) // 2, len(rows)), _wrong(logits, truth[judged])))
    return learning_curve(parts, entry.name)


def _judged(contest: Contest, choice: Choice) -> tuple[Entry, Learn, list[Any]] | None:
    """The candidate whose curve it is, how it learns, and the folds that judge it."""
    folds = [fold for fold in contest.held_out.folds if len(fold[1])]
    main = contest.main(choice)
    if main is None:
        entry = contest.entry(next(iter(choice.members)))
        cheap = folds and len(folds[0][0]) <= MOST_LEXICAL_ROWS
        return (entry, entry.learn, folds[:1]) if entry.learn and cheap else None
    probed = next((entry for entry in contest.entries if entry.kind == "probe" and entry.backbone is main), None)
    if probed is None or not folds:
        return None
    width = main.features(folds[0][1][:1]).shape[1]
    if len(folds[0][0]) * width * len(contest.material.labels) > MOST_WORK:
        return None

    def learn(rows: Any) -> Fitted:
        fitted = probe.probe_of(main, rows)
        return Fitted(fitted, lambda judged: fitted.logits(main.features(judged)))

    return probed, learn, folds if len(folds) > 1 else folds * DRAWS


def _wrong(logits: list[Floats], truth: Any) -> Floats:
    return np.array([~right_by_logits(one, truth) for one in logits], dtype=np.float64)
