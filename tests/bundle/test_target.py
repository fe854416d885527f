"""Where a bundle may be written, and what becomes of what stood there."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError
from saved import FILES, TEXTS, edit, files_of, scores
from small import Run, train_small

from classtune.errors import BundleError

pytest_plugins = ["bundle_fixtures"]


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
    def fail(folder: Path, network: object) -> None:
        (folder / "model.safetensors").write_bytes(b"half of it")
        raise fault

    weights = (copy / "model.safetensors").read_bytes()
    monkeypatch.setattr("classtune.bundle.folder.write_model", fail)
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
