"""examples/tutorial.ipynb runs from its first cell to its last, without a network."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from small import rows, write_csv

pytest_plugins = ["gpt2_fixture"]

NOTEBOOK = Path(__file__).parents[2] / "examples" / "tutorial.ipynb"


@pytest.fixture
def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def pictures(cell: Any) -> list[str]:
    return [output.data["image/svg+xml"] for output in cell.outputs if "image/svg+xml" in output.get("data", {})]


def said(cell: Any, stream: str = "stdout") -> str:
    return "".join(output.text for output in cell.outputs if output.get("name") == stream)


def test_it_has_twelve_cells_and_was_run_in_order(notebook: Any) -> None:
    assert [cell.execution_count for cell in cells(notebook)] == list(range(1, 13))
    assert [len(pictures(cell)) for cell in cells(notebook)] == [0] * 9 + [1, 1, 0]
    assert "1045" in said(cells(notebook)[2])


def test_every_cell_runs_without_a_network(
    notebook: Any, gpt2: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {
        "TUTORIAL_MODEL": str(gpt2("gpt2")),
        "TUTORIAL_DATA": str(write_csv(tmp_path / "messages.csv", rows(60))),
        "HF_HUB_OFFLINE": "1",
        "CLASSTUNE_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "IPYTHONDIR": str(tmp_path),
        "JUPYTER_RUNTIME_DIR": str(tmp_path),
        "PYTHONWARNINGS": "default",
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    source = str(Path(__file__).parents[2] / "src")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")])))
    ran = NotebookClient(notebook, timeout=300, kernel_name="python3").execute(cwd=str(tmp_path))
    assert [len(pictures(cell)) for cell in cells(ran)] == [0] * 9 + [1, 1, 0]
    assert "42" in said(cells(ran)[2])
    assert said(cells(ran)[-1]).count("\n") == 2
    assert not [cell for cell in cells(ran) if "DeprecationWarning" in said(cell, "stderr")]
