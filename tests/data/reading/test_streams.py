"""Tables read in pieces: the same rows as when they are read at once, and what is wrong with them said in time."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from classtune.data.reading.columns import TableFormat
from classtune.data.reading.delimited import DelimitedRows
from classtune.data.reading.streams import open_stream
from classtune.data.reading.streams.json_lines import with_keys
from classtune.data.reading.streams.lines import Lines
from classtune.data.reading.tables import read_table
from classtune.errors import DataError, SettingsError


@pytest.mark.parametrize(
    ("name", "content", "format", "rows_read", "names"),
    [
        ("bare.tsv", 'ham\tsee "you\nspam\tcall now\nham\tok\nspam\twin\n', TableFormat(), 4, ["1", "2"]),
        ("two.csv", 'text;id\n"a\nb;c";1\n"d";2\n', TableFormat(), 2, ["text", "id"]),
        ("latin.csv", "id,text\n001,é\n", TableFormat(encoding="latin-1"), 1, ["id", "text"]),
        ("mark.csv", "\ufeffid,text\n001,é\n", TableFormat(), 1, ["id", "text"]),
        ("old.csv", "id,text\r001,é\r", TableFormat(), 1, ["id", "text"]),
        ("plain", '{"text": "a"}\n\n{"text": "b"}\n', TableFormat(), 2, ["text"]),
    ],
)
def test_tables_are_read_as_they_are_when_read_at_once(
    name: str, content: str, format: TableFormat, rows_read: int, names: list[str], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(content, encoding=format.encoding or "utf-8", newline="")
    stream = open_stream(path, format, size=1)
    pieces = list(stream.pieces())
    table = read_table(path, format, labelled=False)
    assert stream.names == names
    assert stream.sizes == [1] * rows_read
    assert [piece.cells[0] for piece in pieces] == table.texts
    assert [piece.lines[0] for piece in pieces] == table.lines


@pytest.mark.parametrize(
    ("name", "content", "format", "message"),
    [
        ("a.csv", b"text\nsee\ncaf\x81\n", TableFormat(), r"byte 0x81 is not UTF-8\. Pass --encoding cp1252"),
        ("a.csv", b"text\nsee\nb\0d\n", TableFormat(), "line 3: a NUL byte"),
        ("a.csv", b"text\nsee\n", TableFormat(encoding="latn"), "--encoding 'latn' is unknown"),
        ("a.jsonl", b"\xef\xbb\xbf\n", TableFormat(), "the file is empty"),
        ("a.txt", b"\xff\xfe", TableFormat(), "the file is empty"),
        ("a.csv", b"PAR1", TableFormat(), "is a Parquet file, not a text table"),
        ("a.parquet", b"PAR1", TableFormat(), "cannot be read as Parquet"),
        ("a.jsonl", b'[{"text": "a"}]\n', TableFormat(), "is one JSON list"),
        ("a.jsonl", b'{"text": "a",\n', TableFormat(), "line 1: not valid JSON"),
        ("a.csv", b"a,b,c\n1,2,3\n", TableFormat(text="d"), "no column is called 'd'"),
        ("a.txt", b"__label__x a text\n", TableFormat(), "has fastText's lines, not read in pieces"),
        ("a.pdf", b"anything", TableFormat(), r"\.pdf files are not read"),
        ("a.csv.gz", gzip.compress(b"text\na", mtime=0), TableFormat(), r"archives are not read in pieces\. Unpack it"),
        ("a.zip", b"PK\x03\x04", TableFormat(), r"archives are not read in pieces\. Unpack it"),
    ],
)
def test_what_cannot_be_read_is_said_when_it_is_opened(
    name: str, content: bytes, format: TableFormat, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises((DataError, SettingsError), match=message):
        open_stream(tmp_path / name, format, size=2)


@pytest.mark.parametrize(
    ("name", "content", "format", "message"),
    [
        ("a.csv", b'id,text\n1,a\n2,"open\n3,b\n', TableFormat(quoting=True), "line 3: a quote .* never closed"),
        ("a.csv", b'id,text\n1,"a\nb\n2,say "c\n3,"d"\n', TableFormat(), "line 2: a quote .* closed on line 4"),
        ("a.csv", b"id,text\n1,a\rb\n", TableFormat(), "line 2: a carriage return in a cell without quotes"),
        ("a.tsv", b'id\ttext\n1\t"a\n2\tb"\n', TableFormat(), "line 3: is a row, or part of a quoted cell"),
    ],
)
def test_quotes_that_do_not_pair_up_are_said_as_when_it_is_read_at_once(
    name: str, content: bytes, format: TableFormat, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as in_pieces:
        open_stream(path, format, size=2)
    with pytest.raises(DataError) as at_once:
        read_table(path, format, labelled=False)
    assert in_pieces.value.problems == at_once.value.problems


@pytest.mark.parametrize("row", ['1,"a" and b', "1,a\rb"])
def test_an_error_that_is_kept_keeps_no_file_open(row: str) -> None:
    class Watched(list[str]):
        readers = 0

        def __iter__(self) -> Iterator[str]:
            self.readers += 1
            try:
                yield from list.__iter__(self)
            finally:
                self.readers -= 1

    lines = Watched(["id,text\n", f"{row}\n", "2,b\n"])
    with pytest.raises(DataError) as kept:
        list(DelimitedRows("t.csv", lines, ",", None))
    assert lines.readers == 0
    assert "line 2" in kept.value.problems[0]  # kept until here


def test_a_quote_left_open_does_not_read_the_file_into_one_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    read, limit = 0, 1 << 17
    request.addfinalizer(partial(csv.field_size_limit, csv.field_size_limit(limit)))
    monkeypatch.setattr("classtune.data.reading.streams.delimited._LONGEST_CELL", limit)
    (tmp_path / "a.csv").write_text('id,text\n1,"open\n' + "2,b\n" * limit, encoding="utf-8")
    lines = Lines.__iter__

    def counted(self: Lines) -> Iterator[str]:
        nonlocal read
        for line in lines(self):
            read += len(line)
            yield line

    monkeypatch.setattr(Lines, "__iter__", counted)
    with pytest.raises(DataError, match=f"line 2: a quote that opens here, or soon after, is not closed for {limit:,}"):
        open_stream(tmp_path / "a.csv", TableFormat(), size=2)
    assert read < 4 * limit


def test_a_row_of_forty_megabytes_is_a_row_among_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Which is refused by itself, later; csv's own limit for a cell ended the whole run."""
    request.addfinalizer(partial(csv.field_size_limit, csv.field_size_limit(1 << 17)))
    (tmp_path / "a.csv").write_text(f"id,text\n1,short\n2,{'x' * 40_000_000}\n3,again\n", encoding="utf-8")
    cells = [cell for piece in open_stream(tmp_path / "a.csv", TableFormat(), size=2).pieces() for cell in piece.cells]
    assert [len(str(cell)) for cell in cells] == [5, 40_000_000, 5]


def test_keys_are_called_otherwise_and_nothing_else_changes() -> None:
    text = ' {"n": 1.50, "la\\u0062el" : {"label": [1e3, "}"]}, "text":"label", "label2": ' + "9" * 5000 + "}"
    renamed = with_keys(text, {"label": "given:label"})
    assert renamed == text.replace('"la\\u0062el" :', '"given:label" :')
    assert with_keys("{}", {"label": "x"}) == "{}"
