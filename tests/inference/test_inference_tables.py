"""A bundle over a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small import QUICK, Run, rows

from classtune.bundle import learned_rows, read_rows
from classtune.data.reading.columns import TableFormat
from classtune.data.reading.tables import read_table, table_from_rows
from classtune.inference.tables import evaluate_bundle, predict_table

pytest_plugins = ["bundle_fixtures"]


def quiet(*_: object) -> None:
    """Nobody asked."""


def test_evaluation_and_prediction_agree(small_bundle: Path) -> None:
    texts, labels = zip(*rows(20), strict=True)
    table = table_from_rows(texts, labels, name="rows")
    judged = evaluate_bundle(small_bundle, table, {}, notify=quiet, progress=quiet).test.document()
    predicted = [ranked[0]["label"] for ranked in predict_table(small_bundle, table, {}, notify=quiet, progress=quiet)]
    right = sum(label == truth for label, truth in zip(predicted, labels, strict=True))
    assert judged["accuracy"] == right / 20


def test_rows_that_the_bundle_learned_from_are_told_apart(small_bundle: Path) -> None:
    """Figures of rows that it has seen are no test: they are said to be such, and those of the others stand beside."""
    new = [(f"see you at {number} then, mate, or later", "spam") for number in range(100, 104)]  # all of them wrong
    texts, labels = zip(*rows(60), *new, strict=True)
    said: list[str] = []
    table = table_from_rows(texts, labels, name="rows")
    judged = evaluate_bundle(small_bundle, table, {}, notify=said.append, progress=quiet)
    learned = len(read_rows(small_bundle).learned)
    assert 0 < learned < 60
    assert said == [
        f"{small_bundle} learned from {learned} of the 64 rows: how it answers those says nothing of new texts."
    ]
    assert judged.unseen is not None
    assert (judged.learned, judged.test.rows, judged.unseen.rows) == (learned, 64, 64 - learned)
    answers = predict_table(small_bundle, table, {}, notify=quiet, progress=quiet)
    right = np.array([one[0]["label"] == label for one, label in zip(answers, labels, strict=True)])
    fresh = ~learned_rows(small_bundle, texts)
    assert judged.unseen.accuracy == right[fresh].mean() < right.mean()
    alone = table_from_rows([new[0][0]], ["spam"], name="new")
    assert evaluate_bundle(small_bundle, alone, {}, notify=said.append, progress=quiet).unseen is None
    assert len(said) == 1


def test_copies_among_the_rows_that_judge_are_said(small_bundle: Path) -> None:
    said: list[str] = []
    for copies in (1, 2):
        texts = ["a new text"] * (copies + 1) + [f"text {number}" for number in range(15)]
        table = table_from_rows(texts, ["ham"] * len(texts))
        evaluate_bundle(small_bundle, table, {}, notify=said.append, progress=quiet)
    assert said == [
        "2 of the 18 test rows are copies of others: intervals and p-values take each for a row of its own, and are "
        "too narrow."
    ]


def test_text_columns_are_remembered_at_once_and_in_pieces(tmp_path: Path, small_llama: Path, command: Run) -> None:
    lines = [
        f"{n},{'win a prize' if n % 2 else 'see you'},call {n} now,{'spam' if n % 2 else 'ham'}" for n in range(60)
    ]
    table = tmp_path / "mails.csv"
    table.write_text("id,subject,body,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    settings = [word for name, value in QUICK.items() for word in ("--set", f"{name}={value}")]
    bundle, told = tmp_path / "bundle", ("--model", small_llama, "--json")
    record = command("train", table, "--text", "subject,body", "-o", bundle, *told, *settings).document
    assert record["data"]["columns"] == {"text": "subject,body", "label": "label"}

    at_once = command("predict", bundle, table, "--json").document
    joined = command("predict", bundle, "see you\n\ncall 0 now", "win a prize\n\ncall 1 now", "--json").document
    assert [ranked[0]["score"] for ranked in at_once[:2]] == pytest.approx([r[0]["score"] for r in joined], abs=1e-6)
    command("predict", bundle, table, "-o", f"{tmp_path / 'answers'}/")
    written = read_table(tmp_path / "answers" / "mails-00000.csv", TableFormat(text="body", label="score"))
    scores = [float(score) for score in written.labels or []]
    assert scores == pytest.approx([ranked[0]["score"] for ranked in at_once], abs=1e-6)

    fixed = tmp_path / "fixed.csv"  # its one column is called as the bundle knows it
    assert command("audit", table, "--text", "subject,body", "--fix", fixed).code == 0
    assert (
        command("evaluate", bundle, fixed, "--json").document["test"]
        == (command("evaluate", bundle, table, "--json").document["test"])
    )
