from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import MultiLabelBinarizer

from classtune.data.catalogue import load_dataset
from classtune.data.reading.tables import Table, TableFormat, read_table, table_from_rows
from classtune.errors import DataError, SettingsError

Write = Callable[[str, bytes | str], Path]
SEVERAL = [("joy", "surprise"), (), ("anger",)]


def problems(path: str | Path, format: TableFormat) -> list[str]:
    with pytest.raises(DataError) as caught:
        read_table(path, format)
    return caught.value.problems


# Several labels in one cell


def test_labels_of_one_cell_are_cut_sorted_and_counted_once(write: Write) -> None:
    write("t.csv", "text,label\na,surprise | joy|joy\nb,\nc,anger|\n")
    table = read_table("t.csv", TableFormat(label_separator="|"))
    assert table.label_sets == SEVERAL
    assert table.labels == ["joy, surprise", "", "anger"]
    assert (table.lines, table.label_column) == ([2, 3, 4], "label")
    rows = read_table("t.csv", TableFormat(label_separator="|", drop_unlabelled=True))
    assert (rows.label_sets, rows.dropped) == ([SEVERAL[0], SEVERAL[2]], {"unlabelled": 1})


def test_lists_of_labels_need_no_telling(write: Write) -> None:
    rows = [{"text": text, "labels": list(labels)} for text, labels in zip("abc", SEVERAL, strict=True)]
    pq.write_table(pa.Table.from_pylist(rows), write("t.parquet", b""))
    for path in (write("t.jsonl", "".join(json.dumps(row) + "\n" for row in rows)), "t.parquet"):
        assert read_table(path, TableFormat()).label_sets == SEVERAL
    numbers = write("n.jsonl", '{"text": "a", "label": [27, 4]}\n{"text": "b", "label": [0]}\n{"text": "c"}\n')
    assert read_table(numbers).label_sets == [("27", "4"), ("0",), ()]


def test_one_label_a_row_stays_so(write: Write) -> None:
    table = read_table(write("t.csv", 'text,label\na,"joy, surprise"\nb,x|y\n'))
    assert (table.label_sets, table.labels) == (None, ["joy, surprise", "x|y"])


def test_labels_within_cells_are_checked_too(write: Write) -> None:
    path = write("t.csv", "text,label\na,Joy|anger\n,joy\nc,joy|anger\n")
    assert problems(path, TableFormat(label_separator="|")) == [
        "t.csv line 3: the text is empty. Fill it in, or pass --drop-empty.",
        "t.csv lines: labels that differ only by case, blanks or what is not seen: "
        "'Joy' (1: 2), 'joy' (2: 3, 4). Write them alike.",
    ]
    path = write("t.jsonl", '{"text": "a", "label": ["x", {}]}\n{"text": "b", "label": ["y"]}\n')
    assert problems(path, TableFormat()) == ["t.jsonl line 1: the label is of type dict. Give text."]


def test_lists_that_may_be_a_matrix_are_not_guessed(write: Write) -> None:
    path = write("t.jsonl", '{"text": "a", "label": [0, 1]}\n{"text": "b", "label": [1, 0]}\n')
    assert "names of labels, or a matrix? Write names" in problems(path, TableFormat())[0]
    with pytest.raises(DataError, match="or a matrix"):
        table_from_rows(["a", "b"], [[0, 1], [1, 1]])


# A column a label


def test_a_column_for_each_label(write: Write) -> None:
    path = write("t.csv", "id,text,surprise,joy,anger\n1,a,1,x,false\n2,b,0,,No\n3,c,FALSE,0.0,YES\n")
    table = read_table(path, TableFormat(label_columns=("surprise", "joy", "anger")))
    assert (table.texts, table.label_sets) == (["a", "b", "c"], SEVERAL)
    assert table.labels == ["joy, surprise", "", "anger"]
    path = write("t.jsonl", '{"body": "a", "joy": true, "sad": 0}\n{"body": "b", "joy": null, "sad": 1}\n')
    assert read_table(path, TableFormat(label_columns=("joy", "sad"))).label_sets == [("joy",), ("sad",)]


