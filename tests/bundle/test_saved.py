"""The saved classifier: what it holds, and that it scores as it did."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from saved import FILES, TEXTS, edit, files_of, scores
from small import SEVERAL, Run, rows, train_small

from classtune.bundle import SCHEMA_VERSION
from classtune.config import resolve
from classtune.data.reading.tables import table_from_rows
from classtune.jobs.train import train

pytest_plugins = ["bundle_fixtures"]


def pipeline_scores(folder: Path) -> list[dict[str, float]]:
    """Label → score of each text, by transformers alone."""
    from transformers import pipeline

    classify = pipeline("text-classification", model=str(folder), top_k=None, device="cpu")
    return [{entry["label"]: entry["score"] for entry in ranked} for ranked in classify(TEXTS, batch_size=4)]


@pytest.mark.parametrize("family", ["small_llama", "small_bert"])
def test_a_bundle_scores_as_the_trained_model_and_as_transformers(
    family: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "bundle"
    trained = train_small(request.getfixturevalue(family), folder, depth=2)
    before = trained.predictor.probabilities(TEXTS)
    after = scores(folder)
    assert np.abs(before - after).max() < 1e-6
    assert np.ptp(after[:, 0]) > 1e-3  # the texts do not all score alike, or nothing would be compared
    for row, ranked in zip(after, pipeline_scores(folder), strict=True):
        assert ranked == pytest.approx(dict(zip(trained.labels, row, strict=True)), abs=1e-5)
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["num_hidden_layers"] == 2


@pytest.mark.parametrize("told", [{"pooling": "last+mean"}, {"pooling": "mean", "head_bias": True}])
def test_a_head_of_our_own_comes_back_too(told: dict[str, Any], small_llama: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    trained = train_small(small_llama, folder, **told)
    assert np.abs(trained.predictor.probabilities(TEXTS) - scores(folder)).max() < 1e-6
    record = json.loads((folder / "classtune.json").read_text(encoding="utf-8"))
    assert (record["hugging_face"], record["pooling"]) == (False, told["pooling"])
    assert files_of(folder) == sorted([*FILES, "head.safetensors"])


def test_exactly_these_files_are_written(small_bundle: Path) -> None:
    assert files_of(small_bundle) == FILES
    assert os.listdir(small_bundle.parent) == [small_bundle.name]


def test_the_record_says_what_is_needed_to_use_and_to_judge_it(small_bundle: Path) -> None:
    record = json.loads((small_bundle / "classtune.json").read_text(encoding="utf-8"))
    assert record["schema_version"] == SCHEMA_VERSION
    assert record["labels"] == ["ham", "spam"]
    assert record["tokens"].items() >= {"limit": 160, "cut": False, "pad_to": None, "pool_padding": False}.items()
    assert (record["depth"]["kept"], record["depth"]["of"]) == (3, 3)
    assert record["settings"]["epochs"] == 2
    assert record["test"]["rows"] == 12
    assert {"torch", "transformers", "classtune"} <= set(record["versions"])
    assert sorted(record["sha256"]) == [name for name in FILES if name != "classtune.json"]
    assert all(len(entry["scores"]) == 2 and entry["text"] for entry in record["golden"])
    assert not {text for text, _ in rows()} & {entry["text"] for entry in record["golden"]}  # nobody's data


def texts_in(path: Path) -> set[str]:
    return {json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()}


def test_a_bundle_keeps_texts_that_it_learned_from_and_others(small_bundle: Path) -> None:
    learned, held_out = (texts_in(small_bundle / "texts" / f"{name}.jsonl") for name in ("neighbours", "held_out"))
    assert learned
    assert held_out
    assert not learned & held_out
    assert learned | held_out <= {text for text, _ in rows()}


def test_a_bundle_keeps_no_texts_where_that_is_not_wished(small_llama: Path, tmp_path: Path, command: Run) -> None:
    train_small(small_llama, tmp_path / "bundle", keep_texts=False)
    assert files_of(tmp_path / "bundle") == [name for name in FILES if not name.startswith("texts/")]
    assert "texts of the table" not in (tmp_path / "bundle" / "README.md").read_text(encoding="utf-8")
    assert command("info", tmp_path / "bundle", "--json").document["keeps_texts"] is False


def test_without_texts_no_file_of_a_bundle_holds_a_row(small_llama: Path, tmp_path: Path) -> None:
    trained = train_small(small_llama, tmp_path / "bundle", keep_texts=False)
    assert trained.result.data.audit.findings[0].examples  # there is something to quote
    for path in (path for path in (tmp_path / "bundle").rglob("*") if path.is_file()):
        content = path.read_text(encoding="utf-8", errors="replace")
        assert not [text for text, _ in rows() if text in content], path


def test_without_texts_tf_idf_keeps_no_word_that_one_text_alone_has(small_llama: Path, tmp_path: Path) -> None:
    secret = [("win Zebulon4711, call now today", "spam"), ("win zebulon4711, call now today", "spam")]  # copies
    texts, labels = zip(*rows(40), *secret, strict=True)
    told = {**SEVERAL, "effort": "fast", "keep": "tf-idf", "model": str(small_llama)}
    for keep in (True, False):
        settings = resolve(overrides={**told, "keep_texts": keep})
        table = table_from_rows(texts, labels, name="rows")
        trained = train(table, settings, notify=lambda _: None, progress=lambda *_: None)
        trained.save(tmp_path / str(keep))
        (vocabulary,) = (tmp_path / str(keep)).glob("members/*/vocabulary.json")
        assert ("zebulon" in vocabulary.read_text(encoding="utf-8")) is keep


def test_all_quotes_lie_in_one_folder(small_bundle: Path) -> None:
    for path in (path for path in small_bundle.iterdir() if path.is_file()):
        content = path.read_text(encoding="utf-8", errors="replace")
        assert not [text for text, _ in rows() if text in content], path
    quotes = json.loads((small_bundle / "texts" / "quotes.json").read_text(encoding="utf-8"))
    assert quotes["findings"][0]["examples"][0]["text"] in {text for text, _ in rows()}
    assert "texts/report.html" in (small_bundle / "report.html").read_text(encoding="utf-8")


def test_a_bundle_of_schema_2_is_still_read_and_pushed_without_its_texts(copy: Path, tmp_path: Path) -> None:
    from classtune.bundle import read_held_out
    from classtune.explain.neighbours import Neighbours
    from classtune.export.push import push_bundle

    before, held_out = scores(copy), read_held_out(copy)
    for path in (copy / "texts").iterdir():
        shutil.move(path, copy / path.name)
    (copy / "texts").rmdir()
    (copy / "quotes.json").unlink()
    (copy / "rows.safetensors").unlink()
    (copy / "reference.safetensors").unlink()

    def become_older(record: dict[str, Any]) -> None:
        from classtune.files import sha256

        record["sha256"] = {path.name: sha256(path) for path in copy.iterdir() if path.name != "classtune.json"}
        record["schema_version"] = 2

    edit(copy, become_older)
    assert (scores(copy) == before).all()
    assert read_held_out(copy) == held_out != []
    assert Neighbours.load(copy)
    done = push_bundle(copy, "me/x", dry_run=True, notify=lambda line: None)
    assert set(done["left_out"]) == {
        *("held_out.jsonl", "neighbours.jsonl", "neighbours.safetensors", "report.html", "validation.safetensors"),
    }
