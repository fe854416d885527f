"""The tutorial's rows by one job: each trained as the recipe says, on one trunk's pass where rows have the same one.

A row's numbers are those of `train` with the recipe. Finished rows lie in the output folder, one file each, so that a
run which was stopped goes on with the next row, and within a row with the next epoch.
"""

from __future__ import annotations

import platform
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from classtune.candidates.backbone import Backbone
from classtune.candidates.lexical import fit_tfidf
from classtune.candidates.rules import fit_rule
from classtune.candidates.tail import train_tail
from classtune.config import Progress, Settings
from classtune.data.audit.copies import copied_letters
from classtune.data.dataset import Material, prepare
from classtune.data.reading.tables import Table
from classtune.errors import BundleError, DataError, Interrupted, counted
from classtune.files import claimed
from classtune.jobs import steps
from classtune.jobs.steps import Notify
from classtune.jobs.tutorial.chosen import choose_model, choose_rows, in_order, settings_of, trunk_of
from classtune.jobs.tutorial.kept import VERSIONS, Run, open_folder, run_identity
from classtune.jobs.tutorial.rows import ROWS, Row
from classtune.model.activations import ActivationStore
from classtune.model.backbone import quiet_transformers
from classtune.model.trunk import Trunk
from classtune.report.tutorial import write_tables
from classtune.stats import wilson
from classtune.training.checkpoint import Checkpoint

MESSAGES = "sms-spam"  # the data set that the published figures are of


@dataclass
class _Shared:
    """A trunk's pass, and the store that it filled: rows take it in the order of the block that they start from."""

    store: ActivationStore | None = None
    at: int = 0
    seconds: float = 0.0
    rows: list[int] = field(default_factory=list)

    def reach(self, backbone: Backbone) -> ActivationStore:
        """The store at the block that the tail starts from; the frozen blocks are those that filled it."""
        began, network, start = time.perf_counter(), backbone.network, backbone.start
        assert start is not None
        if self.store is None:
            backbone.pass_trunk()
            assert backbone.store is not None
            self.store = backbone.store
        else:
            self.store.network = network
            self.store.last = np.array([network.encoder.last_pooled(i) for i in self.store.distinct.ids], np.int64)
            if start > self.at:
                self.store.advance(Trunk(network, start, start=self.at))
        self.at = start
        self.seconds += time.perf_counter() - began
        return self.store


def run_tutorial(
    table: Table,
    folder: Path,
    *,
    rows: Sequence[int] | None = None,
    model: str | None = None,
    resume: bool = False,
    force: bool = False,
    told: dict[str, Any] | None = None,
    notify: Notify,
    progress: Progress,
) -> dict[str, Any]:
    """Run rows and write ``tutorial.md``, ``.csv``, ``.html`` and ``.json`` to ``folder``; gives the document.

    rows: None for every row that the model can follow and whose own model is at hand. model: None for GPT-2 where it
    is in the cache or a hub answers, else the default model. resume: finished rows in the folder are taken as they
    are. force: they are measured again. told: settings over each row's.
    Raises SettingsError for rows that the model cannot follow, DataError for a table of other than two classes,
    BundleError for a folder that holds something else, Busy where another run writes to it, Interrupted on Ctrl-C, and
    what reading and training raise.
    """
    began = time.perf_counter()
    _check_classes(table)
    name, because = choose_model(model, notify)
    notify(f"model: {name}{because}")
    told = {"model": name, **(told or {})}
    chosen, skipped = choose_rows(rows, name, notify)
    for number, reason in skipped.items():
        notify(f"row {number} is skipped: {reason}")
    settings = {row.number: settings_of(row, told) for row in chosen}
    with claimed(folder, notify):
        open_folder(folder, resume=resume, force=force)
        material = prepare(table, next(iter(settings.values())), progress=progress)
        run = Run(material, folder, run_identity(material), notify, progress)
        done: dict[int, dict[str, Any]] = {}
        passes: dict[str, _Shared] = defaultdict(_Shared)
        try:
            for row in in_order(chosen, settings):
                found = run.finished(row.number, settings[row.number])
                if found is None:
                    if row.same_as in done:
                        found = {**done[row.same_as], "own_seconds": 0.0, "history": []}
                    else:
                        found = _train_row(row, settings[row.number], passes[trunk_of(settings[row.number])], run)
                    run.keep(row.number, settings[row.number], found)
                    notify(_line(row, found))
                done[row.number] = found
        except KeyboardInterrupt:
            kept = f"{len(done)} of {len(chosen)} rows are in {folder}: give the same command with --resume to go on."
            raise Interrupted(f"Stopped. {kept}") from None
        document = {
            "model": name,
            "why": because.strip(" ()"),
            "data": table.name,
            "splits": material.splits.sizes(),
            "rows": [_told(row, done[row.number], table.name) for row in sorted(chosen, key=lambda row: row.number)],
            "skipped": [
                {"row": number, "change": ROWS[number].change, "reason": why} for number, why in skipped.items()
            ],
            "baselines": _baselines(material, next(iter(settings.values())).seed),
            "passes": _passes(passes),
            "seconds": time.perf_counter() - began,
            "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in VERSIONS}},
            "folder": str(folder),
        }
        write_tables(folder, document)
        return document


