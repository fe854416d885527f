"""The next version of a classifier: a table with what was added since, divided as the version before divided it, and a
word on whether it is better on the rows that test both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from classtune.bundle import read_rows
from classtune.config import Settings
from classtune.data.reading.tables import Table
from classtune.data.versions import Earlier, hashes, with_added
from classtune.errors import SettingsError
from classtune.inference.predictor import load_predictor
from classtune.jobs.crossed import train_crossed
from classtune.jobs.side_by_side import answered, compared, like_with_like
from classtune.jobs.steps import Notify
from classtune.jobs.train import Trained, train
from classtune.result import EarlierVersion
from classtune.stats import BoolArray


def train_next(
    table: Table,
    settings: Settings,
    *,
    added: Sequence[Table],
    before: Path | None,
    folds: int | None = None,
    notify: Notify,
    **told: Any,
) -> Trained:
    """`train` on a table and on rows that are ``added``; before: the bundle of the version before, where there is one;
    folds: see `train_crossed`.

    Rows that tested that version test this one, and rows that it learned from do not. Added rows of labels that it has
    train: they were chosen because something was wrong with them, and would make test figures those of other texts.
    The result says in ``earlier`` how many test rows both share, and how both answer them. Raises what `train` raises,
    and BundleError for a version before that does not know its rows.
    """
    merged = with_added(table, added)
    for note in merged.notes:
        notify(note)
    if folds is not None and before is not None:
        raise SettingsError("--cv with --from: the one judges on every row, the other on the rows of before. Give one.")
    if folds is not None:
        return train_crossed(merged.table, settings, folds, notify=notify, **told)
    if before is None:
        return train(merged.table, settings, notify=notify, **told)
    predictor, bundle = load_predictor(before)
    rows = read_rows(before)
    trains = merged.added & _of_labels(merged.table, set(bundle.labels))
    earlier = Earlier(rows, trains)
    trained = train(merged.table, settings, earlier=earlier, notify=notify, **told)
    tests = [told["test"]] if told.get("test") is not None else []
    parts = []
    for part in (merged.table, *tests):
        found = hashes(part.texts)
        parts.append(part.only(np.isin(found, rows.test) & np.isin(found, trained.rows.test)))
    shared = next((part for part in reversed(parts) if part.texts), None)
    trained.result.earlier = _compared(predictor, trained, shared, str(before), len(rows.test), notify)
    notify(trained.result.earlier.sentence)
    return trained


def _of_labels(table: Table, labels: set[str]) -> BoolArray:
    return np.array([set(row) <= labels for row in table.row_labels], dtype=np.bool_)


def _compared(
    predictor: Any, trained: Trained, shared: Table | None, before: str, tested: int, notify: Notify
) -> EarlierVersion:
    """Counts and figures of both versions on the rows that test both; no texts."""
    if shared is None:
        sentence = f"No text tested {before}, so that nothing tells which version is better."
        if tested:
            sentence = (
                f"Texts that tested {before}, and not this version: all {tested:,}. Give their file as test rows "
                "again, to see which version is better."
            )
        return EarlierVersion(before, tested, 0, None, sentence=sentence)
    versions = (predictor, trained.predictor)
    decisions = like_with_like([one.decisions for one in versions], notify)
    sides = [
        answered(name, own, one.logits(shared.texts))
        for name, own, one in zip((before, "this version"), decisions, versions, strict=True)
    ]
    two = compared(sides[0], sides[1], shared)
    return EarlierVersion(
        before,
        tested,
        two.shared_rows,
        two.paired,
        two.labels_of_one_only,
        {name: figures.accuracy for name, figures in two.test.items()},
        len(two.changed),
        f"Rows that test both versions: {two.shared_rows:,} ({tested:,} texts tested {before}). {two.paired.sentence}",
    )
