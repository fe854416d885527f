"""The main job: rows → splits → candidates → choice → calibration → test → bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from classtune import bundle
from classtune.bundle import Member
from classtune.candidates.backbone import GOLDEN_TEXTS, Backbone
from classtune.candidates.folds import HeldOut, judged_by_all
from classtune.config import Progress, Settings
from classtune.config.areas import DecisionSettings
from classtune.data.dataset import Material, prepare
from classtune.data.reading.cells import PART_END
from classtune.data.reading.tables import Table
from classtune.data.splits import Rows
from classtune.data.versions import Earlier, RowHashes
from classtune.decisions.decide import decide, read_wishes
from classtune.decisions.decisions import Decisions
from classtune.errors import BundleError, Interrupted, require
from classtune.explain.neighbours import MOST_TEXTS, Neighbours
from classtune.export.folding import fold_calibration, folded_logits
from classtune.inference.predictor import Predictor, predictor_of
from classtune.inference.yardstick import Yardstick
from classtune.jobs import results, steps
from classtune.jobs.backbones import Backbones, check_keep
from classtune.jobs.contest import Contest
from classtune.jobs.drift import yardstick_of
from classtune.jobs.foreign import about_languages
from classtune.jobs.more_rows import curve_of
from classtune.jobs.steps import Clock, Crew, Notify, Scores
from classtune.model.network import Network
from classtune.report.page import figures_of, model_card, write_report
from classtune.result import Result
from classtune.training.extensions import NOTHING, Extensions

# With fewer rows to learn from, a share for validation would decide everything by too few: all are judged in turn.
ROWS_TO_SPARE = 1500
# Texts that a bundle keeps to compare exports on: enough to see a label in 500 change.
HELD_OUT_TEXTS = 1000


@dataclass
class Trained:
    """A finished run: the members of the classifier, what predicts with them, and the result document.

    validation: logits of the held-out rows [rows, labels] and their truth, for decisions that are taken later.
    rows: hashes of its labelled texts. yardstick: what later texts are compared with. neighbours, held_out: training
    texts and others that the bundle keeps, where it may.
    """

    members: list[Member]
    predictor: Predictor
    labels: list[str]
    settings: Settings
    result: Result
    validation: tuple[Scores, Any]
    rows: RowHashes
    yardstick: Yardstick | None
    neighbours: Neighbours | None
    held_out: list[str]

    @property
    def network(self) -> Network:
        """The main network. Raises BundleError where the classifier has none."""
        networks = [member.model for member in self.members if isinstance(member.model, Network)]
        if not networks:
            raise BundleError("This classifier holds no network: TF-IDF alone was as good.")
        return networks[0]

    def save(self, folder: Path, *, force: bool = False) -> None:
        """Write the bundle. force: in the place of one that stands there. Raises BundleError; then nothing is left."""
        self.result.bundle = str(folder)
        texts = [*GOLDEN_TEXTS, *([PART_END.join(GOLDEN_TEXTS[:2])] if self.predictor.pairs else [])]
        golden = self.predictor.probabilities(texts).tolist()
        with bundle.new_bundle(folder, force=force) as scratch:
            bundle.write_validation(scratch, *self.validation)
            bundle.write_rows(scratch, self.rows)
            if self.yardstick is not None:
                self.yardstick.save(scratch)
            quotes = f"{bundle.TEXTS}/{bundle.REPORT}" if self.settings.keep_texts else None
            figures = figures_of(self.result)
            write_report(scratch / bundle.REPORT, self.result.without_quotes(), quotes=quotes, figures=figures)
            (scratch / bundle.CARD).write_text(model_card(self.result), encoding="utf-8")
            if self.settings.keep_texts:
                self._write_texts(scratch / bundle.TEXTS, figures)
            scored = list(zip(texts, golden, strict=True))
            bundle.write_record(scratch, self.members, self.labels, self.result.record(), scored)

    def _write_texts(self, folder: Path, figures: Mapping[str, str]) -> None:
        """Whatever quotes rows of the table. figures: of the report."""
        folder.mkdir()
        if self.neighbours is not None:
            self.neighbours.save(folder)
        if self.held_out:
            bundle.write_held_out(folder, self.held_out)
        document = self.result.document()
        quotes = {"findings": document["data"]["findings"], "mistakes": document["mistakes"]}
        (folder / bundle.QUOTES).write_text(json.dumps(quotes, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        write_report(folder / bundle.REPORT, self.result, figures=figures)


def train(
    table: Table,
    settings: Settings,
    *,
    validation: Table | None = None,
    test: Table | None = None,
    earlier: Earlier | None = None,
    run_folder: Path | None = None,
    resume: bool = False,
    extensions: Extensions = NOTHING,
    crew: Crew | None = None,
    notify: Notify,
    progress: Progress,
) -> Trained:
    """Train a classifier on a table.

    validation, test: given rows in place of a share of the table; they are used as they are, and training rows that
    stand in them are left out. earlier: see `prepare`. run_folder: where checkpoints go; with ``resume`` a run that was
    stopped there goes on. extensions: the caller's own loss, optimizer, metrics and callback. crew: other processes
    that take a share of the pass.
    Raises DataError, SettingsError, SourceError or Interrupted.
    """
    if settings.tune is not None:
        require("tune", "tune", "optuna")
    steps.check_shard(settings)
    check_keep(settings, beside=bool(table.beside))
    clock = Clock()
    settings = without_spare_rows(settings, table, validation)
    with clock.time("audit"):
        material = prepare(table, settings, validation=validation, test=test, earlier=earlier, progress=progress)
    for note in material.notes:
        notify(note)
    with clock.time("languages"):
        if foreign := about_languages(material.texts, settings, seed=settings.seed):
            material.notes.append(foreign)
            notify(foreign)
    told = len(material.notes)
    held_out = HeldOut.of(material, settings, given=validation is not None)
    wishes: DecisionSettings = settings
    shares = steps.label_shares(material, settings)
    read_wishes(wishes, material.labels, shares, material.multi, rows=len(held_out.rows))
    checkpoint = steps.start_checkpoint(run_folder, material, settings, resume, extensions.names(), notify)
    if resume and not (run_folder and run_folder.exists()):
        notify("There is no stopped run to resume: starting anew.")
    contest = Contest(material, settings, held_out, clock, notify, progress, crew)
    with clock.time("baseline"):
        contest.add_cheap()
    try:
        Backbones(contest, checkpoint, extensions).add()
    except KeyboardInterrupt:
        kept = checkpoint.folder if checkpoint and checkpoint.folder.exists() else None
        raise Interrupted(
            f"Stopped. What was finished is in {kept}: give the same command with --resume to go on."
            if kept
            else "Stopped before anything was finished; nothing was written."
        ) from None
    choice = contest.choose()
    with clock.time("epochs"):
        contest.teach_again(choice)
    judged, tested = contest.logits(choice)
    members = contest.members(choice)
    with clock.time("calibration"):

        def decided(logits: Scores, wishes: DecisionSettings) -> Decisions:
            options: dict[str, Any] = {"multi": material.multi, "seed": settings.seed, "networks": contest.compared}
            rows = judged_by_all([logits])
            options["groups"] = material.groups[held_out.rows[rows]]
            return decide(logits[rows], contest.truth[rows], material.labels, wishes, trained_prior=shares, **options)

        decisions = decided(judged, wishes)
    known = judged_by_all([judged])
    judged, truth = judged[known], contest.truth[known]
    shipped = _folded(members, decisions)
    predictor = predictor_of(members, material.labels, shipped)
    main = contest.main(choice)
    with clock.time("explanations"):
        neighbours = _neighbours(main, material, settings) if main is not None and settings.keep_texts else None
        yardstick = yardstick_of(material, decisions, main, held_out.final, tested, judged, seed=settings.seed)
    result = results.result(contest, choice, main, decisions, extensions)
    with clock.time("learning curve"):
        result.learning_curve = curve_of(contest, choice)
    contest.close()
    result.metrics = _own_metrics(extensions, material, decisions, (judged, held_out.rows[known]), tested)
    if len(material.splits.test):
        with clock.time("judging"):
            results.judge_run(result, contest, choice, tested, decided, predictor, wishes)
    for note in result.notes[told:]:
        if note not in contest.notes:
            notify(note)
    result.decisions = shipped
    result.timing = clock.read()
    others = _held_out_texts(material) if settings.keep_texts else []
    used = settings if main is None else main.settings
    hashes = RowHashes.of(material.texts, material.splits.test)
    own = folded_logits(shipped, judged), truth
    return Trained(members, predictor, material.labels, used, result, own, hashes, yardstick, neighbours, others)


def _folded(members: list[Member], decisions: Decisions) -> Decisions:
    """What is left of the decisions once a network that ships alone carries the calibration in its head.

    Then every reader of its folder computes the probabilities that classtune gives.
    """
    alone = members[0].model if len(members) == 1 else None
    return fold_calibration(alone, decisions) if isinstance(alone, Network) else decisions


def without_spare_rows(settings: Settings, table: Table, validation: Table | None) -> Settings:
    """Settings without a validation share where the table is too small to spare one: cross-validation judges then."""
    chosen = "validation" in settings.model_fields_set or validation is not None
    if chosen or settings.candidates == "one" or settings.split != "grouped":
        return settings
    small = len(table.texts) * (1 - settings.test) < ROWS_TO_SPARE
    return settings.model_copy(update={"validation": 0.0}) if small else settings


def _own_metrics(
    extensions: Extensions, material: Material, decisions: Decisions, held_out: tuple[Scores, Rows], test: Scores
) -> dict[str, dict[str, float | None]]:
    """The caller's metrics by split, then name; empty where none were given."""
    if not extensions.metrics:
        return {}
    splits = {"validation": held_out, "test": (test, material.splits.test)}
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


def _neighbours(backbone: Backbone, material: Material, settings: Settings) -> Neighbours | None:
    """The training texts by what goes into the main network's head; None for a network that is not run in parts."""
    if backbone.network.whole:
        return None
    train = backbone.taught
    texts = [material.texts[row] for row in train]
    _, first = np.unique(texts, return_index=True)  # of copies, one
    if len(first) > MOST_TEXTS:
        first = np.random.default_rng(settings.seed).choice(first, MOST_TEXTS, replace=False)
    rows = train[np.sort(first)]
    labels = [material.label_of(row) for row in rows]
    return Neighbours.of(backbone.pooled_states(rows), [material.texts[row] for row in rows], labels)
