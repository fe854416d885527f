"""The saved classifier: a Hugging Face folder with what Hugging Face does not keep in ``classtune.json``.

Written to a temporary folder and renamed; verified when it is read: every file's sha256, and the scores of a few
golden texts. Knows networks and records, not how they were trained.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_numpy
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from classtune.config import Settings
from classtune.decisions.decide import Decisions
from classtune.errors import BundleError, writing
from classtune.model.backbone import assemble, quiet_transformers
from classtune.model.network import Network
from classtune.model.tokens import TokenRules

SCHEMA_VERSION = 2
RECORD = "classtune.json"
HEAD = "head.safetensors"
VALIDATION = "validation.safetensors"
HELD_OUT = "held_out.jsonl"
# Largest change of a golden text's probability that another machine or version may bring.
GOLDEN_TOLERANCE = 1e-3
_KEYS = {"labels", "settings", "pooling", "depth", "tokens", "hugging_face", "test", "baseline", "golden", "sha256"}
_PICKLED = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"}


@dataclass
class Bundle:
    """A loaded classifier. record: what classtune.json says."""

    folder: Path
    network: Network
    labels: list[str]
    record: dict[str, Any]
    decisions: Decisions


def check_target(folder: Path, *, force: bool) -> None:
    """Raise BundleError, before any work is done, where a bundle cannot be written."""
    if folder.exists() and not folder.is_dir():
        raise BundleError(f"{folder}: is a file. Name a folder.")
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / RECORD).exists():
            raise BundleError(f"{folder}: is not empty and holds no bundle. Name a new folder.")
        if not force:
            raise BundleError(f"{folder}: holds a bundle already. Name a new folder, or pass --force to replace it.")
    parents = folder.absolute().parents
    with writing(folder), tempfile.TemporaryFile(dir=next(parent for parent in parents if parent.exists())):
        pass


def write_bundle(
    folder: Path,
    network: Network,
    labels: list[str],
    *,
    record: dict[str, Any],
    golden: list[tuple[str, list[float]]],
    write_more: Callable[[Path], None],
) -> None:
    """Write the bundle; ``write_more`` adds report, model card and what else it holds to the folder it is given.

    record: what else classtune.json shall say. golden: texts with their probabilities.
    Raises BundleError when the disk is full or the folder cannot be written; then nothing is left behind.
    """
    target = folder.resolve()  # a link stays a link
    with writing(folder):
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            _write_model(scratch, network)
            write_more(scratch)
            hashes = {path.name: sha256(path) for path in sorted(scratch.iterdir())}
            document = {
                "schema_version": SCHEMA_VERSION,
                "labels": labels,
                "pooling": network.pooling,
                "depth": {"kept": network.depth, "of": network.of},
                "tokens": asdict(network.encoder.rules),
                "hugging_face": network.is_hugging_face,
                **record,
                "golden": [{"text": text, "scores": scores} for text, scores in golden],
                "sha256": hashes,
            }
            (scratch / RECORD).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            put_in_place(scratch, target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def load_bundle(folder: Path, *, device: str | torch.device = "cpu", verify: bool = True) -> Bundle:
    """Read a bundle and check that it is whole and unchanged.

    verify: also compare every file's sha256 and the golden texts' scores.
    Raises BundleError with everything that is wrong.
    """
    record = read_record(folder)
    try:
        _check_files(folder, record, verify=verify)
        labels = [str(label) for label in record["labels"]]
        settings = Settings(**record["settings"])
        with quiet_transformers():
            options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
            tokenizer = AutoTokenizer.from_pretrained(str(folder), **options)
            classifier = AutoModelForSequenceClassification.from_pretrained(
                str(folder), dtype=torch.float32, num_labels=len(labels), use_safetensors=True, **options
            )
        network = assemble(
            classifier,
            tokenizer,
            settings,
            of=record["depth"]["of"],
            source=settings.model,
            rules=TokenRules(**record["tokens"]),
        )
        if network.own_head is not None:
            network.own_head.load_state_dict(load_file(str(folder / HEAD)))
        network.to(device)
        classifier.eval()
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise BundleError(f"{folder}: the model cannot be read ({reason}). Train it again.") from error
    known = list(classifier.config.id2label.values())
    if known != labels:  # whoever reads the folder, a score must mean the same
        raise BundleError(f"{folder}: config.json says {known}, {RECORD} says {labels}. Train it again.")
    # A bundle of schema 1 answers as its network does.
    known_decisions = record.get("decisions")
    decisions = Decisions.from_record(labels, known_decisions) if known_decisions else Decisions.plain(labels)
    return Bundle(folder, network, labels, record, decisions)


def write_validation(folder: Path, logits: NDArray[np.float64], truth: NDArray[Any]) -> None:
    """Keep the logits of the validation rows [rows, labels] and their truth, for decisions that are taken later."""
    save_numpy({"logits": np.ascontiguousarray(logits), "truth": truth.astype(np.int64)}, str(folder / VALIDATION))


def read_validation(folder: Path) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Logits and truth (class numbers [rows], or a bool matrix [rows, labels]) of the validation rows."""
    if not (folder / VALIDATION).is_file():
        raise BundleError(f"{folder}: holds no validation rows to decide by. Train it again.")
    kept = load_numpy(str(folder / VALIDATION))
    return kept["logits"], kept["truth"] if kept["truth"].ndim == 1 else kept["truth"].astype(bool)


