"""What is written is whole or not there, names stay inside, and one run writes at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from classtune import files
from classtune.errors import BundleError, reading
from classtune.files import Busy, check_regular, claimed, inside, kept_aside, replacing


def fill(folder: Path, content: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a").write_text(content, encoding="utf-8")
    return folder


@pytest.fixture(params=[True, False], ids=["exchange", "two renames"])
def swapping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a system that can swap two names in one step, and on one that cannot."""
    if not request.param:
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)


def test_what_a_library_writes_beside_its_file_does_not_stay(tmp_path: Path) -> None:
    with replacing(tmp_path / "weights") as scratch:
        scratch.with_name(".tmpUE427u").write_text("half", encoding="utf-8")  # as safetensors does until it is whole
        scratch.write_text("whole", encoding="utf-8")
    assert os.listdir(tmp_path) == ["weights"]


@pytest.mark.usefixtures("swapping")
def test_a_folder_takes_the_place_of_another_when_it_is_whole(tmp_path: Path) -> None:
    target = fill(tmp_path / "out", "old")
    with replacing(target) as scratch:
        fill(scratch, "new")
        assert (target / "a").read_text() == "old"
    assert (target / "a").read_text() == "new"
    with pytest.raises(ZeroDivisionError), replacing(target) as scratch:
        1 / len(fill(scratch, "half").name[:0])  # fails in the middle
    assert (target / "a").read_text() == "new"
    assert os.listdir(tmp_path) == ["out"]


def test_a_run_killed_between_two_renames_is_put_right_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = fill(tmp_path / "out", "old")
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    monkeypatch.setattr(files, "_remove", lambda path: None)  # nothing is cleared away by a killed process
    renamed = os.replace

    def killed(one: Path, other: Path) -> None:
        if other == target:
            raise KeyboardInterrupt
        renamed(one, other)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt), replacing(target) as scratch:
        fill(scratch, "new")
    monkeypatch.undo()
    assert not target.exists()
    assert kept_aside(target)
    told = list[str]()
    with claimed(target, told.append):
        assert (target / "a").read_text() == "old"
        assert os.listdir(tmp_path) == [".out.lock", "out"] or set(os.listdir(tmp_path)) == {".out.lock", "out"}
    assert told == [f"{target}: a run was killed while it replaced this folder; what stood there before is back."]
    assert os.listdir(tmp_path) == ["out"]


def test_one_run_writes_to_a_place_at_a_time(tmp_path: Path) -> None:
    with claimed(tmp_path / "out"):
        with pytest.raises(Busy, match="another run is writing here"), claimed(tmp_path / "out"):
            pass
        with claimed(tmp_path / "other"):
            pass
    with claimed(tmp_path / "out"):
        pass
    assert os.listdir(tmp_path) == []


def test_only_what_classtune_left_is_cleared(tmp_path: Path) -> None:
    left = fill(tmp_path / ".out.classtune-0123abcd", "half")
    kept = [fill(tmp_path / name, "mine") for name in (".out-backup1", ".outer.classtune-0123abcd", ".out.classtune-x")]
    with claimed(tmp_path / "out"):
        pass
    assert not left.exists()
    assert all(folder.is_dir() for folder in kept)


@pytest.mark.parametrize(
    "name", ["", "..", "a/../b", "../a", "/etc/passwd", "a//b", "a\\b", "c:a", "a\0b", ".", "a/.", None, 3, "a\nb"]
)
def test_names_that_are_none_are_refused(name: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no name of a file in it"):
        inside(tmp_path, name)


def test_links_are_followed_only_within_the_folder(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "x")
    (folder / "link").symlink_to("a")
    (folder / "out").symlink_to(tmp_path)
    assert inside(folder, "link") == folder / "link"
    assert inside(folder, "b/c") == folder / "b" / "c"
    assert inside(folder, "10:30?.csv", portable=False) == folder / "10:30?.csv"
    with pytest.raises(ValueError, match="'out/x' leads out of it"):
        inside(folder, "out/x")


def test_what_cannot_be_read_to_its_end_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(64 << 30)
    (tmp_path / "long").write_bytes(bytes(100))
    for name, reason in (("pipe", "no regular file"), ("hole", "only 0 are on the disk"), ("long", "at most 99")):
        with pytest.raises(ValueError, match=reason):
            check_regular(tmp_path / name, 99 if name == "long" else None)


@pytest.mark.parametrize("error", [ImportError("x"), ZeroDivisionError("x"), RecursionError("x"), Exception("x\ny")])
def test_whatever_reading_raises_is_one_error_that_names_the_file(error: Exception, tmp_path: Path) -> None:
    told = rf"{tmp_path}: the model cannot be read \(.*x\)\. Restore it"
    with pytest.raises(BundleError, match=told), reading(tmp_path, "the model"):
        raise error
