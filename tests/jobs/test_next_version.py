"""A second version from new rows and feedback: its test rows, its labels, and the word on whether it is better."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small import Run, rows, write_csv

from classtune.bundle import ROWS, read_record, read_rows
from classtune.data.versions import hashes
from classtune.server.page.feedback import add_feedback

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")

QUICK = ["--set", "candidates=one", "--set", "epochs=2", "--split-by", "exact", "--depth", "all"]
QUICK += [
    "--set",
    "learning_rate=1e-3",
    "--set",
    "least_steps=0",
    "--set",
    "head_start=random",
    "--set",
    "batch_size=8",
]


@pytest.fixture
def feedback(tmp_path: Path) -> Path:
    """What people said on the server's page: two texts that are new, one of the table that was wrong."""
    path = tmp_path / "right.jsonl"
    for text, label in (("call me a taxi", "ham"), ("win a taxi", "spam"), ("see you at 1 then, mate", "spam")):
        add_feedback(path, text, [label], answer=["ham"], labels=["ham", "spam"])
    return path


def test_a_version_from_feedback_is_compared_on_the_rows_that_test_both(
    small_llama: Path, tmp_path: Path, feedback: Path, command: Run
) -> None:
    data, first, second = write_csv(tmp_path / "rows.csv", rows()), tmp_path / "first", tmp_path / "second"
    assert command("train", data, "-o", first, "--model", small_llama, *QUICK).code == 0
    new = [*rows(90), *((f"weather of day {n}", "news") for n in range(30))]
    more = write_csv(tmp_path / "more.csv", new)
    ran = command(
        "train", more, "--add", feedback, "--from", first, "-o", second, "--model", small_llama, *QUICK, "--seed", 7,
        "--json",
    )  # fmt: skip
    result = ran.document
    old_rows, new_rows = read_rows(first), read_rows(second)
    assert np.isin(old_rows.test, new_rows.test).all()
    assert not np.isin(old_rows.learned, new_rows.test).any()
    assert not np.isin(hashes(["call me a taxi", "win a taxi"]), new_rows.test).any()
    tests = result["splits"]["test"]
    assert tests == len(new_rows.test) > len(old_rows.test)
    earlier = result["earlier"]
    assert earlier["shared_test_rows"] == earlier["test_texts"] == len(old_rows.test)
    assert earlier["paired"]["rows"] == len(old_rows.test)
    assert earlier["labels_of_one_only"]["this version"] == ["news"]
    assert result["labels"] == ["ham", "news", "spam"]
    assert "test both versions" in ran.err
    assert read_record(second)["earlier"] == earlier
    assert not [text for text, _ in new if text in (second / ROWS).read_bytes().decode("latin-1")]
    shown = command("train", more, "--from", second, "-o", tmp_path / "third", "--model", small_llama, *QUICK)
    assert f"Rows that test both versions: {len(new_rows.test)} (" in shown.out


@pytest.mark.parametrize("tested", [True, False])
def test_a_version_that_shares_no_test_row_says_what_would_tell_which_is_better(
    tested: bool, small_llama: Path, tmp_path: Path, command: Run
) -> None:
    data, test = write_csv(tmp_path / "rows.csv", rows()), write_csv(tmp_path / "test.csv", rows(80)[60:])
    how = ["--model", small_llama, *QUICK]
    given = ["--test", test] if tested else ["--set", "test=0"]
    assert command("train", data, *given, "-o", tmp_path / "first", *how).code == 0
    earlier = command(
        "train", data, "--from", tmp_path / "first", "--set", "test=0", "-o", tmp_path / "second", *how, "--json"
    ).document["earlier"]
    assert earlier["shared_test_rows"] == 0
    said = "Give their file as test rows again" if tested else f"No text tested {tmp_path / 'first'}"
    assert said in earlier["sentence"]


def test_feedback_alone_needs_no_version_before(
    small_llama: Path, tmp_path: Path, feedback: Path, command: Run
) -> None:
    data = write_csv(tmp_path / "rows.csv", rows())
    result = command("train", data, "--add", feedback, "-o", tmp_path / "b", "--model", small_llama, *QUICK, "--json")
    assert result.document["data"]["rows"] == 62
    assert result.document["data"]["classes"] == {"spam": 32, "ham": 30}
    assert result.document["earlier"] is None


def test_label_columns_that_are_told_are_of_the_table_and_not_of_a_tool_s_export(
    small_bert: Path, tmp_path: Path, command: Run
) -> None:
    lines = [(text, str(int(label == "spam")), str(n % 2)) for n, (text, label) in enumerate(rows(40))]
    data = write_csv(tmp_path / "t.csv", lines, ("text", "spam", "even"))
    tool = tmp_path / "tool.json"
    tool.write_text(json.dumps([{"text": "call me a taxi", "label": ["spam", "even"]}, {"text": "hi", "label": []}]))
    told = ["--label-columns", "spam,even", "--model", small_bert, "--split-by", "exact", "--effort", "fast"]
    ran = command("train", data, *told, "--keep", "tf-idf", "--add", tool, "-o", tmp_path / "b", "--json")
    assert ran.document["data"]["rows"] == 42
    assert ran.document["labels"] == ["even", "spam"]


def test_a_bundle_without_its_rows_says_so(small_bundle: Path, tmp_path: Path, command: Run) -> None:
    old = shutil.copytree(small_bundle, tmp_path / "old")
    (old / ROWS).unlink()
    record = json.loads((old / "classtune.json").read_text(encoding="utf-8"))
    del record["sha256"][ROWS]
    (old / "classtune.json").write_text(json.dumps(record), encoding="utf-8")
    ran = command("train", write_csv(tmp_path / "rows.csv", rows()), "--from", old, "-o", tmp_path / "new")
    assert ran.code == 2
    assert "does not know which rows it was trained on" in ran.err


def test_a_version_that_was_told_costs_is_compared_by_plain_answers(
    small_llama: Path, tmp_path: Path, command: Run
) -> None:
    """The same weights: by its costs all is spam, and half of its answers would be worse."""
    data = write_csv(tmp_path / "rows.csv", rows())
    words = ["train", data, "--model", small_llama, *QUICK]
    assert command(*words, "-o", tmp_path / "first").code == 0
    told = ["--from", tmp_path / "first", "--cost", "spam:fn=1000000,fp=0.000001"]
    ran = command(*words, "-o", tmp_path / "second", *told, "--json")
    earlier = ran.document["earlier"]
    assert (earlier["changed"], earlier["paired"]["gained"], earlier["paired"]["lost"]) == (0, 0, 0)
    assert "compared are their plain calibrated answers" in ran.err
