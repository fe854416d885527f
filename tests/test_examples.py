"""Every example runs, on a tiny model, and stays short."""

from __future__ import annotations

import importlib
import runpy
import sys
from pathlib import Path

import pytest

pytest_plugins = ["bundle_fixtures"]

EXAMPLES = Path(__file__).parents[1] / "examples"
PROGRAMS = sorted(path for path in EXAMPLES.glob("*.py") if path.stem != "tickets")


@pytest.mark.usefixtures("single_thread", "few_steps")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_an_example_runs(
    program: Path, small_llama: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = [line for line in program.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(code) <= 25
    monkeypatch.setattr(sys, "argv", [str(program), str(small_llama)])
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setitem(sys.modules, "tickets", None)
    monkeypatch.delitem(sys.modules, "tickets")  # reads the arguments, once for each program
    runpy.run_path(str(program), run_name="__main__")
    assert capsys.readouterr().out.strip()


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
