"""Bundles that are damaged, or made to do harm: one error that names the file, and nothing of them is run."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from killed import TRIES
from safetensors.torch import load_file, save_file

from classtune.errors import BundleError
from classtune.inference.predictor import load_predictor

pytest_plugins = ["bundle_fixtures"]

RAN = "classtune-test-code-ran"


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """What hangs ends after a minute."""
    signal.alarm(60)
    yield
    signal.alarm(0)


def sign(bundle: Path, change: Callable[[dict[str, Any]], Any] = lambda record: None) -> None:
    """Make the hashes fit what lies there, as whoever tampers would, and change the record."""
    path = bundle / "classtune.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    files = [file for file in sorted(bundle.rglob("*")) if file.is_file() and file != path]
    record["sha256"] = {f.relative_to(bundle).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    change(record)
    path.write_text(json.dumps(record), encoding="utf-8")


def edit_json(name: str, **values: Any) -> Callable[[Path], None]:
    def change(bundle: Path) -> None:
        document = json.loads((bundle / name).read_text(encoding="utf-8"))
        (bundle / name).write_text(json.dumps(document | values), encoding="utf-8")
        sign(bundle)

    return change


def edit_weights(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def edit(bundle: Path) -> None:
        tensors = load_file(bundle / "model.safetensors")
        change(tensors)
        save_file(tensors, bundle / "model.safetensors", {"format": "pt"})
        sign(bundle)

    return edit


def edit_record(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    return lambda bundle: sign(bundle, change)


def write(name: str, content: bytes) -> Callable[[Path], None]:
    def put(bundle: Path) -> None:
        (bundle / name).write_bytes(content)
        sign(bundle)

    return put


def swap(name: str, make: Callable[[Path], Any]) -> Callable[[Path], None]:
    """Something else under a file's name; the record keeps the hash that it had."""

    def change(bundle: Path) -> None:
        (bundle / name).unlink()
        make(bundle / name)

    return change


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(64 << 30)


def named(name: str) -> Callable[[Path], None]:
    return edit_record(lambda record: record["sha256"].update({name: "0" * 64}))


def code(bundle: Path) -> None:
    (bundle / "evil.py").write_text(f"open({str(bundle.parent / RAN)!r}, 'w')", encoding="utf-8")
    edit_json("config.json", auto_map={"AutoModelForSequenceClassification": "evil.Model"}, model_type="evil")(bundle)


