"""A bundle over a table, and predictions written to a file."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from small import rows

from classtune.data.tables import table_from_rows
from classtune.errors import BundleError
from classtune.serving.tables import evaluate_bundle, predict_table, write_predictions

pytest_plugins = ["bundle_fixtures"]

RANKED: list[list[dict[str, str | float]]] = [
    [{"label": "b", "score": 0.75}, {"label": "a", "score": 0.25}],
    [{"label": "a", "score": 1.0}, {"label": "b", "score": 0.0}],
]


def quiet(*_: object) -> None:
    """Nobody asked."""


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

    monkeypatch.setattr("classtune.serving.tables.os.replace", full)
    with pytest.raises(BundleError, match=r"out\.csv: cannot be written \(No space left on device\)"):
        write_predictions(target, ["one", "two"], RANKED, ["a", "b"])
    assert target.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["out.csv"]


def test_evaluation_and_prediction_agree(small_bundle: Path) -> None:
    texts, labels = zip(*rows(20), strict=True)
    table = table_from_rows(texts, labels, name="rows")
    judged = evaluate_bundle(small_bundle, table, {}, notify=quiet, progress=quiet)["test"]
    predicted = [ranked[0]["label"] for ranked in predict_table(small_bundle, table, {}, notify=quiet, progress=quiet)]
    right = sum(label == truth for label, truth in zip(predicted, labels, strict=True))
    assert judged["accuracy"] == right / 20
