"""Files that are small and stand for gigabytes are refused before they expand; uploads are read in another process."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from written import xlsx

from classtune.data.reading import arrow, cells, delimited, excel, isolated, packed, tables
from classtune.data.reading.cells import Number
from classtune.data.reading.columns import TableFormat
from classtune.data.reading.isolated import read_upload
from classtune.data.reading.streams import open_stream
from classtune.data.reading.tables import read_table
from classtune.errors import DataError

Write = Callable[[str, bytes | str], Path]
OFFICE = "http://schemas.openxmlformats.org"


def book(sheet_data: str, after: str = "") -> bytes:
    """A workbook whose one sheet holds this XML, packed."""
    kind = f"{OFFICE}/officeDocument/2006/relationships"
    main = f'xmlns="{OFFICE}/spreadsheetml/2006/main"'
    relations = f'<Relationships xmlns="{OFFICE}/package/2006/relationships">{{}}</Relationships>'
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{OFFICE}/package/2006/content-types"/>',
        "_rels/.rels": relations.format(
            f'<Relationship Id="w" Type="{kind}/officeDocument" Target="xl/workbook.xml"/>'
        ),
        "xl/workbook.xml": f'<workbook {main} xmlns:r="{kind}"><sheets><sheet name="S" r:id="a"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": relations.format(
            f'<Relationship Id="a" Type="{kind}/worksheet" Target="s.xml"/>'
        ),
        "xl/s.xml": f"<worksheet {main}><sheetData>{sheet_data}</sheetData>{after}</worksheet>",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def cell(at: str, text: str) -> str:
    return f'<c r="{at}" t="inlineStr"><is><t>{text}</t></is></c>'


HEAD = f'<row r="1">{cell("A1", "text")}{cell("B1", "label")}</row>'


def problem(path: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        read_table(path, **options)
    return str(caught.value)


def test_a_cell_far_away_is_refused_before_the_sheet_is_laid_out(write: Write) -> None:
    far = f'<row r="1048576">{cell("XFD1048576", "x")}</row>'
    assert "the sheet 'S' reaches to cell XFD1048576 and has 3 cells" in problem(write("t.xlsx", book(HEAD + far)))
    no_references = "<row r='1048576'>" + "<c><v>1</v></c>" * 30 + "</row>"
    assert "at most 20,000,000 are read" in problem(write("t.xlsx", book(HEAD + no_references)))


def test_a_workbook_that_is_packed_too_well_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excel, "MOST_UNZIPPED", 1 << 20)
    data = book(HEAD + f'<row r="2">{cell("A2", "x" * (2 << 20))}{cell("B2", "y")}</row>')
    assert len(data) < 10_000
    assert "is larger than 1 MB when it is unzipped" in problem(write("t.xlsx", data))


def test_cells_without_a_value_say_why(write: Write) -> None:
    rows = "".join(
        f'<row r="{row}">{cell(f"A{row}", f"t{row}")}<c r="B{row}"><f>LOWER("X")</f><v></v></c></row>'
        for row in range(2, 9)
    )
    found = problem(write("t.xlsx", book(HEAD + rows)))
    assert found.startswith("t.xlsx rows 2, 3, 4, 5, 6, … (7): the label holds a formula whose result was never saved.")
    broken = f'<row r="2"><c r="A2" t="e"><v>#REF!</v></c>{cell("B2", "x")}<c r="C2" t="e"><v>#N/A</v></c></row>'
    assert problem(write("t.xlsx", book(HEAD + broken))) == "t.xlsx row 2: the text holds the error #REF!. Mend it."


def test_merged_cells_hold_their_value_in_each_row(write: Write) -> None:
    rows = f'<row r="2">{cell("A2", "a")}{cell("B2", "x")}</row><row r="3">{cell("A3", "b")}</row>'
    merged = '<mergeCells count="1"><mergeCell ref="B2:B3"/></mergeCells>'
    table = read_table(write("t.xlsx", book(HEAD + rows, merged)))
    assert (table.labels, table.lines) == (["x", "x"], [2, 3])
    title = f'<row r="1">{cell("A1", "Export")}</row>' + (HEAD + rows).replace('r="1"', 'r="5"').replace(
        "A1", "A5"
    ).replace("B1", "B5").replace('r="2"', 'r="6"').replace("A2", "A6").replace("B2", "B6").replace(
        'r="3"', 'r="7"'
    ).replace("A3", "A7")
    merged = merged.replace("B2:B3", "B6:B7").replace("<merge", "<merge", 1)
    table = read_table(write("u.xlsx", book(title, merged)))
    assert (table.labels, table.lines) == (["x", "x"], [6, 7])
    assert table.notes[-1] == "what stands above the header is no part of the table: 'Export'."


def filled(*rows: str) -> str:
    """Rows of the columns A, B, …, their cells parted by bars, as a sheet's XML."""
    lines = (enumerate(row.split("|")) for row in rows)
    cells = [
        "".join(cell(f"{chr(65 + at)}{row}", text) for at, text in line if text) for row, line in enumerate(lines, 1)
    ]
    return "".join(f'<row r="{row}">{line}</row>' for row, line in enumerate(cells, 1))


