"""Wishes about answers, from the command line to the file: saved with the bundle, and applied wherever it answers."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import QUICK, Run, one_thread, rows, train_small, write_csv

from classtune import load
from classtune.decisions.abstention import promise

pytest_plugins = ["bundle_fixtures"]

NEW = ["win a prize, call now 77 today", "see you at 77 then, mate", "hello prize then"]
MORE = {"validation": 0.3, "test": 0.3}


@pytest.fixture(scope="module")
def wide_bundle(small_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with enough validation rows to decide by."""
    folder = tmp_path_factory.mktemp("wide") / "bundle"
    train_small(small_llama, folder, **MORE)
    return folder


def test_calibration_is_saved_and_applied_alike_everywhere(wide_bundle: Path, command: Run) -> None:
    record = json.loads((wide_bundle / "classtune.json").read_text(encoding="utf-8"))
    assert record["decisions"]["calibration"]["rows"] == record["splits"]["validation"]
    with one_thread():
        python = load(wide_bundle).predict_proba(NEW)
    for ranked, row in zip(command("predict", wide_bundle, *NEW, "--json").document, python, strict=True):
        assert [entry["score"] for entry in ranked] == pytest.approx(sorted(row, reverse=True), abs=1e-9)
        assert "answer" not in ranked[0]  # Hugging Face's form, where the answer is simply the first


def test_evaluate_says_how_many_texts_get_an_answer(wide_bundle: Path, tmp_path: Path, command: Run) -> None:
    """The figures beside it are of all rows, and alone they would hide that many get no answer."""
    bundle, table = Path(shutil.copytree(wide_bundle, tmp_path / "bundle")), write_csv(tmp_path / "new.csv", rows(90))
    scores = [one[0]["score"] for one in command("predict", bundle, table, "--text", "text", "--json").document]
    record = json.loads((bundle / "classtune.json").read_text(encoding="utf-8"))
    promised = promise(np.linspace(0.6, 1, 100), np.zeros(100, dtype=np.bool_), 0.1)
    record["decisions"]["abstention"] = replace(promised, threshold=float(np.median(scores))).record()
    (bundle / "classtune.json").write_text(json.dumps(record), encoding="utf-8")
    shown = command("evaluate", bundle, table).out
    answered = sum(score >= np.median(scores) for score in scores) / len(scores)
    assert 0.4 < answered < 0.6
    assert f"as if each were answered. {100 * answered:.1f} % of them are, and 0.0 % of these wrongly" in shown
    assert "as if each were answered" not in command("evaluate", wide_bundle, table).out


def test_other_shares_in_the_field_move_the_scores(wide_bundle: Path, command: Run) -> None:
    def spam(*told: str) -> list[float]:
        predictions = command("predict", wide_bundle, *NEW, *told, "--json").document
        return [next(e["score"] for e in ranked if e["label"] == "spam") for ranked in predictions]

    usual, rare = spam(), spam("--deploy-prior", "spam=0.01")
    for before, after in zip(usual, rare, strict=True):
        odds = before / (1 - before) * (0.01 / 0.99)  # it was trained on equal shares
        assert after == pytest.approx(odds / (1 + odds), rel=1e-3)


def test_shares_are_estimated_from_the_texts_at_hand(wide_bundle: Path, tmp_path: Path, command: Run) -> None:
    texts = [(text, "") for text, label in rows(200) if label == "ham"] + [(rows(1)[0][0], "")]
    data = write_csv(tmp_path / "new.csv", texts)
    ran = command("predict", wide_bundle, data, "--text", "text", "--deploy-prior", "estimate", "--json")
    assert len(ran.document) == len(texts)
    (line,) = (line for line in ran.err.splitlines() if "class prior (share of each label) estimated" in line)
    assert "from the 101 texts given, without their labels: ham " in line
    (found,) = re.findall(r"ham ([\d.]+) % \(95 % interval ([\d.]+) % to ([\d.]+) %; in training 50", line)
    ham, low, high = map(float, found)
    assert ham > 90
    assert low <= ham <= high
    table = write_csv(tmp_path / "rows.csv", rows(40))
    judged = command("evaluate", wide_bundle, table, "--deploy-prior", "estimate", "--json")
    estimated = judged.document["decisions"]["prior"]["estimated"]
    assert estimated["texts"] == 40
    assert estimated["shares"]["spam"] == pytest.approx(judged.document["decisions"]["prior"]["deployed"]["spam"])
    assert estimated["ci95"]["spam"][0] <= estimated["shares"]["spam"] <= estimated["ci95"]["spam"][1]


