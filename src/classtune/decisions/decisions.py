"""From logits to answers: calibration, then the shares of the field, then thresholds, then whether to answer at all.

`decide` fits all of it on validation rows; here it is saved with the classifier and applied wherever that answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from classtune.decisions.abstention import Abstention
from classtune.decisions.calibration import METHODS, Calibration
from classtune.decisions.prior import correct_prior
from classtune.decisions.thresholds import Thresholds
from classtune.errors import BundleError
from classtune.stats import BoolArray, FloatArray, Floats


@dataclass(frozen=True)
class Prior:
    """Shares (k,) of the labels in training, which the probabilities speak of, and where the classifier is used.

    estimated: the record of the estimate that ``deployed`` comes from; None where it was told.
    """

    trained: tuple[float, ...]
    deployed: tuple[float, ...]
    estimated: dict[str, Any] | None = None


@dataclass(frozen=True)
class Decisions:
    """Everything between logits and answers. ``notes``: what the user should know, in sentences."""

    labels: tuple[str, ...]
    multi: bool = False
    calibration: Calibration = field(default_factory=Calibration)
    prior: Prior | None = None
    thresholds: Thresholds | None = None
    abstention: Abstention | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def plain(cls, labels: Sequence[str], multi: bool = False) -> Self:
        """Softmax and the most probable label; with ``multi`` sigmoids and every label of 0.5 or more."""
        return cls(tuple(labels), multi, Calibration(multi=multi))

    @property
    def told(self) -> tuple[Any, ...]:
        """What the user said of costs, shares in the field, precision and recall; equal for classifiers told alike."""
        thresholds, prior = self.thresholds, self.prior
        moved = None if prior is None or prior.deployed == prior.trained else prior.deployed
        costs = None if thresholds is None else thresholds.costs
        facts = () if thresholds is None else thresholds.facts
        return self.labels if moved else (), moved, costs, tuple((f["label"], f["wish"], f["wanted"]) for f in facts)

    @property
    def not_in_weights(self) -> str:
        """What is done to a network's own scores after it, in words; "" where its scores and its answers are these."""
        parts = {
            "calibration": self.calibration.method != "none",
            "class prior in production": self.prior is not None and self.prior.deployed != self.prior.trained,
            "thresholds": self.thresholds is not None,
            "withheld answers": self.abstention is not None and self.abstention.threshold is not None,
        }
        names = [name for name, there in parts.items() if there]
        return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)

    def untold(self) -> Self:
        """Plain calibrated answers, without what the user `told`: the most probable label, or each of 0.5 or more."""
        prior = None if self.prior is None else replace(self.prior, deployed=self.prior.trained)
        return replace(self, prior=prior, thresholds=None, abstention=None)

    def probabilities(self, logits: FloatArray) -> Floats:
        """Calibrated probabilities (n, k) for the shares of the field, of logits (n, k)."""
        calibrated = self.calibration.apply(logits)
        if self.prior is None or self.prior.deployed == self.prior.trained:
            return calibrated
        trained, deployed = np.array(self.prior.trained), np.array(self.prior.deployed)
        return correct_prior(calibrated, trained, deployed, multi=self.multi)

    def answers(self, probabilities: FloatArray) -> BoolArray:
        """The labels given (n, k). One a row, or none where no answer is given; with ``multi`` any number."""
        if self.multi:
            return (self.thresholds or Thresholds((None,) * len(self.labels))).marks(probabilities)
        return np.asarray(np.arange(len(self.labels)) == self.choices(probabilities)[:, None])

    def choices(self, probabilities: FloatArray) -> npt.NDArray[np.int64]:
        """For one label a text: the number of the label given to each row (n,); -1 where no answer is given."""
        chosen, confidence = self.chosen(probabilities)
        least = self.abstention.threshold if self.abstention else None
        return chosen if least is None else np.where(confidence >= least, chosen, -1)

    def chosen(self, probabilities: FloatArray) -> tuple[npt.NDArray[np.int64], Floats]:
        """As `choices`, whether or not it is sure enough, and its probability (n,); -1 and -inf for no label."""
        chosen = self.thresholds.choose(probabilities) if self.thresholds else probabilities.argmax(axis=1)
        confidence = probabilities[np.arange(len(chosen)), chosen].astype(np.float64)
        return chosen, np.where(chosen < 0, -np.inf, confidence)

    def record(self) -> dict[str, Any]:
        """For JSON; ``from_record`` reads it."""
        return {
            "multi": self.multi,
            "calibration": self.calibration.record(),
            "prior": self.prior
            and {
                name: dict(zip(self.labels, shares, strict=True))
                for name, shares in (("trained", self.prior.trained), ("deployed", self.prior.deployed))
            }
            | ({} if self.prior.estimated is None else {"estimated": self.prior.estimated}),
            "thresholds": self.thresholds and self.thresholds.record(),
            "abstention": self.abstention and self.abstention.record(),
            "notes": list(self.notes),
        }

    @classmethod
    def from_record(cls, labels: Sequence[str], record: dict[str, Any]) -> Self:
        """What ``record`` gave, also after a journey through JSON. Raises BundleError where it does not fit."""
        try:
            shares = record["prior"]
            trained, deployed = (
                shares and tuple(shares[name][label] for label in labels) for name in ("trained", "deployed")
            )
            found = cls(
                tuple(labels),
                record["multi"],
                Calibration.from_record(record["calibration"]),
                shares and Prior(trained, deployed),
                record["thresholds"] and Thresholds.from_record(record["thresholds"]),
                record["abstention"] and Abstention.from_record(record["abstention"]),
                tuple(record["notes"]),
            )
            _check_numbers(found)
            return found
        except (KeyError, TypeError, ValueError) as error:
            reason = repr(error)[:200]  # it may name a label
            raise BundleError(f"decisions: the record is damaged ({reason}). Train again or restore a copy.") from None


def _check_numbers(found: Decisions) -> None:
    """Raise ValueError where numbers are not finite, or not one a label, and where words are none that it knows."""
    if not isinstance(found.multi, bool) or not all(isinstance(note, str) for note in found.notes):
        raise ValueError("multi is neither true nor false, or a note is no text")
    if found.calibration.method not in METHODS:
        raise ValueError(f"a calibration {found.calibration.method!r}")
    labels, calibration, thresholds = len(found.labels), found.calibration, found.thresholds
    of_labels: list[Sequence[Any]] = [part for part in (calibration.scale, calibration.bias) if len(part) != 1]
    numbers: list[float | None] = [*calibration.scale, *calibration.bias]
    if calibration.curves:
        of_labels.append(calibration.curves)
        numbers += [number for curve in calibration.curves for part in curve for number in part]
    if found.prior is not None:
        numbers += [*found.prior.trained, *found.prior.deployed]
    if thresholds is not None:
        of_labels.append(thresholds.least)
        numbers += thresholds.least
    if thresholds is not None and thresholds.costs is not None:
        of_labels += [thresholds.costs, *(row for row in thresholds.costs if not found.multi)]
        numbers += [cost for row in thresholds.costs for cost in row]
    if found.abstention is not None:
        numbers.append(found.abstention.threshold)
    if any(len(part) != labels for part in of_labels):
        raise ValueError(f"not one number for each of {labels} labels")
    if not all(number is None or math.isfinite(number) for number in numbers):
        raise ValueError("a number that is not finite")
