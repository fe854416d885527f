"""The steps that jobs share: a clock, a run's checkpoint, a backbone on its device, its tokens."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray

from classtune.config import Settings, backbone_names
from classtune.config.areas import LossSettings, RunSettings
from classtune.data.dataset import Material
from classtune.data.reading.cells import parts_of
from classtune.errors import SettingsError, counted
from classtune.files import sha256
from classtune.model.adapters import require_lora
from classtune.model.backbone import load_backbone
from classtune.model.device import device_of
from classtune.model.network import Network
from classtune.model.parts import Learners
from classtune.model.passes import Engine
from classtune.model.tokens import Pieces, TextEncoder
from classtune.sources import fetch_model
from classtune.stats import best_scale, row_losses
from classtune.training.checkpoint import Checkpoint

Notify = Callable[[str], None]
Scores = NDArray[np.float64]

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
        told = text if not material.pairs else [part for _, part in parts_of(text)]
        digest.update(f"{truth.tolist()}\t{told}\n".encode())
    for rows in (material.splits.train, material.splits.validation, material.splits.test):
        digest.update(rows.astype(np.int64).tobytes())
    identity = {
        "settings": settings.model_dump(mode="json"),
        "data": digest.hexdigest(),
        "weights": fingerprint(fetch_model(backbone_names(settings)[0], notify=notify)),
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
    found = hashlib.sha256()
    for path in model_files(model):
        found.update(f"{path.name} {sha256(path)}\n".encode())
    return found.hexdigest()


def model_files(model: Path) -> list[Path]:
    """The files that make a model: itself, or those of its folder."""
    if model.is_file():
        return [model]
    return [path for path in sorted(model.iterdir()) if path.suffix in _MODEL_FILES and path.is_file()]


def differences(there: Mapping[str, str], here: Mapping[str, str], who: str) -> list[str]:
    """A line for each of `versions` that somebody else has otherwise."""
    return [
        f"{who} has {name} {there.get(name, 'not at all')}, and this process {here.get(name, 'not at all')}. Install "
        "the same versions everywhere."
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    ]


class Crew(Protocol):
    """Other processes that take a share of the work; see `classtune.jobs.passes`."""

    @property
    def learners(self) -> Learners | None:
        """Them, as what can train too; None where they cannot."""

    def loading(
        self, path: Path, labels: list[str], settings: Settings, *, multi: bool
    ) -> AbstractContextManager[Callable[[Network], Engine]]:
        """While this process loads the backbone of ``path``, they do; what this gives makes the engine of what was
        loaded. Raises UserError where theirs is not the same."""


def check_shard(settings: RunSettings) -> None:
    """Raises SettingsError where there are no ranks to share the blocks of a backbone among."""
    if settings.shard and not (dist.is_available() and dist.is_initialized()):
        raise SettingsError(
            "shard = true: a backbone is shared among the processes that torchrun starts, and this process is the only "
            "one. Start several: torchrun --nproc-per-node 2 -m classtune train …, or leave shard out."
        )


def load_network(
    labels: list[str],
    settings: Settings,
    *,
    multi: bool,
    pairs: bool = False,
    notify: Notify,
    crew: Crew | None = None,
) -> Network:
    """The backbone with a new head, on its device; where its blocks are shared, on the host. multi, pairs: see
    `load_backbone`. crew: who shares its work; None: nobody.

    Raises UserError where LoRA is asked for and not installed, and what `check_shard` raises.
    """
    if settings.trainable == "lora":
        require_lora()
    check_shard(settings)
    path = fetch_model(settings.model, notify=notify)
    with contextlib.nullcontext() if crew is None else crew.loading(path, labels, settings, multi=multi) as engine_of:
        network = load_backbone(path, labels, settings, multi=multi, pairs=pairs)
        network.to("cpu" if settings.shard else device_of(settings.device))
    if crew is not None and engine_of is not None:
        network.engine = engine_of(network)
        network.learners = None if settings.shard else crew.learners  # who has a share cannot train
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
    if settings.candidates == "all" and settings.max_tokens is None and settings.padding == "none":
        _read_whole(encoder, texts)
    pieces = encoder.pieces(texts, places)
    facts = material.data
    facts.cut, facts.cut_tokens, facts.windowed = encoder.texts_cut, encoder.tokens_cut, encoder.texts_windowed
    if encoder.texts_cut:
        kept = {"head": "beginning", "tail": "end", "both": "beginning and end"}[encoder.rules.truncate]
        material.notes.append(
            f"{encoder.texts_cut:,} of {len(used):,} texts were cut to {encoder.rules.limit:,} tokens, their {kept}; "
            f"lost: {counted(encoder.tokens_cut, 'token')}."
        )
    if encoder.texts_windowed:
        material.notes.append(
            f"{encoder.texts_windowed:,} of {len(used):,} texts are read in windows of {encoder.rules.limit:,} tokens."
        )
    return Pieces(pieces.ids, used[pieces.of_text]), settings


def _read_whole(encoder: TextEncoder, texts: Sequence[str]) -> None:
    """Have long texts read in windows where a small backbone takes less than the table has: nothing is lost so."""
    limit, longest = encoder.rules.limit, max(map(len, texts), default=0)
    if longest <= limit or encoder.rules.pairs:  # a token is a character or more; a pair has no windows
        return
    for start in range(0, len(texts), 10_000):
        part = [text for text in texts[start : start + 10_000] if len(text) > limit]
        ids = encoder.tokenizer(part, verbose=False)["input_ids"] if part else []
        if any(len(tokens) > limit for tokens in ids):
            encoder.rules = replace(encoder.rules, windows=True, cut=True)
            return


def label_shares(material: Material, settings: LossSettings) -> Scores:
    """The shares of the labels that the network learns [labels]: those of the training rows, or equal ones."""
    truth, weights = material.truth[material.splits.train], material.weights_of(material.splits.train)
    if material.multi:
        return np.asarray(np.average(truth, axis=0, weights=weights), dtype=np.float64)
    if settings.class_weights == "balanced":
        return np.full(len(material.labels), 1 / len(material.labels))
    shares = np.bincount(truth, weights, minlength=len(material.labels))
    return np.asarray(shares / shares.sum(), dtype=np.float64)


def calibrated_loss(logits: Scores, truth: NDArray[Any]) -> float:
    """Mean log loss (nats) of logits [rows, labels] at their best temperature."""
    return float(row_losses(best_scale(logits, truth) * logits, truth).mean()) if len(truth) else 0.0


def seconds(work: Callable[[], Any]) -> float:
    """How long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
