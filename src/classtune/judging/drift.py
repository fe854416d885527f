"""Has the world changed since a classifier was trained? What is seen of texts now, against what was seen of rows that
it did not learn from.

Numbers alone: the labels of the answers, how certain they are, how far the texts lie from the training texts, and the
share of their words that training had not. Each is a test of two samples, and all of them together raise a false alarm
once in a hundred looks. Knows no texts and no models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classtune.errors import counted
from classtune.stats import Z95, BoolArray, FloatArray, Floats

# Chance of any alarm where nothing has changed.
FALSE_ALARMS = 0.01
# Fewer texts than this are not judged.
FEWEST_TEXTS = 30
# What is smaller is no change, however many texts prove it: of means (all lie from 0 to about 1) and of shares; a share
# that grows or shrinks by the factor is one all the same.
SMALLEST, FACTOR = 0.01, 1.5
# Values that a bundle keeps of each distribution.
KEPT_VALUES = 500
NO_ANSWER = "no answer"
# Measure → what it is called, and how its mean is shown.
MEASURES = {
    "certainty": "certainty of the answer",
    "distance": "distance to the nearest class of training texts",
    "unknown": "share of words that training had not",
}


@dataclass(frozen=True)
class Seen:
    """What was seen of some texts.

    given: the labels of each answer [texts, labels]. measures: name of MEASURES → a value a text [texts].
    """

    given: BoolArray
    measures: dict[str, Floats]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Texts with each label, and last those without any [labels + 1]."""
        return np.append(self.given.sum(axis=0), (~self.given.any(axis=1)).sum()).astype(np.int64)


@dataclass(frozen=True)
class Reference:
    """What was seen of rows that a classifier did not learn from.

    counts [labels + 1]: see `Seen`, of ``rows``. values: measure → at most KEPT_VALUES of its values, evenly through
    all of the ``measured`` rows, sorted.
    """

    rows: int
    counts: NDArray[np.int64]
    measured: int
    values: dict[str, NDArray[np.float32]]

    @classmethod
    def of(cls, seen: Seen, others: BoolArray | None = None) -> Reference:
        """What is kept of it. others: answers [rows, labels] to further rows, which only count."""
        counted = seen if others is None else Seen(np.concatenate([seen.given, others]), {})
        values = {name: _kept(found) for name, found in seen.measures.items()}
        return cls(len(counted.given), counted.counts, len(seen.given), values)


@dataclass(frozen=True)
class Change:
    """One figure then and now: shares, 0 … 1, or means. difference_ci95: of now - then, 95 %. p_value: of no change."""

    name: str
    then: float
    now: float
    difference_ci95: tuple[float, float]
    p_value: float
    alarm: bool


@dataclass(frozen=True)
class Drift:
    """What changed. labels: shares of the answers; measures: see MEASURES. sentence: all of it in words."""

    texts: int
    reference_rows: int
    labels: list[Change]
    measures: list[Change]
    sentence: str

    @property
    def alarm(self) -> bool:
        """Whether anything changed beyond noise."""
        return any(change.alarm for change in (*self.labels, *self.measures))

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"alarm": self.alarm}


def compare(reference: Reference, seen: Seen, labels: Sequence[str], *, false_alarms: float = FALSE_ALARMS) -> Drift:
    """What changed between the reference and what is seen now. false_alarms: chance, 0 … 1, of any where nothing has.

    Each kind of figure gets an equal part of that chance, and each label an equal part of its kind's (Bonferroni).
    Fewer than FEWEST_TEXTS on either side raise no alarm; the sentence says so.
    """
    now, rows = len(seen.given), reference.rows
    enough = min(now, rows) >= FEWEST_TEXTS
    measured = reference.measured >= FEWEST_TEXTS
    names = [name for name in MEASURES if measured and name in reference.values and name in seen.measures]
    level = false_alarms / (1 + len(names)) if enough else -1.0
    counted = [*labels, NO_ANSWER]
    pairs = list(zip(counted, reference.counts.tolist(), seen.counts.tolist(), strict=True))
    met = [(name, then, here) for name, then, here in pairs if then or here]
    changes = [_share(name, then, rows, here, now, level / max(1, len(met))) for name, then, here in met]
    measures = [_measure(name, reference, seen.measures[name], level) for name in names]
    return Drift(now, rows, changes, measures, _sentence(changes, measures, now, rows, enough=enough))


