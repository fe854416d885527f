"""Shell completion, as bash asks for it: commands, options, and file names where a path is wanted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

START = "import sys; sys.argv[0] = 'classtune'; from classtune.cli import main; main()"


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """An environment with `classtune` on its path, and a home of its own."""
    program = tmp_path / "bin" / "classtune"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{START}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_options_and_files(places: dict[str, str], tmp_path: Path) -> None:
    def completed(*words: str) -> list[str]:
        """What bash offers for the last of the words, once the script that `--show-completion` prints is read."""
        asked = " ".join(f"'{word}'" for word in words)
        script = f"""
            eval "$(classtune --show-completion)"
            complete -p classtune | grep -q -- '-o default' || exit 3  # file names, where nothing else is offered
            COMP_WORDS=({asked}); COMP_CWORD={len(words) - 1}
            _classtune_completion classtune
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        ran = subprocess.run(
            ["bash", "-c", script], env=places, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        return ran.stdout.split()

    assert completed("classtune", "tr") == ["train"]
    assert {"train", "predict", "next"} <= set(completed("classtune", ""))
    assert {"--effort", "--epochs", "--encoding"} == set(completed("classtune", "train", "--e")) - {"--engine"}
    assert completed("classtune", "train", "mess") == []
    assert completed("classtune", "train", "t.csv", "-o", "out") == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_installing_it_writes_to_the_home_folder_alone(places: dict[str, str], tmp_path: Path) -> None:
    ran = subprocess.run(
        ["bash", "-c", "classtune --install-completion; true"], env=places, capture_output=True, text=True, check=False
    )
    assert "bash completion installed in" in ran.stdout, ran.stderr
    assert "_CLASSTUNE_COMPLETE" in (tmp_path / ".bash_completions" / "classtune.sh").read_text(encoding="utf-8")
    assert "classtune.sh" in (tmp_path / ".bashrc").read_text(encoding="utf-8")
