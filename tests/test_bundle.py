"""The saved classifier: what it holds, that it scores as it did, and that nothing damaged is ever used."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import SafetensorError
from small import SEVERAL, Run, rows, train_small

from classtune.bundle import SCHEMA_VERSION
from classtune.config import resolve
from classtune.data.reading.tables import table_from_rows
from classtune.errors import BundleError
from classtune.jobs.train import train

pytest_plugins = ["bundle_fixtures"]

TEXTS = ["win a prize", "see you at 7 then", "ok", "ein längerer Text mit Ümläuten, der in keinem Training stand 🎉"]
FILES = [
    "README.md",
    "classtune.json",
    "config.json",
    "model.safetensors",
    "reference.safetensors",
    "report.html",
    "rows.safetensors",
    "texts/held_out.jsonl",
    "texts/neighbours.jsonl",
    "texts/neighbours.safetensors",
    "texts/quotes.json",
    "texts/report.html",
    "tokenizer.json",
    "tokenizer_config.json",
    "validation.safetensors",
]


@pytest.fixture
def copy(small_bundle: Path, tmp_path: Path) -> Path:
    """A bundle to damage."""
    return Path(shutil.copytree(small_bundle, tmp_path / "bundle"))


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def edit(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what classtune.json says."""
    path = bundle / "classtune.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    change(record)
    path.write_text(json.dumps(record), encoding="utf-8")


def scores(folder: Path, **how: Any) -> np.ndarray[Any, Any]:
    from classtune.inference.predictor import load_predictor

    return load_predictor(folder, **how)[0].probabilities(TEXTS)


def pipeline_scores(folder: Path) -> list[dict[str, float]]:
    """Label → score of each text, by transformers alone."""
    from transformers import pipeline

    classify = pipeline("text-classification", model=str(folder), top_k=None, device="cpu")
    return [{entry["label"]: entry["score"] for entry in ranked} for ranked in classify(TEXTS, batch_size=4)]


