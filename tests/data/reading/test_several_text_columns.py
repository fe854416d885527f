"""`--text subject,body`: the cells of several columns are one text, however the table is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from xlsxwriter import Workbook

from classtune.data.reading.columns import TableFormat
from classtune.data.reading.streams import open_stream
from classtune.data.reading.tables import read_table, table_from_rows
from classtune.errors import DataError

Write = Callable[[str, bytes | str], Path]
BOTH = TableFormat(text="subject, body")
CSV = "id,subject,body,label\n7,Refund,Twice charged,billing\n8,,cannot sign in,login\n9,Hello, ,login\n"
ROWS: list[dict[str, Any]] = [
    {"id": 7, "subject": "Refund", "body": "Twice charged", "label": "billing"},
    {"id": 8, "subject": None, "body": "cannot sign in", "label": "login"},
    {"id": 9, "subject": "Hello", "body": " ", "label": "login"},
]
TEXTS = ["Refund\n\nTwice charged", "cannot sign in", "Hello"]


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Path]:
    """The same rows in every format."""
    paths = {suffix: tmp_path / f"t.{suffix}" for suffix in ("csv", "jsonl", "parquet", "xlsx")}
    paths["csv"].write_text(CSV, encoding="utf-8")
    paths["jsonl"].write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(ROWS), paths["parquet"])
    with Workbook(str(paths["xlsx"])) as book:
        sheet = book.add_worksheet()
        for place, row in enumerate([list(ROWS[0]), *(list(row.values()) for row in ROWS)]):
            sheet.write_row(place, 0, row)
    return paths


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "xlsx"])
def test_every_format_joins_what_is_not_blank_by_a_blank_line(tables: dict[str, Path], suffix: str) -> None:
    table = read_table(tables[suffix], BOTH)
    assert (table.texts, table.labels) == (TEXTS, ["billing", "login", "login"])
    assert table.text_column == "subject,body"
    swapped = read_table(tables[suffix], TableFormat(text="body,subject"), labelled=False)
    assert swapped.texts[0] == "Twice charged\n\nRefund"
    assert list(swapped.columns) == ["id", "subject", "body", "label"]  # as they are, for the answers' file


def test_without_a_header_columns_are_numbers(write: Write) -> None:
    table = read_table(
        write("t.csv", "Refund,Twice,billing\nHello,there,login\n"), TableFormat("1,2", "3", header=False)
    )
    assert table.texts == ["Refund\n\nTwice", "Hello\n\nthere"]
    assert read_table(write("u.csv", "subject,body\nRefund,Twice\n"), BOTH, labelled=False).texts == ["Refund\n\nTwice"]


def test_a_column_whose_own_name_has_the_comma_comes_first(write: Write) -> None:
    path = write("t.csv", '"subject,body",subject,body,label\nown,x,y,a\n')
    for format in (TableFormat(text="subject,body"), TableFormat(preferred_text="subject,body")):
        assert read_table(path, format).texts == ["own"]


def test_a_bundle_s_columns_are_joined_where_a_table_has_them_all(write: Write) -> None:
    known = TableFormat(preferred_text="subject,body")
    assert read_table(write("t.csv", CSV), known).texts == TEXTS
    assert read_table(write("joined.csv", "text,label\none text,a\n"), known).texts == ["one text"]  # feedback
    part = write("part.csv", "body,label\nTwice charged,billing\n")
    with pytest.raises(DataError, match=r"the texts are 'subject', 'body' joined, and no column is called 'subject'"):
        read_table(part, known)
    with pytest.raises(DataError, match="no column is called 'subject'"):
        open_stream(part, known, size=2)
    assert read_table(part, TableFormat(text="body", preferred_text="subject,body")).texts == ["Twice charged"]


@pytest.mark.parametrize(
    ("format", "message"),
    [
        (
            TableFormat(text="subjekt,body,what"),
            r"'subjekt' \(--text\)\. Did you mean 'subject'.*\n.*'what' \(--text\)",
        ),
        (TableFormat(text="subject,body", label="body"), "--text and --label both name 'body'"),
        (TableFormat(), r"could hold the text: 'title', 'body'\. Choose with --text NAME\. Several are joined by"),
    ],
)
def test_columns_that_cannot_be_joined(write: Write, format: TableFormat, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(write("t.csv", "subject,title,body,label\na,b,c,d\n"), format)


def test_python_s_rows_are_tuples_of_parts() -> None:
    pairs = [("Refund", "Twice charged"), (None, "cannot sign in"), ("Hello", " ")]
    assert table_from_rows(pairs, ["a", "b", "b"]).texts == TEXTS
    with pytest.raises(DataError, match="texts row 1: the text is empty"):
        table_from_rows([("", " ")])
    with pytest.raises(DataError, match="row 1: the text is of type list"):  # it may be anything: words, or labels
        table_from_rows([["Refund", "Twice charged"]])