def test_shares_can_be_estimated_where_every_text_has_one_label(wide_bundle: Path, command: Run) -> None:
    """The estimate may be 1 to the last digit, which nobody may name: other labels would be impossible."""
    texts = [text for text, label in rows(60) if label == "ham"]
    ran = command("predict", wide_bundle, *texts, "--deploy-prior", "estimate")
    assert ran.code == 0, ran.err
    assert "30 texts: few" in ran.err
    refused = command("train", "rows.csv", "--deploy-prior", "estimate")
    assert refused.code == 2
    assert "training has none. Name the shares, --deploy-prior spam=0.134" in refused.err


def test_costs_move_the_answer_and_each_label_says_whether_it_is_given(wide_bundle: Path, command: Run) -> None:
    dear = command("predict", wide_bundle, *NEW, "--cost", "spam:fn=1000000,fp=0.000001", "--json").document
    assert [[e["label"] for e in ranked if e["answer"]] for ranked in dear] == [["spam"]] * 3
    judged = command("predict", wide_bundle, *NEW, "--cost", "spam:fn=0.000001,fp=1000000", "--json").document
    assert [[e["label"] for e in ranked if e["answer"]] for ranked in judged] == [["ham"]] * 3


def test_a_new_wish_takes_the_place_of_its_rival(small_llama: Path, tmp_path: Path, command: Run) -> None:
    for told, wish in (
        ({"cost": "spam:fn=9,fp=1"}, ("--precision", "spam=0.9")),
        ({"recall": {"spam": 0.9}}, ("--cost", "spam:fn=9,fp=1")),
    ):
        train_small(small_llama, tmp_path / wish[0], **MORE, **told)
        ran = command("predict", tmp_path / wish[0], NEW[0], *wish, "--json")
        assert "answer" in ran.document[0][0]
    told_both = command("predict", tmp_path / wish[0], NEW[0], *wish, "--recall", "spam=0.9")
    assert (told_both.code, "each sets the thresholds" in told_both.err) == (2, True)


def test_a_promise_that_few_rows_cannot_show_is_refused_in_words(wide_bundle: Path, command: Run) -> None:
    ran = command("predict", wide_bundle, NEW[0], "--max-error", "0.01", "--json")
    assert "held-out rows" in ran.err
    assert [entry["answer"] for entry in ran.document[0]] == [True, False]  # no promise, so everything is answered


def test_all_that_is_wrong_is_said_by_flag(wide_bundle: Path, command: Run) -> None:
    ran = command("predict", wide_bundle, NEW[0], "--max-error", "2", "--precision", "spam=3", "--recall", "egg=0.9")
    assert ran.code == 2
    for part in ("--max-error 2: lies", "--precision spam=3: lies", "--recall egg=0.9: no such label"):
        assert part in ran.err