@pytest.mark.parametrize("family", ["small_llama", "small_bert"])
def test_a_bundle_scores_as_the_trained_model_and_as_transformers(
    family: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "bundle"
    trained = train_small(request.getfixturevalue(family), folder, depth=2)
    before = trained.predictor.probabilities(TEXTS)
    after = scores(folder)
    assert np.abs(before - after).max() < 1e-6
    assert np.ptp(after[:, 0]) > 1e-3  # the texts do not all score alike, or nothing would be compared
    for row, ranked in zip(after, pipeline_scores(folder), strict=True):
        assert ranked == pytest.approx(dict(zip(trained.labels, row, strict=True)), abs=1e-5)
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["num_hidden_layers"] == 2


@pytest.mark.parametrize("told", [{"pooling": "last+mean"}, {"pooling": "mean", "head_bias": True}])
def test_a_head_of_our_own_comes_back_too(told: dict[str, Any], small_llama: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    trained = train_small(small_llama, folder, **told)
    assert np.abs(trained.predictor.probabilities(TEXTS) - scores(folder)).max() < 1e-6
    record = json.loads((folder / "classtune.json").read_text(encoding="utf-8"))
    assert (record["hugging_face"], record["pooling"]) == (False, told["pooling"])
    assert files_of(folder) == sorted([*FILES, "head.safetensors"])


def test_exactly_these_files_are_written(small_bundle: Path) -> None:
    assert files_of(small_bundle) == FILES
    assert os.listdir(small_bundle.parent) == [small_bundle.name]


def test_the_record_says_what_is_needed_to_use_and_to_judge_it(small_bundle: Path) -> None:
    record = json.loads((small_bundle / "classtune.json").read_text(encoding="utf-8"))
    assert record["schema_version"] == SCHEMA_VERSION
    assert record["labels"] == ["ham", "spam"]
    assert record["tokens"].items() >= {"limit": 160, "cut": False, "pad_to": None, "pool_padding": False}.items()
    assert (record["depth"]["kept"], record["depth"]["of"]) == (3, 3)
    assert record["settings"]["epochs"] == 2
    assert record["test"]["rows"] == 12
    assert {"torch", "transformers", "classtune"} <= set(record["versions"])
    assert sorted(record["sha256"]) == [name for name in FILES if name != "classtune.json"]
    assert all(len(entry["scores"]) == 2 and entry["text"] for entry in record["golden"])
    assert not {text for text, _ in rows()} & {entry["text"] for entry in record["golden"]}  # nobody's data


def remove(bundle: Path) -> None:
    (bundle / "tokenizer.json").unlink()


def change(bundle: Path) -> None:
    config = bundle / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace('"spam"', '"spam!"'), encoding="utf-8")


def truncate(bundle: Path) -> None:
    weights = bundle / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def add_pickle(bundle: Path) -> None:
    (bundle / "pytorch_model.bin").write_bytes(b"\x80\x04.")


def write_garbage(bundle: Path) -> None:
    (bundle / "classtune.json").write_bytes(b'{"schema_version": 1, "labels": ["ham"')


def forget_labels(bundle: Path) -> None:
    edit(bundle, lambda record: record.pop("labels"))


def swap_labels(bundle: Path) -> None:
    edit(bundle, lambda record: record["labels"].reverse())


def become_newer(bundle: Path) -> None:
    edit(bundle, lambda record: record.update(schema_version=SCHEMA_VERSION + 1))


def become_something_else(bundle: Path) -> None:
    (bundle / "classtune.json").write_text("[]", encoding="utf-8")


def score_otherwise(bundle: Path) -> None:
    edit(bundle, lambda record: record["golden"][1].update(scores=[0.25, 0.75]))


def not_a_bundle(bundle: Path) -> None:
    (bundle / "classtune.json").unlink()


def break_settings(bundle: Path) -> None:
    edit(bundle, lambda record: record["settings"].update(depth="some"))


DAMAGE: dict[Callable[[Path], None], str] = {
    remove: "tokenizer.json: is missing. Restore it",
    change: "config.json: was changed or truncated",
    truncate: "model.safetensors: was changed or truncated",
    add_pickle: "pytorch_model.bin: pickled files can run code and are never read. Delete it.",
    write_garbage: "classtune.json: is damaged",
    forget_labels: "classtune.json: is damaged",
    become_something_else: "classtune.json: is damaged",
    swap_labels: "config.json says ['ham', 'spam'], classtune.json says ['spam', 'ham']",
    become_newer: f"newer classtune (schema {SCHEMA_VERSION + 1}; this one reads {SCHEMA_VERSION}). Install a newer",
    score_otherwise: "the text 'URGENT! Call 0800 123 456",
    not_a_bundle: "holds no classtune.json. Name a folder that `classtune train` wrote.",
    break_settings: "classtune.json: its settings cannot be read",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_bundle_is_refused(damage: Callable[[Path], None], copy: Path, command: Run) -> None:
    damage(copy)
    for arguments in (["info", copy], ["predict", copy, "hello"]):
        ran = command(*arguments)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.startswith("classtune: ")
        assert DAMAGE[damage] in ran.err
        assert str(copy) in ran.err


def test_everything_wrong_with_its_files_comes_in_one_message(copy: Path, command: Run) -> None:
    for damage in (remove, change, truncate, add_pickle):
        damage(copy)
    ran = command("info", copy)
    assert all(DAMAGE[damage] in ran.err for damage in (remove, change, truncate, add_pickle))


def test_a_truncated_model_is_refused_even_unverified(copy: Path) -> None:
    truncate(copy)
    with pytest.raises(BundleError, match="the model cannot be read"):
        scores(copy, verify=False)


def test_a_missing_folder_is_told(tmp_path: Path, command: Run) -> None:
    ran = command("predict", tmp_path / "none", "hello")
    assert (ran.code, ran.out) == (2, "")
    assert f"{tmp_path / 'none'}: there is no such folder." in ran.err


def test_a_place_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, small_csv: Path, command: Run, small_llama: Path
) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for target, reason in (
        (tmp_path / "file", "is a file. Name a folder."),
        (tmp_path / "file" / "bundle", "cannot be written (Not a directory)."),
        (tmp_path / "file" / "deep" / "bundle", "cannot be written (Not a directory)."),
    ):
        ran = command("train", small_csv, "-o", target, "--model", small_llama)
        assert (ran.code, ran.out) == (2, "")
        assert f"{target}: {reason}" in ran.err
        assert "training" not in ran.err
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_of_other_things_is_never_replaced(
    tmp_path: Path, small_csv: Path, command: Run, small_llama: Path
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("mine", encoding="utf-8")
    ran = command("train", small_csv, "-o", tmp_path / "thesis", "--model", small_llama, "--force")
    assert (ran.code, ran.out) == (2, "")
    assert "is not empty and holds no bundle. Name a new folder." in ran.err
    assert os.listdir(tmp_path) == ["thesis"]


def test_a_bundle_is_replaced_only_when_told(copy: Path, small_csv: Path, command: Run, small_llama: Path) -> None:
    weights = (copy / "model.safetensors").read_bytes()
    again = ["train", small_csv, "-o", copy, "--model", small_llama, "--depth", 1, "--trainable", 1, "--epochs", 1]
    again += ["--set", "candidates=one"]
    refused = command(*again)
    assert (refused.code, refused.out) == (2, "")
    assert "holds a bundle already. Name a new folder, or pass --force to replace it." in refused.err
    assert "training" not in refused.err
    assert (copy / "model.safetensors").read_bytes() == weights
    assert command(*again, "--force").code == 0
    assert json.loads((copy / "classtune.json").read_text(encoding="utf-8"))["depth"]["kept"] == 1
    assert os.listdir(copy.parent) == [copy.name]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full. Free some space"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "the disk is full. Free some space"),
        (OSError(errno.EROFS, "Read-only file system"), "cannot be written (Read-only file system)."),
    ],
)
def test_a_failed_write_leaves_the_old_bundle_and_no_scrap(
    fault: Exception, told: str, copy: Path, monkeypatch: pytest.MonkeyPatch, small_llama: Path
) -> None:
    from classtune import bundle

    def fail(folder: Path, network: object) -> None:
        (folder / "model.safetensors").write_bytes(b"half of it")
        raise fault

    weights = (copy / "model.safetensors").read_bytes()
    monkeypatch.setattr(bundle, "write_model", fail)
    with pytest.raises(BundleError) as raised:
        train_small(small_llama, copy, epochs=1)
    assert told in str(raised.value)
    assert os.listdir(copy.parent) == [copy.name]
    assert (copy / "model.safetensors").read_bytes() == weights
    monkeypatch.undo()
    assert len(scores(copy)) == len(TEXTS)


