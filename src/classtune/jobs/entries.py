"""What a run compares: an entry for each candidate, and those that need no language model."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from classtune.bundle import Member
from classtune.candidates.backbone import Backbone, Learned
from classtune.candidates.blend import Weight
from classtune.candidates.columns import ColumnsModel
from classtune.candidates.folds import HeldOut
from classtune.candidates.lexical import fit_tfidf, rows_to_learn, shared_counts
from classtune.candidates.lexical_model import LexicalModel
from classtune.candidates.rules import fit_majority, fit_rule
from classtune.candidates.terms import Counts
from classtune.config import Progress, Settings
from classtune.data.dataset import Material
from classtune.data.splits import Rows
from classtune.jobs import steps
from classtune.jobs.steps import Scores
from classtune.judging.comparison import COLUMNS, LEXICAL
from classtune.model.activations import LONG_SECONDS

# A candidate is timed so often, on so many texts, or on fewer where a run of these would take longer.
_TIMED_RUNS, _TIMED_TEXTS, _TIMED_SECONDS = 3, 200, 1.0
_FIRST_TIMED = 16  # tell how long the others would take


@dataclass(frozen=True)
class Fitted:
    """What has learned from some rows. model: as it is saved; logits: of other rows [rows, labels]."""

    model: Any
    logits: Callable[[Rows], Scores]


# From rows to learn from to what has learned from them.
Learn = Callable[[Rows], Fitted]


@dataclass
class Entry:
    """A candidate of the comparison.

    held_out: logits [held-out rows, labels] by models that did not learn from them, NaN in rows that did not judge it;
        test: of the final model. cost: multiplications that a text takes, by which candidates are chosen: milliseconds
        differ from run to run.
    ships: gives the member that a bundle holds; None for what never ships. learn: as it learns, of what is cheap to
        train; None for what a backbone learns. again: what it becomes once it learns from the validation rows too.
    """

    name: str
    kind: str
    held_out: Scores
    test: Scores
    ms_per_text: float
    cost: float
    train_seconds: float
    bytes: int
    backbone: Backbone | None = None
    learned: Learned | None = None
    ships: Callable[[], Member] | None = None
    learn: Learn | None = None
    again: Callable[[], Learned] | None = None


def cheap_entries(
    material: Material,
    settings: Settings,
    held_out: HeldOut,
    *,
    note: Callable[[str], None] = lambda line: None,
    notify: Callable[[str], None] = lambda line: None,
    progress: Progress = lambda stage, done, total: None,
) -> tuple[list[Entry], str | None]:
    """Majority class, one-line rule, TF-IDF + logistic regression, and columns where some stand beside the texts; and
    the rule as a sentence.

    note: is told what the result should say too; notify: what is ahead, where it takes over a minute.
    """
    labels, seed, multi = material.labels, settings.seed, material.multi
    balanced = settings.class_weights == "balanced"
    ships = settings.candidates == "all" and not settings.hugging_face

    def texts(rows: Rows) -> list[str]:
        return [material.texts[row] for row in rows]

    def by_probabilities(model: Any) -> Fitted:
        return Fitted(model, lambda wanted: as_logits(model.probabilities(texts(wanted)), multi=multi))

    def majority(rows: Rows) -> Fitted:
        return by_probabilities(fit_majority(material.truth[rows], labels))

    def rule(rows: Rows) -> Fitted:
        groups = material.groups[rows]
        return by_probabilities(fit_rule(texts(rows), material.truth[rows], classes=labels, seed=seed, groups=groups))

    @cache
    def counts() -> Counts | None:
        return shared_counts(texts(np.concatenate([material.splits.train, material.splits.validation])))

    def lexical(rows: Rows) -> Fitted:
        fitted = fit_tfidf(
            texts(rows),
            material.truth[rows],
            classes=len(labels),
            seed=seed,
            class_weight="balanced" if balanced else None,
            shared_terms=not settings.keep_texts,
            weights=material.weights_of(rows),
            counts=counts(),
            progress=_shown(len(rows), notify, progress),
        )
        model = LexicalModel.of(fitted)
        return Fitted(model, lambda wanted: model.logits(texts(wanted)))

    def columns(rows: Rows) -> Fitted:
        model = ColumnsModel.fit(
            material.beside,
            texts(rows),
            material.truth[rows],
            classes=len(labels),
            seed=seed,
            balanced=balanced,
            weights=material.weights_of(rows),
        )
        return Fitted(model, lambda wanted: model.logits(texts(wanted)))

    entries, sentence = [_entry("majority class", "majority", majority, material, held_out)[0]], None
    entries[0].bytes = 8 * len(labels)
    if not multi:
        entry, chosen = _entry("one-line rule", "rule", rule, material, held_out)
        entry.bytes, sentence = 100, chosen.sentence
        entries.append(entry)
    final = held_out.final
    if (taught := len(rows_to_learn(texts(final), material.truth[final], seed=seed))) < len(final):
        note(f"TF-IDF learns from {taught:,} of {len(final):,} training rows: more would take too much memory.")
    entry, words = _entry(LEXICAL, "lexical", lexical, material, held_out)
    entry.bytes, entry.ships = words.bytes, _shipping(LEXICAL, words) if ships else None
    entries.append(entry)
    if material.beside and settings.candidates == "all":
        entry, cells = _entry(COLUMNS, "columns", columns, material, held_out)
        entry.bytes, entry.cost = cells.bytes, float(cells.coefficients.size)
        entry.ships = _shipping(COLUMNS, cells) if ships else None
        entries.append(entry)
    return entries, sentence


def _shipping(name: str, model: Any) -> Callable[[], Member]:
    return lambda: Member(name, model, Weight(1.0, 1.0))


def _shown(texts: int, notify: Callable[[str], None], progress: Progress) -> Callable[[float], None]:
    """Shows the share of TF-IDF's work that is done, and announces what takes over a minute."""
    started, announced = time.perf_counter(), False

    def shown(share: float) -> None:
        nonlocal announced
        progress("words", round(share * texts), texts)
        seconds = (time.perf_counter() - started) / share
        if not announced and seconds > LONG_SECONDS:
            announced = True
            notify(f"TF-IDF: about {max(1, round(seconds / 60)):,} min for {texts:,} texts.")

    return shown


