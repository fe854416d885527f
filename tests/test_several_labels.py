"""Several labels a text, from a table to a bundle that transformers reads, and long texts in windows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import LIMIT, ONE, QUICK, Run, one_thread, write_csv

from classtune import TextClassifier, load

pytest_plugins = ["bundle_fixtures"]

# A label for each of three words; a text holds any of them, or none.
SIGNS = {"prize": "money", "mate": "friend", "now": "urgent"}


def texts_and_sets(count: int) -> tuple[list[str], list[list[str]]]:
    found = [[sign for bit, sign in enumerate(SIGNS) if number >> bit & 1] for number in range(count)]
    texts = [f"{' '.join(signs)} text {number:03d}" for number, signs in enumerate(found)]
    return texts, [sorted(SIGNS[sign] for sign in signs) for signs in found]


def small(model: Path, **more: Any) -> TextClassifier:
    told = {**ONE, "split_by": "exact", "batch_size": 8, "learning_rate": 3e-3, "validation": 0.2}
    return TextClassifier(str(model), depth="all", trainable=1, epochs=more.pop("epochs", 20), settings=told | more)


@pytest.fixture(scope="module")
def fitted(small_bert: Path) -> TextClassifier:
    with one_thread():
        return small(small_bert, test=0.2).fit(*texts_and_sets(240))


def test_labels_are_learned_each_by_itself(fitted: TextClassifier) -> None:
    assert fitted.classes_.tolist() == ["friend", "money", "urgent"]
    texts = ["prize now text 900", "mate text 901", " text 902"]
    with one_thread():
        assert fitted.predict(texts).tolist() == [[0, 1, 1], [1, 0, 0], [0, 0, 0]]
        assert (fitted.predict_proba(texts) > 0).all()
    test = fitted.result_["test"]
    assert test["macro_f1"] > 0.8
    assert test["confusion"] is None
    assert set(test["per_label"]) == {"friend", "money", "urgent"}
    assert fitted.result_["baseline"]["micro_f1"] > 0


def test_a_matrix_of_labels_trains_the_same(fitted: TextClassifier, small_bert: Path) -> None:
    texts, sets = texts_and_sets(60)
    matrix = np.array([[label in row for label in ("friend", "money", "urgent")] for row in sets], dtype=int)
    with one_thread():
        by_matrix = small(small_bert, epochs=1).fit(texts, matrix)
        by_sets = small(small_bert, epochs=1).fit(texts, sets)
        assert np.array_equal(by_matrix.predict_proba(texts), by_sets.predict_proba(texts))


def test_the_bundle_is_read_by_transformers_with_a_sigmoid_a_label(fitted: TextClassifier, tmp_path: Path) -> None:
    from transformers import pipeline

    fitted.save(tmp_path / "bundle")
    text = "prize now text 900"
    with one_thread():
        whole = load(tmp_path / "bundle")
        assert np.array_equal(whole.predict_proba([text]), fitted.predict_proba([text]))
        (theirs,) = pipeline("text-classification", model=str(tmp_path / "bundle"), top_k=None)([text])
        logits = whole._fitted().logits([text])[0]
    by_label = {entry["label"]: entry["score"] for entry in theirs}
    ours = 1 / (1 + np.exp(-logits))
    assert [by_label[label] for label in whole.classes_] == pytest.approx(ours.tolist(), abs=1e-5)


def test_from_a_column_with_a_separator_to_predictions_and_figures(
    small_bert: Path, tmp_path: Path, command: Run
) -> None:
    texts, sets = texts_and_sets(120)
    data = write_csv(tmp_path / "rows.csv", [(text, "|".join(row)) for text, row in zip(texts, sets, strict=True)])
    told = {**QUICK, "epochs": 12, "learning_rate": 3e-3, "validation": 0.2}
    flags = [item for key, value in told.items() for item in ("--set", f"{key}={value}")]
    separator = ["--label-separator", "|"]
    bundle = tmp_path / "bundle"
    trained = command("train", data, "-o", bundle, "--model", small_bert, *separator, *flags, "--json").document
    assert trained["task"] == "several labels a text"
    assert trained["data"]["classes"]["friend"] == 60
    assert trained["labels"] == ["friend", "money", "urgent"]
    (ranked,) = command("predict", bundle, "prize now text 900", "--json").document
    assert {entry["label"] for entry in ranked if entry["answer"]} == {"money", "urgent"}
    assert "money, urgent" in command("predict", bundle, "prize now text 900").out.replace(
        "urgent, money", "money, urgent"
    )
    judged = command("evaluate", bundle, data, *separator, "--json").document["test"]
    assert judged["rows"] == 120
    assert judged["macro_f1"] > 0.8
    assert command("evaluate", bundle, data, "--json").document["test"] == judged  # it knows what separates them
    refused = command("evaluate", bundle, data, "--label-separator", "none", "--drop-unlabelled")
    assert (refused.code, "the label 'friend|money' is not one" in refused.err) == (2, True)
    html = (bundle / "texts" / "report.html").read_text(encoding="utf-8")
    assert "exactly the right labels" in html


def test_columns_of_ones_and_zeros(small_bert: Path, tmp_path: Path, command: Run) -> None:
    texts, sets = texts_and_sets(60)
    names = ("friend", "money", "urgent")
    lines = [",".join(["text", *names])]
    lines += [",".join([t, *(str(int(n in row)) for n in names)]) for t, row in zip(texts, sets, strict=True)]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    flags = [item for key, value in QUICK.items() for item in ("--set", f"{key}={value}")]
    columns = ["--label-columns", ",".join(names), "--json"]
    ran = command("train", tmp_path / "rows.csv", "-o", tmp_path / "b", "--model", small_bert, *flags, *columns)
    assert ran.document["labels"] == list(names)
    told, known = (command("evaluate", tmp_path / "b", tmp_path / "rows.csv", "--json", *say) for say in (columns, ()))
    assert known.document["test"] == told.document["test"]


def test_long_texts_are_read_in_windows_alike_in_training_and_use(small_llama: Path, tmp_path: Path) -> None:
    """The sign stands where a cut text would have lost it."""
    filler = "and so on " * 20
    texts = [f"{filler}{'win a prize' if i % 2 else 'see you, mate'} {i:03d}" for i in range(60)]
    labels = [("ham", "spam")[i % 2] for i in range(60)]
    assert min(map(len, texts)) > LIMIT
    with one_thread():
        windows = small(small_llama, long_texts="windows", max_tokens=100, test=0.2, epochs=4).fit(texts, labels)
        assert windows.result_["test"]["accuracy"] == 1
        assert any("60 of 60 texts are read in windows of 100 tokens" in note for note in windows.result_["notes"])
        windows.save(tmp_path / "bundle")
        loaded = load(tmp_path / "bundle")
        batch, single = loaded.predict_proba(texts[:6]), [loaded.predict_proba([text])[0] for text in texts[:6]]
        assert np.abs(batch - np.array(single)).max() < 1e-6
        assert np.abs(batch - windows.predict_proba(texts[:6])).max() < 1e-6
    record = json.loads((tmp_path / "bundle" / "classtune.json").read_text(encoding="utf-8"))
    assert record["tokens"]["windows"] is True


@pytest.mark.parametrize(("truncate", "kept"), [("head", "beginning"), ("tail", "end"), ("both", "beginning and end")])
def test_what_is_cut_is_counted_and_the_end_that_is_asked_for_stays(
    truncate: str, kept: str, small_llama: Path
) -> None:
    filler = "and so on " * 20
    texts = [f"{filler}{'win a prize' if i % 2 else 'see you, mate'} {i:03d}" for i in range(30)]
    labels = [("ham", "spam")[i % 2] for i in range(30)]
    with one_thread():
        fitted = small(small_llama, truncate=truncate, max_tokens=39, epochs=1).fit(texts, labels)
        (note,) = (note for note in fitted.result_["notes"] if "were cut to" in note)
        assert note.startswith(f"30 of 30 texts were cut to 39 tokens, their {kept}; ")
        assert fitted.result_["cut_tokens"] == sum(len(text) - 39 for text in texts)
        alike = fitted.predict_proba([texts[0], texts[0][:39] if truncate == "head" else texts[0][-39:]])
    assert (abs(alike[0] - alike[1]).max() < 1e-6) == (truncate != "both")