def test_a_disk_that_is_really_full(
    tmp_path: Path, small_csv: Path, command: Run, small_llama: Path, request: pytest.FixtureRequest
) -> None:
    """A file system of 128 KB, where the system lets us make one."""
    import subprocess

    disk = tmp_path / "disk"
    disk.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    mounted = shutil.which("mount") and subprocess.run(mounting, capture_output=True, check=False).returncode == 0
    if not mounted:
        pytest.skip("no small disk can be mounted here (not root)")
    request.addfinalizer(lambda: subprocess.run(["umount", str(disk)], check=True))
    ran = command("train", small_csv, "-o", disk / "bundle", "--model", small_llama, "--epochs", 1, "--depth", "all")
    assert (ran.code, ran.out) == (2, "")
    assert "disk is full" in ran.err
    assert not (disk / "bundle").exists()


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path, small_llama: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    train_small(small_llama, tmp_path / "link", epochs=1)
    assert (tmp_path / "link").is_symlink()
    assert files_of(tmp_path / "real") == FILES
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]


def texts_in(path: Path) -> set[str]:
    return {json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()}


def test_a_bundle_keeps_texts_that_it_learned_from_and_others(small_bundle: Path) -> None:
    learned, held_out = (texts_in(small_bundle / "texts" / f"{name}.jsonl") for name in ("neighbours", "held_out"))
    assert learned
    assert held_out
    assert not learned & held_out
    assert learned | held_out <= {text for text, _ in rows()}


def test_a_bundle_keeps_no_texts_where_that_is_not_wished(small_llama: Path, tmp_path: Path, command: Run) -> None:
    train_small(small_llama, tmp_path / "bundle", keep_texts=False)
    assert files_of(tmp_path / "bundle") == [name for name in FILES if not name.startswith("texts/")]
    assert "texts of the table" not in (tmp_path / "bundle" / "README.md").read_text(encoding="utf-8")
    assert command("info", tmp_path / "bundle", "--json").document["keeps_texts"] is False


def test_without_texts_no_file_of_a_bundle_holds_a_row(small_llama: Path, tmp_path: Path) -> None:
    trained = train_small(small_llama, tmp_path / "bundle", keep_texts=False)
    assert trained.result.data.audit.findings[0].examples  # there is something to quote
    for path in (path for path in (tmp_path / "bundle").rglob("*") if path.is_file()):
        content = path.read_text(encoding="utf-8", errors="replace")
        assert not [text for text, _ in rows() if text in content], path


