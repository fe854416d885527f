"""`classtune compare`: every rung on the same rows, and the trunk run once for all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small import QUICK, Run, one_thread, rows, write_csv

from classtune.config import resolve
from classtune.data.reading.tables import table_from_rows
from classtune.jobs import compare as job
from classtune.jobs.train import train
from classtune.model.activations import ActivationStore

pytest_plugins = ["bundle_fixtures"]

CHEAP = ["majority class", "one-line rule", "TF-IDF + logistic regression"]
TRAINED = ["frozen probe", "last block", "last two blocks", "LoRA on the last two blocks"]
KEYS = {"name", "accuracy", "accuracy_ci95", "macro_f1", "log_loss", "ece"}
KEYS |= {"train_seconds", "ms_per_text", "bytes", "p_value"}


def quiet(*_: object) -> None:
    """Nobody asked."""


def compare(model: Path, **told: Any) -> dict[str, Any]:
    texts, labels = zip(*rows(80), strict=True)
    full = told.pop("full", False)
    settings = resolve(overrides={**QUICK, "model": str(model), **told})
    with one_thread():
        return job.compare(
            table_from_rows(texts, labels, name="rows"), settings, full=full, notify=quiet, progress=quiet
        )


@pytest.mark.parametrize("family", ["small_llama", "small_bert"])
def test_a_rung_is_what_training_it_alone_gives_and_the_trunk_runs_once(
    family: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = request.getfixturevalue(family)
    fills: list[int] = []
    fill = ActivationStore.fill

    def counted(self: ActivationStore, *given: Any, **more: Any) -> None:
        fill(self, *given, **more)
        fills.append(self.tokens_passed)

    monkeypatch.setattr(ActivationStore, "fill", counted)
    ladder = compare(model)
    assert len(fills) == 1
    assert [rung["name"] for rung in ladder["rungs"]] == [*CHEAP, *TRAINED]
    found = {rung["name"]: rung for rung in ladder["rungs"]}
    texts, labels = zip(*rows(80), strict=True)
    for name, trainable in (("last block", 1), ("last two blocks", 2)):
        settings = resolve(overrides={**QUICK, "model": str(model), "trainable": trainable})
        with one_thread():
            alone = train(table_from_rows(texts, labels, name="rows"), settings, notify=quiet, progress=quiet).result
        # What was trained before on the same weights has left no trace.
        assert found[name]["log_loss"] == pytest.approx(alone["test"]["log_loss"], abs=1e-4)
        assert found[name]["accuracy"] == alone["test"]["accuracy"]
    for name in CHEAP:
        (beside,) = (rung for rung in alone["ladder"]["rungs"] if rung["name"] == name)
        assert found[name]["log_loss"] == pytest.approx(beside["log_loss"], abs=1e-9)


def test_all_blocks_are_trained_only_when_asked(small_llama: Path) -> None:
    assert [rung["name"] for rung in compare(small_llama, full=True)["rungs"]] == [*CHEAP, *TRAINED, "all blocks"]


def test_the_command_prints_rungs_and_recommendation_and_writes_page_and_picture(
    small_llama: Path, tmp_path: Path, command: Run
) -> None:
    write_csv(tmp_path / "rows.csv", rows(60))
    told = [item for key, value in QUICK.items() for item in ("--set", f"{key}={value}")]
    files = ["--picture", tmp_path / "ladder.svg", "--report", tmp_path / "ladder.html"]
    ran = command("compare", tmp_path / "rows.csv", "--model", small_llama, *told, *files, "--json")
    assert all(rung.keys() >= KEYS for rung in ran.document["rungs"])
    assert ran.document["recommended"] in [rung["name"] for rung in ran.document["rungs"]]
    assert ran.document["recommendation"]
    assert (tmp_path / "ladder.svg").read_text(encoding="utf-8").startswith("<svg ")
    assert "one-line rule" in (tmp_path / "ladder.html").read_text(encoding="utf-8")
    shown = command("compare", tmp_path / "rows.csv", "--model", small_llama, *told, "-q")
    assert shown.err == ""
    for rung in ran.document["rungs"]:
        assert rung["name"] in shown.out
    assert "the one-line rule: " in shown.out


def test_a_network_of_one_block_has_one_rung_less(small_llama: Path) -> None:
    names = [rung["name"] for rung in compare(small_llama, depth=1)["rungs"]]
    assert names == [*CHEAP, "frozen probe", "last block", "LoRA on the last block"]


def test_a_ladder_needs_test_rows(small_llama: Path, tmp_path: Path, command: Run) -> None:
    write_csv(tmp_path / "rows.csv", rows(60))
    ran = command("compare", tmp_path / "rows.csv", "--model", small_llama, "--set", "test=0")
    assert ran.code == 2
    assert "test = 0: the ladder is judged on test rows." in ran.err
