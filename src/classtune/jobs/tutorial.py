"""The tutorial's rows by one job: each trained as the recipe says, on one trunk's pass where rows have the same one.

A row's numbers are those of `train` with the recipe. Finished rows lie in the output folder, one file each, so that a
run which was stopped goes on with the next row, and within a row with the next epoch.
"""

from __future__ import annotations

import hashlib
import json
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
from classtune.config import Progress, Settings, resolve
from classtune.data.audit.copies import copied_letters
from classtune.data.dataset import Material, prepare
from classtune.data.reading.tables import Table
from classtune.errors import BundleError, Interrupted, SettingsError, SourceError, writing
from classtune.files import claimed, replacing, sha256
from classtune.jobs import steps
from classtune.jobs.steps import Notify
from classtune.jobs.tutorial_rows import RECIPE, ROWS, Row
from classtune.model.activations import ActivationStore
from classtune.model.backbone import load_facts, quiet_transformers
from classtune.model.network import Trunk
from classtune.report.tutorial import write_tables
from classtune.sources import fetch_model
from classtune.stats import wilson
from classtune.training.checkpoint import Checkpoint

MESSAGES = "sms-spam"  # the data set that the published figures are of
FIRST_CHOICE, SECOND_CHOICE = "gpt2", "smollm2-135m"
_ROWS_FOLDER, _MARK = "rows", "tutorial.json"
_VERSIONS = ("classtune", "torch", "transformers")


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


