"""The folders of four small GPT-2s."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from gpt2_folders import BLOCKS, save_gpt2


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder by the real one's name, made when it is first asked for."""
    root = tmp_path_factory.mktemp("gpt2")

    def find(name: str) -> Path:
        return root / name if (root / name).exists() else save_gpt2(root / name, BLOCKS[name])

    return find