def test_what_stands_above_the_header_is_no_header(write: Write) -> None:
    """A title with a date beside it; names of groups, merged over the columns that they group."""
    table = read_table(write("t.xlsx", book(filled("Tickets", "", "as of|2024-05-01", "text|label", "a|x", "b|y"))))
    assert (table.texts, table.labels, table.lines) == (["a", "b"], ["x", "y"], [5, 6])
    groups = filled("Ticket||Class", "subject|text|label", "s|a|x", "s|b|y")
    merged = '<mergeCells count="1"><mergeCell ref="A1:B1"/></mergeCells>'
    table = read_table(write("u.xlsx", book(groups, merged)))
    assert (table.texts, table.labels) == (["a", "b"], ["x", "y"])
    assert "what stands above the header is no part of the table: 'Ticket'." in table.notes
    # The same words below a header are rows.
    table = read_table(
        write("v.csv", "what it says,of what\nwords of a,x\ntext,label\nmore words,y\nand more,x\nagain,y\n"),
        TableFormat(label="of what", text="what it says"),
    )
    assert table.texts[1] == "text"


def test_what_is_hidden_is_said_and_hidden_sheets_are_none(write: Write) -> None:
    hidden = book(filled("text|label", "a|x", "b|y").replace('<row r="3"', '<row r="3" hidden="1"'))
    columns = '<cols><col min="2" max="16384" hidden="1"/></cols><sheetData>'
    table = read_table(write("t.xlsx", edited(hidden, "xl/s.xml", "<sheetData>", columns)))
    assert table.labels == ["x", "y"]
    assert (
        "1 hidden row and 1 hidden column: read as the others are. Delete what is not meant to be here." in table.notes
    )
    two = xlsx(Table={1: ["text", "label"], 2: ["a", "x"]}, Lists={1: ["x"], 2: ["y"]})
    assert "has 2 sheets: 'Table', 'Lists'. Choose with --sheet NAME." in problem(write("u.xlsx", two))
    one = edited(two, "xl/workbook.xml", '<sheet name="Lists"', '<sheet name="Lists" state="hidden"')
    assert read_table(write("v.xlsx", one)).labels == ["x"]
    assert "no sheet is called 'List'. It has: 'Table', 'Lists'" in problem(
        write("v.xlsx", one), format=TableFormat(sheet="List")
    )


def test_files_with_the_wrong_ending_say_what_they_are(write: Write) -> None:
    assert problem(write("t.xlsx", "text,label\na,x\n")).endswith("It is text: if it is a table, rename it to .csv.")
    macros = book(filled("text|label", "a|x", "b|y"))
    assert read_table(write("v.xlsm", macros)).labels == ["x", "y"]
    assert "v.csv: is a zip or Excel file, not a text table." in problem(write("v.csv", macros))


