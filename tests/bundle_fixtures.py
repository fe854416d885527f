"""Fixtures of whole runs. Test modules that use them say ``pytest_plugins = ["bundle_fixtures"]``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from small import Ran, Run, one_thread, rows, save_model, train_small, write_csv


@pytest.fixture(scope="session")
def small_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder that classtune can cut."""
    return save_model(tmp_path_factory.mktemp("models") / "llama", "llama")


@pytest.fixture(scope="session")
def small_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder that classtune can cut."""
    return save_model(tmp_path_factory.mktemp("models") / "bert", "bert")


@pytest.fixture(scope="session")
def small_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 rows of two classes."""
    return write_csv(tmp_path_factory.mktemp("tables") / "messages.csv", rows())


@pytest.fixture(scope="session")
def small_bundle(small_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the decoder. Tests that damage it work on a copy."""
    folder = tmp_path_factory.mktemp("bundles") / "llama"
    train_small(small_llama, folder)
    return folder


@pytest.fixture
def single_thread() -> Iterator[None]:
    """See `small.one_thread`. Whole modules say ``pytestmark = pytest.mark.usefixtures("single_thread")``."""
    with one_thread():
        yield


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `classtune` with the arguments given, in this process; an error that would be a traceback is raised."""
    from classtune import cli

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["classtune", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended, one_thread():
            cli.main()
        shown = capsys.readouterr()
        code = ended.value.code
        if isinstance(code, str):  # sys.exit of a message prints it on the way out
            return Ran(1, shown.out, shown.err + code)
        return Ran(code or 0, shown.out, shown.err)

    return run
