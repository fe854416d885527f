"""Answers written to a file."""

from __future__ import annotations

import csv
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from python_calamine import load_workbook

from classtune.data.reading.tables import TableFormat, read_table, table_from_rows
from classtune.errors import BundleError, SettingsError
from classtune.inference.answer_files import EXCEL_CELL, EXCEL_ROWS, check_output, write_predictions

RANKED: list[list[dict[str, str | float]]] = [
    [{"label": "b", "score": 0.75}, {"label": "a", "score": 0.25}],
    [{"label": "a", "score": 1.0}, {"label": "b", "score": 0.0}],
]


def test_columns_are_in_the_order_of_the_labels_whatever_the_first_row_s_best(tmp_path: Path) -> None:
    write_predictions(tmp_path / "out.csv", table_from_rows(["one", "two, three"]), RANKED, ["a", "b"])
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines() == [
        "text,label,score,score:a,score:b",
        "one,b,0.75,0.25,0.75",
        '"two, three",a,1.0,1.0,0.0',
    ]


def test_a_table_s_own_columns_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,text,label\n007,one,x\n,two,\n", encoding="utf-8")
    table = read_table(tmp_path / "in.csv", TableFormat(text="text"), labelled=False)
    write_predictions(tmp_path / "out.csv", table, RANKED, ["a", "b"])
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines() == [
        "id,text,given:label,label,score,score:a,score:b",
        "007,one,x,b,0.75,0.25,0.75",
        ",two,,a,1.0,1.0,0.0",
    ]
    cells = [{"text": "one", "n": 1, "more": {"a": [True, 7]}}, {"text": "two", "n": 0.5, "more": "\ud83d"}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in cells), encoding="utf-8")
    table = read_table(tmp_path / "in.jsonl", labelled=False)
    for suffix in (".jsonl", ".csv", ".xlsx"):
        write_predictions(tmp_path / f"out{suffix}", table, RANKED, ["a", "b"], force=True)
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [{key: row[key] for key in cells[0]} for row in map(json.loads, lines)] == cells
    sheet = load_workbook(str(tmp_path / "out.xlsx")).get_sheet_by_index(0).to_python()
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        shown = list(csv.reader(file))
    assert [row[:3] for row in shown[1:]] == [["one", "1", '{"a": [true, 7]}'], ["two", "0.5", "\\ud83d"]]
    assert [row[:3] for row in sheet[1:]] == [["one", 1, '{"a": [true, 7]}'], ["two", 0.5, "\\ud83d"]]


def test_columns_without_a_name_are_all_kept(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(",text,,\n0,one,x,y\n1,two,v,w\n", encoding="utf-8")
    write_predictions(tmp_path / "out.csv", read_table(tmp_path / "in.csv", labelled=False), RANKED, ["a", "b"])
    first, second, _ = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert first.startswith(",text,column 3,column 4,label,")
    assert second.startswith("0,one,x,y,b,")


def test_texts_without_a_header_are_called_so(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("one\ntwo, three\n", encoding="utf-8")
    write_predictions(tmp_path / "out.csv", read_table(tmp_path / "in.txt", labelled=False), RANKED, ["a", "b"])
    first, second, _ = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert (first, second) == ("text,label,score,score:a,score:b", "one,b,0.75,0.25,0.75")


def test_a_full_disk_leaves_the_old_file_and_no_scrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.csv"
    target.write_text("old", encoding="utf-8")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("classtune.files.os.replace", full)
    with pytest.raises(BundleError, match=r"out\.csv: the disk is full"):
        write_predictions(target, table_from_rows(["one", "two"]), RANKED, ["a", "b"], force=True)
    assert target.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["out.csv"]


def test_a_withheld_answer_is_an_empty_label(tmp_path: Path) -> None:
    withheld = [[{"label": "b", "score": 0.75, "answer": False}, {"label": "a", "score": 0.25, "answer": False}]]
    write_predictions(tmp_path / "out.jsonl", table_from_rows(["one"]), withheld, ["a", "b"])
    (line,) = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {"text": "one", "label": "", "score": 0.75, "scores": {"a": 0.25, "b": 0.75}}


def test_in_a_sheet_every_text_stays_a_text(tmp_path: Path) -> None:
    texts = ['=HYPERLINK("http://e.x")', "0042 🎉 ÄÖÜ \n<b>"]
    write_predictions(tmp_path / "out.xlsx", table_from_rows(texts), RANKED, ["a", "b"])
    assert load_workbook(str(tmp_path / "out.xlsx")).get_sheet_by_index(0).to_python() == [
        ["text", "label", "score", "score:a", "score:b"],
        [texts[0], "b", 0.75, 0.25, 0.75],
        [texts[1], "a", 1.0, 1.0, 0.0],
    ]
    assert os.listdir(tmp_path) == ["out.xlsx"]


def test_what_a_sheet_cannot_hold_is_refused_before_any_work(tmp_path: Path) -> None:
    whole, long = "ä" * EXCEL_CELL, "🎉" * (EXCEL_CELL // 2 + 1)
    check_output(tmp_path / "out.xlsx", table_from_rows([whole]))
    with pytest.raises(SettingsError, match=r"32,767 characters, and longer ones are in texts row 2\. Name a \.csv"):
        check_output(tmp_path / "out.xlsx", table_from_rows([whole, long]))
    many = table_from_rows(["a"] * (EXCEL_ROWS + 1))
    with pytest.raises(SettingsError, match=r"holds 1,048,575 rows, and here are 1,048,576\. Name a \.csv"):
        check_output(tmp_path / "out.xlsx", many)
    check_output(tmp_path / "out.csv", table_from_rows([long]))