def _check_classes(table: Table) -> None:
    """Raise DataError for a table that the tutorial's split does not fit; no other split is the tutorial's."""
    classes = len(set(table.labels or []))
    found = "rows of several labels" if table.label_sets is not None else counted(classes, "class", "classes")
    if table.label_sets is not None or classes != 2:
        raise DataError(
            f"{table.name}: the tutorial is about two classes, one label a text: got {found}. Give a table of two "
            "classes, or use `classtune train`, which takes any."
        )


def _train_row(row: Row, settings: Settings, shared: _Shared, run: Run) -> dict[str, Any]:
    """Train one row as `train` does, and look at all three sets."""
    began, passed = time.perf_counter(), shared.seconds
    material = replace(run.material, notes=[], data=replace(run.material.data))
    splits = material.splits
    network = steps.load_network(material.labels, settings, multi=False, notify=run.notify)
    pieces, settings = steps.encode(network, material, settings)
    checkpoint = _checkpoint(row, material, settings, run)
    backbone = Backbone(network, pieces, material, settings, checkpoint=checkpoint, progress=run.progress)
    backbone.climb()
    with quiet_transformers():
        backbone.prepare()
    if backbone.start is None:
        run.notify(f"row {row.number}: trains through every block, so that nothing can be stored")
    else:
        backbone.store = shared.reach(backbone)
        shared.rows.append(row.number)
    history = train_tail(backbone, splits.train, splits.validation, "")
    logits = backbone.logits(backbone.tail, splits.test)
    right = logits.argmax(1) == material.truth[splits.test]
    texts = {part: [material.texts[number] for number in getattr(splits, part)] for part in ("train", "test")}
    fresh = ~copied_letters(texts["train"], texts["test"])
    last = history.points[-1]
    if checkpoint:
        checkpoint.discard()
    return {
        "model": settings.model,
        "train": last["train_accuracy"],
        "validation": last["validation_accuracy"],
        "test": _share(right),
        "without_copies": _share(right[fresh]),
        "padded_to": settings.padding if isinstance(settings.padding, int) else None,
        "steps": last["step"],
        "own_seconds": time.perf_counter() - began - (shared.seconds - passed),
        "pass_seconds": shared.seconds if backbone.start is not None else 0.0,
        "history": history.points,
        "notes": [*material.notes, *network.notes],
    }


def _checkpoint(row: Row, material: Material, settings: Settings, run: Run) -> Checkpoint | None:
    """What a stopped run left of this row; of another one's nothing is taken."""
    folder = run.file(row.number).with_suffix(".run")
    try:
        return steps.start_checkpoint(folder, material, settings, resume=True)
    except BundleError:
        run.notify(f"row {row.number}: what was begun of it was begun otherwise; it starts anew")
        return steps.start_checkpoint(folder, material, settings, resume=False)


def _share(right: Any) -> dict[str, Any]:
    """Accuracy of some rows with its 95 % interval."""
    count, rows = int(right.sum()), len(right)
    return {"rows": rows, "accuracy": count / rows if rows else None, "ci95": wilson(count, rows)}


def _told(row: Row, found: dict[str, Any], data: str) -> dict[str, Any]:
    """A row of the document: its facts, what was found and, of the tutorial's own messages, what was published."""
    published = dict(zip(("train", "validation", "test", "minutes"), row.published, strict=True))
    return {
        "row": row.number,
        "change": row.change,
        "settings": dict(row.settings),
        "same_as": row.same_as,
        **found,
        "seconds": found["own_seconds"] + found["pass_seconds"],
        "published": published if data == MESSAGES else None,
    }


def _line(row: Row, found: dict[str, Any]) -> str:
    test = found["test"]
    return f"row {row.number}, {row.change}: {100 * test['accuracy']:.2f} % of {test['rows']} test texts are right"


def _baselines(material: Material, seed: int) -> list[dict[str, Any]]:
    """What needs no language model, on the same rows."""
    splits, classes = material.splits, material.labels
    train, test = ([material.texts[row] for row in part] for part in (splits.train, splits.test))
    truth, held_out = material.truth[splits.train], material.truth[splits.test]
    fresh = ~copied_letters(train, test)
    rule = fit_rule(train, truth, classes=classes, seed=seed)
    lexical = fit_tfidf(train, truth, classes=len(classes), seed=seed)
    cheap: list[tuple[str, Any]] = [(lexical.name, lexical), (f"one-line rule: {rule.sentence}", rule)]
    found = []
    for name, fitted in cheap:
        right = fitted.probabilities(test).argmax(1) == held_out
        found.append({"name": name, "test": _share(right), "without_copies": _share(right[fresh])})
    return found


def _passes(passes: dict[str, _Shared]) -> dict[str, Any]:
    """How often a trunk was run, and for which rows."""
    used = [{"rows": sorted(shared.rows), "seconds": shared.seconds} for shared in passes.values() if shared.rows]
    saved = sum(len(shared.rows) - 1 for shared in passes.values() if shared.rows)
    return {"done": len(used), "saved": saved, "of": used}
