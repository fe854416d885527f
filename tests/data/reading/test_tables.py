from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classtune.data.reading.cells import is_blank
from classtune.data.reading.tables import Table, TableFormat, read_table, table_from_rows
from classtune.errors import DataError, SettingsError, UserError

Write = Callable[[str, bytes | str], Path]


def pairs(table: Table) -> list[tuple[str, str]]:
    assert table.labels is not None
    return list(zip(table.texts, table.labels, strict=True))


def problems(path: str | Path, *args: Any, error: type[UserError] = DataError, **options: Any) -> list[str]:
    with pytest.raises(error) as caught:
        read_table(path, *args, **options)
    return caught.value.problems


def xlsx(**sheets: dict[int, list[Any]]) -> bytes:
    """An Excel file of sheets of numbered rows of cells; None leaves a cell out."""
    office = "http://schemas.openxmlformats.org"
    links, names, buffer = "", "", io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, (sheet, rows) in enumerate(sheets.items(), 1):
            body = ""
            for row, cells in rows.items():
                for column, cell in zip("ABCDEF", cells, strict=False):
                    at = f'<c r="{column}{row}"'
                    if isinstance(cell, bool):
                        at += f' t="b"><v>{int(cell)}</v></c>'
                    elif isinstance(cell, str):
                        at += f' t="inlineStr"><is><t xml:space="preserve">{escape(cell)}</t></is></c>'
                    else:
                        at += f"><v>{cell}</v></c>"
                    body += at if cell is not None else ""
                body = f'{body}</row><row r="{row + 1}">'
            data = f'<row r="1">{body}</row>'
            main = f'xmlns="{office}/spreadsheetml/2006/main"'
            archive.writestr(f"xl/{number}.xml", f"<worksheet {main}><sheetData>{data}</sheetData></worksheet>")
            kind = f"{office}/officeDocument/2006/relationships/worksheet"
            links += f'<Relationship Id="r{number}" Type="{kind}" Target="{number}.xml"/>'
            names += f'<sheet name="{sheet}" sheetId="{number}" r:id="r{number}"/>'
        package = f"{office}/package/2006"
        relations = f'<Relationships xmlns="{package}/relationships">{{}}</Relationships>'
        kind = f"{office}/officeDocument/2006/relationships"
        root = f'<Relationship Id="w" Type="{kind}/officeDocument" Target="xl/workbook.xml"/>'
        archive.writestr("_rels/.rels", relations.format(root))
        archive.writestr("xl/_rels/workbook.xml.rels", relations.format(links))
        archive.writestr("xl/workbook.xml", f'<workbook {main} xmlns:r="{kind}"><sheets>{names}</sheets></workbook>')
        types = (
            f'<Types xmlns="{package}/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>'
        )
        archive.writestr("[Content_Types].xml", types)
    return buffer.getvalue()


# What is read

AS_WRITTEN = [("001", "1"), ("NA", "null"), ("null", "NA"), ("None", "nan"), ("1.0", "True"), (" x ", "1")]


