"""Any table, well made or not, in every format: rows, or one error in words with the file named. Never a traceback."""

from __future__ import annotations

import csv
import datetime
import io
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xlsxwriter import Workbook

from classtune.data.reading.columns import TableFormat
from classtune.data.reading.labels import merge_numbers, typed_labels
from classtune.data.reading.streams import open_stream
from classtune.data.reading.tables import Table, read_table, table_from_rows
from classtune.errors import DataError, SettingsError

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

NAMES = st.sampled_from(["text", "label", "Text ", "id", "", "message", "category", "text", "1", "é\u202e"])
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(
        ["", " ", '"', "a;b", "=1+1", "\ufeff", "\0", "x\ny", "\u2028", "NA", "nan", "1.0", "True", "sep=;"]
    ),
)
NUMBERS = st.one_of(st.integers(), st.floats(), st.booleans(), st.none())
CELLS = st.one_of(TEXTS, NUMBERS)
NESTED = st.recursive(CELLS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))
FORMATS = st.builds(
    TableFormat,
    text=st.sampled_from([None, "text", "1", "nothing"]),
    label=st.sampled_from([None, "label", "2", "text"]),
    delimiter=st.sampled_from([None, ",", ";", "tab", '"']),
    header=st.sampled_from([None, True, False]),
    quoting=st.sampled_from([None, True, False]),
    encoding=st.sampled_from([None, "utf-8", "latin-1", "utf-16"]),
    drop_empty=st.booleans(),
    drop_unlabelled=st.booleans(),
    lenient=st.booleans(),
    label_separator=st.sampled_from([None, ";", "none"]),
)


def _in_words(path: Path, problems: list[str]) -> None:
    """Each problem names the file, or the option that does not fit it, and is no name of Python's."""
    assert problems
    for problem in problems:
        assert str(path) in problem or problem.startswith("--"), problem
        assert not re.search(r"\w+Error|Traceback", problem), problem


def read(path: Path, format: TableFormat, *, labelled: bool) -> Table | None:
    """What was read, which is sound; None where it was refused in words that name the file, or a flag."""
    table, problems = None, list[str]()
    try:
        table = read_table(path, format, labelled=labelled)
    except (DataError, SettingsError) as error:
        problems = error.problems
    if table is None:
        _in_words(path, problems)
        return None
    assert len(table.texts) == len(table.lines) >= 1
    assert all(isinstance(text, str) for text in table.texts)
    assert all(earlier < later for earlier, later in zip(table.lines, table.lines[1:], strict=False))
    if labelled:
        assert table.labels is not None
        assert len(table.labels) == len(table.texts)
        assert all(isinstance(label, str) for label in table.labels)
    return table


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any")


@FEW
@given(
    st.binary(max_size=200),
    st.sampled_from([".csv", ".tsv", ".txt", ".jsonl", ".json", ".parquet", ".xlsx", ".gz", ".zip"]),
    FORMATS,
)
def test_any_bytes_under_any_name(folder: Path, content: bytes, suffix: str, format: TableFormat) -> None:
    path = folder / f"any{suffix}"
    path.write_bytes(content)
    read(path, format, labelled=True)
    read(path, format, labelled=False)
    sizes, rows, problems = None, 0, list[str]()
    try:
        stream = open_stream(path, format, size=3)
        sizes, rows = stream.sizes, sum(len(piece.lines) for piece in stream.pieces())
    except (DataError, SettingsError) as error:
        problems = error.problems
    if sizes is None:
        _in_words(path, problems)
    else:
        assert rows == sum(sizes)


@FEW
@given(st.lists(NAMES, min_size=1, max_size=4), st.data(), FORMATS, st.sampled_from([",", ";", "\t"]))
def test_any_delimited_table(folder: Path, names: list[str], data: Any, format: TableFormat, delimiter: str) -> None:
    rows = data.draw(st.lists(st.lists(TEXTS, min_size=len(names) - 1, max_size=len(names) + 1), max_size=6))
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter).writerows([names, *rows])
    path = folder / "t.csv"
    path.write_bytes(buffer.getvalue().encode(data.draw(st.sampled_from(["utf-8", "utf-16", "utf-8-sig"]))))
    table = read(path, format, labelled=data.draw(st.booleans()))
    lines = len(re.split(rb"[\r\n]", path.read_bytes()))  # told a wrong encoding, it may find no columns: a text a line
    assert table is None or len(table.texts) <= max(len(rows) + 1, lines)


