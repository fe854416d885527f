"""Which rows judge candidates. What is cheap to train is judged on every row that is not a test row, by
cross-validation; a fine-tuned network on the validation rows or, where a table is too small to spare any, on every row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from classtune.config import Settings
from classtune.data.dataset import Material
from classtune.data.folds import FOLDS, deal
from classtune.data.splits import Rows
from classtune.stats import Floats

# More rows need fewer folds for a network: each learns from enough, and a fold costs a training.
ROWS_FOR_FEWER_FOLDS, FEWER_FOLDS = 500, 3
# Beyond so many validation rows, or so many rows times labels, the validation rows alone tell enough, and trainings of
# the cheap ones are no longer cheap.
ENOUGH_ROWS, MOST_SCORES = 2000, 150_000
# Beyond so many training rows the validation rows would teach nothing more: what they judged is what ships.
MANY_ROWS = 50_000

Folds = tuple[tuple[Rows, Rows], ...]


@dataclass(frozen=True)
class HeldOut:
    """Folds of rows to learn from and rows to judge, no group divided between them.

    rows: every row that is judged. folds: of what is cheap to train; final: the rows that it learns from in the end.
    tails: of fine-tuned networks, where one fold is the training and the validation rows. crossed: networks are judged
    by cross-validation too.
    """

    rows: Rows
    folds: Folds
    final: Rows
    tails: Folds
    crossed: bool

    @classmethod
    def of(cls, material: Material, settings: Settings, *, given: bool = False) -> HeldOut:
        """As the splits and the settings allow.

        given: the user gave the validation rows, which then judge alone. One network alone is not cross-validated: it
        has no rival.
        """
        train, validation = material.splits.train, material.splits.validation
        whole: Folds = ((train, validation),)
        if settings.candidates == "one":
            return cls(validation, whole, train, whole, crossed=False)
        if not len(validation):
            folds = _dealt(train, FOLDS if len(train) <= ROWS_FOR_FEWER_FOLDS else FEWER_FOLDS, material, settings)
            return cls(train, folds, train, folds, crossed=True)
        if settings.balance != "none":  # validation rows have shares of their own
            return cls(validation, whole, train, whole, crossed=False)
        rows = np.sort(np.concatenate([train, validation]))
        if given or len(validation) >= ENOUGH_ROWS or len(rows) * len(material.labels) > MOST_SCORES:
            return cls(validation, whole, train if len(train) > MANY_ROWS else rows, whole, crossed=False)
        return cls(rows, _dealt(rows, FOLDS, material, settings), rows, whole, crossed=False)

    @property
    def final_is_judged(self) -> bool:
        """Whether the rows that judge have judged what learns from the final rows."""
        return len(self.folds) == 1 and self.folds[0][0] is self.final and len(self.rows) > 0

    def collect(self, judged: Callable[[Rows, Rows], Floats], labels: int, folds: Folds) -> Floats:
        """Logits [held-out rows, labels], NaN where no fold judges: ``judged`` gives those of rows to judge, learning
        from the others.
        """
        place = {int(row): number for number, row in enumerate(self.rows)}
        logits = np.full((len(self.rows), labels), np.nan)
        for learn, judge in folds:
            if len(judge):
                logits[[place[int(row)] for row in judge]] = judged(learn, judge)
        return logits


def _dealt(rows: Rows, folds: int, material: Material, settings: Settings) -> Folds:
    fold = deal(material.truth[rows], folds, seed=settings.seed, groups=material.groups[rows])
    return tuple((rows[fold != number], rows[fold == number]) for number in np.unique(fold))


def judged_by_all(logits: Iterable[Floats]) -> NDArray[np.bool_]:
    """Which of the held-out rows all of some candidates were judged on, by their logits."""
    return np.asarray(np.logical_and.reduce([~np.isnan(values).any(axis=1) for values in logits]), dtype=np.bool_)
