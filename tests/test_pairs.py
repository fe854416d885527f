"""Pairs of texts (`--text a --pair b`), from the table to every way of asking: one answer, whoever asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from small import Run, one_thread, pair_rows, write_csv
from written import written_as

from classtune.data.reading.cells import as_pair, paired, parts_of
from classtune.data.reading.columns import TableFormat
from classtune.data.reading.isolated import read_upload
from classtune.data.reading.tables import Table, read_table
from classtune.explain.words import without, words_of
from classtune.inference.predictor import load_predictor
from classtune.inference.tables import as_trained
from classtune.server.app import create_app
from classtune.server.registry import ModelRegistry
from classtune.server.settings import serve_settings

pytest_plugins = ["bundle_fixtures"]

HEADER = ["question", "answer", "label"]
PLAIN = ["--set", "candidates=one", "--split-by", "exact", "--depth", "all", "--epochs", "1"]


@pytest.fixture(scope="module")
def bundle(small_pairs: Path) -> Path:
    return small_pairs


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """Answers before questions, each question with two answers."""
    rows = [[answer, question] for question, answer, _ in pair_rows(8)]
    rows += [["no idea", question] for _, question in rows] + [["", rows[0][1]]]
    return write_csv(tmp_path / "later.csv", rows, ["answer", "question"])


def answered(bundle: Path, path: Path) -> tuple[Table, Any]:
    table = read_table(path, as_trained(TableFormat(), bundle), labelled=False)
    return table, load_predictor(bundle)[0].probabilities(table.texts)


def test_the_second_text_is_read_and_apart_from_the_first(bundle: Path, later: Path) -> None:
    table, scores = answered(bundle, later)
    assert table.texts[0] == "what is the price of 0\n\nit costs 0 euros"
    assert (abs(scores[:8, 0] - scores[8:16, 0]) > 1e-4).all()
    predictor, _ = load_predictor(bundle)
    swapped = predictor.probabilities([paired(second, first) for (_, first), (_, second) in map(parts_of, table.texts)])
    assert (abs(scores[:16, 0] - swapped[:16, 0]) > 1e-5).all()
    parted_otherwise = predictor.probabilities([paired("a\n\nb", "c"), paired("a", "b\n\nc")])
    assert abs(parted_otherwise[0, 0] - parted_otherwise[1, 0]) > 1e-6  # equal when joined


def test_a_pipeline_gives_the_same_scores(bundle: Path, later: Path) -> None:
    from transformers import pipeline

    table, scores = answered(bundle, later)
    classify = pipeline("text-classification", model=str(bundle), top_k=None)
    for text, row in zip(table.texts, scores, strict=True):
        (_, first), (_, second) = parts_of(text)
        # Of this form a pipeline takes one pair, and gives one list of labels.
        found = classify({"text": first, "text_pair": second})
        by_label = {one["label"]: one["score"] for one in (found[0] if isinstance(found[0], list) else found)}
        assert [by_label["fits"], by_label["other"]] == pytest.approx(row.tolist(), abs=1e-4)


def test_train_tells_of_the_pair_and_the_bundle_remembers_it(small_bert: Path, tmp_path: Path, command: Run) -> None:
    table = write_csv(tmp_path / "t.csv", pair_rows(), HEADER)
    told = ["train", table, "-o", tmp_path / "b", "--model", small_bert, *PLAIN, "--text", "question"]
    document = command(*told, "--pair", "answer", "--json").document
    assert document["data"]["columns"] == {"text": "question", "label": "label", "pair": "answer"}
    assert "question and answer" in command("info", tmp_path / "b").out
    again = command("evaluate", tmp_path / "b", table, "--json").document
    assert again["data"]["rows"] == 60
    ran = command(*told, "--pair", "answr", "--force")
    assert (ran.code, "no column is called 'answr' (--pair)" in ran.err) == (2, True)
    assert "--text and --pair both name 'question'" in command(*told, "--pair", "question", "--force").err
    command(*told, "--force", "-o", tmp_path / "alone")
    ran = command("evaluate", tmp_path / "b", tmp_path / "alone", table)
    assert (ran.code, "read different things, pairs with 'answer' and texts alone (--pair)" in ran.err) == (2, True)
    ran = command("predict", tmp_path / "b", write_csv(tmp_path / "bare.csv", [["a"]], ["question"]))
    assert (ran.code, "no column is called 'answer' (--pair)" in ran.err) == (2, True)
    ran = command("predict", tmp_path / "b", "is it open?\n\nyes", "--json")
    assert ran.document == load_predictor(tmp_path / "b")[0].predict([paired("is it open?", "yes")])
    assert "what stands after a blank line is read as 'answer'" in ran.err


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_shards_answer_as_the_table_does(suffix: str, bundle: Path, later: Path, tmp_path: Path, command: Run) -> None:
    table, scores = answered(bundle, later)
    path = written_as(suffix, table, tmp_path)
    assert command("predict", bundle, path, "-o", f"{tmp_path}/out/").code == 0
    (shard,) = (tmp_path / "out").glob(f"*{suffix}")
    found = read_table(shard, TableFormat(text="question"), labelled=False).columns["score:fits"]
    assert [float(score) for score in found] == pytest.approx(scores[:, 0].tolist(), abs=1e-6)


def test_http_takes_pairs_in_each_dialect(bundle: Path, later: Path) -> None:
    table, scores = answered(bundle, later)
    client = TestClient(create_app(ModelRegistry([bundle]), serve_settings({}), ()), "http://127.0.0.1")
    assert client.get("/info").json()["models"][0]["pair"] == "answer"
    pairs = [[part for _, part in parts_of(text)] for text in table.texts]

    def fits(ranked: list[dict[str, Any]]) -> float:
        return float(next(one["score"] for one in ranked if one["label"] == "fits"))

    expected = pytest.approx(scores[:, 0].tolist(), abs=1e-6)
    assert list(map(fits, client.post("/predict", json={"inputs": pairs}).json())) == expected
    objects = [{"text": first, "text_pair": second} for first, second in pairs]
    assert list(map(fits, client.post("/", json={"inputs": objects}).json())) == expected
    classified = client.post("/classify", json={"input": pairs}).json()
    assert [one["probs"][0] for one in classified["data"]] == expected
    one = [client.post("/predict", json={"inputs": told}).json() for told in (pairs[0], "\n\n".join(pairs[0]))]
    assert list(map(fits, one)) == pytest.approx([scores[0, 0]] * 2, abs=1e-6)
    assert fits(client.post("/", json={"inputs": objects[0]}).json()[0]) == pytest.approx(scores[0, 0], abs=1e-6)
    refused = client.post("/predict", json={"inputs": [["a", "b"], ["a", "b", "c"], []]})
    assert (refused.status_code, "inputs[1], inputs[2]: not a pair" in refused.text) == (422, True)


def test_an_upload_brings_the_pairs_along(bundle: Path, later: Path) -> None:
    table, _ = answered(bundle, later)
    uploaded = read_upload(later, as_trained(TableFormat(), bundle))
    assert list(map(parts_of, uploaded.texts)) == list(map(parts_of, table.texts))


def test_an_explanation_is_of_both_texts(bundle: Path, command: Run) -> None:
    told = ["explain", bundle, "is it open", "--pair", "it opens at 9", "--json"]
    document = command(*told).document
    assert [word["word"] for word in document["words"]] == ["is", "it", "open", "it", "opens", "at", "9"]
    predictor, _ = load_predictor(bundle)
    scores = predictor.probabilities([paired("is it open", "it opens at 9"), paired("is it open", "it opens at")])
    assert document["score"] == pytest.approx(float(scores[0].max()), abs=1e-6)
    text = paired("is it open", "it opens at 9", {"price": "3"})
    shorter = without(text, [words_of(text)[1], words_of(text)[-1]])
    assert parts_of(shorter) == [(0, "is open"), (9, "it opens at")]
    assert getattr(shorter, "cells", None) == {"price": "3"}
    assert [part for _, part in parts_of(as_pair("is open\n\nit\n\nopens"))] == ["is open", "it\n\nopens"]


@pytest.mark.parametrize("to", ["onnx", "openvino", "hf"])
def test_exports_read_pairs(to: str, bundle: Path, later: Path, tmp_path: Path, command: Run) -> None:
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "nncf", "hf": "transformers"}[to])
    assert command("export", bundle, "--to", to, "-o", tmp_path / "out").code == 0
    if to == "hf":
        return  # compared with the bundle, pair by pair, while it is written
    ran = command("predict", tmp_path / "out", later, "--runtime", to, "--json")
    _, scores = answered(bundle, later)
    found = [next(one["score"] for one in ranked if one["label"] == "fits") for ranked in ran.document]
    assert found == pytest.approx(scores[:, 0].tolist(), abs=1e-4)
    assert "data" not in json.loads((tmp_path / "out" / "classtune.json").read_text(encoding="utf-8"))


def test_a_classifier_in_python_reads_pairs(bundle: Path, later: Path, small_bert: Path) -> None:
    import pandas

    import classtune

    table, scores = answered(bundle, later)
    loaded = classtune.load(bundle)
    pairs = [tuple(part for _, part in parts_of(text)) for text in table.texts]
    for asked in (pairs, pandas.read_csv(later), table.texts):
        assert loaded.predict_proba(asked)[:, 0] == pytest.approx(scores[:, 0], abs=1e-6)
    questions, answers, labels = zip(*pair_rows(), strict=True)
    told: dict[str, Any] = {"candidates": "one", "split_by": "exact", "depth": "all", "epochs": 1}
    with one_thread():
        found = [
            classtune.TextClassifier(str(small_bert), pair="answer", **told).fit(given, labels).predict_proba(asked)
            for given, asked in (
                (list(zip(questions, answers, strict=True)), pairs),
                (pandas.DataFrame({"question": questions, "answer": answers}), pandas.read_csv(later)),
            )
        ]
    assert found[0] == pytest.approx(found[1], abs=1e-6)
