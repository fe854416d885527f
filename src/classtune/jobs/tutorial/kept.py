"""What is kept of finished rows: the output folder, a file a row, and what must be equal for one to be taken again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from classtune.config import Progress, Settings
from classtune.data.dataset import Material
from classtune.errors import BundleError, writing
from classtune.files import clear_leftovers, replacing, sha256
from classtune.jobs.steps import Notify
from classtune.jobs.tutorial.rows import ROWS
from classtune.sources import fetch_model

_ROWS_FOLDER, _MARK = "rows", "tutorial.json"
VERSIONS = ("classtune", "torch", "transformers")
_MODEL_FILES = {".json", ".safetensors", ".gguf", ".txt", ".model"}


@dataclass
class Run:
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


def open_folder(folder: Path, *, resume: bool, force: bool) -> None:
    """Make the output folder, or take one that this job wrote. Raises BundleError."""
    with writing(folder):
        for place in (folder, folder / _ROWS_FOLDER):
            clear_leftovers(place)  # of a run that was killed, perhaps before its first file stood
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
            with replacing(folder / _MARK) as scratch:
                scratch.write_text("{}\n", encoding="utf-8")


def _is_ours(mark: Path) -> bool:
    """Whether it is what this job writes: an empty object when it begins, and the document in the end."""
    try:
        found = json.loads(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return found == {} or (isinstance(found, dict) and {"model", "splits", "rows", "passes"} <= set(found))


def run_identity(material: Material) -> dict[str, Any]:
    """What must be equal for rows of an earlier run to be taken again, beside the settings and weights of each."""
    digest = hashlib.sha256()
    for part in (material.splits.train, material.splits.validation, material.splits.test):
        for number in part:
            digest.update(f"{material.truth[number]}\t{material.texts[number]}\n".encode())
        digest.update(b"\n")
    return {"data": digest.hexdigest(), "versions": {name: metadata.version(name) for name in VERSIONS}}


def _fingerprint(path: Path) -> str:
    """sha256 over a model's configuration, tokenizer and weights."""
    files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.suffix in _MODEL_FILES)
    return hashlib.sha256("".join(sha256(file) for file in files).encode()).hexdigest()
