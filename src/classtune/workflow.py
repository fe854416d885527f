"""The main job, step by step: rows → splits → baseline → tokens → depth → trunk → tail → test → bundle.

Each step is one call into the room that does it. Everything a user is shown ends in one result document, which is what
``train --json`` prints and the report draws.
"""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from classtune import bundle
from classtune.config import Progress, Settings
from classtune.data.material import Material, prepare
from classtune.data.tables import Table
from classtune.errors import Interrupted, SettingsError
from classtune.judging.baselines import TfidfBaseline, fit_tfidf
from classtune.judging.metrics import judge
from classtune.judging.report import model_card, write_report
from classtune.judging.verdict import verdict
from classtune.model.activations import ActivationStore, Distinct
from classtune.model.adapters import add_lora
from classtune.model.backbone import load_backbone
from classtune.model.network import Network, Trunk
from classtune.model.tokens import Batch, TokenIds
from classtune.serving.predictor import Predictor
from classtune.sources import fetch_model
from classtune.training.checkpoint import Checkpoint
from classtune.training.depth import DepthChoice, choose_depth
from classtune.training.loop import Examples, History, Rows, fit, logits_of

Notify = Callable[[str], None]

# Texts whose scores are saved with a bundle and checked when it is loaded. Nobody's data: a bundle may be handed on.
GOLDEN_TEXTS = (
    "Thank you, that is very kind of you.",
    "URGENT! Call 0800 123 456 now to claim your prize of 1,000 pounds.",
    "Why was I charged twice for the same order?",
    "ok",
)
_TIMED_TEXTS = 200
_LEAST_PROBED = 50
_SHOWN_MISTAKES = 10
_PACKAGES = ("classtune", "torch", "transformers", "tokenizers", "safetensors", "numpy", "scikit-learn", "peft")


@dataclass
class Trained:
    """A finished run: the network, what predicts with it, and the result document."""

    network: Network
    predictor: Predictor
    labels: list[str]
    settings: Settings
    result: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Write the bundle. Raises BundleError; then nothing is left behind."""
        self.result["bundle"] = str(folder)
        golden = self.predictor.probabilities(GOLDEN_TEXTS).tolist()
        kept = ("data", "splits", "test", "baseline", "verdict", "depth", "trunk", "timing", "versions", "notes")
        record = {"settings": self.settings.model_dump(), **{key: self.result[key] for key in kept}}
        pairs = list(zip(GOLDEN_TEXTS, golden, strict=True))
        bundle.write_bundle(
            folder, self.network, self.labels, record=record, golden=pairs, write_pages=self._write_pages
        )

    def _write_pages(self, folder: Path) -> None:
        write_report(folder / "report.html", self.result)
        (folder / "README.md").write_text(model_card(self.result), encoding="utf-8")


@dataclass
class _Baseline:
    """A fitted baseline and its probabilities on the test rows [rows, labels]."""

    model: TfidfBaseline
    scores: NDArray[np.float64]


class _Clock:
    """Seconds of each step."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def time(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - start

    def read(self) -> dict[str, float]:
        return {"total": time.perf_counter() - self.started, **self.seconds}


def train(
    table: Table,
    settings: Settings,
    *,
    validation: Table | None = None,
    test: Table | None = None,
    run_folder: Path | None = None,
    resume: bool = False,
    notify: Notify,
    progress: Progress,
) -> Trained:
    """Train a classifier on a table.

    validation, test: given rows in place of a share of the table; they are used as they are, and training rows that
    stand in them are left out. run_folder: where checkpoints go; with ``resume`` a run that was stopped there goes on.
    Raises DataError, SettingsError, SourceError or Interrupted.
    """
    clock = _Clock()
    material = prepare(table, settings, validation=validation, test=test)
    told = len(material.notes)
    for note in material.notes:
        notify(note)
    checkpoint = _checkpoint(run_folder, material, settings, resume)
    with clock.time("load"):
        network = load_backbone(fetch_model(settings.model, notify=notify), material.labels, settings)
        network.to(_device(settings.device))
    with clock.time("tokens"):
        ids, settings = _encode(network, material, settings)
    with clock.time("baseline"):
        baseline = _baseline(material, settings)
    try:
        with clock.time("depth"):
            depth = _choose_depth(network, ids, material, settings, checkpoint, progress)
        with clock.time("trunk"):
            start, lora = _prepare_tail(network, settings)
            examples, trunk = _examples(network, ids, material, start, settings, checkpoint, progress)
        tail = network.tail(start)
        with clock.time("epochs"):
            train_rows, validation_rows = material.splits.train, material.splits.validation
            history = fit(
                tail, examples, train_rows, validation_rows, settings, checkpoint=checkpoint, progress=progress
            )
    except KeyboardInterrupt:
        kept = checkpoint.folder if checkpoint and checkpoint.folder.exists() else None
        raise Interrupted(
            f"Stopped. What was finished is in {kept}: give the same command with --resume to go on."
            if kept
            else "Stopped before anything was finished; nothing was written."
        ) from None
    with clock.time("test"):
        scores = _probabilities(logits_of(tail, examples, material.splits.test, progress))
    del examples, tail  # the store and what training needed: the predictor takes their place in memory
    if lora is not None:
        lora.merge_and_unload()
    network.classifier.requires_grad_(False).eval()
    predictor = Predictor(network, material.labels)
    result = _result(network, material, settings, history, depth, trunk)
    if baseline is not None:
        result |= _judgement(material, scores, baseline, predictor)
    for note in result["notes"][told:]:
        notify(note)
    result["timing"] = clock.read()
    return Trained(network, predictor, material.labels, settings, result)