def test_everything_stays_text_in_every_format(write: Write) -> None:
    rows = [{"text": text, "label": label} for text, label in AS_WRITTEN]
    write("t.csv", "text,label\n" + "".join(f"{text},{label}\n" for text, label in AS_WRITTEN))
    write("t.tsv", "text\tlabel\r\n" + "".join(f"{text}\t{label}\r\n" for text, label in AS_WRITTEN))
    write("t.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write("t.xlsx", xlsx(Sheet={1: ["text", "label"], **{n: list(row) for n, row in enumerate(AS_WRITTEN, 2)}}))
    pq.write_table(pa.Table.from_pylist(rows), "t.parquet")
    for suffix in ("csv", "tsv", "jsonl", "xlsx", "parquet"):
        table = read_table(f"t.{suffix}")
        assert pairs(table) == AS_WRITTEN, suffix
        assert table.lines == list(range(2, 8) if suffix in ("csv", "tsv", "xlsx") else range(1, 7))
        assert (table.text_column, table.label_column) == ("text", "label")


def test_typed_cells_become_the_text_that_shows_them(write: Write) -> None:
    write("t.jsonl", '{"text": 1.50, "label": 1}\n{"text": "x", "label": true}\n{"text": 1e3, "label": "1"}\n')
    assert pairs(read_table("t.jsonl")) == [("1.50", "1"), ("x", "true"), ("1e3", "1")]
    write("t.xlsx", xlsx(Sheet={1: ["text", "label"], 2: [1, 1], 3: [1.5, True], 4: ["a", "001"], 5: [10**20, "1"]}))
    assert pairs(read_table("t.xlsx")) == [("1", "1"), ("1.5", "true"), ("a", "001"), ("1" + "0" * 20, "1")]
    days = [datetime.date(2026, 1, 2), datetime.date(2026, 1, 3)]
    pq.write_table(pa.table({"text": days, "label": [True, False]}), "t.parquet")
    assert pairs(read_table("t.parquet")) == [("2026-01-02", "true"), ("2026-01-03", "false")]
    pq.write_table(pa.table({"text": pa.array(["a", "b"]).dictionary_encode(), "label": [1, 2]}), "d.parquet")
    assert pairs(read_table("d.parquet")) == [("a", "1"), ("b", "2")]


@settings(suppress_health_check=[HealthCheck.too_slow])  # of a busy machine, not of the rows
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).filter(
                lambda text: not is_blank(text)
            ),
            st.sampled_from(["ham", " spam", "NA", "a,b", 'say "x"', "two\nlines", "é\u202e", "\r"]).filter(str.strip),
        ),
        min_size=1,
    ),
    st.sampled_from([",", ";", "|"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_was_written_as_csv_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str, encoding: str
) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([("text", "label"), *rows])
    assert pairs(read_table(path)) == rows


def test_line_numbers_after_cells_that_span_lines(write: Write) -> None:
    path = write("t.csv", 'text,label\r\n"two\r\nlines",a\r\n\r\nlast,b')
    table = read_table(path)
    assert (table.texts, table.lines) == (["two\r\nlines", "last"], [2, 5])


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_the_delimiter_is_found_among_texts_full_of_others(write: Write, delimiter: str) -> None:
    others = "".join({",", "\t", ";", "|"} - {delimiter})
    path = write("t.csv", f"text{delimiter}label\n" + "".join(f"a{others * (n % 3)}b{delimiter}x\n" for n in range(9)))
    table = read_table(path)
    assert (table.delimiter, table.label_column, set(table.labels or [])) == (delimiter, "label", {"x"})


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_are_no_part_of_the_header(write: Write, mark: str) -> None:
    table = read_table(write("t.csv", "text,label\nçà,x\n".encode(mark)))
    assert (table.text_column, table.texts) == ("text", ["çà"])


def test_an_encoding_that_was_asked_for(write: Write) -> None:
    path = write("t.csv", "text,label\ncafé,x\n".encode("cp1252"))
    assert read_table(path, TableFormat(encoding="cp1252")).texts == ["café"]
    offer = "Pass --encoding cp1252 (Windows), --encoding latin-1, or what it was saved in."
    guessed = read_table(path)
    assert (guessed.texts, guessed.encoding) == (["café"], "cp1252")
    assert guessed.notes == ["the file is not UTF-8; read as cp1252, a guess. Pass --encoding if letters look wrong."]
    assert problems(write("u.csv", b"text,label\ncaf\x81,x\n")) == [f"u.csv line 2: byte 0x81 is not UTF-8. {offer}"]
    assert problems(path, TableFormat(encoding="ascii")) == [
        "t.csv line 2: byte 0xE9 is not ASCII. Pass another --encoding."
    ]
    for none in ("klingon", "undefined"):
        assert f"--encoding '{none}' is unknown" in problems(path, TableFormat(encoding=none), error=SettingsError)[0]


def test_unusual_characters_pass_unchanged(write: Write) -> None:
    texts = ["\x07bell\x1b[0m", "👩\u200d👩\u200d👧", "\u202eשלום", "a\u2028b\x85c", '"\ud83d\ude00"']
    rows = [json.dumps({"text": text, "label": "x"}) for text in texts]
    assert read_table(write("t.jsonl", "\n".join(rows))).texts == [*texts[:4], '"😀"']


def test_ten_megabytes_in_one_cell(write: Write) -> None:
    assert len(read_table(write("t.csv", f"text,label\n{'x' * 10_000_000},a\n")).texts[0]) == 10_000_000


def test_no_header_and_plain_labels(write: Write) -> None:
    table = read_table(write("t.tsv", "ham\tmy message\nspam\tWin\nham\thi\nham\tyo\n"))
    assert pairs(table)[0] == ("my message", "ham")
    assert table.notes == ["no header: column 1 is read as the label, column 2 as the text."]
    table = read_table(
        write("q.csv", "How?,question\nStop!,order\nWhy?,question\nGo!,order\n")
    )  # a label with a known name
    assert (table.labels, table.lines) == (["question", "order"] * 2, [1, 2, 3, 4])


def test_a_header_is_known_by_a_name_that_does_not_come_again(write: Write) -> None:
    assert pairs(read_table(write("t.csv", "text,spam\na,spam\nb,ham\nc,spam\nd,ham\n")))[0] == ("a", "spam")
    path = write("u.csv", "Win a prize,7\nhello,8\n")  # too few rows to tell
    assert "if these are no names, --no-header --text NUMBER" in problems(path)[0]
    assert pairs(read_table(path, TableFormat(header=False, text="1", label="2"))) == [
        ("Win a prize", "7"),
        ("hello", "8"),
    ]


def test_columns_are_found_by_name(write: Write) -> None:
    table = read_table(write("t.csv", "id, Tweet ,Sentiment\n1,hello,pos\n2,bye,neg\n"))
    assert (table.text_column, table.label_column) == ("Tweet", "Sentiment")
    table = read_table(write("two.csv", "message,urgency\nhelp,high\nthanks,low\n"))  # the other can only be the label
    assert (table.text_column, table.label_column) == ("message", "urgency")


def test_stdin_is_read_as_what_it_holds() -> None:
    def read(content: bytes, **options: Any) -> Table:
        return read_table("-", stdin=io.BytesIO(content), **options)

    assert pairs(read(b"text;label\na, b;x\n")) == [("a, b", "x")]
    assert pairs(read(b'{"text": "a", "label": "x"}\n')) == [("a", "x")]
    assert pairs(read(xlsx(S={1: ["text", "label"], 2: ["a", "x"]}))) == [("a", "x")]
    assert read(b"Hello, text\nWell\n", labelled=False).texts == ["Hello, text", "Well"]
    assert read(b"id,text\n1,Hello\n", labelled=False).texts == ["Hello"]
    with pytest.raises(DataError, match=r"^standard input: the file is empty\.$"):
        read(b"")


def test_for_prediction_the_texts_are_enough(write: Write) -> None:
    def texts(name: str, content: str, **options: Any) -> list[str]:
        table = read_table(write(name, content), TableFormat(**options), labelled=False)
        assert (table.labels, table.label_column) == (None, None)
        return table.texts

    assert texts("t.txt", 'one, "two\nlabel\ttext\r\nthree') == ['one, "two', "label\ttext", "three"]
    assert texts("t.csv", "text\nplain\n") == ["plain"]
    assert texts("t.csv", 'first line\n"a, b"\n') == ["first line", "a, b"]
    assert texts("t.csv", "id,text,label\n1,a,\n") == ["a"]
    assert texts("t.csv", "id,what,why\n1,a,b\n", text="what", label="gone") == ["a"]
    assert texts("t.jsonl", '{"text": "a"}\n') == ["a"]
    assert texts("t", "ham\tone\nspam\ttwo\nham\tthree\nham\tfour\n") == ["one", "two", "three", "four"]
    path = write("t.txt", "one\n\ntwo\n")
    assert problems(path, labelled=False) == ["t.txt line 2: the text is empty. Fill it in, or pass --drop-empty."]


def test_excel_sheets_and_blank_edges(write: Write) -> None:
    sheet = {3: [None, "text", "label"], 4: [None, "a", "x"], 6: [None, "b", None]}
    path = write("t.xlsx", xlsx(Notes={}, Data=sheet))
    assert problems(path) == ["t.xlsx row 6: the label is empty. Fill it in, or pass --drop-unlabelled."]
    table = read_table(path, TableFormat(drop_unlabelled=True))
    assert (pairs(table), table.lines, table.dropped) == ([("a", "x")], [4], {"unlabelled": 1})
    path = write("t.xlsx", xlsx(One=sheet, Two={1: ["label", "text"], 2: ["y", "c"]}))
    assert problems(path) == ["t.xlsx: has 2 sheets: 'One', 'Two'. Choose with --sheet NAME."]
    assert problems(path, TableFormat(sheet="Three")) == ["t.xlsx: no sheet is called 'Three'. It has: 'One', 'Two'."]
    assert pairs(read_table(path, TableFormat(sheet="Two"))) == [("c", "y")]


# Quotes


UNPAIRED = 'ham\t"Hi there\nspam\tWin "now"\nham\t"quoted" start\nspam\tcall\n'


def test_quotes_that_do_not_pair_up_are_text_in_tab_separated_files(write: Write) -> None:
    table = read_table(write("t.tsv", UNPAIRED))
    assert table.texts == ['"Hi there', 'Win "now"', '"quoted" start', "call"]
    assert table.notes[0].startswith("quotes are read as part of the texts")
    assert read_table("t.tsv", TableFormat(quoting=False)).texts == table.texts
    assert read_table(write("q.tsv", 'label\ttext\nx\t"say ""hi"""\ny\t"two\nlines"\n')).texts == [
        'say "hi"',
        "two\nlines",
    ]


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


# What is refused


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
    assert problems(path, TableFormat(drop_unlabelled=True)) == [
        "t.csv: no row is left: 1 unlabelled rows were dropped."
    ]


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
        ("t.xls", b"x", "t.xls: .xls files are not read. Save it as one of: .csv, .tsv, .jsonl, .parquet, .xlsx"),
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


# Python's rows


def test_rows_of_python_and_of_data_frames() -> None:
    for texts in (["a", "1"], ("a", 1), np.array(["a", "1"]), pa.chunked_array([["a"], ["1"]]), pa.array(["a", "1"])):
        table = table_from_rows(texts, np.array([0, 1]))
        assert (pairs(table), table.lines) == ([("a", "0"), ("1", "1")], [1, 2])
    assert table_from_rows(text for text in "ab").texts == ["a", "b"]
    assert table_from_rows(["a", "b"], [True, np.bool_(False)]).labels == ["true", "false"]
    assert table_from_rows(["a"]).labels is None


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (["a", None], None, "texts row 2: the text is empty"),
        (pa.chunked_array([["a", None]]), None, "texts row 2: the text is empty"),
        (["a", "b"], ["x", float("nan")], "texts row 2: the label is empty"),
        (["a", b"\xff"], None, "texts row 2: the text is bytes that are no UTF-8"),
        ("one text", None, "texts: a single str"),
        (np.array([["a"]]), None, "texts: an array of 2 dimensions"),
        (pa.table({"text": ["a"]}), None, "texts: a Table"),
        (["a", "b"], ["x"], "texts: 2 texts and 1 labels"),
        ([], [], "texts: there are no rows"),
    ],
)
def test_rows_that_are_none(texts: Any, labels: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        table_from_rows(texts, labels)
    assert caught.value.problems[0].startswith(message)


# Real files


def test_the_sms_messages_as_they_are(real: Callable[[str], Path]) -> None:
    for quoting, rows in ((None, 5574), (False, 5574), (True, 5572)):
        table = read_table(real("sms_spam/SMSSpamCollection"), TableFormat(quoting=quoting))
        assert (len(table.texts), Counter(table.labels)["spam"]) == (rows, 747)


def test_banking_questions_with_lines_inside_cells(real: Callable[[str], Path]) -> None:
    path = real("banking77/train.csv")
    table = read_table(path)
    assert (len(table.texts), len(set(table.labels or [])), table.lines[-1]) == (10_003, 77, 10_017)
    physical = path.read_text(encoding="utf-8").split("\n")
    after = [row for row, line in enumerate(table.lines) if line > row + 2 and "\n" not in table.texts[row]]
    assert len(after) > 1000
    assert all(physical[table.lines[row] - 1].strip('" ').startswith(table.texts[row][:5].strip('" ')) for row in after)


def test_reading_text_loads_nothing_heavy(write: Write) -> None:
    write("t.csv", "text,label\na,x\n")
    heavy = ["torch", "sklearn", "pyarrow", "narwhals", "matplotlib", "transformers", "python_calamine"]
    program = (
        "import sys; sys.path[:] = sys.argv[1:]; import classtune.data.reading.tables as t, classtune.data.audit.audit;"
        f"t.read_table('t.csv'); print([name for name in {heavy} if name in sys.modules])"
    )
    command = [sys.executable, "-c", program, *sys.path]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "[]\n"
