"""What changed between a stopped run and --resume is noticed, and what is not a run is left alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from small import Run

from classtune.bundle import check_target
from classtune.errors import BundleError
from classtune.training.checkpoint import MARKER

pytest_plugins = ["bundle_fixtures"]


def test_a_run_killed_before_its_first_file_stood_is_no_hindrance(
    small_csv: Path, small_llama: Path, small_bundle: Path, tmp_path: Path, command: Run
) -> None:
    told = ["train", small_csv, "-o", tmp_path / "b", "--model", small_llama, "--depth", "1", "--effort", "fast", "-q"]
    bulk = ["predict", small_bundle, small_csv, "--text", "text", "-o", f"{tmp_path / 'out'}/", "-q"]
    for folder, name, run in (("b.run", MARKER, told), ("out", "manifest.json", bulk)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f".{name}.classtune-0123abcd").write_text("{", encoding="utf-8")
        ran = command(*run, "--resume")
        assert ran.code == 0, ran.err
    assert not list(tmp_path.rglob(".*classtune-*"))


def stop(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_other_weights_under_the_same_name_are_noticed(
    small_llama: Path, small_csv: Path, tmp_path: Path, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Path(shutil.copytree(small_llama, tmp_path / "model"))
    told = ["train", small_csv, "-o", tmp_path / "bundle", "--model", model, "--depth", "2", "--epochs", "1", "-q"]
    told += ["--set", "candidates=one"]
    with monkeypatch.context() as patch:  # everything is trained, and nothing tested
        patch.setattr("classtune.jobs.results.result", stop)
        assert command(*told).code == 1
    tensors = load_file(model / "model.safetensors")
    tensors["norm.weight"] += 1
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    ran = command(*told, "--resume")
    assert (ran.code, ran.out) == (2, "")
    assert "bundle.run: the interrupted run had other weights." in ran.err
    assert list((tmp_path / "bundle.run").glob("checkpoint*.safetensors"))


def test_a_folder_that_only_has_the_name_of_a_run_is_left_alone(
    small_llama: Path, small_csv: Path, tmp_path: Path, command: Run
) -> None:
    (tmp_path / "bundle.run").mkdir()
    (tmp_path / "bundle.run" / "depth.json").write_text("mine", encoding="utf-8")
    ran = command("train", small_csv, "-o", tmp_path / "bundle", "--model", small_llama, "--depth", "2", "-q")
    assert (ran.code, ran.out) == (2, "")
    assert "bundle.run: is where a stopped run would be kept, and holds what this classtune did not write." in ran.err
    assert [path.name for path in (tmp_path / "bundle.run").iterdir()] == ["depth.json"]
    check_target(tmp_path / "bundle", force=False)  # and nothing was written
    with pytest.raises(BundleError, match="is not empty and holds no bundle"):
        check_target(tmp_path / "bundle.run", force=True)