def test_without_texts_tf_idf_keeps_no_word_that_one_text_alone_has(small_llama: Path, tmp_path: Path) -> None:
    secret = [("win Zebulon4711, call now today", "spam"), ("win zebulon4711, call now today", "spam")]  # copies
    texts, labels = zip(*rows(40), *secret, strict=True)
    told = {**SEVERAL, "effort": "fast", "keep": "tf-idf", "model": str(small_llama)}
    for keep in (True, False):
        settings = resolve(overrides={**told, "keep_texts": keep})
        table = table_from_rows(texts, labels, name="rows")
        trained = train(table, settings, notify=lambda _: None, progress=lambda *_: None)
        trained.save(tmp_path / str(keep))
        (vocabulary,) = (tmp_path / str(keep)).glob("members/*/vocabulary.json")
        assert ("zebulon" in vocabulary.read_text(encoding="utf-8")) is keep


def test_all_quotes_lie_in_one_folder(small_bundle: Path) -> None:
    for path in (path for path in small_bundle.iterdir() if path.is_file()):
        content = path.read_text(encoding="utf-8", errors="replace")
        assert not [text for text, _ in rows() if text in content], path
    quotes = json.loads((small_bundle / "texts" / "quotes.json").read_text(encoding="utf-8"))
    assert quotes["findings"][0]["examples"][0]["text"] in {text for text, _ in rows()}
    assert "texts/report.html" in (small_bundle / "report.html").read_text(encoding="utf-8")


def test_a_bundle_of_schema_2_is_still_read_and_pushed_without_its_texts(copy: Path, tmp_path: Path) -> None:
    from classtune.bundle import read_held_out
    from classtune.explain.neighbours import Neighbours
    from classtune.export.push import push_bundle

    before, held_out = scores(copy), read_held_out(copy)
    for path in (copy / "texts").iterdir():
        shutil.move(path, copy / path.name)
    (copy / "texts").rmdir()
    (copy / "quotes.json").unlink()
    (copy / "rows.safetensors").unlink()
    (copy / "reference.safetensors").unlink()

    def become_older(record: dict[str, Any]) -> None:
        from classtune.files import sha256

        record["sha256"] = {path.name: sha256(path) for path in copy.iterdir() if path.name != "classtune.json"}
        record["schema_version"] = 2

    edit(copy, become_older)
    assert (scores(copy) == before).all()
    assert read_held_out(copy) == held_out != []
    assert Neighbours.load(copy)
    done = push_bundle(copy, "me/x", dry_run=True, notify=lambda line: None)
    assert set(done["left_out"]) == {
        *("held_out.jsonl", "neighbours.jsonl", "neighbours.safetensors", "report.html", "validation.safetensors"),
    }


def test_two_trainings_on_one_output_do_not_meet(
    small_csv: Path, small_llama: Path, tmp_path: Path, command: Run
) -> None:
    from classtune.files import claimed

    with claimed(tmp_path / "bundle"):
        ran = command("train", small_csv, "-o", tmp_path / "bundle", "--model", small_llama)
    assert (ran.code, ran.out) == (2, "")
    assert "bundle: another run is writing here. Wait for it, or name another place." in ran.err


def test_a_bundle_that_came_meanwhile_is_not_replaced(copy: Path, small_llama: Path) -> None:
    weights = (copy / "model.safetensors").read_bytes()
    with pytest.raises(BundleError, match="holds a bundle already"):
        train_small(small_llama, copy, epochs=1)
    assert (copy / "model.safetensors").read_bytes() == weights


def test_the_demo_replaces_no_bundle_but_its_own(copy: Path) -> None:
    from classtune.cli.learn import _is_demo
    from classtune.config import resolve

    class Demo:
        settings = resolve()
        table = type("Table", (), {"name": "sms-spam"})

    rows_of_demo: Any = Demo()
    with pytest.raises(BundleError, match="holds a bundle that is not the demo's"):
        _is_demo(rows_of_demo, copy)
    edit(copy, lambda record: record.update(settings=resolve().model_dump(), data={"name": "sms-spam"}))
    assert _is_demo(rows_of_demo, copy)
    assert not _is_demo(rows_of_demo, copy / "none")
