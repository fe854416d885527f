"""What judging finds, as typed figures: of a classifier, of a label, of calibration. Knows no rows and no models."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class LabelFigures:
    """Figures of one label, each in 0 … 1; support: the rows that have it."""

    precision: float
    recall: float
    f1: float
    support: int
    average_precision: float


@dataclass(frozen=True)
class Confused:
    """So many texts of one class got the label of another."""

    true: str
    predicted: str
    texts: int


@dataclass(frozen=True)
class Answered:
    """Where answers are withheld: the share of rows that got one (0 … 1), and how many of these were wrong."""

    answered: float
    error_of_answered: float
    error_of_answered_ci95: list[float]


@dataclass(frozen=True)
class Figures:
    """Test figures of one classifier.

    values, intervals: by the key of a metric, and of those that have one the 95 % interval ``[low, high]``.
    confusion: counts of true × predicted classes; None where a row may have several labels, and for many classes, which
    have ``largest_confusions`` instead, the largest first. rows: how many were judged. answered: None where every row
    got an answer.
    """

    values: dict[str, float]
    intervals: dict[str, list[float]]
    rows: int
    confusion: list[list[int]] | None = None
    largest_confusions: list[Confused] | None = None
    per_label: dict[str, LabelFigures] = field(default_factory=dict)
    answered: Answered | None = None
    name: str = ""

    @property
    def accuracy(self) -> float:
        """Share of rows that are right, 0 … 1; of several labels a row, with every label right."""
        return self.values["accuracy"]

    @property
    def accuracy_ci95(self) -> list[float]:
        """Wilson's interval of the accuracy."""
        return self.intervals["accuracy"]

    def document(self) -> dict[str, Any]:
        """For JSON: an interval stands after its figure, as ``KEY_ci95``."""
        parts: dict[str, Any] = {"name": self.name} if self.name else {}
        for key, value in self.values.items():
            parts[key] = value
            if key in self.intervals:
                parts[f"{key}_ci95"] = self.intervals[key]
        parts["confusion"] = self.confusion
        if self.largest_confusions is not None:
            parts["largest_confusions"] = [asdict(one) for one in self.largest_confusions]
        parts |= {
            "per_label": {label: asdict(row) for label, row in self.per_label.items()},
            "rows": self.rows,
        }
        return parts | (asdict(self.answered) if self.answered else {})


@dataclass(frozen=True)
class Bin:
    """A bin of the reliability diagram: mean confidence and accuracy, 0 … 1, of so many rows."""

    confidence: float
    accuracy: float
    rows: int


@dataclass(frozen=True)
class Reliability:
    """How far probabilities can be trusted. log_loss in nats; ece: expected calibration error, 0 … 1."""

    log_loss: float
    ece: float
    bins: list[Bin]


@dataclass(frozen=True)
class CalibrationFacts:
    """What calibration did on the test rows. candidates: cross-validated log loss of each method that was tried."""

    method: str
    candidates: dict[str, float] | None
    before: Reliability
    after: Reliability
