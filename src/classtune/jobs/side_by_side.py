"""Two bundles on the same labelled rows, old and new: whose answers are right, and which changed.

A row whose label only one of them has counts as wrong for the other; figures that need the labels of both (F1, log
loss, calibration) are of the rows whose labels both have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from classtune.bundle import decisions_of, learned_rows, read_record
from classtune.config import Progress
from classtune.data.reading.tables import Check, Table
from classtune.data.splits import copies_in_words
from classtune.decisions.decisions import Decisions
from classtune.errors import DataError, SettingsError
from classtune.inference.runtimes import load_exported
from classtune.inference.tables import adjusted, label_problems, learned_in_words, truth_of
from classtune.jobs.steps import Notify
from classtune.judging.answers import judge_answers
from classtune.judging.figures import Figures
from classtune.judging.gate import Gate
from classtune.judging.paired import OPEN_QUESTION, PairedAnswers
from classtune.judging.under_wishes import UnderWishes, Wished, judge_under_wishes
from classtune.stats import BoolArray, Floats


def judged_by(folders: Sequence[Path]) -> Check:
    """What is wrong with the labels of a table on which one bundle, or two, shall be judged; see `read_table`."""
    records = [read_record(folder) for folder in folders]
    if len(records) > 1:
        known = [record["labels"] for record in records]
        return lambda table: _problems(table, known)
    multi = decisions_of(folders[0], records[0]).multi
    return lambda table: label_problems(table, records[0]["labels"], multi=multi)


@dataclass(frozen=True)
class Answered:
    """A bundle's answers to a table.

    given: for each row the labels of its answer, also where it would be withheld. scores [rows, labels].
    """

    name: str
    labels: list[str]
    decisions: Decisions
    scores: Floats
    given: list[frozenset[str]]

    def right(self, truth: Sequence[frozenset[str]]) -> BoolArray:
        """Whether each row's answer is its truth: its label, or all of its labels and no other."""
        return np.array([one == other for one, other in zip(self.given, truth, strict=True)], dtype=np.bool_)

    def judged(self, table: Table, rows: BoolArray) -> Figures:
        """Figures of the rows, whose labels it has."""
        kept = table.only(rows)
        return judge_answers(self.decisions, self.scores[rows], truth_of(kept, self.labels, multi=self.decisions.multi))


@dataclass(frozen=True)
class Change:
    """A row that two bundles answer differently. kind: ``broken``, ``mended`` or ``wrong in both``."""

    line: int
    kind: str
    label: str
    old: str
    new: str
    text: str


@dataclass(frozen=True)
class TwoBundles:
    """An old and a new bundle on the ``rows`` of a table, by its name.

    shared_rows: those whose labels both have; ``test`` (by bundle) and ``paired`` are of these, paired_all of all.
    learned: how many rows each learned from, by bundle, where it is known. paired_new: of all rows that neither learned
    from; None where those are all rows, or none. under_wishes: of the rows of ``test``; None where both are plain.
    """

    bundles: list[str]
    name: str
    rows: int
    shared_rows: int
    labels_of_one_only: dict[str, list[str]]
    test: dict[str, Figures]
    paired: PairedAnswers
    paired_all: PairedAnswers
    changed: list[Change]
    gate: Gate
    learned: dict[str, int]
    paired_new: PairedAnswers | None
    under_wishes: UnderWishes | None = None

    def document(self) -> dict[str, Any]:
        """What ``evaluate --json`` prints of two bundles."""
        return {
            "bundles": self.bundles,
            "data": {"name": self.name, "rows": self.rows},
            "shared_rows": self.shared_rows,
            "labels_of_one_only": self.labels_of_one_only,
            "test": {name: figures.document() for name, figures in self.test.items()},
            "paired": self.paired.document(),
            "paired_all": self.paired_all.document(),
            "changed": [asdict(change) for change in self.changed],
            "gate": asdict(self.gate),
            "learned": self.learned,
            "paired_new": None if self.paired_new is None else self.paired_new.document(),
            "under_wishes": None if self.under_wishes is None else asdict(self.under_wishes),
        }


def evaluate_two(
    old: Path,
    new: Path,
    table: Table,
    wishes: Mapping[str, Any],
    *,
    margin: float = OPEN_QUESTION,
    runtime: str = "torch",
    device: str = "auto",
    notify: Notify,
    progress: Progress,
) -> TwoBundles:
    """Judge two bundles on a labelled table, row by row. wishes, runtime, device: see `evaluate_bundle`.

    margin: see `compared`. Raises what `compared` raises; SettingsError for a bundle given twice.
    """
    if old.resolve() == new.resolve():
        raise SettingsError(f"{old}: is given twice. Name two bundles, the old one first.")
    table = table.with_known(sorted({label for folder in (old, new) for label in read_record(folder)["labels"]}))
    found, learned = [], {}
    for folder in (old, new):
        learned[str(folder)] = learned_rows(folder, table.texts)
        predictor, bundle = load_exported(folder, runtime, device)
        logits = predictor.logits(table.texts, places=table.places, progress=progress)
        found.append((adjusted(bundle, wishes, logits, notify), logits))
    decisions = [one for one, _ in found]
    if wishes.get("deploy_prior") != "estimate":  # of which each makes its own shares, told the same
        decisions = like_with_like(decisions, notify)
    sides = [
        answered(str(folder), own, logits)
        for folder, own, (_, logits) in zip((old, new), decisions, found, strict=True)
    ]
    if copies := copies_in_words(table.texts):
        notify(copies)
    for name, rows in learned.items():
        if rows.any():
            notify(learned_in_words(name, rows))
    return compared(sides[0], sides[1], table, margin=margin, learned=learned)


