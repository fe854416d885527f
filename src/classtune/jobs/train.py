"""The main job: rows → splits → baseline → tokens → depth → trunk → tail → calibration → test → bundle."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from classtune import bundle
from classtune.config import Progress, Settings
from classtune.data.dataset import Material, prepare
from classtune.data.reading.tables import Table
from classtune.decisions.decide import Decisions, Wishes, decide, read_wishes
from classtune.errors import Interrupted
from classtune.explain.neighbours import MOST_TEXTS, Neighbours
from classtune.inference.predictor import Predictor
from classtune.jobs import results, steps
from classtune.jobs.rungs import Rungs
from classtune.jobs.steps import Clock, Notify, Scores
from classtune.model.activations import StoreTooLarge
from classtune.model.network import Network
from classtune.model.tokens import Pieces
from classtune.report.page import model_card, write_report
from classtune.training.checkpoint import Checkpoint
from classtune.training.extensions import NOTHING, Extensions
from classtune.training.loop import Examples, fit

# Texts that a bundle keeps to compare exports on: enough to see a label in 500 change.
HELD_OUT_TEXTS = 1000


@dataclass
class Trained:
    """A finished run: the network, what predicts with it, and the result document.

    validation: logits of the validation rows [rows, labels] and their truth, for decisions that are taken later.
    neighbours, held_out: training texts and others that the bundle keeps, where it may.
    """

    network: Network
    predictor: Predictor
    labels: list[str]
    settings: Settings
    result: dict[str, Any]
    validation: tuple[Scores, Any]
    neighbours: Neighbours | None
    held_out: list[str]

    def save(self, folder: Path, *, force: bool = False) -> None:
        """Write the bundle. force: in the place of one that stands there. Raises BundleError; then nothing is left."""
        self.result["bundle"] = str(folder)
        golden = self.predictor.probabilities(steps.GOLDEN_TEXTS).tolist()
        record = {"settings": self.settings.model_dump(), **{key: self.result[key] for key in results.RECORDED}}
        with bundle.new_bundle(folder, force=force) as scratch:
            bundle.write_model(scratch, self.network)
            bundle.write_validation(scratch, *self.validation)
            quotes = f"{bundle.TEXTS}/{bundle.REPORT}" if self.settings.keep_texts else None
            write_report(scratch / bundle.REPORT, bundle.without_quotes(self.result) | {"quotes": quotes})
            (scratch / bundle.CARD).write_text(model_card(self.result), encoding="utf-8")
            if self.settings.keep_texts:
                self._write_texts(scratch / bundle.TEXTS)
            pairs = list(zip(steps.GOLDEN_TEXTS, golden, strict=True))
            bundle.write_record(scratch, self.network, self.labels, record, pairs)

    def _write_texts(self, folder: Path) -> None:
        """Whatever quotes rows of the table."""
        folder.mkdir()
        if self.neighbours is not None:
            self.neighbours.save(folder)
        if self.held_out:
            bundle.write_held_out(folder, self.held_out)
        quotes = {"findings": self.result["data"]["findings"], "mistakes": self.result["mistakes"]}
        (folder / bundle.QUOTES).write_text(json.dumps(quotes, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        write_report(folder / bundle.REPORT, self.result)


def train(
    table: Table,
    settings: Settings,
    *,
    validation: Table | None = None,
    test: Table | None = None,
    run_folder: Path | None = None,
    resume: bool = False,
    extensions: Extensions = NOTHING,
    notify: Notify,
    progress: Progress,
) -> Trained:
    """Train a classifier on a table.

    validation, test: given rows in place of a share of the table; they are used as they are, and training rows that
    stand in them are left out. run_folder: where checkpoints go; with ``resume`` a run that was stopped there goes on.
    extensions: the caller's own loss, optimizer, metrics and callback.
    Raises DataError, SettingsError, SourceError or Interrupted.
    """
    clock = Clock()
    with clock.time("audit"):
        material = prepare(table, settings, validation=validation, test=test, progress=progress)
    told = len(material.notes)
    for note in material.notes:
        notify(note)
    wishes = Wishes(**{wish.name: getattr(settings, wish.name) for wish in fields(Wishes)})
    shares = steps.label_shares(material, settings)
    read_wishes(wishes, material.labels, shares, material.multi, rows=len(material.splits.validation))
    checkpoint = steps.start_checkpoint(run_folder, material, settings, resume, extensions.names(), notify)
    if resume and not (run_folder and run_folder.exists()):
        notify("There is no stopped run to go on with: starting anew.")
    with clock.time("load"):
        network = steps.load_network(material.labels, settings, multi=material.multi, notify=notify)
    with clock.time("tokens"):
        pieces, settings = steps.encode(network, material, settings)
    rungs = Rungs(material, settings) if len(material.splits.test) else None
    if rungs is not None:
        with clock.time("baseline"):
            rungs.add_cheap()
    try:
        with clock.time("depth"):
            depth = steps.choose(network, pieces, material, settings, checkpoint, progress)
        with clock.time("trunk"):
            start, lora = steps.prepare_tail(network, settings)
            examples, trunk = _examples(network, pieces, material, start, settings, checkpoint, progress, notify)
        tail = network.tail(start)
        train_rows, validation_rows = material.splits.train, material.splits.validation
        with clock.time("epochs"):
            history = fit(
                tail,
                examples,
                pieces.rows(train_rows),
                pieces.rows(validation_rows),
                settings,
                checkpoint=checkpoint,
                extensions=extensions,
                progress=progress,
            )
    except KeyboardInterrupt:
        kept = checkpoint.folder if checkpoint and checkpoint.folder.exists() else None
        raise Interrupted(
            f"Stopped. What was finished is in {kept}: give the same command with --resume to go on."
            if kept
            else "Stopped before anything was finished; nothing was written."
        ) from None
    with clock.time("test"):
        held_out = steps.logits_of_rows(tail, examples, pieces, validation_rows)
        logits = steps.logits_of_rows(tail, examples, pieces, material.splits.test, progress)
        neighbours = _neighbours(tail, examples, pieces, material, settings) if settings.keep_texts else None
    del examples, tail  # the store and what training needed: the predictor takes their place in memory
    if lora is not None:
        lora.merge_and_unload()
    network.classifier.requires_grad_(False).eval()
    networks = history.epochs if settings.keep_best else 1
    with clock.time("calibration"):
        decisions = decide(
            held_out,
            material.truth[validation_rows],
            material.labels,
            wishes,
            trained_prior=shares,
            multi=material.multi,
            seed=settings.seed,
            networks=networks,
        )
    predictor = Predictor(network, material.labels, decisions)
    result = results.result(network, material, settings, history, depth, trunk, decisions)
    result |= {"networks": networks, "keeps_texts": settings.keep_texts}
    result |= {
        "extensions": extensions.names(),
        "metrics": _own_metrics(extensions, material, decisions, held_out, logits),
    }
    if rungs is not None:
        with clock.time("judging"):
            result |= results.judgement(material, logits, rungs, predictor, clock.read()["total"])
        if result["copies"]:
            result["notes"].append(result["copies"]["sentence"])
    for note in result["notes"][told:]:
        notify(note)
    result["timing"] = clock.read()
    truth = material.truth[validation_rows]
    others = _held_out_texts(material) if settings.keep_texts else []
    return Trained(network, predictor, material.labels, settings, result, (held_out, truth), neighbours, others)


def _own_metrics(
    extensions: Extensions, material: Material, decisions: Decisions, validation: Scores, test: Scores
) -> dict[str, dict[str, float | None]]:
    """The caller's metrics by split, then name; empty where none were given."""
    if not extensions.metrics:
        return {}
    splits = {"validation": (validation, material.splits.validation), "test": (test, material.splits.test)}
    return {
        name: extensions.figures(material.truth[rows], decisions.probabilities(logits))
        for name, (logits, rows) in splits.items()
        if len(rows)
    }


