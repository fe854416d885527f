"""What a run says of texts in languages that its backbones do not know, and that it says it once, before the work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small import QUICK, Run, write_csv

from classtune.config import resolve
from classtune.jobs.foreign import about_languages
from classtune.sources import MODELS, Local
from classtune.sources.registry import MULTILINGUAL

pytest_plugins = ["bundle_fixtures"]

GERMAN = [f"Ich möchte Nummer {number} zurückgeben, weil es leider nicht mehr geht" for number in range(60)]
ENGLISH = [f"I would like to return number {number}, it does not work any more" for number in range(60)]
WALLOON = [
    f"Dji n' sai nén çou k' i m' fåt fé avou l' limero {number}, mins dji l' va rinde asteure" for number in range(60)
]


def said(texts: list[str], **told: str) -> str:
    return about_languages(texts, resolve(overrides=told), seed=123)


def test_a_foreign_table_is_told_of_the_models_that_do_not_know_it_and_of_one_that_does() -> None:
    assert said(GERMAN) == (
        "The texts are 100 % German, by a look at some, and minilm-l6 and smollm2-135m were trained on English alone. "
        f"Try --model {MULTILINGUAL}, of the Hugging Face Hub (100 languages, 0.5 GB)."
    )
    assert "and gpt2 was trained on English" in said(GERMAN, model="gpt2")
    assert said([*ENGLISH, *GERMAN]).startswith("The texts are 50 % German, ")
    assert said(ENGLISH) == ""
    assert said(GERMAN, model=MULTILINGUAL) == ""


def test_a_language_that_no_model_is_known_for_leaves_tf_idf() -> None:
    assert "TF-IDF + logistic regression, which knows every language" in said(WALLOON)


def test_of_a_model_that_classtune_does_not_know_by_name_it_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classtune.jobs.foreign.language_shares", lambda *_, **__: pytest.fail("it looked"))
    assert said(GERMAN, model="our-team/our-model") == ""
    assert said(GERMAN, model="gpt2,our-team/our-model") == ""


def test_train_says_it_before_the_work_and_keeps_it(
    small_bert: Path, tmp_path: Path, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "minilm-l6", replace(MODELS["minilm-l6"], source=Local(small_bert)))
    table = write_csv(tmp_path / "t.csv", [(text, "ab"[place % 2]) for place, text in enumerate(GERMAN)])
    told = [item for key, value in QUICK.items() for item in ("--set", f"{key}={value}")]
    ran = command("train", table, "-o", tmp_path / "b", "--model", "minilm-l6", *told, "--json")
    (note,) = [note for note in ran.document["notes"] if "German" in note]
    assert ran.err.count(note) == 1
    assert ran.err.index(note) < ran.err.index("training:")


def test_models_lists_the_one_that_train_names(command: Run) -> None:
    (line,) = [line for line in command("models").out.splitlines() if line.startswith(MULTILINGUAL)]
    assert "100 languages; 0.5 GB of the Hugging Face Hub" in line
    assert "stored in 4 bits" in command("models").out
