"""Whether a further backbone is worth its trunk: what its probe adds on the rows that chose its depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classtune.candidates.blend import NEGLIGIBLE, Option, least_losses
from classtune.candidates.cost import duration
from classtune.candidates.lexical import fit_tfidf, shared_counts
from classtune.candidates.lexical_model import LexicalModel
from classtune.config import Settings
from classtune.data.dataset import Material
from classtune.data.folds import FOLDS, deal
from classtune.data.splits import Rows
from classtune.training.probe import out_of_sample

# Seconds that a further backbone may take by estimate, and where its sample shows a large gain; `effort = best` takes
# any.
BUDGET_SECONDS, LARGE_BUDGET_SECONDS = 300.0, 1200.0
# A sample of more than this share of the training rows has cost most of what its trunk costs.
MOST_OF_THE_ROWS = 0.7
Sample = tuple[Rows, NDArray[np.float32]]  # rows, and their pooled states [rows, width] at the chosen depth
# A fall of the log loss (nats) that is worth minutes.
LARGE = 0.03
# Fewer rows show nothing.
LEAST_ROWS = 100


@dataclass(frozen=True)
class Gain:
    """Cross-validated log loss (nats) of the best blend without and with a further backbone, and its paired standard
    error, on so many rows."""

    rows: int
    without: float
    with_it: float
    error: float

    @property
    def shown(self) -> bool:
        """Whether the gain is more than noise and a trifle, as a dear member of a blend has to show."""
        return self.without - self.with_it > self.error + NEGLIGIBLE

    @property
    def large(self) -> bool:
        """Whether it is worth minutes."""
        return self.without - self.with_it > max(2 * self.error, LARGE)

    @property
    def in_words(self) -> str:
        return f"log loss on {self.rows:,} training rows {self.without:.3f} without it, {self.with_it:.3f} with it"


def weigh_further(
    material: Material,
    known: Sequence[Sample],
    further: Sample | None,
    settings: Settings,
    *,
    name: str,
    seconds: float,
    lexical: bool,
) -> tuple[bool, str]:
    """Whether a further backbone is gone on with, and a sentence: why not, or what is ahead, or "".

    known: the samples of the backbones before; further: its own. seconds: what the rest of it would take.
    """
    if further is None or not known or len(further[0]) > MOST_OF_THE_ROWS * len(material.splits.train):
        return True, ""
    gain = gain_of_further(material, known, further, settings, lexical=lexical)
    if gain is not None and not gain.shown:
        why = f"it adds nothing beyond noise ({gain.in_words})"
        return False, f"{name} is not gone on with, for {why}. --effort best goes on."
    shown = "" if gain is None else f" ({gain.in_words})"
    if seconds > (LARGE_BUDGET_SECONDS if gain is not None and gain.large else BUDGET_SECONDS):
        why = f"it would take about {duration(seconds)} more{shown}"
        return False, f"{name} is not gone on with, for {why}. --effort best goes on."
    return True, f"{name}: about {duration(seconds)} more, for it adds something{shown}." if shown else ""


def gain_of_further(
    material: Material, known: Sequence[Sample], further: Sample, settings: Settings, *, lexical: bool
) -> Gain | None:
    """What the probe of a further backbone adds to the probes of others and, with ``lexical``, to TF-IDF.

    All learn from the same folds of the rows that all samples share. None where these are too few to tell.
    """
    samples = [*known, further]
    rows = reduce(np.intersect1d, [own for own, _ in samples])
    truth, groups = material.truth[rows], material.groups[rows]
    if len(rows) < LEAST_ROWS:
        return None
    told: dict[str, Any] = {"classes": len(material.labels), "seed": settings.seed}
    options = [
        Option(
            str(number),
            out_of_sample(states[np.searchsorted(own, rows)], truth, groups=groups, **told),
            cost=1.0,
        )
        for number, (own, states) in enumerate(samples)
    ]
    if lexical:
        texts, words = np.array([material.texts[row] for row in rows], dtype=object), np.zeros_like(options[0].logits)
        fold = deal(truth, FOLDS, seed=settings.seed, groups=groups)  # as the probes'
        told["counts"] = shared_counts(texts.tolist())
        for held in (fold == number for number in np.unique(fold)):
            model = LexicalModel.of(fit_tfidf(texts[~held].tolist(), truth[~held], **told))
            words[held] = model.logits(texts[held].tolist())
        options.insert(0, Option("words", words, cost=1.0))
    without, with_it = least_losses(options[:-1], truth), least_losses(options, truth)
    error = float((without - with_it).std(ddof=1) / np.sqrt(len(rows)))
    return Gain(len(rows), float(without.mean()), float(with_it.mean()), error)