def _held_out_texts(material: Material) -> list[str]:
    """At most HELD_OUT_TEXTS different texts of test and validation rows, evenly from all."""
    rows = np.concatenate([material.splits.test, material.splits.validation])
    texts = list(dict.fromkeys(material.texts[row] for row in rows))
    count = min(len(texts), HELD_OUT_TEXTS)
    return [texts[place * len(texts) // count] for place in range(count)]


def discard_run(folder: Path) -> None:
    """Remove the checkpoints of a run whose bundle is written."""
    Checkpoint(folder, {}).discard()


def _examples(
    network: Network,
    pieces: Pieces,
    material: Material,
    start: int | None,
    settings: Settings,
    checkpoint: Checkpoint | None,
    progress: Progress,
    notify: Notify,
) -> tuple[Examples, dict[str, Any] | None]:
    """What the tail is trained on (activations stored or made anew, or token ids), and the trunk's facts."""
    if start is None or not settings.cache:
        return steps.computed(network, pieces, material, start), None
    try:
        store = steps.fill_store(network, pieces, start, settings, checkpoint, progress, notify)
    except StoreTooLarge as error:
        notify(f"{error} Until then the trunk runs again for each of up to {settings.epochs} epochs.")
        return steps.computed(network, pieces, material, start), None
    return steps.stored(store, pieces, material), store.facts()


def _neighbours(
    tail: nn.Module, examples: Examples, pieces: Pieces, material: Material, settings: Settings
) -> Neighbours | None:
    """The training texts by what goes into the head; None for a network that is not run in parts."""
    if not hasattr(tail, "head"):
        return None
    texts = [material.texts[row] for row in material.splits.train]
    _, first = np.unique(texts, return_index=True)  # of copies, one
    if len(first) > MOST_TEXTS:
        first = np.random.default_rng(settings.seed).choice(first, MOST_TEXTS, replace=False)
    rows = material.splits.train[np.sort(first)]
    head, tail.head = tail.head, nn.Identity()
    try:
        with torch.inference_mode():
            states = steps.logits_of_rows(tail, examples, pieces, rows)
    finally:
        tail.head = head
    labels = [results.names_of(material, row) for row in rows]
    return Neighbours.of(states, [material.texts[row] for row in rows], labels)