@FEW
@given(
    st.lists(st.dictionaries(NAMES, NESTED, max_size=4) | NESTED, max_size=5),
    FORMATS,
    st.sampled_from(["lines", "list", "columns"]),
)
def test_any_json(folder: Path, rows: list[Any], format: TableFormat, shape: str) -> None:
    path = folder / ("t.jsonl" if shape == "lines" else "t.json")
    document = "\n".join(map(json.dumps, rows)) if shape == "lines" else json.dumps(rows)
    if shape == "columns":
        document = json.dumps({"text": [str(row) for row in rows], "label": rows})
    path.write_text(document, encoding="utf-8")
    for labelled in (True, False):
        read(path, format, labelled=labelled)


COLUMNS = st.one_of(
    st.tuples(st.just(pa.string()), TEXTS),
    st.tuples(st.just(pa.int64()), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just(pa.float64()), st.floats()),
    st.tuples(st.just(pa.bool_()), st.booleans()),
    st.tuples(st.just(pa.binary()), st.binary(max_size=5)),
    st.tuples(st.just(pa.date32()), st.dates()),
    st.tuples(st.just(pa.timestamp("us")), st.datetimes(min_value=datetime.datetime(1900, 1, 1))),
    st.tuples(st.just(pa.list_(pa.string())), st.lists(TEXTS, max_size=2)),
    st.tuples(st.just(pa.struct([("a", pa.int32())])), st.just({"a": 1})),
    st.tuples(st.just(pa.null()), st.none()),
)


@FEW
@given(st.lists(st.tuples(NAMES, COLUMNS), min_size=1, max_size=3), st.integers(0, 4), FORMATS, st.randoms())
def test_any_parquet(folder: Path, columns: list[Any], rows: int, format: TableFormat, drawn: Any) -> None:
    arrays = [
        pa.array([cell if drawn.random() < 0.8 else None for _ in range(rows)], kind) for _, (kind, cell) in columns
    ]
    pq.write_table(pa.Table.from_arrays(arrays, names=[name for name, _ in columns]), folder / "t.parquet")
    for labelled in (True, False):
        read(folder / "t.parquet", format, labelled=labelled)


@FEW
@given(st.dictionaries(st.tuples(st.integers(0, 6), st.integers(0, 3)), CELLS, max_size=12), FORMATS)
def test_any_sheet(folder: Path, cells: dict[tuple[int, int], Any], format: TableFormat) -> None:
    with Workbook(str(folder / "t.xlsx"), {"nan_inf_to_errors": True}) as book:
        sheet = book.add_worksheet()
        for (row, column), cell in {(0, 0): "text", (0, 1): "label", **cells}.items():
            sheet.write(row, column, cell)
    for labelled in (True, False):
        read(folder / "t.xlsx", format, labelled=labelled)


@given(
    st.lists(
        st.one_of(st.integers(-5, 5), st.sampled_from([1.0, 2.5, "1", "1.0", "x", True, False, "True", "true"])),
        min_size=2,
    )
)
def test_labels_of_python_are_one_where_they_are_one_number(labels: list[Any]) -> None:
    """1 and 1.0 are one label, as they are in a file; text keeps what it says, and nothing depends on the order."""
    texts = [f"text {number}" for number in range(len(labels))]
    shown = {str(cell) if isinstance(cell, str) else str(cell).lower() for cell in labels}
    if {"True", "true"} <= shown:
        with pytest.raises(DataError, match="differ only by case"):
            table_from_rows(texts, labels)
        return
    table = table_from_rows(texts, labels)
    assert table.labels is not None
    of_cell = {(type(cell).__name__, cell): label for cell, label in zip(labels, table.labels, strict=True)}
    for (kind, cell), label in of_cell.items():
        if kind == "float" and ("int", int(cell)) in of_cell and cell == int(cell):
            assert label == of_cell["int", int(cell)]
    turned = table_from_rows(texts, labels[::-1]).labels
    assert turned == table.labels[::-1]
    kinds = {type(cell) for cell in labels}
    if len(kinds) == 1 and kinds != {str}:
        assert typed_labels(table.labels, table.label_kind) == labels
    assert merge_numbers(table.labels)[0] == table.labels  # once is enough