def discard_run(folder: Path) -> None:
    """Remove the checkpoints of a run whose bundle is written."""
    Checkpoint(folder, {}).discard()


def _checkpoint(folder: Path | None, material: Material, settings: Settings, resume: bool) -> Checkpoint | None:
    if folder is None:
        return None
    digest = hashlib.sha256()
    for text, label in zip(material.texts, material.truth, strict=True):
        digest.update(f"{label}\t{text}\n".encode())
    for rows in (material.splits.train, material.splits.validation, material.splits.test):
        digest.update(rows.astype(np.int64).tobytes())
    identity = {"settings": settings.model_dump(mode="json"), "data": digest.hexdigest(), "torch": torch.__version__}
    checkpoint = Checkpoint(folder, identity)
    if not resume:
        checkpoint.discard()
    elif checkpoint.exists():
        checkpoint.check()
    return checkpoint


def _encode(network: Network, material: Material, settings: Settings) -> tuple[list[TokenIds], Settings]:
    """Token ids of every row that is used (others stay empty), padded where the settings say so."""
    splits = material.splits
    used = np.concatenate([splits.train, splits.validation, splits.test])
    texts, places = [material.texts[row] for row in used], [material.places[row] for row in used]
    if settings.padding == "longest":
        longest = max(len(item) for item in network.encoder.encode([material.texts[row] for row in splits.train]))
        settings = settings.model_copy(update={"padding": longest})
        network.encoder.pad_and_cut(longest)
    ids: list[TokenIds] = [np.empty(0, np.int32)] * len(material.texts)
    for row, item in zip(used, network.encoder.encode(texts, places), strict=True):
        ids[row] = item
    material.data["cut"] = cut = network.encoder.texts_cut
    if cut:
        material.notes.append(f"{cut:,} of {len(used):,} texts were cut to {network.encoder.rules.limit:,} tokens.")
    return ids, settings


def _baseline(material: Material, settings: Settings) -> _Baseline | None:
    """The baseline on the same rows; None where there are no test rows to compare on."""
    splits = material.splits
    if len(splits.test) == 0:
        return None
    model = fit_tfidf(
        [material.texts[row] for row in splits.train],
        material.truth[splits.train],
        classes=len(material.labels),
        seed=settings.seed,
        class_weight="balanced" if settings.class_weights == "balanced" else None,
    )
    return _Baseline(model, model.probabilities([material.texts[row] for row in splits.test]).astype(np.float64))


def _choose_depth(
    network: Network,
    ids: list[TokenIds],
    material: Material,
    settings: Settings,
    checkpoint: Checkpoint | None,
    progress: Progress,
) -> DepthChoice:
    """Cut the network where the settings, or the probes, say."""
    all_blocks = DepthChoice(kept=network.depth, of=network.of, texts=0, tokens=0)
    if network.family is None:
        return all_blocks
    if isinstance(settings.depth, int):
        choice = DepthChoice(kept=settings.depth, of=network.of, texts=0, tokens=0)
    elif settings.depth == "all":
        choice = all_blocks
    elif checkpoint and (known := checkpoint.recall("depth")):
        choice = DepthChoice(**known)
    else:
        train = material.splits.train
        rng = np.random.default_rng(settings.seed)
        sample = rng.permutation(train)
        tokens = np.cumsum([len(ids[row]) for row in sample])
        sample = sample[: max(_LEAST_PROBED, int(np.searchsorted(tokens, settings.probe_tokens)))]
        floor = settings.trainable if isinstance(settings.trainable, int) else 1
        choice = choose_depth(
            network,
            [ids[row] for row in sample],
            material.truth[sample],
            floor=floor,
            seed=settings.seed,
            progress=progress,
        )
        if checkpoint:
            checkpoint.remember("depth", choice.__dict__)
    network.cut(choice.kept)
    gain = choice.richer.get("gain", 0.0)
    if settings.pooling == "auto" and gain > 2 * choice.richer.get("se", 0.0):
        material.notes.append(
            f"Probes: last+mean pooling would gain {100 * gain:.1f} points of accuracy "
            f"(± {200 * choice.richer['se']:.1f}). Take it with --pooling last+mean; "
            "the bundle is then read by classtune only."
        )
    return choice


