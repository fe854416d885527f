"""What is printed for people: a long name makes no line that nobody reads to its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from classtune.data.audit.audit import audit_rows
from classtune.screen.answers import show_bundle
from classtune.screen.results import show_audit
from classtune.screen.terminal import listed, show

pytest_plugins = ["bundle_fixtures"]

LONG = "a label that is a paragraph " * 33


def test_of_many_names_those_that_fit_are_listed_and_the_others_counted() -> None:
    assert listed(["ham", "spam"]) == "ham, spam"
    assert listed([]) == ""
    assert listed(f"class {number:02}" for number in range(77)) == (
        ", ".join(f"class {number:02}" for number in range(10)) + " and 67 more"
    )
    assert listed(["a" * 900, "b"]) == "a" * 39 + "…, b"


def test_a_table_is_as_wide_as_its_cells_may_be(capsys: pytest.CaptureFixture[str]) -> None:
    show([["line\none", LONG]], ("a", "b"))
    _, row = capsys.readouterr().out.splitlines()
    assert len(row) <= len("line one") + 2 + 120
    assert row.startswith("line one ")


def test_a_bundle_of_long_labels_is_shown_within_a_line(small_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads((small_bundle / "classtune.json").read_text(encoding="utf-8"))
    show_bundle("bundle", record | {"labels": [f"{number} {LONG}" for number in range(9)]})
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
