"""Rungs of the ladder: classifiers that learned from the same rows, judged on the same test rows, with what they cost.

Here are the cheap ones, which every job climbs first: the majority class, the best one-line rule, TF-IDF + logistic
regression. The language model's rungs are in ladder.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from classtune.candidates.lexical import fit_tfidf
from classtune.candidates.rules import fit_majority, fit_rule
from classtune.config import Settings
from classtune.data.dataset import Material
from classtune.decisions.decide import Decisions, Wishes, decide
from classtune.jobs.steps import Scores, label_shares, seconds
from classtune.judging.answers import judge_answers, right_rows
from classtune.judging.comparison import climb

TIMED_TEXTS = 200


@dataclass
class Rungs:
    """The rungs so far, cheapest first. baseline: the one that a language model must beat; rule: the best, in words."""

    material: Material
    settings: Settings
    rungs: list[dict[str, Any]] = field(default_factory=list)
    right: dict[str, Any] = field(default_factory=dict)
    baseline: dict[str, Any] = field(default_factory=dict)
    rule: str | None = None

    def add(
        self,
        name: str,
        scores: Scores,
        *,
        train_seconds: float,
        ms_per_text: float,
        size: int,
        decisions: Decisions | None = None,
    ) -> dict[str, Any]:
        """Judge a rung by its probabilities of the test rows, and by its decisions where it has its own."""
        truth = self.material.truth[self.material.splits.test]
        decisions = decisions or Decisions.plain(self.material.labels, self.material.multi)
        self.right[name] = right_rows(decisions, scores, truth)
        costs = {"train_seconds": train_seconds, "ms_per_text": ms_per_text, "bytes": size}
        self.rungs.append({"name": name, **judge_answers(decisions, scores, truth), **costs})
        return self.rungs[-1]

    def calibrated(self, held_out: Scores, logits: Scores) -> tuple[Decisions, Scores]:
        """What the validation rows make of a rung's logits, and its probabilities of the test rows."""
        found = decide(
            held_out,
            self.material.truth[self.material.splits.validation],
            self.material.labels,
            Wishes(calibration=self.settings.calibration),
            trained_prior=label_shares(self.material, self.settings),
            multi=self.material.multi,
            seed=self.settings.seed,
        )
        return found, found.probabilities(logits)

    def add_cheap(self) -> None:
        """Majority class, one-line rule, TF-IDF + logistic regression (calibrated, as a language model is)."""
        material, settings = self.material, self.settings
        train = [material.texts[row] for row in material.splits.train]
        truth, labels = material.truth[material.splits.train], material.labels
        self._add_fitted(lambda: fit_majority(truth, labels), size=lambda fitted: 8 * len(labels))
        if not material.multi:
            rule = self._add_fitted(
                lambda: fit_rule(train, truth, classes=labels, seed=settings.seed),
                size=lambda fitted: len(fitted.sentence.encode()),
            )
            self.rule = rule.sentence
        self._add_fitted(
            lambda: fit_tfidf(
                train,
                truth,
                classes=len(labels),
                seed=settings.seed,
                class_weight="balanced" if settings.class_weights == "balanced" else None,
            ),
            size=lambda fitted: int(fitted.bytes),
            calibrated=True,
        )
        self.baseline = self.rungs[-1]

    def climbed(self) -> dict[str, Any]:
        """The rungs compared, and which one to take."""
        return {**climb(self.rungs, self.right), "rule": self.rule}

    def _add_fitted(self, fit: Callable[[], Any], *, size: Callable[[Any], int], calibrated: bool = False) -> Any:
        """Fit and add a classifier of texts that knows no language model."""
        started = time.perf_counter()
        fitted = fit()
        spent = time.perf_counter() - started
        material, decisions = self.material, None
        texts = [material.texts[row] for row in material.splits.test]
        scores = fitted.probabilities(texts).astype(np.float64)
        if calibrated and len(material.splits.validation):
            held_out = fitted.probabilities([material.texts[row] for row in material.splits.validation])
            decisions, scores = self.calibrated(
                as_logits(held_out, multi=material.multi), as_logits(scores, multi=material.multi)
            )
        timed = texts[:TIMED_TEXTS]
        cost = 1e3 * seconds(lambda: fitted.probabilities(timed)) / len(timed)
        self.add(fitted.name, scores, train_seconds=spent, ms_per_text=cost, size=size(fitted), decisions=decisions)
        return fitted


def as_logits(probabilities: Any, *, multi: bool) -> Scores:
    """Logits of which softmax (or, of several labels, sigmoid) gives these probabilities."""
    safe = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-7, 1 - 1e-7)
    logits: Scores = np.log(safe) - np.log1p(-safe) if multi else np.log(safe)
    return logits
