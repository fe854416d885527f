"""The saved classifier: a Hugging Face folder with what Hugging Face does not keep in ``classtune.json``.

Written to a temporary folder and renamed; verified when it is read: names, every file's sha256, and the scores of a few
golden texts. All that quotes the rows of the table lies in its folder ``texts/``, which may be left out.
Knows networks and records, not how they were trained.
"""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file as load_numpy
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from classtune.candidates.blend import Weight
from classtune.candidates.columns import ColumnsModel
from classtune.candidates.lexical_model import LexicalModel
from classtune.config import Settings
from classtune.data.versions import RowHashes
from classtune.decisions.decide import Decisions
from classtune.errors import BundleError, reading, writing
from classtune.files import check_regular, inside, kept_aside, replacing, sha256
from classtune.model.backbone import assemble, own_memory, quiet_transformers
from classtune.model.network import Network
from classtune.model.tokens import TokenRules

SCHEMA_VERSION = 4
RECORD = "classtune.json"
# Of a plain Hugging Face folder that `export` wrote: the names of its files, by which it may be replaced.
EXPORTED = "classtune-export.json"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
HEAD = "head.safetensors"
VALIDATION = "validation.safetensors"
ROWS = "rows.safetensors"
REPORT, CARD = "report.html", "README.md"
# All that quotes rows of the table. Bundles of an earlier schema have these files beside classtune.json.
TEXTS = "texts"
# Folder of the members that are not the main network.
MEMBERS = "members"
HELD_OUT = "held_out.jsonl"
QUOTES = "quotes.json"
# Largest change of a golden text's probability that another machine or version may bring.
GOLDEN_TOLERANCE = 1e-3
_KEYS = {"labels", "settings", "pooling", "depth", "tokens", "hugging_face", "test", "baseline", "golden", "sha256"}
_PICKLED = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"}
# What transformers would read beside the files that the record lists.
_READ_UNASKED = {".json", ".safetensors", ".jinja", ".model", ".gguf", ".py"}
# Keys of config.json by which transformers chooses code to run, or fetches it.
_CHOOSE_CODE = {"attn_implementation", "_attn_implementation", "experts_implementation", "quantization_config"}
# Members that are no network, by their kind.
_KINDS: dict[str, type[LexicalModel] | type[ColumnsModel]] = {"lexical": LexicalModel, "columns": ColumnsModel}
_KIND_OF = {model: kind for kind, model in _KINDS.items()}
_QUOTING = ("examples", "mistakes")  # keys of a result whose values quote rows
_RECORD_BYTES, _CONFIG_BYTES = 1 << 28, 1 << 24


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
        """``network``, ``lexical`` or ``columns``."""
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
        check_regular(written, _RECORD_BYTES)
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


def write_model(folder: Path, network: Network) -> None:
    """The network as Hugging Face keeps it, with its tokenizer, and a head of our own beside them."""
    model = network.classifier if network.own_head is None else network.base
    with quiet_transformers():
        model.save_pretrained(str(folder))
        network.encoder.tokenizer.save_pretrained(str(folder))
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if _code_chosen(config):
        kept = {key: value for key, value in config.items() if key not in _CHOOSE_CODE}
        (folder / CONFIG).write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    if network.own_head is not None:
        state = {name: value.cpu().contiguous() for name, value in network.own_head.state_dict().items()}
        save_file(state, str(folder / HEAD))


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


def load_bundle(folder: Path, *, device: str | torch.device = "cpu", verify: bool = True) -> Bundle:
    """Read a bundle and check that it is whole and unchanged.

    verify: also compare every file's sha256 and the golden texts' scores.
    Raises BundleError with everything that is wrong.
    """
    record = read_record(folder)
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
        if (kind := _KINDS.get(record["kind"])) is not None:
            return Member(name, kind.load(place, labels), weight)
        settings, rules, of = Settings(**record["settings"]), TokenRules(**record["tokens"]), int(record["depth"]["of"])
    classifier, tokenizer = _read_network(place, record | {"labels": labels})
    with reading(place, "the model"):
        network = assemble(classifier, tokenizer, settings, of=of, source=settings.model, rules=rules)
    if network.own_head is not None:
        with reading(place / HEAD, "the head"):
            network.own_head.load_state_dict(load_file(str(place / HEAD)))
            _check_finite(network.own_head)
    with reading(place, "the model"):
        network.to(device)
        classifier.eval()
    names = list(classifier.config.id2label.values())
    if names != labels:  # whoever reads the folder, a score must mean the same
        raise BundleError(f"{place}: config.json says {names}, {RECORD} says {labels}. Train it again.")
    return Member(name, network, weight, settings)


