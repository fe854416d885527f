"""Files for the tests: written ones, and real data sets (beside the repository, or where CLASSTUNE_TEST_DATA says)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def real() -> Callable[[str], Path]:
    """Path of a real data file; the test is skipped where it is missing."""
    folder = Path(os.environ.get("CLASSTUNE_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")

    def find(name: str) -> Path:
        if not (folder / name).exists():
            pytest.skip(f"no {name} in {folder} (set CLASSTUNE_TEST_DATA)")
        return folder / name

    return find


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bytes | str], Path]:
    """Writes a file into the working folder, so that messages call it by its bare name."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, content: bytes | str) -> Path:
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return Path(name)

    return write
