"""A server that watches takes up a new version only where it is as good as the one that answers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from small import QUICK, Run, one_thread, rows, write_csv

from classtune.config import resolve
from classtune.data.reading.tables import table_from_rows
from classtune.errors import DataError
from classtune.jobs.gate import gate_of
from classtune.jobs.train import train
from classtune.server.registry import ModelRegistry

pytest_plugins = ["bundle_fixtures"]

MANY = rows(400)


@pytest.fixture(scope="module")
def worse(small_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that learned every label the wrong way round."""
    folder = tmp_path_factory.mktemp("worse") / "bundle"
    texts, labels = zip(*rows(), strict=True)
    table = table_from_rows(texts, [{"spam": "ham", "ham": "spam"}[label] for label in labels])
    with one_thread():
        settings = resolve(overrides={**QUICK, "model": str(small_llama)})
        train(table, settings, notify=lambda _: None, progress=lambda *_: None).save(folder)
    return folder


class Watched:
    """A registry of one folder, and what it said."""

    def __init__(self, live: Path, table: Path) -> None:
        self.live, self.said = live, list[tuple[str, dict[str, Any]]]()
        self.registry = ModelRegistry([live], gate=gate_of(str(table), [live]))

    def put(self, bundle: Path) -> tuple[str, dict[str, Any]]:
        """What is said of another bundle in the place of the one there."""
        shutil.rmtree(self.live)
        shutil.copytree(bundle, self.live)
        before = len(self.said)
        for _ in range(3):
            self.registry.refresh(lambda event, **told: self.said.append((event, told)))
        assert len(self.said) == before + 1  # once
        return self.said[-1]


def test_a_version_that_is_worse_on_the_table_is_refused(small_bundle: Path, worse: Path, tmp_path: Path) -> None:
    live = tmp_path / "live"
    shutil.copytree(worse, live)
    watched = Watched(live, write_csv(tmp_path / "t.csv", MANY))
    event, told = watched.put(small_bundle)
    assert event == "bundle_swapped"
    assert "t.csv" not in told["gate"]
    good = watched.registry[None].version
    event, told = watched.put(worse)
    assert (event, told["keeps"]) == ("bundle_refused", good)
    assert told["error"].startswith(f"--at-least-as-good {tmp_path / 't.csv'}: ")
    assert watched.registry[None].predictor.predict(["win a prize, call now 3 today"])[0][0]["label"] == "spam"


def test_a_table_that_cannot_judge_refuses_and_is_found_at_the_start(small_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        gate_of(str(tmp_path / "none.csv"), [small_bundle])
    live, table = tmp_path / "live", write_csv(tmp_path / "t.csv", MANY)
    shutil.copytree(small_bundle, live)
    watched = Watched(live, table)
    write_csv(table, [("a text", "another label"), ("a second", "ham")])
    shutil.copytree(small_bundle, tmp_path / "changed")
    record = tmp_path / "changed" / "classtune.json"
    record.write_text(record.read_text(encoding="utf-8") + " ", encoding="utf-8")  # another version of the same
    event, told = watched.put(tmp_path / "changed")
    assert event == "bundle_refused"
    assert "the label 'another label' is one of neither bundle" in told["error"]


def test_without_watch_there_is_no_gate(small_bundle: Path, command: Run) -> None:
    ran = command("serve", small_bundle, "--at-least-as-good", "t.csv")
    assert ran.code == 2
    assert "--at-least-as-good t.csv: new versions are taken up with --watch alone. Pass it too." in ran.err
