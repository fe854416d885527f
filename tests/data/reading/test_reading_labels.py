"""Labels as people's files write them: one label however its number is written, and several only where they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classtune.config import resolve
from classtune.data.dataset import prepare
from classtune.data.reading.labels import joined_by, typed_labels
from classtune.data.reading.tables import TableFormat, read_table, table_from_rows
from classtune.errors import DataError

Write = Callable[[str, bytes | str], Path]


def hugging_face(columns: dict[str, Any], features: dict[str, Any]) -> pa.Table:
    found = pa.table(columns)
    return found.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def test_classes_of_hugging_face_are_called_by_their_names(write: Write) -> None:
    names = {"names": ["billing", "login"], "_type": "ClassLabel"}
    write("t", "")
    pq.write_table(hugging_face({"text": ["a", "b", "c"], "label": [1, 0, -1]}, {"label": names}), "t.parquet")
    table = read_table("t.parquet", TableFormat(drop_unlabelled=True))
    assert (table.labels, table.dropped, table.label_kind) == (["login", "billing"], {"unlabelled": 1}, "text")
    several = {"label": {"feature": names, "_type": "List"}}
    pq.write_table(hugging_face({"text": ["a", "b"], "label": [[0, 1], []]}, several), "t.parquet")
    assert read_table("t.parquet").label_sets == [("billing", "login"), ()]


def test_a_whole_number_is_one_label_however_its_type_writes_it(write: Write) -> None:
    write("t", "")
    pq.write_table(pa.table({"text": ["a", "b"], "label": [1.0, 2.0]}), "float.parquet")
    pq.write_table(pa.table({"text": ["a", "b"], "label": [1, 2]}), "int.parquet")
    pq.write_table(pa.table({"text": ["a", "b"], "label": pa.array([1, 2], pa.decimal128(5, 2))}), "decimal.parquet")
    write("t.jsonl", '{"text": "a", "label": 1.0}\n{"text": "b", "label": "2"}\n')
    for name in ("float.parquet", "int.parquet", "decimal.parquet", "t.jsonl"):
        assert read_table(name).labels == ["1", "2"], name
    assert table_from_rows(["a", "b"], [1.0, 2.0]).labels == ["1", "2"]
    assert read_table(write("v.csv", "text,label\na,1.0\nb,1.5\n")).labels == ["1.0", "1.5"]  # text stays text
    merged = read_table(write("m.csv", "text,label\na,1.0\nb,1\nc,01\n"))
    assert merged.labels == ["1", "1", "01"]
    assert merged.notes == ["labels that are one number are one label: '1.0' as '1'."]


def test_numbers_in_another_file_are_the_same_labels(write: Write) -> None:
    texts = [f"some words number {row} of {'many' * row}" for row in range(20)]
    table = read_table(write("a.csv", "text,label\n" + "".join(f"{t},{n % 2}\n" for n, t in enumerate(texts))))
    test = read_table(write("b.csv", "text,label\nother,1.0\nagain,0.0\n"))
    material = prepare(table, resolve(overrides={"split_by": "exact"}), test=test)
    assert material.labels == ["0", "1"]
    assert material.truth[-2:].tolist() == [1, 0]
    assert material.data.columns == {"text": "text", "label": "label"}
    strange = read_table(write("c.csv", "text,label\n" + "other,7\n" * 9))
    with pytest.raises(DataError) as caught:
        prepare(table, resolve(overrides={"split_by": "exact"}), test=strange)
    (problem,) = caught.value.problems  # not one a row
    assert problem.startswith("c.csv lines 2, 3, 4, 5, 6, … (9): the label '7' is not in a.csv.")


def test_truth_values_in_another_file_are_the_same_labels(write: Write) -> None:
    """A spreadsheet writes TRUE, pandas True, and JSON and Parquet have neither: one label."""
    texts = [f"some words number {row} of {'many' * row}" for row in range(20)]
    table = read_table(
        write("a.csv", "text,label\n" + "".join(f"{t},{'TRUE' if n % 2 else 'FALSE'}\n" for n, t in enumerate(texts)))
    )
    for name, cells in (
        ("b.csv", "text,label\nother,True\nagain,False\n"),
        ("c.jsonl", '{"text": "other", "label": true}\n{"text": "again", "label": false}\n'),
    ):
        material = prepare(table, resolve(overrides={"split_by": "exact"}), test=read_table(write(name, cells)))
        assert material.labels == ["FALSE", "TRUE"]
        assert material.truth[-2:].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("labels", "kind"),
    [([1, 2], "int"), ([1.0, 2.5], "float"), ([True, False], "bool"), (["1", "2"], "text"), ([1, "2"], "text")],
)
def test_labels_come_back_as_they_were(labels: list[Any], kind: str) -> None:
    table = table_from_rows(["a", "b"], labels)
    assert table.label_kind == kind
    back = typed_labels(table.labels or [], table.label_kind)
    assert back == ([str(label) for label in labels] if kind == "text" else labels)


def test_lists_of_one_label_each_are_one_label_a_row(write: Write) -> None:
    table = read_table(write("t.jsonl", '{"text": "a", "label": ["x"]}\n{"text": "b", "label": ["y"]}\n'))
    assert (table.labels, table.label_sets) == (["x", "y"], None)
    assert table.notes == ["every list in 'label' holds one label: read as one label a row."]
    table = read_table(write("t.jsonl", '{"text": "a", "label": ["x"]}\n{"text": "b", "label": ["x", "y"]}\n'))
    assert table.label_sets == [("x",), ("x", "y")]


def test_a_column_of_joined_labels_is_asked_about(write: Write) -> None:
    rows = "".join(f"t{n},{label}\n" for n, label in enumerate(["a;b", "b;c", "a", "c", "a;c", ""]))
    path = write("t.csv", "text,label\n" + rows)
    with pytest.raises(DataError, match=r"look like several labels, joined by ';'. Pass --label-separator ';'"):
        read_table(path)
    assert read_table(path, TableFormat(label_separator=";")).label_sets[-2:] == [("a", "c"), ()]  # type: ignore[index]
    whole = read_table(path, TableFormat(label_separator="none", drop_unlabelled=True))
    assert whole.label_sets is None
    assert joined_by(["Sales, Marketing", "Legal", "Sales"]) is None
    assert joined_by(["a/b test", "n/a", "yes", "no"]) is None


def test_who_calls_from_python_is_told_of_no_flags() -> None:
    with pytest.raises(DataError) as caught:
        table_from_rows(["a", "", ""], ["x", "y", None])
    assert caught.value.problems == [
        "texts rows 2, 3: the text is empty. Fill it in, or leave the row out.",
        "texts row 3: the label is empty. Fill it in, or leave the row out.",
    ]


def test_a_bundle_s_own_columns_are_taken_where_a_table_has_them(write: Write) -> None:
    path = write("t.csv", "id,body,text,kind\n1,yes,no,x\n")
    own = TableFormat(preferred_text="body", preferred_label="kind")
    table = read_table(path, own)
    assert (table.texts, table.labels) == (["yes"], ["x"])
    assert read_table(path, TableFormat(text="text", preferred_text="body"), labelled=False).texts == ["no"]
    assert read_table(write("u.csv", "id,text\n1,no\n"), own, labelled=False).texts == ["no"]
    assert read_table(write("v.csv", "body\nyes\n"), own, labelled=False).texts == ["yes"]


def test_what_is_told_of_labels_comes_before_what_a_bundle_knows_of_them(write: Write) -> None:
    path = write("t.csv", "text,label,urgent,late\nyes,a|b,1,0\nno,b,0,1\n")
    own = {"preferred_separator": "|", "preferred_label_columns": ("late", "urgent")}
    assert read_table(path, TableFormat(**own)).label_sets == [("urgent",), ("late",)]  # type: ignore[arg-type]
    for told, sets in (({"label": "label"}, [("a", "b"), ("b",)]), ({"label_separator": "none"}, None)):
        assert read_table(path, TableFormat(**own, **told)).label_sets == sets  # type: ignore[arg-type]
    assert read_table(write("u.csv", "text,label\nyes,a|b\n"), TableFormat(**own)).label_sets == [("a", "b")]  # type: ignore[arg-type]


def test_answers_are_not_taken_for_the_table_s_own_labels_without_a_word(write: Write) -> None:
    """Else a file of answers, given to `evaluate`, shows a classifier that is always right."""
    path = write("t.csv", "text,given:label,label,score\nyes,a,b,0.9\nno,b,b,0.8\n")
    table = read_table(path)
    assert table.labels == ["b", "b"]
    assert table.notes[0].endswith("the table had before is in 'given:label': --label given:label reads that.")
    told = read_table(path, TableFormat(label="given:label"))
    assert (told.labels, told.notes) == (["a", "b"], [])


def test_a_table_with_some_of_a_bundle_s_label_columns_misses_the_others(write: Write) -> None:
    own = TableFormat(preferred_text="text", preferred_label_columns=("late", "urgent"))
    assert read_table(write("t.csv", "text,label,urgent\nyes,a,1\n"), own).labels == ["a"]
    with pytest.raises(DataError, match="no column is called 'late'"):
        read_table(write("t.csv", "text,urgent\nyes,1\n"), own)


def test_columns_that_nobody_asked_for_may_have_one_name(write: Write) -> None:
    path = write("t.csv", "text,label,note,note\na,x,1,2\n")
    assert read_table(path).texts == ["a"]
    assert list(read_table(path, labelled=False).columns) == ["text", "label", "note", "note (4)"]
