"""The folder of a saved classifier: where it may be written, its members, and both ways between them and the disk.

Written to a temporary folder and renamed; verified when it is read: names, every file's sha256, and the scores of a few
golden texts.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from classtune.bundle.network import read_network, write_model
from classtune.bundle.record import (
    KINDS,
    RECORD_BYTES,
    SCHEMA_VERSION,
    check_files,
    decisions_of,
    put_record,
    read_record,
    without_quotes,
)
from classtune.candidates.blend import Weight
from classtune.candidates.columns import ColumnsModel
from classtune.candidates.lexical_model import LexicalModel
from classtune.config import Settings
from classtune.decisions.decisions import Decisions
from classtune.errors import BundleError, reading, writing
from classtune.files import EXPORTED, RECORD, check_outside_bundles, check_regular, replacing
from classtune.model.network import Network
from classtune.model.tokens import TokenRules

# Folder of the members that are not the main network.
MEMBERS = "members"
# Largest change of a golden text's probability that another machine or version may bring.
GOLDEN_TOLERANCE = 1e-3
# What holds a member that is no network, by its kind.
_MODELS: dict[str, type[LexicalModel] | type[ColumnsModel]] = dict(
    zip(KINDS[1:], (LexicalModel, ColumnsModel), strict=True)
)
_KIND_OF = {model: kind for kind, model in _MODELS.items()}


@dataclass
class Member:
    """A part of a classifier, by its name in the comparison: a network with its settings, or TF-IDF or columns (without
    settings)."""

    name: str
    model: Network | LexicalModel | ColumnsModel
    weight: Weight
    settings: Settings | None = None

    @property
    def kind(self) -> str:
        """One of KINDS."""
        return "network" if isinstance(self.model, Network) else _KIND_OF[type(self.model)]


@dataclass
class Bundle:
    """A loaded classifier. main: its main network, None where it has none. record: what classtune.json says."""

    folder: Path
    main: Network | None
    labels: list[str]
    record: dict[str, Any]
    decisions: Decisions
    members: list[Member] = field(default_factory=list)

    @property
    def network(self) -> Network:
        """The main network. Raises BundleError where the classifier has none."""
        if self.main is None:
            raise BundleError(f"{self.folder}: this classifier is {self.record['classifier']}: it holds no network.")
        return self.main


def check_target(folder: Path, *, force: bool) -> None:
    """Raise BundleError where a bundle cannot be written: before any work is done, and again before it is replaced."""
    if folder.exists() and not folder.is_dir():
        raise BundleError(f"{folder}: is a file. Name a folder.")
    check_outside_bundles(folder)
    if folder.is_dir() and any(folder.iterdir()):
        written = next((folder / name for name in (RECORD, EXPORTED) if (folder / name).is_file()), None)
        if written is None:
            raise BundleError(f"{folder}: is not empty and holds no bundle. Name a new folder.")
        if not force:
            raise BundleError(f"{folder}: holds a bundle already. Name a new folder, or pass --force to replace it.")
        if foreign := _foreign(folder, written):
            listed = ", ".join(foreign[:5]) + (", …" if len(foreign) > 5 else "")
            raise BundleError(
                f"{folder}: holds what classtune did not write, which would be lost: {listed}. Move it away."
            )
    parents = folder.absolute().parents
    with writing(folder), tempfile.TemporaryFile(dir=next(parent for parent in parents if parent.exists())):
        pass


def _foreign(folder: Path, written: Path) -> list[str]:
    """Files that lie in a bundle, or in an export, and are not among those that its record names."""
    with reading(written, advice="What classtune wrote here cannot be told: name a new folder."):
        check_regular(written, RECORD_BYTES)
        known = {written.name, *json.loads(written.read_text(encoding="utf-8"))["sha256"]}
    found = [path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir()]
    return [name for path in found if (name := path.relative_to(folder).as_posix()) not in known]


@contextlib.contextmanager
def new_bundle(folder: Path, *, force: bool) -> Iterator[Path]:
    """A folder to write a bundle's parts to, `write_record` last; it is put in place when all is there.

    Raises BundleError where the disk is full, the folder cannot be written, or another bundle has come there meanwhile;
    then nothing is left behind.
    """
    with writing(folder), replacing(folder) as scratch:
        scratch.mkdir()
        yield scratch
        check_target(folder, force=force)
        for path in [scratch, *scratch.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)  # safetensors' files are private


def write_record(
    folder: Path,
    members: Sequence[Member],
    labels: list[str],
    record: dict[str, Any],
    golden: Sequence[tuple[str, list[float]]],
) -> None:
    """The members, then classtune.json, after every other file of the bundle: it names them all.

    record: what else it shall say; quotes are left out. golden: texts with their probabilities, at least one.
    """
    if not golden:
        raise ValueError("a bundle needs golden texts")
    records = write_members(folder, members, labels)
    main = next((one for one in records if one["kind"] == "network"), {})
    document = {
        "schema_version": SCHEMA_VERSION,
        "labels": labels,
        "classifier": " + ".join(member.name for member in members),
        **{key: main.get(key) for key in ("pooling", "depth", "tokens")},
        "hugging_face": len(members) == 1 and main.get("hugging_face", False),
        "members": records,
        **without_quotes(record),
        "golden": [{"text": text, "scores": scores} for text, scores in golden],
    }
    put_record(folder, document)


def write_members(folder: Path, members: Sequence[Member], labels: Sequence[str]) -> list[dict[str, Any]]:
    """Write every member, the first network to the folder itself; gives what classtune.json says of them."""
    records, main = [], next((member for member in members if member.kind == "network"), None)
    for number, member in enumerate(members):
        place = "" if member is main else f"{MEMBERS}/{number}-{member.kind}"
        if isinstance(member.model, Network):
            (folder / place).mkdir(parents=True, exist_ok=True)
            write_model(folder / place, member.model)
        else:
            member.model.save(folder / place, labels)
        records.append(
            {"name": member.name, "kind": member.kind, "folder": place, **asdict(member.weight)} | _facts(member)
        )
    return records


def _facts(member: Member) -> dict[str, Any]:
    """How a network is to be read, beside what its own folder says; nothing of a member that is none."""
    if not isinstance(member.model, Network) or member.settings is None:
        return {}
    return {
        "settings": member.settings.model_dump(),
        "pooling": member.model.pooling,
        "depth": {"kept": member.model.depth, "of": member.model.of},
        "tokens": asdict(member.model.encoder.rules),
        "hugging_face": member.model.is_hugging_face,
    }


def load_bundle(folder: Path, *, device: str | torch.device = "cpu", verify: bool = True) -> Bundle:
    """Read a bundle and check that it is whole and unchanged.

    verify: also compare every file's sha256 and the golden texts' scores.
    Raises BundleError with everything that is wrong.
    """
    record = read_record(folder)
    if "export" in record:
        runtime = record["export"].get("to")
        raise BundleError(
            f"{folder}: is an export, which `predict`, `evaluate` and `serve` run with --runtime {runtime}. For "
            "anything else name the bundle that it was made from."
        )
    check_files(folder, record, verify=verify)
    labels = record["labels"]
    with reading(folder / RECORD, "its settings"):
        Settings(**record["settings"])  # later decisions start from them
        decisions = decisions_of(folder, record)
    members = [_read_member(folder, labels, one, device) for one in _member_records(record)]
    main = next((member.model for member in members if isinstance(member.model, Network)), None)
    return Bundle(folder, main, labels, record, decisions, members)


def _member_records(record: dict[str, Any]) -> list[dict[str, Any]]:
    """What a record says of its members; one of an earlier schema has one network, of which it says everything."""
    if "members" in record:
        members: list[dict[str, Any]] = record["members"]
        return members
    return [{"name": "network", "kind": "network", "folder": "", "weight": 1.0, "scale": 1.0, **record}]


def _read_member(folder: Path, labels: list[str], record: dict[str, Any], device: str | torch.device) -> Member:
    with reading(folder / RECORD, "its members"):
        place = folder / record["folder"]
        weight, name = Weight(float(record["weight"]), float(record["scale"])), str(record["name"])
        if (kind := _MODELS.get(record["kind"])) is not None:
            return Member(name, kind.load(place, labels), weight)
        settings, rules, of = Settings(**record["settings"]), TokenRules(**record["tokens"]), int(record["depth"]["of"])
        own = bool(record["hugging_face"])
    network = read_network(place, labels, settings, rules, of=of, hugging_face=own, device=device)
    return Member(name, network, weight, settings)


def check_golden(bundle: Bundle, scores: list[list[float]]) -> None:
    """Compare the golden texts' scores with those that were saved. Raises BundleError where they differ."""
    for entry, now in zip(bundle.record["golden"], scores, strict=True):
        worst = max(abs(a - b) for a, b in zip(entry["scores"], now, strict=True))
        if not worst <= GOLDEN_TOLERANCE:
            raise BundleError(
                f"{bundle.folder}: the text {entry['text'][:60]!r} scores otherwise than when it was saved "
                f"(by {worst:.4f}). Its files or the installed versions do not fit; train it again."
            )
