"""Tables as people have them: exports of spreadsheets, labelling tools and programs, read in their one obvious way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from written import pairs

from classtune.data.reading.columns import TableFormat
from classtune.data.reading.streams import open_stream
from classtune.data.reading.tables import read_table
from classtune.errors import DataError

Write = Callable[[str, bytes | str], Path]
EXPECTED = [("I was charged twice", "billing"), ("cannot sign in", "login")]


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def of_each(make: Callable[[str, str], dict[str, Any]]) -> list[dict[str, Any]]:
    return [make(text, label) for text, label in EXPECTED]


STUDIO = of_each(
    lambda text, label: {
        "id": 1,
        "data": {"text": text},
        "annotations": [
            {"was_cancelled": True, "result": [{"type": "choices", "from_name": "q", "value": {"choices": ["no"]}}]},
            {"was_cancelled": False, "result": [{"type": "choices", "from_name": "q", "value": {"choices": [label]}}]},
        ],
        "predictions": [{"result": [{"type": "choices", "from_name": "q", "value": {"choices": ["no"]}}]}],
    }
)
MINIMAL = of_each(lambda text, label: {"text": text, "id": 1, "sentiment": label, "annotator": 1, "lead_time": 2.5})
ARGILLA = of_each(
    lambda text, label: {
        "id": "x",
        "fields": {"text": text},
        "metadata": {},
        "suggestions": {"label": {"value": "no", "agent": "m"}},
        "responses": {"label": [{"value": "no", "status": "draft"}, {"value": label, "status": "submitted"}]},
    }
)
FLAT = of_each(
    lambda text, label: {
        "text": text,
        "label.suggestion": "no",
        "label.responses": [label],
        "label.responses.users": ["u"],
        "label.responses.status": ["submitted"],
    }
)
KEYS = ("text", "label")
FILES = {
    "sep.csv": "sep=;\ntext;label\nI was charged twice;billing\ncannot sign in;login\n",
    "title.csv": "Export of 2 March,\n,\ntext,label\nI was charged twice,billing\ncannot sign in,login\n",
    "short-title.csv": "Export of 2 March\n\ntext,label\nI was charged twice,billing\ncannot sign in,login\n",
    "commas.csv": "text,label\nI was charged twice,billing,\ncannot sign in,login,,\n",
    "header-commas.csv": "text,label,,\nI was charged twice,billing\ncannot sign in,login\n",
    "fast.txt": "__label__billing I was charged twice\n__label__login cannot sign in\n",
    "list.json": json.dumps(of_each(lambda text, label: {"text": text, "label": label}), indent=1),
    "columns.json": json.dumps({key: [row[at] for row in EXPECTED] for at, key in enumerate(KEYS)}),
    "frame.json": json.dumps(
        {k: {str(n): r[at] for n, r in enumerate(EXPECTED)} for at, k in enumerate(("text", "label"))}
    ),
    "index.json": json.dumps({str(n): {"text": text, "label": label} for n, (text, label) in enumerate(EXPECTED)}),
    "split.json": json.dumps({"columns": ["text", "label"], "index": [0, 1], "data": EXPECTED}),
    "nested.json": json.dumps({"version": "1", "data": of_each(lambda text, label: {"text": text, "label": label})}),
    "hub.json": json.dumps(
        {"features": [{"name": "text"}], "rows": of_each(lambda text, label: {"row": {"text": text, "label": label}})}
    ),
    "inner.jsonl": lines(*of_each(lambda text, label: {"ticket": {"text": text}, "answer": {"label": label}})),
    "doccano.jsonl": lines(*of_each(lambda text, label: {"id": 1, "text": text, "label": [label], "Comments": []})),
    "cats.jsonl": lines(*of_each(lambda t, at: {"text": t, "cats": {k: float(k == at) for k in ("billing", "login")}})),
    "studio.json": json.dumps(STUDIO),
    "minimal.json": json.dumps(MINIMAL),
    "studio.csv": "text,id,topic,annotator\n"
    + "".join(f'{t},1,"{{""choices"":[""{at}""]}}",7\n' for t, at in EXPECTED),
    "argilla.json": json.dumps(ARGILLA),
    "argilla-flat.json": json.dumps(FLAT),
    "argilla-1.jsonl": lines(
        *of_each(lambda text, label: {"text": text, "prediction": [["no", 0.9]], "annotation": label, "status": "ok"})
    ),
    "prodigy.jsonl": lines(
        *of_each(lambda text, label: {"text": text, "label": label, "answer": "accept"}),
        {"text": "no idea", "label": "billing", "answer": "reject"},
        {"text": "later", "label": "billing", "answer": "ignore"},
    ),
    "choice.jsonl": lines(
        *of_each(lambda text, label: {"text": text, "options": [], "accept": [label], "answer": "accept"}),
        {"text": "no idea", "options": [], "accept": ["billing"], "answer": "reject"},
    ),
    "lists.csv": "text,labels\nI was charged twice,['billing']\ncannot sign in,['login']\n",
}


@pytest.mark.parametrize("name", FILES)
def test_what_can_be_read_in_one_obvious_way_is(name: str, write: Write) -> None:
    table = read_table(write(name, FILES[name]))
    assert pairs(table) == EXPECTED
    assert table.label_sets is None


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".csv")])
def test_in_pieces_it_is_read_alike(name: str, write: Write) -> None:
    stream = open_stream(write(name, FILES[name]), TableFormat(), size=1)
    assert [piece.cells[0] for piece in stream.pieces()] == [text for text, _ in EXPECTED]
    table = read_table(name, labelled=False)
    assert [piece.lines[0] for piece in stream.pieces()] == table.lines


def test_a_label_that_is_a_column_s_number_hides_no_row_above_it(write: Write) -> None:
    path = write("t.tsv", "I was charged twice\t27\ncannot sign in\t27\nwhere is it\t2\nthank you\t0\n")
    assert len(read_table(path, TableFormat(header=False, text="1", label="2")).texts) == 4


def test_what_was_rejected_is_never_a_positive(write: Write) -> None:
    rows = [("good", "accept"), ("bad", "reject"), ("later", "ignore")]
    path = write("t.jsonl", lines(*({"text": text, "label": "POS", "answer": answer} for text, answer in rows)))
    table = read_table(path)
    assert pairs(table) == [("good", "POS"), ("bad", "not POS")]
    assert table.lines == [1, 2]
    assert table.notes == [
        "rows that Prodigy's user ignored are left out: 1.",
        "rows for which 'POS' was rejected are labelled 'not POS': 1.",
    ]
    assert read_table(path, labelled=False).texts == ["good", "bad", "later"]


def test_bytes_of_a_parquet_file_are_text(write: Write) -> None:
    write("t", "")
    pq.write_table(pa.table({"text": [b"caf\xc3\xa9", b"b"], "label": ["x", "y"]}), "t.parquet")
    assert read_table("t.parquet").texts == ["café", "b"]


def test_one_sentence_in_the_place_of_an_error_a_row(write: Write) -> None:
    path = write("t.csv", "text,label\n" + "a,b,x\n" * 500)
    with pytest.raises(DataError) as caught:
        read_table(path)
    (problem,) = caught.value.problems
    assert problem.startswith("t.csv lines 2, 3, 4, 5, 6, … (500): 3 fields, the first line has 2.")
    wide = write("w.csv", ",".join(f"feature_{n}" for n in range(5000)) + "\n" + ",".join("x" * 5000))
    with pytest.raises(DataError) as caught:
        read_table(wide)
    assert len(str(caught.value)) < 1000
    assert "and 4,988 more" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": [{"text": "x"}], "b": [{"text": "y"}]}, "holds several lists of records: 'a', 'b'."),
        ({"text": ["a", "b"], "label": ["x"]}, "its columns are not equally long."),
        ([], "there are no rows."),
    ],
)
def test_documents_without_one_reading(content: Any, message: str, write: Write) -> None:
    with pytest.raises(DataError) as caught:
        read_table(write("t.json", json.dumps(content)))
    assert message in caught.value.problems[0]


@pytest.mark.parametrize("day", ["{0:02}.10.2026", "2026-10-{0:02} 14:05:00", "10/{0}/26"])
def test_days_and_names_of_other_things_are_no_labels(day: str, write: Write) -> None:
    lines = [
        f"{row};{day.format(1 + row % 9)};web{row % 2};the lamp at number {row} is dark;{('light', 'noise')[row % 2]}"
        for row in range(80)
    ]
    path = write("requests.csv", "\n".join(["No;Received;Source;Message;Department", *lines]))
    table = read_table(path)
    assert table.labels is not None
    assert (table.texts[0], table.labels[:2]) == ("the lamp at number 0 is dark", ["light", "noise"])
    assert "'Department', by what stands in it" in table.notes[0]


def test_columns_that_fit_alike_are_named(write: Write) -> None:
    lines = [f"the lamp at number {row} is dark;{('light', 'noise')[row % 2]};{row % 3}" for row in range(80)]
    with pytest.raises(DataError, match=r"more than one column could hold the label: 'Team', 'Priority'\. Choose with"):
        read_table(write("requests.csv", "\n".join(["Message;Team;Priority", *lines])))


def test_columns_are_found_by_words_and_by_cells_and_it_is_said(write: Write) -> None:
    table = read_table(write("t.csv", "id,kunden_kommentar,Kategorie\n1,hallo,a\n2,nein,b\n"))
    assert (table.text_column, table.label_column) == ("kunden_kommentar", "Kategorie")
    assert table.notes == [
        "the text is read from column 'kunden_kommentar', by its name. Choose another with --text NAME.",
        "the label is read from column 'Kategorie', by its name. Choose another with --label NAME.",
    ]
    table = read_table(write("u.csv", "review_id,reviewText,length\n1,good,4\n2,bad,3\n"), labelled=False)
    assert table.text_column == "reviewText"
    rows = "".join(f"{n},this is sentence number {n},{'xyz'[n % 3]},{n * 7}\n" for n in range(30))
    table = read_table(write("v.csv", "a,b,c,d\n" + rows))
    assert (table.text_column, table.label_column) == ("b", "c")
    assert "by what stands in it" in table.notes[0]
    two = "".join(f"this is sentence number {n},that is sentence number {n},{'xyz'[n % 3]}\n" for n in range(30))
    with pytest.raises(DataError, match="more than one column could hold the text: 'a', 'b'"):
        read_table(write("w.csv", "a,b,c\n" + two))