def like_with_like(sides: Sequence[Decisions], notify: Notify) -> list[Decisions]:
    """What two classifiers are compared by: their own decisions where both were told the same costs, class priors and
    wishes, else plain calibrated answers of both; then that is noted."""
    if all(one.multi == sides[0].multi and one.told == sides[0].told for one in sides):
        return list(sides)
    notify(
        "The two were told different costs, class priors, precisions or recalls: compared are their plain calibrated "
        "answers. Pass the same to both, such as --cost, to compare them under it."
    )
    return [one.untold() for one in sides]


def answered(name: str, decisions: Decisions, logits: Floats) -> Answered:
    """What decisions make of the logits [rows, labels] of a table."""
    scores = decisions.probabilities(logits)
    answers = replace(decisions, abstention=None).answers(scores)
    names = np.array(decisions.labels, dtype=object)
    return Answered(name, list(decisions.labels), decisions, scores, [frozenset(names[row]) for row in answers])


def compared(
    old: Answered,
    new: Answered,
    table: Table,
    *,
    margin: float = OPEN_QUESTION,
    learned: Mapping[str, BoolArray] | None = None,
) -> TwoBundles:
    """Two bundles' answers to a labelled table, side by side.

    margin: points of accuracy that the new one may at most have lost, for ``gate`` to be passed: it is where the new
    one is not worse beyond noise, and the 95 % interval of the difference excludes a larger loss. learned [rows] of
    each: those that it learned from, by which no gate is passed.
    Raises DataError for labels that neither has and where no row has a label of both.
    """
    sides = (old, new)
    names, known = [side.name for side in sides], [side.labels for side in sides]
    truth = _truth(table, known)
    shared = np.array([all(row <= set(labels) for labels in known) for row in truth])
    if not shared.any():
        raise DataError(
            f"{table.name}: no row has a label that both {names[0]} and {names[1]} have. Give rows that compare them."
        )
    before, after = (side.right(truth) for side in sides)
    paired = PairedAnswers.of(before[shared], after[shared], names)
    of_all = paired if shared.all() else PairedAnswers.of(before, after, names)
    learned = learned or {}
    fresh = ~np.any(list(learned.values()), axis=0) if learned else np.ones(len(truth), dtype=np.bool_)
    judging = [PairedAnswers.of(before[rows], after[rows], names) for rows in (shared & fresh, fresh) if rows.any()]
    return TwoBundles(
        bundles=names,
        name=table.name,
        rows=len(truth),
        shared_rows=int(shared.sum()),
        labels_of_one_only={
            name: sorted(set(own) - set(other)) for name, own, other in zip(names, known, known[::-1], strict=True)
        },
        test={side.name: side.judged(table, shared) for side in sides},
        paired=paired,
        paired_all=of_all,
        changed=_changed(table, truth, sides),
        gate=Gate.of([one.test for one in judging], margin),
        learned={name: int(rows.sum()) for name, rows in learned.items()},
        paired_new=None if fresh.all() or not judging else judging[-1],
        under_wishes=_under_wishes(sides, table, shared),
    )


def _under_wishes(sides: Sequence[Answered], table: Table, shared: BoolArray) -> UnderWishes | None:
    """What costs and class prior do to each, on the rows whose labels both have; None where they were told nothing, or
    each something of its own."""
    if len({side.decisions.told for side in sides}) > 1:
        return None
    kept = table.only(shared)
    found: dict[str, Wished] = {}
    for side in sides:
        truth = truth_of(kept, side.labels, multi=side.decisions.multi)
        judged = judge_under_wishes(side.decisions, truth, {side.name: (side.decisions, side.scores[shared])})
        found |= {} if judged is None else judged.classifiers
    return UnderWishes(int(shared.sum()), found) if found else None


def _truth(table: Table, known: Sequence[Sequence[str]]) -> list[frozenset[str]]:
    """The labels of each row. Raises DataError for those that no bundle has."""
    if problems := _problems(table, known):
        raise DataError(problems)
    return [frozenset(row) for row in table.row_labels]


def _problems(table: Table, known: Sequence[Sequence[str]]) -> list[str]:
    """A sentence for each label that no bundle has."""
    labels = sorted({label for one in known for label in one})
    return table.foreign_labels(labels, "is one of neither bundle").problems()


def _changed(table: Table, truth: Sequence[frozenset[str]], sides: Sequence[Answered]) -> list[Change]:
    """Every row that the two answer differently, those that the new one broke first, then those that it mended."""
    old, new = sides
    found = []
    for row, (before, after) in enumerate(zip(old.given, new.given, strict=True)):
        if before != after:
            kind = "broken" if before == truth[row] else "mended" if after == truth[row] else "wrong in both"
            label, was, now = (", ".join(sorted(labels)) for labels in (truth[row], before, after))
            found.append(Change(table.lines[row], kind, label, was, now, table.texts[row]))
    order = ("broken", "mended", "wrong in both")
    return sorted(found, key=lambda change: order.index(change.kind))
