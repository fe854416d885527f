"""Which rows judge candidates: the validation rows or, where a table is too small to spare any, all rows in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from classtune.config import Settings
from classtune.data.dataset import Material
from classtune.data.splits import Rows
from classtune.stats import Floats
from classtune.training.probe import FOLDS, deal

# More rows need fewer folds: each learns from enough, and a fold costs a training.
ROWS_FOR_FEWER_FOLDS, FEWER_FOLDS = 500, 3


@dataclass(frozen=True)
class HeldOut:
    """Folds of rows to learn from and rows to judge, no group divided between them.

    crossed: every training row is judged, each by a model that learned from the other folds; the final model then
    learns from all. Otherwise there is one fold, the training and the validation rows.
    """

    folds: tuple[tuple[Rows, Rows], ...]
    crossed: bool

    @classmethod
    def of(cls, material: Material, settings: Settings) -> HeldOut:
        """The validation rows where there are any, else cross-validation over the training rows.

        One network alone is not cross-validated: it has no rival.
        """
        train, validation = material.splits.train, material.splits.validation
        if len(validation) or settings.candidates == "one":
            return cls(((train, validation),), crossed=False)
        folds = FOLDS if len(train) <= ROWS_FOR_FEWER_FOLDS else FEWER_FOLDS
        fold = deal(material.truth[train], folds, seed=settings.seed, groups=material.groups[train])
        return cls(tuple((train[fold != n], train[fold == n]) for n in np.unique(fold)), crossed=True)

    @property
    def rows(self) -> Rows:
        """The rows that are judged, fold by fold."""
        return np.concatenate([judge for _, judge in self.folds])

    def number(self, judge: Rows) -> int:
        """Which fold judges these rows."""
        return next(place for place, (_, rows) in enumerate(self.folds) if rows is judge)

    def collect(self, judged: Callable[[Rows, Rows], Floats], labels: int) -> Floats:
        """Logits [held-out rows, labels]: ``judged`` gives those of rows to judge, learning from the others."""
        return np.concatenate([np.zeros((0, labels)), *(judged(learn, judge) for learn, judge in self.folds)])