@dataclass
class _Run:
    """What the rows of a run have in common."""

    material: Material
    folder: Path
    identity: dict[str, Any]
    notify: Notify
    progress: Progress
    fingerprints: dict[str, str] = field(default_factory=dict)

    def file(self, number: int) -> Path:
        return self.folder / _ROWS_FOLDER / f"{number:02}.json"

    def identity_of(self, settings: Settings) -> dict[str, Any]:
        """What must be equal for a finished row to be this run's."""
        told = settings.model_dump(mode="json")
        if settings.model not in self.fingerprints:
            self.fingerprints[settings.model] = _fingerprint(fetch_model(settings.model))
        return {**self.identity, "settings": told, "weights": self.fingerprints[settings.model]}

    def finished(self, number: int, settings: Settings) -> dict[str, Any] | None:
        """A row that an earlier run finished, if it is the same; what differs is told."""
        try:
            kept = json.loads(self.file(number).read_text(encoding="utf-8"))
            found, told = dict(kept["row"]), dict(kept["identity"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        identity = self.identity_of(settings)
        differing = [name for name in identity if told.get(name) != identity[name]]
        if differing:
            self.notify(f"row {number}: was measured with other {', '.join(differing)}; it is measured again")
            return None
        return found

    def keep(self, number: int, settings: Settings, row: dict[str, Any]) -> None:
        path = self.file(number)
        with writing(path), replacing(path) as scratch:
            text = json.dumps({"identity": self.identity_of(settings), "row": row}, ensure_ascii=False)
            scratch.write_text(text, encoding="utf-8")


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
    Raises SettingsError for rows that the model cannot follow, BundleError for a folder that holds something else,
    Busy where another run writes to it, Interrupted on Ctrl-C, and what reading and training raise.
    """
    began = time.perf_counter()
    name, because = _choose_model(model, notify)
    notify(f"model: {name}{because}")
    told = {"model": name, **(told or {})}
    chosen, skipped = _choose_rows(rows, name, notify)
    for number, reason in skipped.items():
        notify(f"row {number} is skipped: {reason}")
    settings = {row.number: _settings(row, told) for row in chosen}
    with claimed(folder, notify):
        _open(folder, resume=resume, force=force)
        material = prepare(table, next(iter(settings.values())), progress=progress)
        run = _Run(material, folder, _identity(material), notify, progress)
        done: dict[int, dict[str, Any]] = {}
        passes: dict[str, _Shared] = defaultdict(_Shared)
        try:
            for row in _in_order(chosen, settings):
                found = run.finished(row.number, settings[row.number])
                if found is None:
                    if row.same_as in done:
                        found = {**done[row.same_as], "own_seconds": 0.0, "history": []}
                    else:
                        found = _train_row(row, settings[row.number], passes[_trunk_of(settings[row.number])], run)
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
            "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in _VERSIONS}},
            "folder": str(folder),
        }
        write_tables(folder, document)
        return document


def _choose_model(model: str | None, notify: Notify) -> tuple[str, str]:
    """The backbone's name, and why it is that one."""
    if model is not None:
        fetch_model(model, notify=notify)
        return model, ""
    try:
        fetch_model(FIRST_CHOICE, offline=True)
        return FIRST_CHOICE, " (in the cache)"
    except SourceError:
        pass
    try:
        fetch_model(FIRST_CHOICE, notify=notify)
        return FIRST_CHOICE, " (from the hub)"
    except SourceError:
        return SECOND_CHOICE, f" ({FIRST_CHOICE} is not in the cache, and no hub gives it)"


def _open(folder: Path, *, resume: bool, force: bool) -> None:
    """Make the output folder, or take one that this job wrote. Raises BundleError."""
    with writing(folder):
        if folder.exists() and any(folder.iterdir()):
            if not _is_ours(folder / _MARK):
                raise BundleError(f"{folder}: holds something else than the tutorial's rows. Name a new folder.")
            if not (resume or force):
                raise BundleError(
                    f"{folder}: holds rows already. Pass --resume to go on with them, --force to measure them again."
                )
        folder.mkdir(parents=True, exist_ok=True)
        if force:
            for number in ROWS:
                (folder / _ROWS_FOLDER / f"{number:02}.json").unlink(missing_ok=True)
        if not (folder / _MARK).exists():
            (folder / _MARK).write_text("{}\n", encoding="utf-8")


def _is_ours(mark: Path) -> bool:
    """Whether it is what this job writes: an empty object when it begins, and the document in the end."""
    try:
        found = json.loads(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return found == {} or (isinstance(found, dict) and {"model", "splits", "rows", "passes"} <= set(found))


def _choose_rows(asked: Sequence[int] | None, model: str, notify: Notify) -> tuple[list[Row], dict[int, str]]:
    """The rows to run, and why the others are not. Raises SettingsError for asked rows that cannot be followed."""
    facts = load_facts(fetch_model(model))
    reasons = {number: _obstacle(row, model, facts) for number, row in ROWS.items()}
    can = [number for number, reason in reasons.items() if not (reason or ROWS[number].model)]
    if not can:
        raise SettingsError(f"model = {model!r}: {reasons[1]} It can follow no row.")
    if asked is not None and (wrong := [number for number in asked if reasons[number]]):
        problems = [f"row {number} ({ROWS[number].change}): {reasons[number]}" for number in wrong]
        raise SettingsError([*problems, f"{model} can follow rows {', '.join(map(str, can))}."])
    chosen, skipped = [], {}
    for number in asked or ROWS:
        reason = reasons[number] or _missing(ROWS[number], wanted=asked is not None, notify=notify)
        if reason:
            skipped[number] = reason
        else:
            chosen.append(ROWS[number])
    if not chosen:
        raise SourceError([f"row {number}: {reason}" for number, reason in skipped.items()])
    return chosen, skipped


def _obstacle(row: Row, model: str, facts: Any) -> str:
    """Why a row cannot be followed on the architecture of the run's model, or nothing."""
    if row.model is not None:
        return ""
    if facts.family is None:
        return f"classtune cannot cut the architecture {facts.architecture!r}."
    if not row.settings.get("causal_mask", True) and not facts.family.causal:
        return f"{model} is no decoder, so there is no causal mask to take away."
    length = row.settings.get("padding")
    if isinstance(length, int) and length > facts.limit:
        return f"{model} takes {facts.limit:,} tokens."
    blocks = row.settings.get("trainable")
    if isinstance(blocks, int) and blocks > facts.blocks:
        return f"{model} has {facts.blocks} block{'s' * (facts.blocks != 1)}."
    return ""


def _missing(row: Row, *, wanted: bool, notify: Notify) -> str:
    """Why a row's own model is not at hand, or nothing. It is fetched only where the row was asked for."""
    if row.model is None:
        return ""
    try:
        fetch_model(row.model, notify=notify, offline=None if wanted else True)
    except SourceError as error:
        if wanted:
            return f"needs {row.model}. {error.problems[-1]}"
        return f"needs {row.model}, which is not in the cache; name the row to fetch it."
    return ""


def _settings(row: Row, told: dict[str, Any]) -> Settings:
    own = {"model": row.model} if row.model else {}
    return resolve(RECIPE, {**told, **row.settings, **own})


def _trunk_of(settings: Settings) -> str:
    """Equal for rows whose frozen blocks see the same tokens in the same way."""
    return json.dumps([settings.model, settings.weights, settings.padding, settings.causal_mask])


def _in_order(rows: Sequence[Row], settings: dict[int, Settings]) -> list[Row]:
    """Rows with the same trunk together, those that start from the lowest block first; whole networks last."""

    def start(row: Row) -> int:
        trained = settings[row.number].trainable
        return -trained if isinstance(trained, int) else 0

    whole = {row.number for row in rows if settings[row.number].trainable in ("all", "lora")}
    first = {
        trunk: number for number, trunk in reversed([(row.number, _trunk_of(settings[row.number])) for row in rows])
    }
    return sorted(
        rows,
        key=lambda row: (row.number in whole, first[_trunk_of(settings[row.number])], start(row), row.number),
    )


def _train_row(row: Row, settings: Settings, shared: _Shared, run: _Run) -> dict[str, Any]:
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


def _checkpoint(row: Row, material: Material, settings: Settings, run: _Run) -> Checkpoint | None:
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


def _identity(material: Material) -> dict[str, Any]:
    digest = hashlib.sha256()
    for part in (material.splits.train, material.splits.validation, material.splits.test):
        for number in part:
            digest.update(f"{material.truth[number]}\t{material.texts[number]}\n".encode())
        digest.update(b"\n")
    return {"data": digest.hexdigest(), "versions": {name: metadata.version(name) for name in _VERSIONS}}


def _fingerprint(path: Path) -> str:
    """sha256 over a model's configuration, tokenizer and weights."""
    files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.suffix in _MODEL_FILES)
    return hashlib.sha256("".join(sha256(file) for file in files).encode()).hexdigest()


_MODEL_FILES = {".json", ".safetensors", ".gguf", ".txt", ".model"}