def _share(name: str, then: int, rows: int, here: int, now: int, level: float) -> Change:
    from scipy.stats import fisher_exact

    p_value = 1.0
    if rows and now:
        p_value = float(fisher_exact([[then, rows - then], [here, now - here]]).pvalue)
    before, after = (then + 1) / (rows + 2), (here + 1) / (now + 2)  # Agresti and Caffo, 2000
    half = Z95 * math.sqrt(before * (1 - before) / (rows + 2) + after * (1 - after) / (now + 2))
    centre = after - before
    interval = (max(-1.0, centre - half), min(1.0, centre + half))
    large = abs(centre) >= SMALLEST or not 1 / FACTOR < after / before < FACTOR
    return Change(name, then / max(1, rows), here / max(1, now), interval, p_value, alarm=large and p_value < level)


def _measure(name: str, reference: Reference, values: FloatArray, level: float) -> Change:
    """Kolmogorov and Smirnov's test of two samples, at the values that are kept; ties only make it surer."""
    from scipy.special import kolmogorov

    kept = reference.values[name].astype(np.float64)
    # As exact as what is kept, or a value would fall between itself and its rounding.
    found = np.sort(np.asarray(values, dtype=np.float32).astype(np.float64))
    if not len(kept) or not len(found):
        return Change(name, 0.0, 0.0, (0.0, 0.0), 1.0, alarm=False)
    grid = np.unique(np.concatenate([kept, found]))
    shares = [np.searchsorted(part, grid, side="right") / len(part) for part in (kept, found)]
    # A share of the kept values stands for that of all to within a half of one.
    largest = max(
        0.0, float(np.abs(shares[0] - shares[1]).max()) - (0.5 / len(kept) if reference.measured > len(kept) else 0)
    )
    effective = reference.measured * len(found) / (reference.measured + len(found))
    p_value = float(kolmogorov(math.sqrt(effective) * largest))
    half = Z95 * math.sqrt(kept.var() / reference.measured + found.var() / len(found))
    then, now = float(kept.mean()), float(found.mean())
    alarm = p_value < level and abs(now - then) >= SMALLEST
    return Change(name, then, now, (now - then - half, now - then + half), p_value, alarm)


def _kept(values: FloatArray) -> NDArray[np.float32]:
    """At most KEPT_VALUES of the values, at even ranks, sorted."""
    ordered = np.sort(np.asarray(values, dtype=np.float32))
    if len(ordered) <= KEPT_VALUES:
        return ordered
    ranks = (np.arange(KEPT_VALUES) + 0.5) * len(ordered) / KEPT_VALUES
    return np.asarray(ordered[ranks.astype(np.int64)])


def _sentence(labels: Sequence[Change], measures: Sequence[Change], now: int, rows: int, *, enough: bool) -> str:
    if not enough:
        sides = f"{counted(now, 'text')} against {counted(rows, 'row')}"
        return f"{sides}: under {FEWEST_TEXTS} on a side nothing can be told."
    parts = [
        f"{change.name!r} is {100 * change.now:.1f} % of the answers where it was {100 * change.then:.1f} %"
        for change in labels
        if change.alarm
    ]
    parts += [
        f"the {MEASURES[change.name]} is {change.now:.3g} where it was {change.then:.3g}"
        for change in measures
        if change.alarm
    ]
    if not parts:
        return f"Nothing has changed beyond noise: {now:,} texts against {rows:,} held-out rows."
    return f"Changed beyond noise, {now:,} texts against {rows:,} held-out rows: {'; '.join(parts)}."
