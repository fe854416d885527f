"""Answers written to a file."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from python_calamine import load_workbook

from classtune.errors import BundleError, SettingsError
from classtune.serving.answer_files import EXCEL_CELL, EXCEL_ROWS, check_output, fits_excel, write_predictions

RANKED: list[list[dict[str, str | float]]] = [
    [{"label": "b", "score": 0.75}, {"label": "a", "score": 0.25}],
    [{"label": "a", "score": 1.0}, {"label": "b", "score": 0.0}],
]


def test_columns_are_in_the_order_of_the_labels_whatever_the_first_row_s_best(tmp_path: Path) -> None:
    write_predictions(tmp_path / "out.csv", ["one", "two, three"], RANKED, ["a", "b"])
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines() == [
        "text,label,score,score:a,score:b",
        "one,b,0.75,0.25,0.75",
        '"two, three",a,1.0,1.0,0.0',
    ]


def test_a_full_disk_leaves_the_old_file_and_no_scrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.csv"
    target.write_text("old", encoding="utf-8")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("classtune.serving.answer_files.os.replace", full)
    with pytest.raises(BundleError, match=r"out\.csv: cannot be written \(No space left on device\)"):
        write_predictions(target, ["one", "two"], RANKED, ["a", "b"])
    assert target.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["out.csv"]


def test_a_withheld_answer_is_an_empty_label(tmp_path: Path) -> None:
    withheld = [[{"label": "b", "score": 0.75, "answer": False}, {"label": "a", "score": 0.25, "answer": False}]]
    write_predictions(tmp_path / "out.jsonl", ["one"], withheld, ["a", "b"])
    (line,) = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {"text": "one", "label": "", "score": 0.75, "scores": {"b": 0.75, "a": 0.25}}


def test_in_a_sheet_every_text_stays_a_text(tmp_path: Path) -> None:
    texts = ['=HYPERLINK("http://e.x")', "0042 🎉 ÄÖÜ \n<b>"]
    write_predictions(tmp_path / "out.xlsx", texts, RANKED, ["a", "b"])
    assert load_workbook(str(tmp_path / "out.xlsx")).get_sheet_by_index(0).to_python() == [
        ["text", "label", "score", "score:a", "score:b"],
        [texts[0], "b", 0.75, 0.25, 0.75],
        [texts[1], "a", 1.0, 1.0, 0.0],
    ]
    assert os.listdir(tmp_path) == ["out.xlsx"]


def test_what_a_sheet_cannot_hold_is_refused_before_any_work(tmp_path: Path) -> None:
    whole, long = "ä" * EXCEL_CELL, "🎉" * (EXCEL_CELL // 2 + 1)
    assert fits_excel([whole])
    check_output(tmp_path / "out.xlsx", [whole], ["text 1"])
    with pytest.raises(SettingsError, match=r"holds 32,767 characters, and longer are: text 2\. Name a \.csv"):
        check_output(tmp_path / "out.xlsx", [whole, long], ["text 1", "text 2"])
    many = ["a"] * (EXCEL_ROWS + 1)
    with pytest.raises(SettingsError, match=r"holds 1,048,575 rows, and here are 1,048,576\. Name a \.csv"):
        check_output(tmp_path / "out.xlsx", many, many)
    check_output(tmp_path / "out.csv", [long], ["text 1"])
