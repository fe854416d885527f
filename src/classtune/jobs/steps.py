"""The steps that jobs share: rows → pieces → depth → trunk → tail. Each is one call into the room that does it."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from classtune.config import Progress, Settings
from classtune.data.dataset import Material
from classtune.files import sha256
from classtune.model.activations import ActivationStore, Distinct
from classtune.model.adapters import add_lora, require_lora
from classtune.model.backbone import load_backbone
from classtune.model.device import device_of
from classtune.model.network import Network, Trunk
from classtune.model.tokens import Batch, Pieces
from classtune.sources import fetch_model
from classtune.training.checkpoint import Checkpoint
from classtune.training.depth import DepthChoice, choose_depth
from classtune.training.loop import Examples, Rows, logits_of

Notify = Callable[[str], None]
Scores = NDArray[np.float64]

# Texts whose scores are saved with a bundle and checked when it is loaded. Nobody's data: a bundle may be handed on.
GOLDEN_TEXTS = (
    "Thank you, that is very kind of you.",
    "URGENT! Call 0800 123 456 now to claim your prize of 1,000 pounds.",
    "Why was I charged twice for the same order?",
    "ok",
)
_LEAST_PROBED = 50
_ACTIVATIONS = "activations.npy"
_PACKAGES = ("classtune", "torch", "transformers", "tokenizers", "safetensors", "numpy", "scikit-learn", "peft")
_MODEL_FILES = {".safetensors", ".json", ".txt", ".model", ".gguf"}


class Clock:
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


def start_checkpoint(
    folder: Path | None,
    material: Material,
    settings: Settings,
    resume: bool,
    extensions: Mapping[str, str] | None = None,
    notify: Notify = lambda line: None,
) -> Checkpoint | None:
    """Where a run that is stopped leaves what it has; None where nothing is kept.

    extensions: what a caller brought in place of settings, by name.
    Raises BundleError where the folder is not a run's, or to resume is another run's.
    """
    if folder is None:
        return None
    digest = hashlib.sha256()
    for text, truth in zip(material.texts, material.truth, strict=True):
        digest.update(f"{truth.tolist()}\t{text}\n".encode())
    for rows in (material.splits.train, material.splits.validation, material.splits.test):
        digest.update(rows.astype(np.int64).tobytes())
    identity = {
        "settings": settings.model_dump(mode="json"),
        "data": digest.hexdigest(),
        "weights": fingerprint(fetch_model(settings.model, notify=notify)),
        "versions": versions(),
        "extensions": dict(extensions or {}),
    }
    checkpoint = Checkpoint(folder, identity, notify)
    checkpoint.begin(resume=resume)
    return checkpoint


def versions() -> dict[str, str]:
    """Versions of Python and of what the figures depend on, as far as it is installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def fingerprint(model: Path) -> str:
    """sha256 over the names and contents of a model's files."""
    files = [model] if model.is_file() else sorted(path for path in model.iterdir() if path.suffix in _MODEL_FILES)
    found = hashlib.sha256()
    for path in files:
        if path.is_file():
            found.update(f"{path.name} {sha256(path)}\n".encode())
    return found.hexdigest()


def load_network(labels: list[str], settings: Settings, *, multi: bool, notify: Notify) -> Network:
    """The backbone with a new head, on its device. Raises UserError where LoRA is asked for and not installed."""
    if settings.trainable == "lora":
        require_lora()
    network = load_backbone(fetch_model(settings.model, notify=notify), labels, settings, multi=multi)
    network.to(device_of(settings.device))
    return network


def encode(network: Network, material: Material, settings: Settings) -> tuple[Pieces, Settings]:
    """Pieces of every row that is used, by row; padded where the settings say so (which are then told the length)."""
    splits, encoder = material.splits, network.encoder
    used = np.concatenate([splits.train, splits.validation, splits.test])
    texts, places = [material.texts[row] for row in used], [material.places[row] for row in used]
    if settings.padding == "longest":
        longest = max(len(item) for item in encoder.encode([material.texts[row] for row in splits.train]))
        settings = settings.model_copy(update={"padding": longest})
        encoder.pad_and_cut(longest)
    pieces = encoder.pieces(texts, places)
    material.data |= {"cut": encoder.texts_cut, "cut_tokens": encoder.tokens_cut, "windowed": encoder.texts_windowed}
    if encoder.texts_cut:
        kept = {"head": "beginning", "tail": "end", "both": "beginning and end"}[encoder.rules.truncate]
        material.notes.append(
            f"{encoder.texts_cut:,} of {len(used):,} texts were cut to {encoder.rules.limit:,} tokens, their {kept}; "
            f"{encoder.tokens_cut:,} tokens were lost."
        )
    if encoder.texts_windowed:
        material.notes.append(
            f"{encoder.texts_windowed:,} of {len(used):,} texts are read in windows of {encoder.rules.limit:,} tokens."
        )
    return Pieces(pieces.ids, used[pieces.of_text]), settings


def label_shares(material: Material, settings: Settings) -> Scores:
    """The shares of the labels that the network learns [labels]: those of the training rows, or equal ones."""
    truth = material.truth[material.splits.train]
    if material.multi:
        return np.asarray(truth.mean(0), dtype=np.float64)
    if settings.class_weights == "balanced":
        return np.full(len(material.labels), 1 / len(material.labels))
    return np.bincount(truth, minlength=len(material.labels)) / len(truth)


