from __future__ import annotations

import csv
import datetime
import io
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from written import pairs, problems, xlsx

from classtune.data.reading.cells import is_blank
from classtune.data.reading.tables import Table, TableFormat, read_table, table_from_rows
from classtune.errors import DataError, SettingsError

Write = Callable[[str, bytes | str], Path]


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
        (["a", "b"], ["x"], "texts: 2 texts and 1 label."),
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


def test_some_rows_of_a_table_keep_all_that_is_theirs() -> None:
    table = table_from_rows(["first", "second", "third"], [["x"], ["x", "y"], []])
    table = replace(table, columns={"id": [7, 8, 9]}, groups=["g", "h", ""], weights=[1.0, 2.0, 3.0])
    part = table.only([True, False, True])
    assert (part.texts, part.lines, part.row_labels) == (["first", "third"], [1, 3], [("x",), ()])
    assert (part.columns, part.groups, part.weights) == ({"id": [7, 9]}, ["g", ""], [1.0, 3.0])
