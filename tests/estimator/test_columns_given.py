"""Columns of data frame libraries as texts, labels, weights and validation rows: what lists of the same cells give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import narwhals
import numpy as np
import pytest

from classtune.data.reading.columns import TableFormat
from classtune.errors import DataError
from classtune.estimator.inputs import counted, rows_of, texts_of, validation_of

TEXTS, NUMBERS, WEIGHTS = ["a text", "another", "a third"], [2, 10, 2], [1.0, 2.0, 4.0]
Frame = Callable[[dict[str, list[Any]]], Any]
READ = TableFormat()


@pytest.fixture(params=["narwhals", "pyarrow", "pandas", "polars"])
def frame(request: pytest.FixtureRequest) -> Frame:
    """Makes a data frame of a library, or of narwhals, which speaks as each of them does."""
    if request.param == "narwhals":
        return lambda columns: narwhals.from_dict(columns, backend="pyarrow")
    name = request.param
    library = pytest.importorskip(name, reason=f"{name} is not installed: pip install {name}")
    made: Frame = library.table if name == "pyarrow" else library.DataFrame
    return made


def test_a_column_is_read_as_the_list_of_its_cells(frame: Frame) -> None:
    columns = frame({"text": TEXTS, "label": NUMBERS, "weight": WEIGHTS})
    text, label, weight = (columns[name] for name in ("text", "label", "weight"))
    table = rows_of(text, label, weight, READ, own_loss=False)
    assert (table.texts, table.labels, table.label_kind) == (TEXTS, ["2", "10", "2"], "int")
    assert table.weights == [0.25, 0.5, 1.0]
    assert texts_of(text, READ) == texts_of(frame({"anything": TEXTS}), READ) == TEXTS
    assert texts_of(text[:0], READ) == []
    assert np.array_equal(counted(weight, 3), WEIGHTS)
    validation = validation_of((text, label), READ)
    assert validation is not None
    assert validation.labels == table.labels


def test_a_frame_gives_its_columns_by_their_names(frame: Frame) -> None:
    columns = frame({"id": [1, 2, 3], "body": TEXTS, "price": [0.5, None, 2.0]})
    table = rows_of(columns, ["x", "y", "x"], None, TableFormat(text="body", beside=("price",)), own_loss=False)
    assert table.texts == TEXTS
    assert [text.cells for text in table.texts] == [{"price": "0.5"}, {"price": ""}, {"price": "2.0"}]  # type: ignore[attr-defined]


def test_labels_of_several_kinds_come_in_columns_too(frame: Frame) -> None:
    flags = frame({"joy": [1, 0, 1], "fear": [0, 0, 1]})
    assert rows_of(TEXTS, flags, None, READ, own_loss=False).label_sets == [("joy",), (), ("fear", "joy")]
    lists = frame({"labels": [["joy"], [], ["fear", "joy"]]})["labels"]
    assert rows_of(TEXTS, lists, None, READ, own_loss=False).label_sets == [("joy",), (), ("fear", "joy")]


def test_a_cell_that_is_missing_is_an_empty_text(frame: Frame) -> None:
    with pytest.raises(DataError, match="row 2: the text is empty"):
        texts_of(frame({"text": ["a", None]})["text"], READ)