def edited(data: bytes, part: str, old: str, new: str) -> bytes:
    """A workbook with a change in one of its parts."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(buffer, "w") as copy:
        for name in archive.namelist():
            text = archive.read(name).decode()
            copy.writestr(name, text.replace(old, new) if name == part else text)
    return buffer.getvalue()


def test_a_dictionary_of_parquet_stays_one_text(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("t", "")
    pq.write_table(pa.table({"text": ["x" * 1_000_000] * 100, "label": ["a", "b"] * 50}), "t.parquet")
    assert Path("t.parquet").stat().st_size < 200_000  # and 100 MB of text
    table = read_table("t.parquet")
    assert len({id(text) for text in table.texts}) == 1
    monkeypatch.setattr(arrow, "MOST_BATCH_BYTES", 50_000_000)
    with pytest.raises(DataError, match=r"100 of its rows hold more than 0\.05 GB of text"):
        list(open_stream(Path("t.parquet"), TableFormat(), size=100).pieces())
    (piece, *_) = open_stream(Path("t.parquet"), TableFormat(), size=2).pieces()
    assert piece.rows.schema.field("text").type == pa.string()  # written as it was
    monkeypatch.setattr(tables, "MOST_CHARACTERS_IN_ALL", 99_999_999)
    assert "its texts have 100,000,000 characters in all" in problem(Path("t.parquet"))
    monkeypatch.setattr(arrow, "MOST_ROWS", 99)
    assert "has 100 rows, and at most 99 are read at once" in problem(Path("t.parquet"))


@pytest.mark.parametrize("limit", [1000])
def test_what_is_packed_is_unpacked_within_a_limit(write: Write, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    rows = b"text,label\na,x\nb,y\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("folder/t.csv", rows)
        archive.writestr("__MACOSX/._t.csv", b"x")
        archive.writestr("readme.md", b"x")
    for path in (write("t.csv.gz", gzip.compress(rows)), write("t.zip", buffer.getvalue())):
        assert read_table(path).labels == ["x", "y"]
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("other.jsonl", b"{}")
    assert "holds 2 tables ('folder/t.csv', 'other.jsonl')" in problem(write("t.zip", buffer.getvalue()))
    monkeypatch.setattr(packed, "MOST_BYTES", limit)
    assert "is larger than" in problem(write("t.csv.gz", gzip.compress(rows * limit)))
    assert "is larger than" in problem(write("t.csv", rows * limit))


def test_a_text_that_takes_gigabytes_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "MOST_CHARACTERS", 100)
    found = problem(write("t.csv", f"text,label\n{'x' * 101},a\n"))
    assert found == "t.csv line 2: the text has 101 characters, and at most 100 are read. Shorten it."


def test_a_label_that_no_name_is_is_refused(write: Write) -> None:
    for path in (
        write("t.csv", f"text,label\na,{'x' * 1001}\n"),
        write("t.json", f'[{{"text": "a", "label": {"9" * 1001}}}]'),
    ):
        assert "1: the label has 1,001 characters, and at most 1,000 are read. Name another column." in problem(
            path
        ).replace("line 2", "row 1")


def test_a_line_that_no_row_is_is_read_no_further(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "MOST_CHARACTERS", 1000)
    monkeypatch.setattr("classtune.data.reading.streams.lines.MOST_CHARACTERS", 1000)
    for name in ("t.csv", "t.txt"):
        path = write(name, f"text,label\na,x\n{'x' * 1000},b\n")
        told = "line 3: has 1,000 characters or more, and is read no further. Write a row a line."
        assert told in problem(path, labelled=False)
        with pytest.raises(DataError, match="line 3: has 1,000 characters or more"):
            open_stream(path, TableFormat(), size=10)


def test_json_that_takes_the_parser_apart_is_refused_in_words(write: Write) -> None:
    for deep in (101, 100_000):
        path = write("t.jsonl", '{"text": "a", "label": "x", "more": ' + "[" * deep + "]" * deep + "}\n")
        assert "nested too deeply" in problem(path)
    digits = "9" * 200_000
    table = read_table(write("t.jsonl", f'{{"text": "a", "n": {digits}}}\n'), labelled=False)
    assert table.columns["n"] == [digits]


def test_an_upload_is_read_as_any_table(write: Write) -> None:
    rows = [{"text": "a", "n": 1.5, "more": {"k": [True, None, "é"]}}, {"text": "\ud83d\ude00 b", "n": 10**20}]
    path = write("t.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    table = read_table(path, labelled=False)
    assert read_upload(path, TableFormat()) == table
    assert isinstance(table.columns["n"][0], Number)
    with pytest.raises(DataError, match=r"no\.csv: no such file"):
        read_upload("no.csv", TableFormat())
    path = write("l.jsonl", '{"text": "a", "label": ["x", "y"]}\n')
    assert read_upload(path, TableFormat(), labelled=True) == read_table(path)


def test_an_upload_that_takes_too_much_ends_its_own_process_alone(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("t.csv", "text\n" + "a\n" * 3_000_000)
    monkeypatch.setattr(isolated, "MOST_MEMORY", 1 << 28)
    with pytest.raises(DataError, match="cannot be read within 0 GB of memory"):
        read_upload(path, TableFormat())


def test_a_folder_a_class_and_data_sets_on_disk(write: Write, tmp_path: Path) -> None:
    for label, texts in {"pos": ["good", "fine"], "neg": ["bad"]}.items():
        (tmp_path / "reviews" / label).mkdir(parents=True)
        for number, text in enumerate(texts):
            (tmp_path / "reviews" / label / f"{number}.txt").write_text(text, encoding="utf-8")
    table = read_table("reviews")
    assert (table.texts, table.labels) == (["bad", "good", "fine"], ["neg", "pos", "pos"])
    features = {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}
    found = pa.table({"text": ["a", "b"], "label": [1, 0]})
    found = found.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    (tmp_path / "saved" / "train").mkdir(parents=True)
    write("saved/dataset_dict.json", "{}")
    write("saved/train/state.json", "{}")

    def save(name: str, rows: pa.Table) -> None:
        with pa.OSFile(f"saved/train/{name}.arrow", "wb") as sink, pa.ipc.new_stream(sink, rows.schema) as out:
            out.write_table(rows)

    save("data-00000-of-00001", found)
    assert read_table("saved").labels == ["pos", "neg"]
    save("cache-0123456789abcdef", found)
    write("saved/train/state.json", json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    assert read_table("saved").labels == ["pos", "neg"]  # what was computed from it is no more rows
    save("data-00000-of-00001", found.replace_schema_metadata(None))
    write("saved/train/dataset_info.json", json.dumps({"features": features}))
    assert read_table("saved").labels == ["pos", "neg"]
    (tmp_path / "hub" / "data").mkdir(parents=True)
    for shard in range(2):
        pq.write_table(found, f"hub/data/train-0000{shard}-of-00002.parquet")
    pq.write_table(found, "hub/data/test-00000-of-00001.parquet")
    table = read_table("hub")
    assert table.labels == ["pos", "neg", "pos", "neg"]
    assert table.notes == ["'train' is read; beside it stand test: --validation or --test hub/data/NAME."]
    other = {"label": {"names": ["pos", "neg"], "_type": "ClassLabel"}}
    turned = found.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": other}})})
    pq.write_table(turned, "hub/data/train-00001-of-00002.parquet")
    assert "and the files after it name the classes otherwise" in problem(Path("hub"))


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Ich möchte meine Rechnung prüfen, schöne Grüße"),
        ("cp1251", "Где мой заказ номер пять и почему он идёт так долго"),
        ("shift_jis", "注文はどこですか、ログインできません"),
        ("gb18030", "我的包裹在哪里，我无法登录我的账户"),
    ],
)
def test_an_encoding_is_guessed_and_said(encoding: str, text: str, write: Write) -> None:
    path = write("t.csv", f'text,label\n"{text}",a\n"{text[::-1]}",b\n'.encode(encoding))
    table = read_table(path)
    assert table.texts[0] == text
    assert table.notes[0].startswith(f"the file is not UTF-8; read as {encoding}, a guess.")
    stream = open_stream(path, TableFormat(), size=5)
    assert (next(stream.pieces()).cells[0], stream.notes[0]) == (text, table.notes[0])


def test_a_first_line_beyond_what_is_looked_at_is_one_line(write: Write) -> None:
    path = write("t.jsonl", json.dumps({"text": "x" * (2 << 20)}) + "\n" + json.dumps({"text": "b"}) + "\n")
    assert open_stream(path, TableFormat(), size=10).sizes == [2]