def _entry(name: str, kind: str, learn: Learn, material: Material, held_out: HeldOut) -> tuple[Entry, Any]:
    """The candidate, and the model of it that learned from the final rows."""
    started = time.perf_counter()
    fitted: list[Fitted] = []

    def judged(rows: Rows, judge: Rows) -> Scores:
        fitted[:] = [learn(rows)]
        return fitted[0].logits(judge)

    logits = held_out.collect(judged, len(material.labels), held_out.folds)
    final = fitted[0] if held_out.final_is_judged else learn(held_out.final)
    spent = time.perf_counter() - started
    entry = Entry(
        name,
        kind,
        logits,
        final.logits(material.splits.test),
        ms_per_text=median_ms(final.logits, material),
        cost=float(4 * np.mean([len(text) for text in material.texts]) * len(material.labels)),
        train_seconds=spent,
        bytes=0,
        learn=learn,
    )
    return entry, final.model


def as_logits(probabilities: Any, *, multi: bool) -> Scores:
    """Logits of which softmax (or, of several labels, sigmoid) gives these probabilities."""
    safe = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-7, 1 - 1e-7)
    logits: Scores = np.log(safe) - np.log1p(-safe) if multi else np.log(safe)
    return logits


def median_ms(work: Callable[[Rows], Any], material: Material) -> float:
    """Milliseconds a text that something done with test rows (else training rows) takes, the median of some runs: one
    run's time is an accident."""
    splits = material.splits
    rows = (splits.test if len(splits.test) else splits.train)[:_TIMED_TEXTS]
    first = rows[:_FIRST_TIMED]
    fitting = int(len(first) * _TIMED_SECONDS / max(1e-6, steps.seconds(lambda: work(first))))
    rows = rows[: max(len(first), fitting)]
    return 1e3 * statistics.median(steps.seconds(lambda: work(rows)) for _ in range(_TIMED_RUNS)) / max(1, len(rows))