NO_WISHES: dict[str, Any] = {"costs": None, "facts": [], "notes": []}
PICKLE = b"cos\nsystem\n(S'touch " + RAN.encode() + b"'\ntR."
HUGE = struct.pack("<Q", 1 << 62) + b"{}"
HEADER = json.dumps({"x": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()

# What is done to a bundle → what the error must name.
HOSTILE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "pickle": (write("pytorch_model.bin", PICKLE), "pytorch_model.bin: pickled files can run code"),
    "pickle below": (lambda b: (b / "texts" / "x.pt").write_bytes(PICKLE), "x.pt: pickled files can run code"),
    "remote code": (code, "config"),
    "attention": (edit_json("config.json", attn_implementation="someone/kernel"), "config.json: the configuration"),
    "hidden attention": (edit_json("config.json", _attn_implementation="x/y"), "config.json: the configuration"),
    "quantization": (edit_json("config.json", quantization_config={"quant_method": "gptq"}), "config.json"),
    "nested": (edit_json("config.json", text_config={"quantization_config": {"a": 1}}), "config.json"),
    "unlisted adapter": (
        lambda b: (b / "adapter_config.json").write_text('{"base_model_name_or_path": "/"}'),
        "adapter_config.json: is none of the bundle's files",
    ),
    "huge header": (write("model.safetensors", HUGE), "model.safetensors: the model cannot be read"),
    "huge tensor": (
        write("model.safetensors", struct.pack("<Q", len(HEADER)) + HEADER),
        "model.safetensors: the model cannot be read",
    ),
    "up": (named("../secret"), "'../secret' is no name of a file in it"),
    "up inside": (named("texts/../../secret"), "is no name of a file in it"),
    "absolute": (named("/etc/hostname"), "'/etc/hostname' is no name of a file in it"),
    "backslash": (named("..\\secret"), "is no name of a file in it"),
    "drive": (named("C:secret"), "is no name of a file in it"),
    "link out": (swap("README.md", lambda path: path.symlink_to("/etc/hostname")), "'README.md' leads out of it"),
    "wrong hash": (
        lambda b: (b / "model.safetensors").write_bytes((b / "model.safetensors").read_bytes() + b"x"),
        "model.safetensors: was changed or truncated",
    ),
    "pipe": (swap("config.json", os.mkfifo), "config.json: cannot be read (is no regular file)"),
    "record is a pipe": (swap("classtune.json", os.mkfifo), "classtune.json: is damaged (is no regular file)"),
    "64 GB of nothing": (swap("model.safetensors", sparse), "model.safetensors: cannot be read (says that it has"),
    "record of 64 GB": (swap("classtune.json", sparse), "classtune.json: is damaged (has 68,719,476,736 bytes"),
    "weights missing": (edit_weights(lambda t: t.pop("model.norm.weight")), "weights are missing or of another shape"),
    "head missing": (edit_weights(lambda t: t.pop("score.weight")), "weights are missing or of another shape"),
    "no numbers": (
        edit_weights(lambda t: t["score.weight"].fill_(float("nan"))),
        "weights are no numbers: score.weight",
    ),
    "another shape": (
        edit_weights(lambda t: t.update({"score.weight": torch.zeros(5, 32)})),
        "model.safetensors: the model cannot be read",
    ),
    "no golden texts": (edit_record(lambda r: r["golden"].clear()), "it has no golden texts"),
    "golden no numbers": (
        edit_record(lambda r: r["golden"][0].update(scores=[float("nan")] * 2)),
        "classtune.json: is damaged",
    ),
    "one label": (edit_record(lambda r: r.update(labels=["ham", "ham"])), "its labels are no list"),
    "labels a word": (edit_record(lambda r: r.update(labels="ab")), "classtune.json: is damaged"),
    "depth": (edit_record(lambda r: r.update(depth=None)), "classtune.json: is damaged"),
    "tokens": (edit_record(lambda r: r.update(tokens={"limit": "x", "y": 1})), "classtune.json: is damaged"),
    "decisions": (edit_record(lambda r: r.update(decisions={"calibration": 7})), "classtune.json: decisions"),
    "settings": (edit_record(lambda r: r.update(settings={"model": 3})), "its settings name no model, or no seed"),
    "settings empty": (edit_record(lambda r: r["settings"].clear()), "its settings name no model, or no seed"),
    "networks": (edit_record(lambda r: r.update(networks=0)), "no network was compared"),
    "data a word": (edit_record(lambda r: r.update(data="x")), "its data are not what was written"),
    "columns": (edit_record(lambda r: r["data"]["columns"].update(text=["a"])), "its columns have no names"),
    "figures": (
        edit_record(lambda r: r["test"].update(accuracy=float("nan"))),
        "the figures of its test are no numbers",
    ),
    "figures missing": (edit_record(lambda r: r["test"].pop("accuracy_ci95")), "classtune.json: is damaged"),
    "calibration": (
        edit_record(lambda r: r["decisions"]["calibration"].update(method="magic")),
        "a calibration 'magic'",
    ),
    "notes": (edit_record(lambda r: r["decisions"].update(notes=[{}])), "classtune.json: decisions"),
    "thresholds": (
        edit_record(lambda r: r["decisions"].update(thresholds={"least": [float("nan"), None], **NO_WISHES})),
        "a number that is not finite",
    ),
    "one threshold": (
        edit_record(lambda r: r["decisions"].update(thresholds={"least": [0.5], **NO_WISHES})),
        "not one number for each of 2 labels",
    ),
    "a long label": (edit_record(lambda r: r.update(labels=["x" * 100_000, "spam"])), "classtune.json: decisions"),
    "nested record": (
        lambda b: (b / "classtune.json").write_text("[" * 200_000),
        "classtune.json: is damaged",
    ),
    "long number": (
        lambda b: (b / "classtune.json").write_text('{"schema_version": ' + "9" * 200_000 + "}"),
        "classtune.json: is damaged",
    ),
    "tokenizer empty": (write("tokenizer.json", b"{}"), "the tokenizer cannot be read"),
    "tokenizer a list": (write("tokenizer.json", b"[1]"), "the tokenizer cannot be read"),
    "tokenizer cut": (
        lambda b: write("tokenizer.json", (b / "tokenizer.json").read_bytes()[:500])(b),
        "the tokenizer cannot be read",
    ),
    "config empty": (write("config.json", b"{}"), "cannot be read"),
    "config no heads": (edit_json("config.json", num_attention_heads=0), "cannot be read"),
    "config a million layers": (edit_json("config.json", num_hidden_layers=10**9), "config.json: the configuration"),
    "config wide": (edit_json("config.json", hidden_size=10**9), "cannot be read"),
    "config text": (edit_json("config.json", hidden_size="wide"), "cannot be read"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_bundle_is_refused_with_the_file_named(
    name: str, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tamper, told = HOSTILE[name]
    tamper(copy)
    monkeypatch.chdir(copy.parent)
    with pytest.raises(BundleError) as raised:
        load_predictor(copy)
    assert told in str(raised.value)
    assert str(copy) in str(raised.value)
    assert len(str(raised.value)) < 5000
    assert not (copy.parent / RAN).exists()


def test_any_damage_is_an_error_or_does_no_harm(copy: Path, small_bundle: Path) -> None:
    """Bytes changed, cut or repeated anywhere, with hashes that fit: a BundleError, or the scores are as before."""
    drawn = random.Random(7)
    names = [path.relative_to(copy).as_posix() for path in sorted(copy.rglob("*")) if path.is_file()]
    refused = harmless = 0
    for number in range(8 * TRIES):
        name = names[number % len(names)]
        content = bytearray((small_bundle / name).read_bytes())
        place = drawn.randrange(len(content))
        match number % 4:
            case 0:
                content[place] ^= 1 << drawn.randrange(8)
            case 1:
                del content[place:]
            case 2:
                content[place:place] = content[: drawn.randrange(1, 2000)]
            case 3:
                content[place : place + 40] = bytes(drawn.randrange(256) for _ in range(40))
        (copy / name).write_bytes(content)
        try:
            if name != "classtune.json":
                sign(copy)
            load_predictor(copy)
            harmless += 1
        except BundleError as error:
            refused += str(copy) in str(error)
        for whole in (name, "classtune.json"):
            shutil.copyfile(small_bundle / whole, copy / whole)
    print(f"\ndamaged bundles: {8 * TRIES} tried, {refused} refused with the place named, {harmless} harmless")
    assert refused + harmless == 8 * TRIES


def test_a_link_within_the_folder_and_one_of_the_hubs_cache_are_followed(copy: Path, tmp_path: Path) -> None:
    shutil.move(copy / "README.md", copy / "texts" / "card.txt")
    (copy / "README.md").symlink_to("texts/card.txt")
    load_predictor(copy)
    cache = tmp_path / "models--me--spam"
    (cache / "blobs").mkdir(parents=True)
    (cache / "snapshots" / "abc").mkdir(parents=True)
    for path in [path for path in copy.rglob("*") if path.is_file()]:
        name = path.relative_to(copy)
        blob = cache / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copyfile(path, blob)
        link = cache / "snapshots" / "abc" / name
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    load_predictor(cache / "snapshots" / "abc")


def test_what_is_loaded_does_not_change_with_its_file(copy: Path) -> None:
    """cp over a served bundle's file, or a file cut in place: the answers stay."""
    predictor, _ = load_predictor(copy)
    before = predictor.probabilities(["win a prize", "see you"])
    size = (copy / "model.safetensors").stat().st_size
    with (copy / "model.safetensors").open("r+b") as file:
        file.write(os.urandom(size))
        file.flush()
        assert (predictor.probabilities(["win a prize", "see you"]) == before).all()
        file.truncate(100)
    assert (predictor.probabilities(["win a prize", "see you"]) == before).all()