def test_cells_that_are_no_yes_or_no_are_all_listed(write: Write) -> None:
    path = write("t.csv", "text,joy,sad\na,1,0\nb,2,0\n,0,maybe\n")
    advice = "Write 1 or 0, true or false, yes or no, or x or nothing."
    assert problems(path, TableFormat(label_columns=("joy", "sad"))) == [
        f"t.csv line 3: the cell of 'joy' is '2'. {advice}",
        f"t.csv line 4: the cell of 'sad' is 'maybe'. {advice}",
        "t.csv line 4: the text is empty. Fill it in, or pass --drop-empty.",
    ]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            {"label_columns": ("joy", "sadd")},
            "t.csv: no column is called 'sadd' (--label-columns). Did you mean 'sad'",
        ),
        (
            {"label_columns": ("joy",), "group": "autor"},
            "t.csv: no column is called 'autor' (--split-by). Did you",
        ),
        ({"label_columns": ("text",), "text": "text"}, "t.csv: --text and --label-columns both name 'text'."),
    ],
)
def test_label_columns_that_cannot_be(write: Write, told: dict[str, Any], expected: str) -> None:
    path = write("t.csv", "text,joy,sad,author\na,1,0,me\n")
    assert problems(path, TableFormat(**told))[0].startswith(expected)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"label_separator": "|", "label_columns": ("a",)}, "two ways to write several labels"),
        ({"label": "a", "label_columns": ("b",)}, "both say where the labels are"),
        ({"label_separator": " "}, "other than a space"),
    ],
)
def test_formats_that_contradict_themselves(told: dict[str, Any], expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        TableFormat(**told)


def test_a_named_data_set_has_one_label_a_row() -> None:
    with pytest.raises(SettingsError, match="sms-spam: has one label a row"):
        load_dataset("sms-spam", TableFormat(label_separator="|"))


def test_predicting_needs_no_label_columns(write: Write) -> None:
    path = write("t.csv", "text,x\na,1\n")
    table = read_table(path, TableFormat(label_columns=("joy",), group="author"), labelled=False)
    assert (table.texts, table.labels, table.label_sets, table.groups) == (["a"], None, None, None)


# Python's rows


@given(st.lists(st.frozensets(st.sampled_from(["joy", "anger", "surprise"])), min_size=1, max_size=20))
def test_every_way_to_hand_over_several_labels_is_the_same(rows: list[frozenset[str]]) -> None:
    binarizer = MultiLabelBinarizer(classes=["joy", "anger", "surprise"])
    matrix = binarizer.fit_transform(rows)
    columns = {name: matrix[:, column] for column, name in enumerate(binarizer.classes_)}
    frame = pa.table({name: pa.array(column.tolist()) for name, column in columns.items()})
    texts = [f"t{row}" for row in range(len(rows))]
    expected = [tuple(sorted(row)) for row in rows]
    for labels in (rows, [list(row) for row in rows], [np.array(sorted(row)) for row in rows], expected, frame):
        assert table_from_rows(texts, labels).label_sets == expected
    names = ["joy", "anger", "surprise"]
    by_number = table_from_rows(texts, matrix).label_sets
    assert by_number is not None
    assert [{names[int(label)] for label in labels} for labels in by_number] == rows
    assert table_from_rows(texts, matrix.astype(float)).label_sets == table_from_rows(texts, matrix == 1).label_sets


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([[1, 0], [0, 2]]), "texts row 2: the cell of '1' is '2'. Write 1 or 0"),
        (np.array([[1, 0]]), "texts: 2 texts and 1 label."),
        (np.zeros((2, 0)), "labels of texts: no column. Give one for each label."),
        (np.zeros((2, 2, 2)), "labels of texts: an array of 3 dimensions"),
        ([["x"], [{}]], "texts row 2: the label is of type dict"),
        ([["x"]], "texts: 2 texts and 1 label."),
    ],
)
def test_labels_that_are_none(labels: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        table_from_rows(["a", "b"], labels)
    assert caught.value.problems[0].startswith(message)


def test_columns_of_one_name_are_refused() -> None:
    frame = pa.Table.from_arrays([pa.array([1]), pa.array([0])], names=["joy", "joy"])
    with pytest.raises(DataError, match="labels of texts: columns of the same name"):
        table_from_rows(["a"], frame)


# What an audit reads


def test_a_lenient_reading_keeps_what_an_audit_reports(write: Write) -> None:
    path = write("t.csv", "text,label\n,spam\nb,\nc,Spam\nd,spam \n")
    assert len(problems(path, TableFormat())) == 3
    table = read_table(path, TableFormat(lenient=True))
    assert (table.texts, table.labels) == (["", "b", "c", "d"], ["spam", "", "Spam", "spam "])
    assert table.lines == [2, 3, 4, 5]
    dropped = read_table(path, TableFormat(lenient=True, drop_empty=True, drop_unlabelled=True))
    assert (dropped.texts, dropped.dropped) == (["c", "d"], {"empty": 1, "unlabelled": 1})


def test_a_lenient_reading_still_refuses_what_is_no_table(write: Write) -> None:
    assert "line 3: 1 field" in problems(write("t.csv", "text,label\na,x\nonly\n"), TableFormat(lenient=True))[0]
    path = write("t.jsonl", '{"text": {}, "label": "x"}\n')
    assert problems(path, TableFormat(lenient=True)) == ["t.jsonl line 1: the text is of type dict. Give text."]
    assert "is not UTF-8" in problems(write("u.csv", b"text,label\n\x81,z\n"), TableFormat(lenient=True))[0]


# Rows that belong together


def test_a_column_to_split_by_is_kept_as_text(write: Write) -> None:
    path = write("t.csv", "text,label,title\na,x,T1\n,y,T2\nc,z,\n")
    format = TableFormat(group="title", drop_empty=True)
    assert (read_table(path, format).groups, read_table(path, format).texts) == (["T1", ""], ["a", "c"])
    with pytest.raises(DataError, match="more than one column could hold the text"):  # which it no longer can
        read_table(path, replace(format, group=None))
    for group, message in (("label", "rows of one label cannot be kept together"), ("text", "kept together anyway")):
        table = write("two.csv", "text,label\na,x\nb,y\n")
        with pytest.raises(DataError, match=rf"--split-by .{group}. names the column .*{message}"):
            read_table(table, TableFormat(group=group))
    with pytest.raises(DataError, match="rows of one label cannot be kept together"):
        read_table(table, TableFormat(group="label", label="label"))
    path = write("t.jsonl", '{"text": "a", "label": "x", "user": 7}\n{"text": "b", "label": "y"}\n')
    assert read_table(path, TableFormat(group="user")).groups == ["7", ""]


# Real files


def go_emotions(path: Path) -> Table:
    return read_table(path, TableFormat(header=False, text="1", label="2", label_separator=","))


def test_go_emotions_as_it_lies(real: Callable[[str], Path]) -> None:
    table = go_emotions(real("goemotions/train.tsv"))
    assert table.label_sets is not None
    counts = Counter(label for labels in table.label_sets for label in labels)
    assert (len(table.texts), len(counts)) == (43_410, 28)
    emotions = real("goemotions/labels.txt").read_text(encoding="utf-8").split()
    assert counts[str(emotions.index("grief"))] == 77
    assert sum(len(labels) > 1 for labels in table.label_sets) == 43_410 - 36_308
    assert table.texts[0] == "My favourite food is anything I didn't have to cook myself."
