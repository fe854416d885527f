"""Every example runs, on a tiny model, and stays short."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["bundle_fixtures"]

EXAMPLES = Path(__file__).parents[1] / "examples"
PROGRAMS = sorted(path for path in EXAMPLES.glob("*.py") if path.stem != "tickets")


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_an_example_runs(program: Path, small_llama: Path) -> None:
    code = [line for line in program.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(code) <= 25
    ran = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:classtune", str(program), str(small_llama)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()


def test_every_example_is_listed() -> None:
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"({program.name})" in page for program in PROGRAMS)


def test_the_package_brings_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from classtune.sources import DatasetSource, Local, ModelSource

    monkeypatch.syspath_prepend(str(EXAMPLES / "package"))
    model, data = importlib.import_module("classtune_tickets").sources()
    assert isinstance(model, ModelSource)
    assert isinstance(data, DatasetSource)
    (file,) = data.files
    assert isinstance(file.source, Local)
    assert len(file.source.path.read_text(encoding="utf-8").splitlines()) == 1 + file.rows
