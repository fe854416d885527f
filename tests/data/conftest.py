"""Where the real data sets are: beside the repository, or in the folder that CLASSTUNE_TEST_DATA names."""

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
