"""The record of a bundle, ``classtune.json``: its schema, what it must say, and the files that it names.

Knows no networks: what a record says is checked before anything that it names is opened.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from classtune.decisions.decisions import Decisions
from classtune.errors import BundleError
from classtune.files import RECORD, check_regular, inside, kept_aside, sha256

SCHEMA_VERSION = 4
CONFIG = "config.json"
# All that quotes rows of the table. Bundles of an earlier schema have these files beside classtune.json.
TEXTS = "texts"
KINDS = ("network", "lexical", "columns")  # of members; a network first
RECORD_BYTES = 1 << 28
# What parts of it are, where they are there at all.
_PARTS = {"settings": dict, "data": dict, "export": dict, "decisions": dict, "networks": int, "classifier": str}
_KEYS = {"labels", "settings", "pooling", "depth", "tokens", "hugging_face", "test", "baseline", "golden", "sha256"}
_PICKLED = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"}
# What transformers would read beside the files that the record lists.
_READ_UNASKED = {".json", ".safetensors", ".jinja", ".model", ".gguf", ".py"}
_QUOTING = ("examples", "mistakes")  # keys of a result whose values quote rows


def put_record(folder: Path, document: dict[str, Any], name: str = RECORD) -> None:
    """Write classtune.json (or EXPORTED) with the sha256 of all that lies in the folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / name]
    document = document | {"sha256": {path.relative_to(folder).as_posix(): sha256(path) for path in files}}
    (folder / name).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def without_quotes(value: Any) -> Any:
    """A result, or a part of one, without what quotes rows of the table."""
    if isinstance(value, dict):
        quoting = {key for key in _QUOTING if isinstance(value.get(key), list)}  # "examples" is a number elsewhere
        return {key: without_quotes(inner) for key, inner in value.items() if key not in quoting}
    return [without_quotes(inner) for inner in value] if isinstance(value, list) else value


def read_record(folder: Path) -> dict[str, Any]:
    """What classtune.json says. Raises BundleError where it is missing, damaged or of a later version."""
    path = folder / RECORD
    if (aside := kept_aside(folder)) is not None:
        raise BundleError(f"{folder}: a run was killed while it replaced this folder; what stood there is {aside}.")
    if not folder.is_dir():
        raise BundleError(f"{folder}: there is no such folder. Name a bundle that `classtune train` wrote.")
    if not path.exists():
        raise BundleError(f"{folder}: holds no {RECORD}. Name a folder that `classtune train` wrote.")
    try:
        check_regular(path, RECORD_BYTES)
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = int(record["schema_version"])
        if version <= SCHEMA_VERSION:
            _check_record(folder, record)
    except Exception as error:
        reason = f" ({error})" if type(error) is ValueError else ""
        raise BundleError(f"{path}: is damaged{reason}. Train the classifier again, or restore the file.") from None
    if version > SCHEMA_VERSION:
        raise BundleError(
            f"{path}: was written by a newer classtune (schema {version}; this one reads {SCHEMA_VERSION}). "
            "Install a newer classtune."
        )
    return record


def _check_record(folder: Path, record: dict[str, Any]) -> None:
    """Raise ValueError, or whatever comes of it, for a record that is not as it was written."""
    if missing := sorted(_KEYS - record.keys()):
        raise ValueError(f"it lacks {', '.join(missing)}")
    labels = record["labels"]
    named = isinstance(labels, list) and labels and all(isinstance(label, str) for label in labels)
    if not named or len(set(labels)) != len(labels):
        raise ValueError("its labels are no list of different names")
    _check_parts(record)
    for name, digest in record["sha256"].items():
        inside(folder, name)
        if not isinstance(digest, str):
            raise ValueError(f"the sha256 of {name!r} is none")
    main = next((one for one in record.get("members", []) if one["kind"] == "network"), None)
    if main is not None and any(main[key] != record[key] for key in ("pooling", "depth", "tokens")):
        raise ValueError("it says two things of its main network")
    if "members" in record:
        _check_members(folder, record["members"])
    if not record["golden"]:
        raise ValueError("it has no golden texts, by which the scores are checked")
    for entry in record["golden"]:
        scores = entry["scores"]
        if not (isinstance(entry["text"], str) and len(scores) == len(labels) and all(map(math.isfinite, scores))):
            raise ValueError("a golden text has no score for each label")