def _prepare_tail(network: Network, settings: Settings) -> tuple[int | None, Any]:
    """Freeze what is not trained. Gives the block the tail starts from (None: it is the whole network), and LoRA."""
    trainable, lora = settings.trainable, None
    start = {"head": network.depth, "all": None, "lora": network.depth}.get(str(trainable))
    if isinstance(trainable, int):
        start = network.depth - trainable
    network.freeze(start)
    if trainable == "lora":
        lora = add_lora(network, rank=settings.lora_rank, alpha=settings.lora_alpha, dropout=settings.dropout)
        start = None
    if not network.prove_split(start, GOLDEN_TEXTS):
        start = None
    return start, lora


def _examples(
    network: Network,
    ids: list[TokenIds],
    material: Material,
    start: int | None,
    settings: Settings,
    checkpoint: Checkpoint | None,
    progress: Progress,
) -> tuple[Examples, dict[str, Any] | None]:
    """What the tail is trained on (activations stored or made anew, or token ids), and the trunk's facts."""
    lengths = np.array([len(item) for item in ids], dtype=np.int64)

    def encoded(rows: Rows) -> Batch:
        return network.encoder.batch([ids[row] for row in rows]).to(network.device)

    if start is None:
        return Examples(encoded, material.truth, lengths), None
    trunk = Trunk(network, start)
    if not settings.cache:

        def computed(rows: Rows) -> Batch:
            batch = encoded(rows)
            return Batch(trunk(batch).clone(), batch.mask, batch.last)

        return Examples(computed, material.truth, lengths), None
    limit = None if settings.store_limit_mb is None else settings.store_limit_mb * 2**20
    store = ActivationStore(network, Distinct.of(ids), limit)
    keep = checkpoint.folder / "activations.npy" if checkpoint else None
    if checkpoint and keep and keep.exists() and checkpoint.recall("trunk") == start:
        store.restore(keep)
    else:
        store.fill(trunk, progress, keep=keep)
        if checkpoint:
            checkpoint.remember("trunk", start)
    facts = {
        "texts": len(store.distinct.ids),
        "tokens": store.tokens_passed,
        "distinct_tokens": store.distinct.tokens,
        "seconds": store.seconds,
        "on_disk": store.on_disk,
    }
    return Examples(lambda rows: store.batch(rows).to(network.device), material.truth, lengths), facts


def _result(
    network: Network,
    material: Material,
    settings: Settings,
    history: History,
    depth: DepthChoice,
    trunk: dict[str, Any] | None,
) -> dict[str, Any]:
    """The result document of a run that was not tested, but for its timing."""
    return {
        "bundle": None,
        "data": material.data,
        "splits": material.splits.sizes(),
        "labels": material.labels,
        "test": None,
        "baseline": None,
        "verdict": None,
        "depth": {
            "kept": network.depth,
            "of": network.of,
            "texts": depth.texts,
            "tokens": depth.tokens,
            "curve": depth.curve,
        },
        "trunk": trunk,
        "training": {
            "history": history.points,
            "best_epoch": history.best_epoch,
            "epochs": history.epochs,
            "stopped": history.stopped,
        },
        "mistakes": [],
        "settings": settings.model_dump(),
        "cut_texts": material.data["cut"],
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}},
        "notes": [*material.notes, *network.notes],
        "hugging_face": network.is_hugging_face,
    }


def _judgement(
    material: Material, scores: NDArray[np.float64], baseline: _Baseline, predictor: Predictor
) -> dict[str, Any]:
    """What the test rows say of model and baseline, and what a text costs either."""
    rows = material.splits.test
    truth, texts = material.truth[rows], [material.texts[row] for row in rows[:_TIMED_TEXTS]]
    test = judge(scores, truth, material.labels)
    beside = {"name": baseline.model.name, **judge(baseline.scores, truth, material.labels)}
    ours = _seconds(lambda: predictor.probabilities(texts)) / len(texts)
    theirs = _seconds(lambda: baseline.model.probabilities(texts)) / len(texts)
    outcome = verdict(
        test,
        beside,
        scores.argmax(1) == truth,
        baseline.scores.argmax(1) == truth,
        cost_ratio=ours / theirs,
    )
    return {
        "test": test,
        "baseline": beside,
        "verdict": {**outcome, "ms_per_text": 1e3 * ours, "baseline_ms_per_text": 1e3 * theirs},
        "mistakes": _mistakes(material, scores),
    }


def _mistakes(material: Material, scores: NDArray[np.float64]) -> list[dict[str, Any]]:
    """The test rows that the model got wrong with the most confidence."""
    rows = material.splits.test
    guess, truth = scores.argmax(1), material.truth[rows]
    wrong = np.flatnonzero(guess != truth)
    worst = wrong[np.argsort(-scores[wrong, guess[wrong]], kind="stable")][:_SHOWN_MISTAKES]
    return [
        {
            "text": material.texts[rows[index]],
            "truth": material.labels[truth[index]],
            "label": material.labels[guess[index]],
            "score": float(scores[index, guess[index]]),
        }
        for index in worst
    ]


def _probabilities(logits: torch.Tensor) -> NDArray[np.float64]:
    result: NDArray[np.float64] = torch.softmax(logits.double(), dim=1).numpy()
    return result


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        return torch.empty(0, device=wanted).device
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"device = {wanted!r}: cannot be used here ({str(error).splitlines()[0]}).") from None