def decisions_of(folder: Path, record: dict[str, Any]) -> Decisions:
    """What the record says of decisions; a bundle of schema 1 answers as its network does. Raises BundleError."""
    labels, known = record["labels"], record.get("decisions")
    try:
        return Decisions.from_record(labels, known) if known else Decisions.plain(labels)
    except BundleError as error:
        raise BundleError([f"{folder / RECORD}: {problem}" for problem in error.problems]) from error


def _read_network(folder: Path, record: dict[str, Any]) -> tuple[Any, Any]:
    """The classifier and the tokenizer of a checked folder; every weight is there, is a number, and is ours alone."""
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with reading(folder / CONFIG, "the configuration"):
        check_regular(folder / CONFIG, _CONFIG_BYTES)
        if chosen := _code_chosen(json.loads((folder / CONFIG).read_text(encoding="utf-8"))):
            raise ValueError(f"it names code to run: {', '.join(chosen)}")
    with reading(folder / WEIGHTS, "the model"), safe_open(str(folder / WEIGHTS), "pt") as file:
        tensors = len(list(file.keys()))
    with reading(folder / CONFIG, "the configuration"):
        layers = AutoConfig.from_pretrained(str(folder), **options).num_hidden_layers
        if layers > tensors:  # they would all be made before one is missed
            raise ValueError(f"it names {layers:,} blocks, and {WEIGHTS} holds {tensors:,} tensors")
    with quiet_transformers(), reading(folder, "the tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(str(folder), **options)
    with quiet_transformers(), reading(folder / WEIGHTS, "the model"), torch.random.fork_rng(devices=[]):
        options |= {"dtype": torch.float32, "num_labels": len(record["labels"]), "use_safetensors": True}
        classifier, loading = AutoModelForSequenceClassification.from_pretrained(
            str(folder), output_loading_info=True, **options
        )
        base = f"{classifier.base_model_prefix}."
        missing = [key for key in loading["missing_keys"] if record["hugging_face"] or key.startswith(base)]
        if wrong := [*missing, *(str(key) for key in loading["mismatched_keys"])]:
            raise ValueError(f"weights are missing or of another shape: {', '.join(wrong[:3])}")
        own_memory(classifier)
        _check_finite(classifier)
        rows, known = classifier.get_input_embeddings().num_embeddings, 1 + max(tokenizer.get_vocab().values())
        if known > rows:
            raise ValueError(f"the tokenizer has {known - rows:,} tokens that the model has no embedding for")
    return classifier, tokenizer


def _check_finite(module: torch.nn.Module) -> None:
    broken = [name for name, value in module.state_dict().items() if not torch.isfinite(value).all()]
    if broken:
        raise ValueError(f"weights are no numbers: {', '.join(broken[:3])}")


def _code_chosen(config: Any) -> list[str]:
    """Which keys of a configuration, at any depth, choose code to run."""
    if not isinstance(config, dict):
        return []
    inner = [key for value in config.values() for key in _code_chosen(value)]
    return [key for key in config if key in _CHOOSE_CODE and config[key] is not None] + inner


def write_validation(folder: Path, logits: NDArray[np.float64], truth: NDArray[Any]) -> None:
    """Keep the logits of the validation rows [rows, labels] and their truth, for decisions that are taken later."""
    save_numpy({"logits": np.ascontiguousarray(logits), "truth": truth.astype(np.int64)}, str(folder / VALIDATION))


def read_validation(folder: Path) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Logits and truth (class numbers [rows], or a bool matrix [rows, labels]) of the validation rows."""
    missing = "holds no validation rows to decide by. Train it again."
    with read_arrays(folder / VALIDATION, "the validation rows", missing) as kept:
        return kept["logits"], kept["truth"] if kept["truth"].ndim == 1 else kept["truth"].astype(bool)


@contextlib.contextmanager
def read_arrays(
    path: Path, what: str, missing: str, most_bytes: int | None = None
) -> Iterator[dict[str, NDArray[Any]]]:
    """The arrays of a file of the bundle, by name; what is wrong with them, or is raised within, is a BundleError.

    what: the file holds. missing: what a bundle without it is, and what to do. most_bytes: of the file.
    """
    if not path.is_file():
        raise BundleError(f"{path.parent}: {missing}")
    with reading(path, what):
        check_regular(path, most_bytes)
        yield load_numpy(str(path))


def write_rows(folder: Path, rows: RowHashes) -> None:
    """Keep hashes of the labelled texts, for the next version and for what chooses texts to label."""
    save_numpy({"learned": rows.learned, "test": rows.test}, str(folder / ROWS))


def read_rows(folder: Path) -> RowHashes:
    """Hashes of the texts that the bundle learned from and was tested on. Raises BundleError where it has none."""
    missing = (
        "does not know which rows it was trained on: it was pushed, exported, or written by an earlier classtune. Take "
        "the folder that `classtune train` wrote, or train it again."
    )
    with read_arrays(folder / ROWS, "the hashes of its rows", missing, _RECORD_BYTES) as kept:
        return RowHashes(kept["learned"], kept["test"])


def write_held_out(folder: Path, texts: Sequence[str]) -> None:
    """Texts that were not trained on: what an export is compared on. folder: the bundle's ``texts/``."""
    lines = [json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts]
    (folder / HELD_OUT).write_text("".join(lines), encoding="utf-8", newline="\n")


def read_held_out(folder: Path) -> list[str]:
    """Empty where the bundle keeps no texts, or is of an earlier classtune."""
    path = next((path for path in (folder / TEXTS / HELD_OUT, folder / HELD_OUT) if path.is_file()), None)
    if path is None:
        return []
    with reading(path), path.open(encoding="utf-8", newline="\n") as file:
        return [str(json.loads(line)["text"]) for line in file]


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
        check_regular(path, _RECORD_BYTES)
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


def _check_members(folder: Path, members: list[dict[str, Any]]) -> None:
    """As `_check_record`: each member has a name, a folder and a share of its own, and shares are numbers above 0."""
    for own in ("name", "folder"):
        found = [member[own] for member in members]
        if not all(isinstance(value, str) for value in found) or len(set(found)) != len(found):
            raise ValueError(f"its members have no {own} of their own")
    for member in members:
        if member["folder"]:
            inside(folder, f"{member['folder']}/{CONFIG}")
        if member["kind"] not in ("network", *_KINDS):
            raise ValueError(f"a member is of an unknown kind, {member['kind']!r}")
        if not all(0 < member[share] < math.inf for share in ("weight", "scale")):
            raise ValueError(f"the share of its member {member['name']!r} is no number above 0")
    if not math.isclose(sum(member["weight"] for member in members), 1.0, rel_tol=1e-6):
        raise ValueError("the shares of its members do not make a whole")


def check_golden(bundle: Bundle, scores: list[list[float]]) -> None:
    """Compare the golden texts' scores with those that were saved. Raises BundleError where they differ."""
    for entry, now in zip(bundle.record["golden"], scores, strict=True):
        worst = max(abs(a - b) for a, b in zip(entry["scores"], now, strict=True))
        if not worst <= GOLDEN_TOLERANCE:
            raise BundleError(
                f"{bundle.folder}: the text {entry['text'][:60]!r} scores otherwise than when it was saved "
                f"(by {worst:.4f}). Its files or the installed versions do not fit; train it again."
            )


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
