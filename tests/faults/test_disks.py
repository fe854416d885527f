"""Disks that are full and folders that cannot be written: one clear error, and what was there before is untouched."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from killed import TRIES, finish
from small import rows, write_csv

from classtune.inference.predictor import load_predictor

pytest_plugins = ["bundle_fixtures"]

QUICK = ["--depth", "1", "--epochs", "1", "--split-by", "exact", "-q"]


def limit_files(size: int) -> None:
    """No file of this process grows beyond ``size`` bytes: writing fails, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("kind", ["train", "train --force", "bulk", "export"])
def test_a_disk_that_fills_at_any_size(
    kind: str, small_llama: Path, small_csv: Path, small_bundle: Path, tmp_path: Path
) -> None:
    place, log = tmp_path / "place", tmp_path / "log"
    before = {path.name: path.read_bytes() for path in small_bundle.iterdir() if path.is_file()}
    table = write_csv(tmp_path / "texts.csv", [(text, "") for text, _ in rows(50)])
    table.write_text(table.read_text(encoding="utf-8").replace("text,label", "text,note"), encoding="utf-8")
    commands: dict[str, list[Any]] = {
        "train": ["train", small_csv, "-o", place / "bundle", "--model", small_llama, *QUICK],
        "train --force": ["train", small_csv, "-o", place / "bundle", "--model", small_llama, "--force", *QUICK],
        "bulk": ["predict", small_bundle, table, "-o", f"{place / 'out'}/", "-q"],
        "export": ["export", small_bundle, "--to", "hf", "-o", place / "hf", "-q"],
    }
    survived = 0
    sizes = (
        [256 * 4**step for step in range(6)][: max(TRIES, 3)] if TRIES < 6 else [200 * 2**step for step in range(12)]
    )
    for size in sizes:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        if kind == "train --force":
            shutil.copytree(small_bundle, place / "bundle")
        log.write_text("", encoding="utf-8")
        code, _, said = finish(commands[kind], log, partial(limit_files, size))
        assert code in (0, 2), said
        assert "Traceback" not in said
        if code == 2:
            assert ("cannot be written (" in said and "File too large" in said) or "disk is full" in said, said
        left = {path.name for path in place.iterdir()} - {"bundle.run"}
        assert left <= {"bundle", "out", "hf"}
        if kind == "train --force" and code:
            assert {p.name: p.read_bytes() for p in (place / "bundle").iterdir() if p.is_file()} == before
        if (place / "bundle").exists():
            load_predictor(place / "bundle")
        survived += 1
    print(f"\nfull disk, {kind}: {len(sizes)} sizes, {survived} survived, {len(sizes) - survived} lost")


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.xlsx", "fixed.csv", "why.html"])
def test_a_file_is_whole_or_the_old_one_where_the_disk_fills(name: str, small_bundle: Path, tmp_path: Path) -> None:
    place, log = tmp_path / "place", tmp_path / "log"
    place.mkdir()
    table = write_csv(tmp_path / "texts.csv", rows(80))
    told: list[Any] = ["predict", small_bundle, table, "--text", "text", "-o", place / name, "-q"]
    if name == "fixed.csv":
        told = ["audit", table, "--fix", place / name, "-q"]
    elif name == "why.html":
        told = ["explain", small_bundle, "win a prize, call now", "--html", place / name]
    refused = 0
    for size in (500, 2000):  # what it says must fit too
        (place / name).write_text("old", encoding="utf-8")
        code, _, said = finish([*told, "--force"], log, partial(limit_files, size))
        assert code in (0, 2), said
        assert "Traceback" not in said
        assert {path.name for path in place.iterdir()} <= {name, "fixed.changes.jsonl"}
        if code == 2:
            refused += 1
            assert "File too large" in said or "disk is full" in said, said
            assert (place / name).read_text(encoding="utf-8") == "old"
        else:
            assert (place / name).read_bytes() != b"old"
    assert refused


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that cannot be written, by root neither."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    if os.geteuid():
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)
        return
    mounting = ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("root writes everywhere, and nothing can be mounted read-only here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_folder_that_cannot_be_written(
    read_only: Path, small_llama: Path, small_csv: Path, small_bundle: Path, tmp_path: Path, command: Any
) -> None:
    table = write_csv(tmp_path / "texts.csv", rows(5))
    for told in (
        ["train", small_csv, "-o", read_only / "bundle", "--model", small_llama, *QUICK],
        ["predict", small_bundle, table, "-o", read_only / "out.csv"],
        ["predict", small_bundle, table, "-o", f"{read_only / 'out'}/"],
        ["export", small_bundle, "--to", "hf", "-o", read_only / "hf"],
    ):
        ran = command(*told)
        assert (ran.code, ran.out) == (2, ""), ran.err
        assert "cannot be written (" in ran.err
        assert str(read_only) in ran.err
    with contextlib.suppress(PermissionError):
        assert os.listdir(read_only) == []


def test_nothing_is_written_into_a_bundle(copy: Path, small_llama: Path, tmp_path: Path, command: Any) -> None:
    """Its record proves what lies there: answers over one of its files would damage it, a bundle in it go with it."""
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    table = write_csv(tmp_path / "texts.csv", rows(60))
    kept = next(path for path in copy.joinpath("texts").iterdir() if path.suffix == ".jsonl")
    for told in (
        ["predict", copy, table, "--text", "text", "-o", copy / "answers.csv"],
        ["predict", copy, table, "--text", "text", "-o", kept, "--force"],
        ["predict", copy, table, "--text", "text", "-o", f"{copy / 'out'}/"],
        ["audit", table, "--fix", copy / "fixed.csv"],
        ["train", table, "-o", copy / "inner", "--model", small_llama, *QUICK],
    ):
        ran = command(*told)
        assert (ran.code, ran.out) == (2, ""), told
        assert f"lies in the bundle {os.path.realpath(copy)}. Name a place outside of it." in ran.err
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