def _check_parts(record: dict[str, Any]) -> None:
    """As `_check_record`: settings, columns and figures are what those who show or use them take them for."""
    for name, kind in _PARTS.items():
        if not isinstance(record.get(name) or kind(), kind):
            raise ValueError(f"its {name} are not what was written")
    if record.get("networks", 1) < 1:
        raise ValueError("no network was compared")
    settings = record["settings"]
    if not isinstance(settings.get("model"), str) or not isinstance(settings.get("seed"), int):
        raise ValueError("its settings name no model, or no seed")
    columns = columns_of(record)
    if not all(value is None or isinstance(value, str) for value in columns.values()):
        raise ValueError("its columns have no names")
    for name in ("test", "baseline"):
        if record[name] is not None:
            low, high = record[name]["accuracy_ci95"]
            if not all(map(math.isfinite, (record[name]["accuracy"], low, high))):
                raise ValueError(f"the figures of its {name} are no numbers")


def _check_members(folder: Path, members: list[dict[str, Any]]) -> None:
    """As `_check_record`: each member has a name, a folder and a share of its own, and shares are numbers above 0."""
    for own in ("name", "folder"):
        found = [member[own] for member in members]
        if not all(isinstance(value, str) for value in found) or len(set(found)) != len(found):
            raise ValueError(f"its members have no {own} of their own")
    for member in members:
        if member["folder"]:
            inside(folder, f"{member['folder']}/{CONFIG}")
        if member["kind"] not in KINDS:
            raise ValueError(f"a member is of an unknown kind, {member['kind']!r}")
        if not all(0 < member[share] < math.inf for share in ("weight", "scale")):
            raise ValueError(f"the share of its member {member['name']!r} is no number above 0")
    if not math.isclose(sum(member["weight"] for member in members), 1.0, rel_tol=1e-6):
        raise ValueError("the shares of its members do not make a whole")


def columns_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Where a bundle's table had its texts, labels, pairs, and columns beside them; of an export, what it reads."""
    said = record.get("data") or record.get("export") or {}
    return said.get("columns") or {}


def decisions_of(folder: Path, record: dict[str, Any]) -> Decisions:
    """What the record says of decisions; a bundle of schema 1 answers as its network does. Raises BundleError."""
    labels, known = record["labels"], record.get("decisions")
    try:
        return Decisions.from_record(labels, known) if known else Decisions.plain(labels)
    except BundleError as error:
        raise BundleError([f"{folder / RECORD}: {problem}" for problem in error.problems]) from error


def check_files(folder: Path, record: dict[str, Any], *, verify: bool) -> None:
    """Raise BundleError with every file that is missing, changed (``verify``), no file, or not the bundle's."""
    problems = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix in _PICKLED and not ("export" in record and name in record["sha256"]):  # OpenVINO's model.bin
            problems.append(f"{path}: pickled files can run code and are never read. Delete it.")
        elif name == RECORD or name in record["sha256"] or name.startswith((".", f"{TEXTS}/")):
            continue
        elif path.suffix in _READ_UNASKED:
            problems.append(f"{path}: is none of the bundle's files, and would be read with them. Delete it.")
    for name, expected in record["sha256"].items():
        path = inside(folder, name)
        try:
            if not path.exists():
                problems.append(f"{path}: is missing. Restore it, or train the classifier again.")
                continue
            check_regular(path)
            if verify and sha256(path) != expected:
                problems.append(f"{path}: was changed or truncated since it was written. Restore it, or train again.")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            problems.append(f"{path}: cannot be read ({reason}). Restore it, or train the classifier again.")
    if problems:
        raise BundleError(problems)
