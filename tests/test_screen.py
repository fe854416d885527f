"""What is printed for people: a long name makes no line that nobody reads to its end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from classtune.data.audit.audit import audit_rows
from classtune.errors import counted
from classtune.screen.answers import show_bulk, show_bundle
from classtune.screen.loop import show_to_label
from classtune.screen.results import show_audit
from classtune.screen.terminal import STAGES, Screen, listed, show

pytest_plugins = ["bundle_fixtures"]

LONG = "a label that is a paragraph " * 33


def test_of_many_names_those_that_fit_are_listed_and_the_others_counted() -> None:
    assert listed(["ham", "spam"]) == "ham, spam"
    assert listed([]) == ""
    assert listed(f"class {number:02}" for number in range(77)) == (
        ", ".join(f"class {number:02}" for number in range(10)) + " and 67 more"
    )
    assert listed(["a" * 900, "b"]) == "a" * 39 + "…, b"


def test_one_of_anything_is_no_plural(capsys: pytest.CaptureFixture[str]) -> None:
    assert [counted(number, "copy", "copies") for number in (0, 1, 2000)] == ["0 copies", "1 copy", "2,000 copies"]
    show_audit({"name": "t.csv", **audit_rows(["a text"], ["ham"]).document()})
    show_bulk({"rows": 1, "files": ["a"], "output": "out", "seconds": 1.0, "rows_per_second": 2.0, "problems": 1})
    chosen = [{"chosen": "at random"}]
    found = {"pool": "p.csv", "rows": 1, "labelled_already": 0, "copies": 1, "chosen": chosen, "output": "o.csv"}
    show_to_label(found)
    screen = Screen()
    for stage in STAGES:
        screen.progress(stage, 0, 1)
    shown = capsys.readouterr()
    for line in (
        "t.csv: 1 row, 1 class: ham 1",
        "1 row in 1 file of out, 1 s, 2 rows a second",
        "1 row without an answer: out/problems.jsonl says why",
        "p.csv: 1 text, 0 labelled already, 1 copy of others",
        "o.csv: 1 text to label, 1 of them drawn at random",
    ):
        assert line in shown.out.splitlines()
    assert "predicting: 1 text" in shown.err.splitlines()
    assert not re.search(r"\b1 [a-z ]*(texts|rows|blocks|tokens|checks|files|classes)\b", shown.err)


def test_a_table_is_as_wide_as_its_cells_may_be(capsys: pytest.CaptureFixture[str]) -> None:
    show([["line\none", LONG]], ("a", "b"))
    _, row = capsys.readouterr().out.splitlines()
    assert len(row) <= len("line one") + 2 + 120
    assert row.startswith("line one ")


def test_a_bundle_of_long_labels_is_shown_within_a_line(small_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads((small_bundle / "classtune.json").read_text(encoding="utf-8"))
    show_bundle("bundle", record | {"labels": [f"{number} {LONG}" for number in range(9)], "decisions": None})
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 150
    assert any(line.startswith("labels") and line.rstrip().endswith(" and 7 more") for line in lines)


def test_an_audit_of_long_labels_names_them_in_short(capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["pay the card", "pay the card", "open the window"]
    audit = audit_rows(texts, [LONG, f"other {LONG}", LONG]).document()
    show_audit({"name": "t.csv", **audit})
    first, *rows = [line for line in capsys.readouterr().out.splitlines() if "What " not in line]
    assert first.startswith("t.csv: 3 rows, 2 classes: a label that is")
    assert max(map(len, [first, *rows])) <= 200