def choose(
    network: Network,
    pieces: Pieces,
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
        sample = np.random.default_rng(settings.seed).permutation(pieces.rows(material.splits.train))
        tokens = np.cumsum([len(pieces.ids[piece]) for piece in sample])
        sample = sample[: max(_LEAST_PROBED, int(np.searchsorted(tokens, settings.probe_tokens)))]
        choice = choose_depth(
            network,
            [pieces.ids[piece] for piece in sample],
            material.truth[pieces.of_text[sample]],
            floor=settings.trainable if isinstance(settings.trainable, int) else 1,
            seed=settings.seed,
            progress=progress,
        )
        if checkpoint:
            checkpoint.remember("depth", choice.__dict__)
    network.cut(choice.kept)
    gain = choice.richer.get("gain", 0.0)
    if settings.pooling == "auto" and gain > 2 * choice.richer.get("se", 0.0):
        figure = "ranking precision" if material.multi else "accuracy"
        material.notes.append(
            f"Probes: last+mean pooling would gain {100 * gain:.1f} points of {figure} "
            f"(± {200 * choice.richer['se']:.1f}). Take it with --pooling last+mean; "
            "the bundle is then read by classtune only."
        )
    return choice


def tail_start(network: Network, settings: Settings) -> int | None:
    """The block that the tail starts from; None: it is the whole network."""
    if isinstance(settings.trainable, int):
        return network.depth - settings.trainable
    if settings.trainable == "lora" and settings.lora_blocks != "all":
        return max(0, network.depth - settings.lora_blocks)
    return network.depth if settings.trainable == "head" else None


def unfreeze(network: Network, settings: Settings, start: int | None) -> Any:
    """Train what the settings say from block ``start`` on, and nothing else. Gives the LoRA that was put in, if any."""
    if settings.trainable != "lora":
        network.freeze(start)
        return None
    network.freeze(network.depth)
    return add_lora(
        network, rank=settings.lora_rank, alpha=settings.lora_alpha, dropout=settings.dropout, start=start or 0
    )


def prepare_tail(network: Network, settings: Settings) -> tuple[int | None, Any]:
    """Freeze what is not trained. Gives the block that the tail starts from, and the LoRA that was put in, if any."""
    start = tail_start(network, settings)
    lora = unfreeze(network, settings, start)
    if not network.prove_split(start, GOLDEN_TEXTS):
        start = None
    return start, lora


def fill_store(
    network: Network,
    pieces: Pieces,
    start: int,
    settings: Settings,
    checkpoint: Checkpoint | None,
    progress: Progress,
    notify: Notify | None = None,
) -> ActivationStore:
    """Run the trunk below block ``start`` once over every distinct piece, or take what a stopped run kept."""
    limit = None if settings.store_limit_mb is None else settings.store_limit_mb * 2**20
    distinct = Distinct.of(pieces.ids)
    store = ActivationStore.fitting(network, distinct, limit, precision=settings.store, start=start)
    keep = checkpoint.folder / _ACTIVATIONS if checkpoint else None
    if checkpoint and keep and checkpoint.recall("trunk", file=_ACTIVATIONS) == start:
        store.restore(keep)
    else:
        store.fill(Trunk(network, start), progress, notify)
        if checkpoint and not store.on_disk:
            with checkpoint.replacing(_ACTIVATIONS) as scratch, scratch.open("wb") as file:
                np.save(file, store.values, allow_pickle=False)
            checkpoint.remember("trunk", start, file=_ACTIVATIONS)
    return store


def stored(store: ActivationStore, pieces: Pieces, material: Material) -> Examples:
    """Stored activations as what a tail is trained on."""

    def batch(numbers: Rows) -> Batch:
        return store.batch(numbers).to(store.network.device)

    return Examples(batch, *_truth_and_lengths(pieces, material))


def computed(network: Network, pieces: Pieces, material: Material, start: int | None) -> Examples:
    """What a tail is trained on, made anew each time: token ids, or (where ``start`` is told) what the trunk gives."""
    trunk = None if start is None else Trunk(network, start)

    def batch(numbers: Rows) -> Batch:
        tokens = network.encoder.batch([pieces.ids[number] for number in numbers]).to(network.device)
        return tokens if trunk is None else Batch(trunk(tokens).clone(), tokens.mask, tokens.last)

    return Examples(batch, *_truth_and_lengths(pieces, material))


def logits_of_rows(
    tail: torch.nn.Module, examples: Examples, pieces: Pieces, rows: Rows, progress: Progress | None = None
) -> Scores:
    """Logits of some rows [rows, labels]."""
    logits = logits_of(tail, examples, pieces.rows(rows), progress)
    result: Scores = pieces.pooled(logits.double(), rows).numpy()
    return result


def seconds(work: Callable[[], Any]) -> float:
    """How long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _truth_and_lengths(pieces: Pieces, material: Material) -> tuple[NDArray[Any], NDArray[np.int64]]:
    return material.truth[pieces.of_text], np.array([len(item) for item in pieces.ids], dtype=np.int64)
