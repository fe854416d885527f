"""Rows that are written: the kind of the file decides how, and nobody else has to know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from classtune.data.written import write_rows

ROWS: list[dict[str, Any]] = [{"text": "=1+1", "label": ["a", "b"], "score": float("nan")}]


@pytest.mark.parametrize(("escape", "text"), [(False, "=1+1"), (True, "'=1+1")])
def test_delimited_rows_have_a_heading_and_text_that_may_be_escaped(escape: bool, text: str, tmp_path: Path) -> None:
    write_rows(tmp_path / "scratch", ".csv", [*ROWS[0]], ROWS, escape_formulas=escape)
    assert (tmp_path / "scratch").read_text(encoding="utf-8").splitlines() == [
        "text,label,score",
        f'{text},"[""a"", ""b""]",',
    ]
    write_rows(tmp_path / "none", ".csv", ["text"], [])
    assert (tmp_path / "none").read_text(encoding="utf-8").splitlines() == ["text"]


@pytest.mark.parametrize("escape", [False, True])
def test_json_keeps_cells_as_they_are(escape: bool, tmp_path: Path) -> None:
    for suffix in (".jsonl", ".json"):
        write_rows(tmp_path / f"t{suffix}", suffix, [*ROWS[0]], ROWS * 2, escape_formulas=escape)
    row = {"text": "=1+1", "label": ["a", "b"], "score": None}
    lines = (tmp_path / "t.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [row, row]
    assert json.loads((tmp_path / "t.json").read_text(encoding="utf-8")) == [row, row]
