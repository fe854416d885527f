"""Figures of a whole table by cross-validation, for tables that are too small to spare test rows.

Everything that `train` does is done once for each fold, without its rows, which judge it; then a classifier learns from
all rows and ships. It has seen more than those that were judged, so that it is a little better, if anything.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from classtune.config import Settings
from classtune.data.dataset import Material, prepare
from classtune.data.folds import deal
from classtune.data.reading.tables import Table
from classtune.decisions.decisions import Decisions
from classtune.errors import DataError, SettingsError
from classtune.jobs.steps import Notify
from classtune.jobs.train import Trained, train
from classtune.judging.answers import right_rows
from classtune.judging.metrics import judge
from classtune.judging.under_wishes import UnderWishes, pooled
from classtune.result import CrossValidation
from classtune.stats import BoolArray, Floats, IntArray
from classtune.training.extensions import NOTHING


def train_crossed(table: Table, settings: Settings, folds: int, *, notify: Notify, **told: Any) -> Trained:
    """`train` on all rows of a table, with figures of all of them in ``cross_validation`` of the result.

    Copies of a text, and what else the settings keep together, are in one fold. Raises what `train` raises;
    SettingsError for fewer than two folds or settings with parts of their own; DataError for a label that a fold would
    not leave any row of.
    """
    problems = []
    if folds < 2:
        problems.append(f"--cv {folds}: give two folds or more.")
    if settings.split != "grouped":
        problems.append(f'--cv: split = "{settings.split}" makes its own parts. Leave one of them out.')
    if told.get("test") is not None:
        problems.append("--cv judges on every row of the table: leave --test out.")
    if problems:
        raise SettingsError(problems)
    whole = settings.model_copy(update={"test": 0.0})
    material = prepare(table, whole.model_copy(update={"validation": 0.0}))
    fold = deal(material.truth, folds, seed=settings.seed, groups=material.groups)
    _check(material, fold, folds, table.name)
    scores = np.zeros((len(fold), len(material.labels)))
    answers = np.zeros(scores.shape, dtype=np.bool_)
    accuracies: list[float] = []
    under_wishes: list[UnderWishes] = []
    for number in range(folds):
        rows = fold == number
        trained = _judged(table, rows, whole, f"fold {number + 1} of {folds}", **told)
        logits = trained.predictor.logits([material.texts[row] for row in np.flatnonzero(rows)])
        own = trained.predictor.decisions
        decisions = own.untold() if any(own.told) else own  # plain calibrated answers, as accuracy is of everywhere
        scores[rows] = decisions.probabilities(logits)
        answers[rows] = replace(decisions, abstention=None).answers(scores[rows])
        right = right_rows(decisions, scores[rows], material.truth[rows])
        accuracies.append(float(right.mean()))
        under_wishes += [told for told in [trained.result.under_wishes] if told is not None]
        notify(f"fold {number + 1} of {folds}: {100 * accuracies[-1]:.1f} % of {int(rows.sum()):,} rows right")
    final = train(table, whole, notify=notify, **told)
    figures = _figures(final.predictor.decisions, scores, answers, material, accuracies)
    final.result.cross_validation = replace(figures, under_wishes=pooled(under_wishes))
    return final


def _judged(table: Table, rows: BoolArray, settings: Settings, part: str, **told: Any) -> Trained:
    """A classifier that learned from all rows but these. It says nothing: the last training says it all once more."""
    settings = settings.model_copy(update={"keep_texts": False})
    told |= {"run_folder": None, "resume": False, "test": table.only(rows)}
    told["extensions"] = told.get("extensions", NOTHING).within(part)
    return train(table.only(~rows), settings, notify=lambda _: None, **told)


def _check(material: Material, fold: IntArray, wished: int, name: str) -> None:
    """Raise DataError for more folds than there is to deal, and for labels that are in one fold alone: without it
    nothing of them would be learned."""
    if (most := len(np.unique(fold))) < wished:
        raise DataError(
            f"{name}: {most:,} texts that are no copies of each other do not fill --cv {wished}. Give fewer."
        )
    flags = material.truth if material.multi else material.truth[:, None] == np.arange(len(material.labels))
    folds = [len(np.unique(fold[flags[:, label]])) for label in range(len(material.labels))]
    if problems := [
        f"{name}: all rows of the label {label!r} are in one of the folds. Give two texts or more that are no copies "
        "of each other, or leave it out."
        for label, count in zip(material.labels, folds, strict=True)
        if count < 2
    ]:
        raise DataError(problems)


def _figures(
    decisions: Decisions, scores: Floats, answers: Any, material: Material, accuracies: list[float]
) -> CrossValidation:
    """Figures of all rows, each by the classifier that did not learn from it."""
    given = answers if decisions.multi else np.where(answers.any(axis=1), answers.argmax(axis=1), -1)
    figures = judge(scores, material.truth, material.labels, answers=given)
    low, high = (100 * end for end in figures.accuracy_ci95)
    plain = " by plain calibrated answers, without your costs and wishes" if any(decisions.told) else ""
    sentence = (
        f"cross-validation: {100 * figures.accuracy:.1f} % of {figures.rows:,} rows right{plain} (95 % interval "
        f"{low:.1f} to {high:.1f}), in {len(accuracies)} folds {100 * min(accuracies):.1f} to "
        f"{100 * max(accuracies):.1f} %. What ships has learned from all rows."
    )
    return CrossValidation(figures, accuracies, sentence)
