"""Files that commands write: none takes the place of another without a word, and never that of what is read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from small import Run, rows, write_csv

pytest_plugins = ["bundle_fixtures"]

# Command → what is told before the file's name; DATA and BUNDLE stand for a table and a bundle.
WRITING = {
    "predict": ["predict", "BUNDLE", "DATA", "-o", "out.csv"],
    "predict texts": ["predict", "BUNDLE", "win a prize", "-o", "out.xlsx"],
    "next": ["next", "BUNDLE", "POOL", "-n", "2", "-o", "out.csv"],
    "start": ["start", "POOL", "--labels", "ham,spam", "-n", "2", "-o", "out.csv"],
    "explain": ["explain", "BUNDLE", "win a prize", "--html", "out.html"],
    "audit": ["audit", "DATA", "--fix", "out.csv"],
    "audit's changes": ["audit", "DATA", "--fix", "mended.csv"],
    "compare's page": ["compare", "DATA", "--report", "out.html"],
    "compare's picture": ["compare", "DATA", "--picture", "out.svg"],
}


@pytest.fixture
def told(small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "rows.csv", rows(80))
    write_csv(tmp_path / "pool.csv", [(f"{text} and then?", "") for text, _ in rows(9)])
    names = {"BUNDLE": str(small_bundle), "DATA": "rows.csv", "POOL": "pool.csv"}
    return lambda words: [names.get(word, word) for word in words]


@pytest.mark.parametrize("name", WRITING)
def test_a_file_that_is_there_is_refused_before_any_work(
    name: str, told: Any, tmp_path: Path, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = told(WRITING[name])
    path = tmp_path / {"mended.csv": "mended.changes.jsonl"}.get(words[-1], words[-1])
    path.write_text("mine", encoding="utf-8")
    for work in (
        "inference.tables.load_exported",
        "jobs.explain.load_predictor",
        "jobs.next.load_predictor",
        "jobs.start.model_vectors",
    ):
        monkeypatch.setattr(f"classtune.{work}", None)
    for work in ("compare.train", "audit.audit_table"):
        monkeypatch.setattr(f"classtune.jobs.{work}", None)
    ran = command(*words)
    assert (ran.code, ran.out) == (2, "")
    assert f"{words[-2]} {path.name}: is there already. Name a new file, or pass --force to replace it." in ran.err
    assert path.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", ["predict", "predict texts", "next", "explain", "audit"])
def test_force_replaces_it(name: str, told: Any, tmp_path: Path, command: Run) -> None:
    words = told(WRITING[name])
    (tmp_path / words[-1]).write_text("old", encoding="utf-8")
    ran = command(*words, "--force", "-q") if words[0] != "explain" else command(*words, "--force")
    assert ran.code == 0, ran.err
    assert (tmp_path / words[-1]).read_bytes() != b"old"
    assert not [entry for entry in os.listdir(tmp_path) if entry.startswith(".")]


@pytest.mark.parametrize("name", ["predict", "next", "audit", "compare's page"])
@pytest.mark.parametrize("link", [False, True])
def test_no_force_replaces_what_is_read(name: str, link: bool, told: Any, tmp_path: Path, command: Run) -> None:
    output = table = "pool.csv" if name == "next" else "rows.csv"
    before = (tmp_path / table).read_bytes()
    if link:
        output = "again.csv"
        (tmp_path / output).symlink_to(table)
    ran = command(*told(WRITING[name])[:-1], output, "--force")
    assert (ran.code, ran.out) == (2, "")
    assert f"{output}: this command reads or writes that file already. Name another one." in ran.err
    assert (tmp_path / table).read_bytes() == before


def test_two_outputs_are_two_files(told: Any, command: Run) -> None:
    ran = command(*told(["compare", "DATA", "--report", "out.html", "--picture", "./out.html"]))
    assert (ran.code, ran.out) == (2, "")
    assert "--report out.html: this command reads or writes that file already." in ran.err


def test_a_device_is_no_place_for_a_file(told: Any, tmp_path: Path, command: Run) -> None:
    os.mkfifo(tmp_path / "out.csv")
    ran = command(*told(WRITING["predict"]), "--force")
    assert (ran.code, "is no regular file" in ran.err) == (2, True)


def test_a_bundle_that_holds_more_than_classtune_wrote_is_not_replaced(
    small_csv: Path, small_llama: Path, tmp_path: Path, command: Run
) -> None:
    again = ["train", small_csv, "-o", tmp_path / "b", "--model", small_llama, "--effort", "fast", "-q", "--force"]
    assert command(*again).code == 0
    for name in ("notes.txt", "texts/mine.csv", ".git/config"):
        (tmp_path / "b" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "b" / name).write_text("mine", encoding="utf-8")
        ran = command(*again)
        assert (ran.code, ran.out) == (2, "")
        assert f"holds what classtune did not write, which would be lost: {name}. Move it away." in ran.err
        assert (tmp_path / "b" / name).read_text(encoding="utf-8") == "mine"
        (tmp_path / "b" / name).unlink()
    assert command(*again).code == 0


def test_an_export_for_hugging_face_replaces_its_own_and_no_other(
    small_bundle: Path, tmp_path: Path, command: Run
) -> None:
    export = ["export", small_bundle, "--to", "hf", "-o", tmp_path / "hf", "-q"]
    assert command(*export).code == 0
    assert "holds a bundle already" in command(*export).err
    assert command(*export, "--force").code == 0
    (tmp_path / "hf" / "mine.txt").write_text("mine", encoding="utf-8")
    ran = command(*export, "--force")
    assert (ran.code, "would be lost: mine.txt" in ran.err) == (2, True)
    record = json.loads((tmp_path / "hf" / "classtune-export.json").read_text(encoding="utf-8"))
    assert set(record["sha256"]) == set(os.listdir(tmp_path / "hf")) - {"mine.txt", "classtune-export.json"}
