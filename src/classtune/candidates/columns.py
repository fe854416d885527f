"""A classifier of a row's other columns (``--with``): categories and numbers, logistic regression. It sees no text.

A category that two training rows or more have is a feature, and so is an empty cell where they had some; any other
value says nothing. A number is the deciles of the training rows that it is above: no scale, and no outlier, matters.
Saved without pickle: ``columns.json`` says what the features are, ``weights.safetensors`` holds the numbers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from classtune.candidates.linear import OneVsRest, coefficients_of, read_linear, write_linear
from classtune.data.reading.cells import cells_beside
from classtune.data.reading.labels import value_of
from classtune.errors import reading
from classtune.stats import BoolArray, FloatArray, Floats, IntArray

COLUMNS = "columns.json"
MOST_CATEGORIES = 1000  # of a column, the most frequent
LEAST_NUMBERS = 10  # with fewer different ones they are categories: codes, stars, years
INVERSE_REGULARISATION = 1.0
EMPTY = ""


@dataclass(frozen=True)
class Column:
    """What is made of a column. categories: its values, EMPTY among them; limits: numbers that it may be above, none
    for categories. A number may be EMPTY too. means: of its features over the training rows that have them."""

    name: str
    categories: tuple[str, ...]
    limits: tuple[float, ...] = ()
    means: tuple[float, ...] = ()

    @classmethod
    def of(cls, name: str, cells: Sequence[str]) -> Self:
        """As its training cells have it."""
        numbers = [number_of(cell) for cell in cells if cell]
        if None not in numbers and len(set(numbers)) >= LEAST_NUMBERS:
            limits = np.unique(np.quantile(np.array(numbers, dtype=np.float64), np.linspace(0.1, 0.9, 9)))
            column = cls(name, (EMPTY,) if EMPTY in cells else (), tuple(limits.tolist()))
        else:
            often = [value for value, count in Counter(cells).most_common(MOST_CATEGORIES) if count > 1]
            column = cls(name, tuple(sorted(often)))
        found, known = column._raw(cells)
        return replace(column, means=tuple(found[known].mean(axis=0).tolist()) if known.any() else ())

    @property
    def width(self) -> int:
        return len(self.categories) + len(self.limits)

    def features(self, cells: Sequence[str]) -> NDArray[np.float32]:
        """How far each feature is from its mean, [rows, width]; 0 where a cell says nothing: what is not known is
        then like the average row."""
        found, known = self._raw(cells)
        return np.where(known[:, None], found - np.array(self.means, dtype=np.float32), 0).astype(np.float32)

    def _raw(self, cells: Sequence[str]) -> tuple[NDArray[np.float32], BoolArray]:
        """Each feature as 0 or 1 [rows, width], and which cells say something."""
        place = {value_of(value): number for number, value in enumerate(self.categories)}
        found = np.zeros((len(cells), self.width), dtype=np.float32)
        known = np.zeros(len(cells), dtype=np.bool_)
        for row, cell in enumerate(cells):
            if cell in place:
                found[row, place[cell]] = known[row] = True
            elif self.limits and (number := number_of(cell)) is not None:
                found[row, len(place) :] = number > np.array(self.limits)
                known[row] = True
        return found, known


def number_of(cell: str) -> float | None:
    """The number that a cell is; None for any other cell."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


@dataclass(frozen=True)
class ColumnsModel:
    """Logits = features @ coefficients.T + intercept. coefficients float32 [labels, features]."""

    columns: tuple[Column, ...]
    coefficients: NDArray[np.float32]
    intercept: NDArray[np.float32]

    @classmethod
    def fit(
        cls,
        names: Sequence[str],
        texts: Sequence[str],
        truth: IntArray | BoolArray,
        *,
        classes: int,
        seed: int,
        balanced: bool = False,
        weights: FloatArray | None = None,
    ) -> Self:
        """Learn from the cells beside n texts; truth, weights: as `fit_tfidf` takes them."""
        from sklearn.linear_model import LogisticRegression

        rows = _cells(texts, names)
        columns = tuple(Column.of(name, cells) for name, cells in zip(names, rows, strict=True))
        weight = "balanced" if balanced else None
        regression: Any = LogisticRegression(
            C=INVERSE_REGULARISATION, max_iter=1000, class_weight=weight, random_state=seed
        )
        if truth.ndim == 2:
            regression = OneVsRest(regression)
        features = _features(columns, rows)
        regression.fit(features, truth, weights)
        return cls(columns, *coefficients_of(regression, classes, features.shape[1]))

    def logits(self, texts: Sequence[str]) -> Floats:
        """Logits [texts, labels] by the cells beside each text; a text alone is one with empty cells."""
        features = self.features(texts).astype(np.float64)
        return np.asarray(features @ self.coefficients.T + self.intercept, dtype=np.float64)

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """What is made of the cells beside each text [texts, features]."""
        return _features(self.columns, _cells(texts, [column.name for column in self.columns]))

    @property
    def bytes(self) -> int:
        """What it takes on disk, about."""
        return int(self.coefficients.nbytes + sum(len(value) + 4 for one in self.columns for value in one.categories))

    def save(self, folder: Path, labels: Sequence[str]) -> None:
        """Write the two files. labels: what the rows of the coefficients mean. Raises BundleError where it cannot."""
        numbers = {"coefficients": self.coefficients, "intercept": self.intercept}
        write_linear(folder, COLUMNS, [vars(column) for column in self.columns], numbers, labels)

    @classmethod
    def load(cls, folder: Path, labels: Sequence[str]) -> Self:
        """Read what `save` wrote. Raises BundleError for files that are missing, damaged, or of other labels."""
        with reading(folder, "the member of columns"):
            facts, numbers = read_linear(folder, COLUMNS, labels)
            columns = tuple(
                Column(
                    str(one["name"]),
                    tuple(map(str, one["categories"])),
                    tuple(map(float, one["limits"])),
                    tuple(map(float, one["means"])),
                )
                for one in facts
            )
            coefficients, intercept = numbers["coefficients"], numbers["intercept"]
            wanted = (len(labels), sum(column.width for column in columns))
            whole = all(len(column.means) == column.width for column in columns)
            if coefficients.shape != wanted or intercept.shape != wanted[:1] or not whole:
                raise ValueError("its columns and its numbers do not fit, or not its labels")
            return cls(columns, coefficients, intercept)


def _cells(texts: Sequence[str], names: Iterable[str]) -> list[list[str]]:
    """The cells beside the texts, by column: 3 is 3.0 and TRUE is true, as formats of tables differ in them."""
    return [[value_of(cells_beside(text).get(name, EMPTY)) for text in texts] for name in names]


def _features(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> NDArray[np.float32]:
    return np.hstack([column.features(own) for column, own in zip(columns, cells, strict=True)])
