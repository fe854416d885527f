"""Tables that are refused: every problem at once, each with its line and what to do."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from written import problems, xlsx

from classtune.data.reading.tables import TableFormat, read_table
from classtune.errors import SettingsError

Write = Callable[[str, bytes | str], Path]


def test_all_problems_of_a_table_come_at_once(write: Write) -> None:
    path = write("t.csv", 'text,label\n"a\nb",x\nc,y,z\n ,x\nd,\nonly\n')
    hint = "the first line has 2. Quote cells that hold a comma, or pass --delimiter."
    assert problems(path) == [
        f"t.csv line 4: 3 fields, {hint}",
        f"t.csv line 7: 1 field, {hint}",
        "t.csv line 5: the text is empty. Fill it in, or pass --drop-empty.",
        "t.csv line 6: the label is empty. Fill it in, or pass --drop-unlabelled.",
    ]


def test_dropped_rows_are_counted(write: Write) -> None:
    path = write("t.csv", "text,label\na,x\n,x\nb,\n,\nc,y\n")
    table = read_table(path, TableFormat(drop_unlabelled=True, drop_empty=True))
    assert (table.texts, table.lines, table.dropped) == (["a", "c"], [2, 6], {"empty": 1, "unlabelled": 2})
    path = write("t.csv", "text,label\na,\n")
    assert problems(path, TableFormat(drop_unlabelled=True)) == ["t.csv: no row is left; dropped: 1 unlabelled."]


def test_labels_that_are_nearly_the_same(write: Write) -> None:
    rows = ["Spam"] + ["spam"] * 6 + ["ham", "spam "]
    path = write("t.csv", "text,label\n" + "".join(f"t{n},{label}\n" for n, label in enumerate(rows)))
    assert problems(path) == [
        "t.csv lines: labels that differ only by case, blanks or what is not seen: "
        "'Spam' (1: 2), 'spam' (6: 3, 4, 5, 6, 7, …), "
        "'spam ' (1: 10). Write them alike."
    ]
    for one, other in [("a b", "a\u00a0 b"), ("spam", "sp\u200bam"), ("👍", "👍\ufe0f")]:
        (problem,) = problems(write("t.csv", f"text,label\na,{one}\nb,{other}\n"))
        assert problem.startswith(
            f"t.csv lines: labels that differ only by case, blanks or what is not seen: {one!r} ("
        )
    (problem,) = problems(write("t.csv", "text,label\na,caf\u00e9\nb,cafe\u0301\n"))
    assert r"'caf\xe9' (1: 2), 'cafe\u0301' (1: 3)" in problem  # what looks alike is shown by its codes
    table = read_table(write("t.csv", "text, label\na, x\nb, y\n"))
    assert table.labels == [" x", " y"]
    assert table.notes == ["labels with spaces around them are kept so: ' x', ' y'."]


@pytest.mark.parametrize(
    ("header", "options", "expected"),
    [
        (
            "id,title,text,label",
            {},
            [
                "t.csv: more than one column could hold the text: 'title', 'text'. Choose with --text NAME. "
                "Several are joined by --text A,B."
            ],
        ),
        (
            "id,foo,bar",
            {},
            [
                f"t.csv: no column looks like the {role} among 'id', 'foo', 'bar'. "
                f"Name it with --{role} NAME or, if these are no names, --no-header --{role} NUMBER."
                for role in ("text", "label")
            ],
        ),
        (
            "text,label,x",
            {"text": "txt", "label": "lable"},
            [
                "t.csv: no column is called 'txt' (--text). Did you mean 'text'?",
                "t.csv: no column is called 'lable' (--label). Did you mean 'label'?",
            ],
        ),
        ("text,label,text", {}, ["t.csv: columns of the same name: 'text'. Give each column its own name."]),
        (
            "text,label",
            {"text": "text", "label": "text"},
            ["t.csv: --text and --label both name 'text'. Name two columns."],
        ),
    ],
)
def test_columns_that_cannot_be_told(write: Write, header: str, options: dict[str, Any], expected: list[str]) -> None:
    path = write("t.csv", header + "\n" + ",".join("v" * (header.count(",") + 1)) + "\n")
    assert problems(path, TableFormat(**options)) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "t.csv: the file is empty."),
        ("t.jsonl", b"\x1c\r", "t.jsonl: the file is empty."),
        ("t.csv", b" \n\n", "t.csv: the file is empty."),
        ("t.csv", b"\xef\xbb\xbf", "t.csv: the file is empty."),
        ("t.txt", b"\xff\xfe\n\0", "t.txt: the file is empty."),
        ("t.csv.gz", gzip.compress(b"", mtime=0), "t.csv.gz: the file is empty."),
        ("t.csv", b"text,label\n", "t.csv: there is a header and no rows."),
        ("t.csv", b"text label\na b\n", "t.csv line 1: no comma, tab, semicolon or bar makes columns of 'text label'."),
        ("t.csv", b"text,label\na\x00b,x\n", "t.csv line 2: a NUL byte, so this is binary, not text."),
        ("t.csv", b"text,label\n\xff\x00,x\n", "t.csv line 2: a NUL byte, so this is binary, not text."),
        ("t.csv", "text,label\na,x\n".encode("utf-16-le"), "needs --encoding utf-16-le."),
        ("t.csv", "text,label\na,x\n".encode("utf-16-be"), "needs --encoding utf-16-be."),
        ("t.csv", b"text,label\nx\ry\n\x81,z", "t.csv line 3: byte 0x81 is not UTF-8."),
        ("t.csv", b"text,label\na\rb,x\n", "t.csv line 2: a carriage return in a cell without quotes."),
        ("t.csv", xlsx(S={}), "t.csv: is a zip or Excel file, not a text table."),
        ("t.csv", gzip.compress(b"text,label\na,x\n", mtime=0)[:-9], "t.csv: cannot be unpacked ("),
        ("t.data", b"\x89PNG\r\n\x1a\n", "t.data: is a PNG picture, not a text table."),
        ("t.db", b"SQLite format 3\0" + bytes(99), "t.db: is an SQLite database, not a text table."),
        ("t.feather", b"ARROW1\0\0", "t.feather: is an Arrow (Feather) file, not a text table."),
        (
            "t.tar.gz",
            gzip.compress(b"t.csv".ljust(257, b"\0") + b"ustar\0", mtime=0),
            "t.tar.gz: is a tar archive, not a text",
        ),
        ("t.pdf", b"x", "t.pdf: .pdf files are not read. Save it as one of: .csv, .tsv, .jsonl, .parquet, .xlsx"),
        ("t.xlsx", b"text,label\n", "t.xlsx: cannot be read as Excel"),
        ("t.xlsx", xlsx(S={}), "t.xlsx: the sheet is empty."),
        ("t.parquet", b"text,label\n", "t.parquet: cannot be read as Parquet"),
        ("t.json", b'[\n{"text": "a"]', "t.json: not valid JSON ("),
        ("t.json", b"[1, 2]", "t.json: is a list of other things than objects."),
        ("t.jsonl", b'{"text": ["a"], "label": "x"}', "t.jsonl line 1: the text is of type list. Give text."),
    ],
)
def test_files_that_are_no_tables(write: Write, name: str, content: bytes, message: str) -> None:
    (problem,) = problems(write(name, content))
    assert message in problem


def test_columns_without_a_name_are_called_so(write: Write) -> None:
    assert problems(write("t.csv", ",,\n1,2,3\n"))[0].startswith(
        "t.csv: no column looks like the text among columns without a name. Name it with --text NAME or"
    )


def test_every_bad_json_line_is_listed(write: Write) -> None:
    good = '{"text": "a", "label": "x"}'
    lines = [good, '{"text": "a"', "", "[1]", '{"text": "a", "text": "b"}', good]
    found = problems(write("t.jsonl", "\n".join(lines)))
    assert [problem.partition(":")[0] for problem in found] == [f"t.jsonl line {number}" for number in (2, 4, 5)]
    assert "a key stands twice" in found[2]
    path = write("t.jsonl", good + '\n{"text": null}\n{"text": "b", "label": NaN}')
    assert [problem.partition(". ")[0] for problem in problems(path)] == [
        "t.jsonl line 2: the text is empty",
        "t.jsonl lines 2, 3: the label is empty",
    ]


def test_half_characters_cannot_be_stored(write: Write) -> None:
    path = write("t.jsonl", '{"text": "ok", "label": "x"}\n{"text": "a \\ud800", "label": "\\udc00"}\n')
    says = "holds half a character (surrogate {}), which no file can store. Write it whole."
    assert problems(path) == [
        f"t.jsonl line 2: the text {says.format('U+D800')}",
        f"t.jsonl line 2: the label {says.format('U+DC00')}",
    ]


def test_paths_that_cannot_be_read(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems("gone.csv") == ["gone.csv: no such file."]
    assert problems(".") == [".: is a folder. Name a file in it."]
    assert problems("a\0.csv")[0].endswith("cannot be read (embedded null byte).")
    path = write("t.csv", "text,label\n")

    def denied(self: Path, mode: str) -> bytes:  # the tests may run as a user who may read everything
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert problems(path) == ["t.csv: cannot be read (Permission denied)."]


def test_delimiters_that_are_none(write: Write) -> None:
    path = write("t.csv", "text;label\na;b\n")
    assert "must be one character" in problems(path, TableFormat(delimiter=";;"), error=SettingsError)[0]
    assert "no comma makes columns of 'text;label'" in problems(path, TableFormat(delimiter=","))[0]
    assert read_table(write("t.csv", "text\tlabel\na\tb\n"), TableFormat(delimiter="tab")).texts == ["a"]


# Quotes


def test_quotes_with_two_readings_are_not_guessed(write: Write) -> None:
    path = write("t.tsv", 'label\ttext\nham\t"Hi\nspam\tWin"\n')
    says = "is a row, or part of a quoted cell that opens above it."
    assert problems(path) == [
        f"t.tsv line 3: {says} Pass --no-quoting if quotes are part of the texts, else --quoting."
    ]
    assert read_table(path, TableFormat(quoting=False)).texts == ['"Hi', 'Win"']
    assert read_table(path, TableFormat(quoting=True)).texts == ["Hi\nspam\tWin"]


@pytest.mark.parametrize(
    ("rows", "line", "fault"),
    [
        ('a,x\n"open,x\nb,y\n', 3, "is never closed"),
        ('a,x\n"two\nlines","open\n\nb,y\n', 4, "is never closed"),
        ('a,x\n"open,x\nb,"y"\n', 3, "is closed on line 4 in the middle of a cell"),
        ('"so" it goes,x\n', 2, "is closed on line 2 in the middle of a cell"),
    ],
)
def test_an_unclosed_quote_is_named_by_the_line_where_it_opens(write: Write, rows: str, line: int, fault: str) -> None:
    path = write("t.csv", "text,label\n" + rows)
    expected = f"t.csv line {line}: a quote that opens here {fault}. Double the quotes, or pass --no-quoting."
    assert problems(path) == [expected]
    if "never" in fault:
        assert problems(path, TableFormat(quoting=True)) == [expected]