def test_withheld_answers_are_saved_shown_and_written(
    small_llama: Path, tmp_path: Path, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = rows(200)
    # Labels that nothing tells: the classifier must be unsure of these texts.
    lines += [(f"maybe {i}, who knows", ("spam", "ham")[i % 3 == 0]) for i in range(200)]
    data = write_csv(tmp_path / "rows.csv", lines)
    told = {**QUICK, "validation": 0.4, "test": 0.2, "max_error": 0.1, "epochs": 4}
    flags = [item for key, value in told.items() for item in ("--set", f"{key}={value}")]
    result = command("train", data, "-o", tmp_path / "bundle", "--model", small_llama, *flags, "--json").document
    abstention = result["decisions"]["abstention"]
    assert abstention["threshold"] > 0.5
    assert 0 < result["test"]["answered"] < 1
    assert result["test"]["error_of_answered"] < 1 - result["test"]["accuracy"]
    assert result["test"]["rows"] == result["splits"]["test"]  # accuracy is of all rows, so that it can be compared
    doubtful = "maybe 901, who knows"
    ran = command("predict", tmp_path / "bundle", doubtful, NEW[0], "--json")
    assert [any(entry["answer"] for entry in ranked) for ranked in ran.document] == [False, True]
    assert "no answer (" in command("predict", tmp_path / "bundle", doubtful).out
    texts = write_csv(tmp_path / "new.csv", [(doubtful, ""), (NEW[0], "")])
    command("predict", tmp_path / "bundle", texts, "--text", "text", "-o", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        assert [line["label"] for line in csv.DictReader(file)] == ["", "spam"]
    with one_thread():
        answers: Any = load(tmp_path / "bundle").predict([doubtful, NEW[0]])
    assert answers.tolist() == [None, "spam"]


def test_figures_are_of_the_probabilities_that_ship_beside_a_promise(
    small_bert: Path, tmp_path: Path, command: Run
) -> None:
    """With costs a promise leaves a third of the rows to fit the probabilities."""
    lines = [(f"{text} {n % 7}", ("spam", "ham")[n % 5 == 0] if n % 3 == 0 else label)
             for n, (text, label) in enumerate(rows(240))]  # fmt: skip
    data, test = write_csv(tmp_path / "t.csv", lines[:160]), write_csv(tmp_path / "u.csv", lines[160:])
    told = ["--model", small_bert, "--effort", "fast", "--keep", "tf-idf", "--split-by", "exact", "--test", test]
    wishes = ["--max-error", "0.4", "--cost", "fn=3,fp=1"]
    result = command("train", data, *told, *wishes, "-o", tmp_path / "b", "--json").document
    judged = command("evaluate", tmp_path / "b", test, "--json").document
    assert result["calibration"]["method"] == result["decisions"]["calibration"]["method"]
    for figure in ("log_loss", "ece"):
        assert result["test"][figure] == pytest.approx(judged["test"][figure], abs=1e-6)


def test_wishes_that_cannot_be_read_are_told_at_once(wide_bundle: Path, command: Run) -> None:
    ran = command("predict", wide_bundle, NEW[0], "--precision", "spam", "--recall", "spam=0.9", "--recall", "x=2")
    assert ran.code == 2
    assert "--precision 'spam': got no share. Write LABEL=SHARE, such as spam=0.134." in ran.err
    ran = command("predict", wide_bundle, NEW[0], "--deploy-prior", "spma=0.1", "--cost", "fn=ten")
    assert ran.code == 2
    assert "Did you mean 'spam'?" in ran.err
    assert "ten" in ran.err


def test_wishes_are_read_before_the_training_and_not_after_it(
    small_llama: Path, tmp_path: Path, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("classtune.jobs.steps.load_network", None)  # whoever loads it now, fails
    data = write_csv(tmp_path / "rows.csv", rows(60))
    wishes = ["--deploy-prior", "spma=0.1", "--cost", "fn=ten", "--precision", "hum=0.9"]
    ran = command("train", data, "-o", tmp_path / "bundle", "--model", small_llama, *wishes)
    assert ran.code == 2
    for part in ("spma", "fn=ten", "hum"):
        assert part in ran.err
    assert not (tmp_path / "bundle").exists()


def test_evaluation_judges_the_answers_that_are_wished_for(wide_bundle: Path, tmp_path: Path, command: Run) -> None:
    data = write_csv(tmp_path / "rows.csv", rows(20))
    usual = command("evaluate", wide_bundle, data, "--json").document["test"]
    told = command("evaluate", wide_bundle, data, "--cost", "spam:fn=1000000,fp=0.000001", "--json").document["test"]
    assert np.trace(usual["confusion"]) > np.trace(told["confusion"]) == 10


def test_evaluation_says_what_a_text_costs_with_and_without_the_costs(
    wide_bundle: Path, tmp_path: Path, command: Run
) -> None:
    lines = [(f"{text}.", label) for text, label in rows(40)]
    data, told = write_csv(tmp_path / "rows.csv", lines), ("--cost", "spam:fn=1000000,fp=2")
    document = command("evaluate", wide_bundle, data, *told, "--json").document
    under = document["under_wishes"]
    assert under["rows"] == 40
    given, plain = under["classifiers"]["the answers given"], under["classifiers"]["the most probable label"]
    assert given["expected_cost"] == 1.0  # all spam: half of the texts cost 2 each
    (ham, to_spam), (to_ham, spam) = command("evaluate", wide_bundle, data, "--json").document["test"]["confusion"]
    assert plain["expected_cost"] == pytest.approx((1_000_000 * to_ham + 2 * to_spam) / 40)
    assert plain["accuracy"] == (ham + spam) / 40
    shown = command("evaluate", wide_bundle, data, *told).out
    assert "under your costs and class prior, 40 rows" in shown
    assert "expected cost of a text" in shown
    assert "1.0000" in shown
    assert "under your costs" not in command("evaluate", wide_bundle, data).out