def write_held_out(folder: Path, texts: Sequence[str]) -> None:
    """Texts that were not trained on: what an export is compared on."""
    lines = [json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts]
    (folder / HELD_OUT).write_text("".join(lines), encoding="utf-8", newline="\n")


def read_held_out(folder: Path) -> list[str]:
    """None where the bundle keeps no texts, or is of an earlier classtune."""
    if not (folder / HELD_OUT).is_file():
        return []
    with (folder / HELD_OUT).open(encoding="utf-8", newline="\n") as file:
        return [json.loads(line)["text"] for line in file]


def read_record(folder: Path) -> dict[str, Any]:
    """What classtune.json says. Raises BundleError where there is none, or one of a later version."""
    path = folder / RECORD
    if not folder.is_dir():
        raise BundleError(f"{folder}: there is no such folder. Name a bundle that `classtune train` wrote.")
    if not path.exists():
        raise BundleError(f"{folder}: holds no {RECORD}. Name a folder that `classtune train` wrote.")
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = int(record["schema_version"])
        if version <= SCHEMA_VERSION and not record.keys() >= _KEYS:
            raise KeyError
    except (OSError, ValueError, KeyError, TypeError):
        raise BundleError(f"{path}: is damaged. Train the classifier again, or restore the file.") from None
    if version > SCHEMA_VERSION:
        raise BundleError(
            f"{path}: was written by a newer classtune (schema {version}; this one reads {SCHEMA_VERSION}). "
            "Install a newer classtune."
        )
    return record


def check_golden(bundle: Bundle, scores: list[list[float]]) -> None:
    """Compare the golden texts' scores with those that were saved. Raises BundleError where they differ."""
    for entry, now in zip(bundle.record["golden"], scores, strict=True):
        worst = max(abs(a - b) for a, b in zip(entry["scores"], now, strict=True))
        if not worst <= GOLDEN_TOLERANCE:
            raise BundleError(
                f"{bundle.folder}: the text {entry['text'][:60]!r} scores otherwise than when it was saved "
                f"(by {worst:.4f}). Its files or the installed versions do not fit; train it again."
            )


def _write_model(folder: Path, network: Network) -> None:
    model = network.classifier if network.own_head is None else network.base
    with quiet_transformers():
        model.save_pretrained(str(folder))
        network.encoder.tokenizer.save_pretrained(str(folder))
    if network.own_head is not None:
        state = {name: value.cpu().contiguous() for name, value in network.own_head.state_dict().items()}
        save_file(state, str(folder / HEAD))


def put_in_place(scratch: Path, folder: Path) -> None:
    """Rename a folder that is whole; what stood there goes only then."""
    scratch.chmod(0o755)  # mkdtemp's folders and safetensors' files are private
    for path in scratch.iterdir():
        path.chmod(0o644)
    old = None
    if folder.exists():
        old = folder.with_name(f".{folder.name}-old-{os.getpid()}")
        os.replace(folder, old)
    try:
        os.replace(scratch, folder)
    except OSError:
        if old:
            os.replace(old, folder)
        raise
    if old:
        shutil.rmtree(old, ignore_errors=True)


def _check_files(folder: Path, record: dict[str, Any], *, verify: bool) -> None:
    problems = []
    for path in sorted(folder.rglob("*")):
        if path.suffix in _PICKLED:
            problems.append(f"{path}: pickled files can run code and are never read. Delete it.")
    for name, expected in record.get("sha256", {}).items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{path}: is missing. Restore it, or train the classifier again.")
        elif verify and sha256(path) != expected:
            problems.append(f"{path}: was changed or truncated since it was written. Restore it, or train again.")
    if problems:
        raise BundleError(problems)


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
