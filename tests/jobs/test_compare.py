"""`classtune compare`: the candidates of `train`, side by side, and nothing saved."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import pytest
from small import Run, pair_rows, rows, write_csv

from classtune.config import resolve
from classtune.data.reading.tables import table_from_rows
from classtune.errors import SettingsError
from classtune.jobs import compare as job
from classtune.jobs.train import train
from classtune.model.activations import ActivationStore

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")

QUICK: dict[str, Any] = {"split_by": "exact", "depth": "all", "epochs": 1, "least_steps": 10, "effort": "best"}
TEXTS, LABELS = zip(*rows(80), strict=True)


def quiet(*_: object) -> None:
    """Nobody asked."""


def compare(model: Path, *, full: bool = False, **told: Any) -> dict[str, Any]:
    settings = resolve(overrides={**QUICK, "model": str(model), **told})
    table = table_from_rows(TEXTS, LABELS, name="rows")
    return job.document(job.compare(table, settings, full=full, notify=quiet, progress=quiet))


@pytest.mark.parametrize("family", ["small_llama", "small_bert"])
def test_it_is_what_train_would_ship_and_the_trunk_runs_once(
    family: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = request.getfixturevalue(family)
    fills: list[int] = []
    fill = ActivationStore.fill

    def counted(self: ActivationStore, *given: Any, **more: Any) -> None:
        fill(self, *given, **more)
        fills.append(self.tokens_passed)

    monkeypatch.setattr(ActivationStore, "fill", counted)
    found = compare(model)
    assert len(fills) == 1  # though a probe and four tails were trained
    names = {one["name"] for one in found["candidates"]}
    assert names >= {"majority class", "one-line rule", "tf-idf", f"{model.name} probe", f"{model.name} tail"}
    settings = resolve(overrides={**QUICK, "model": str(model)})
    table = table_from_rows(TEXTS, LABELS, name="rows")
    shipped = train(table, settings, notify=quiet, progress=quiet).result.document()
    assert found["recommended"] == shipped["chosen"]["name"]
    assert found["chosen"]["losses"] == shipped["chosen"]["losses"]


def test_all_blocks_are_trained_only_when_asked(small_bert: Path) -> None:
    names = [one["name"] for one in compare(small_bert, full=True)["candidates"]]
    assert f"{small_bert.name} all blocks" in names


def test_without_test_rows_nothing_can_be_compared(small_bert: Path) -> None:
    with pytest.raises(SettingsError, match="compared on test rows"):
        compare(small_bert, test=0.0)


def test_the_command_shows_every_candidate_and_writes_page_and_picture(
    small_bert: Path, tmp_path: Path, command: Run
) -> None:
    data = write_csv(tmp_path / "rows.csv", rows(80))
    page, picture = tmp_path / "page.html", tmp_path / "picture.svg"
    told = ["compare", data, "--model", small_bert, "--split-by", "exact", "--depth", "all", "--epochs", 1]
    ran = command(*told, "--effort", "fast", "--report", page, "--picture", picture)
    assert ran.code == 0, ran.err
    for name in ("majority class", "tf-idf", f"{small_bert.name} probe", "The classifier is"):
        assert name in ran.out
    written = html.unescape(page.read_text(encoding="utf-8"))
    for name in ("tf-idf", "The classifier is", "Candidates compared", "candidates compared ·"):
        assert name in written
    assert "no test rows" not in written
    assert picture.read_text(encoding="utf-8").startswith("<svg")


def test_pairs_and_columns_beside_the_text_are_compared_too(small_bert: Path, tmp_path: Path, command: Run) -> None:
    lines = [[*row, ("card", "app")[row[2] == "fits"]] for row in pair_rows(80)]
    data = write_csv(tmp_path / "rows.csv", lines, ("question", "answer", "label", "product"))
    told = ["compare", data, "--model", small_bert, "--split-by", "exact", "--depth", "all", "--effort", "fast"]
    told += ["--text", "question", "--pair", "answer", "--with", "product"]
    page = tmp_path / "page.html"
    ran = command(*told, "--report", page)
    assert ran.code == 0, ran.err
    assert "columns" in ran.out
    document = command(*told, "--json").document
    assert document["data"]["columns"] == {"text": "question", "label": "label", "with": "product", "pair": "answer"}
    by_name = {one["name"]: one for one in document["candidates"]}
    assert by_name["columns"]["accuracy"] == 1.0  # the product tells the label
    assert ">columns<" in page.read_text(encoding="utf-8")
    refused = command(*told[:-1], "produkt")
    assert (refused.code, "no column is called 'produkt' (--with)" in refused.err) == (2, True)


def test_costs_have_a_table_of_their_own(small_llama: Path, tmp_path: Path, command: Run) -> None:
    data, page = write_csv(tmp_path / "rows.csv", rows(80)), tmp_path / "c.html"
    told = [
        word
        for key, value in {**QUICK, "effort": "fast", "cost": "spam:fn=1000000,fp=2"}.items()
        for word in ("--set", f"{key}={value}")
    ]
    ran = command("compare", data, "--model", small_llama, *told, "--report", page)
    assert ran.code == 0, ran.err
    assert "under your costs and class prior, 16 rows" in ran.out
    assert "Under your costs and class prior" in page.read_text(encoding="utf-8")
    document = command("compare", data, "--model", small_llama, *told, "--json").document
    assert document["under_wishes"]["classifiers"]["the classifier"]["expected_cost"] == pytest.approx(1.0)
