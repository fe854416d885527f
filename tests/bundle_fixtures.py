"""Fixtures of whole runs. Test modules that use them say ``pytest_plugins = ["bundle_fixtures"]``."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small import SEVERAL, Ran, Run, all_of_them, one_thread, pair_rows, rows, save_model, train_small, write_csv


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


@pytest.fixture(scope="session")
def small_pairs(small_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that reads questions with answers: one network of Hugging Face's own form, all of it trained."""
    from classtune.config import resolve
    from classtune.data.reading.columns import TableFormat
    from classtune.data.reading.tables import read_table
    from classtune.jobs.train import train

    folder = tmp_path_factory.mktemp("pairs")
    model = Path(shutil.copytree(small_bert, folder / "bert"))
    config = json.loads((model / "tokenizer_config.json").read_text(encoding="utf-8"))
    config["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]  # as BERT's tokenizer has them
    (model / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    rows = write_csv(folder / "t.csv", pair_rows(), ("question", "answer", "label"))
    table = read_table(rows, TableFormat(text="question", pair="answer"))
    told = {"candidates": "one", "split_by": "exact", "depth": "all", "trainable": "all", "learning_rate": 1e-3}
    settings = resolve(overrides={"model": str(model), "epochs": 3, "batch_size": 8, **told})
    with one_thread():
        train(table, settings, notify=lambda _: None, progress=lambda *_: None).save(folder / "bundle")
    return folder / "bundle"


@pytest.fixture
def copy(small_bundle: Path, tmp_path: Path) -> Path:
    """A bundle to damage."""
    return Path(shutil.copytree(small_bundle, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def small_blend(small_llama: Path, small_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A finished run that blends TF-IDF and two networks, whatever the rows would choose, and its bundle."""
    from classtune.config import resolve
    from classtune.data.reading.tables import table_from_rows
    from classtune.jobs.train import train

    texts, labels = zip(*rows(80), strict=True)
    settings = resolve(overrides={**SEVERAL, "model": f"{small_llama},{small_bert}"})
    folder = tmp_path_factory.mktemp("blend") / "bundle"
    with pytest.MonkeyPatch.context() as patch, one_thread():
        patch.setattr("classtune.jobs.contest.choose", all_of_them)
        table = table_from_rows(texts, labels, name="rows")
        trained = train(table, settings, notify=lambda _: None, progress=lambda *_: None)
        trained.save(folder)
    return trained, folder


@pytest.fixture
def single_thread() -> Iterator[None]:
    """See `small.one_thread`. Whole modules say ``pytestmark = pytest.mark.usefixtures("single_thread")``."""
    with one_thread():
        yield


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains with the defaults, a dozen networks each time, in a step or two: for what shows that it runs."""
    from classtune.training import contrastive, loop

    monkeypatch.setattr(loop, "MOST_EPOCHS", 2)
    monkeypatch.setattr(contrastive, "STEPS", 2)


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
