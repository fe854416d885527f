"""Office files that are not read say what they are and what to do, whatever they are called, in an upload too."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from written import problems, xlsx

from classtune.data.reading.columns import TableFormat
from classtune.data.reading.isolated import read_upload
from classtune.data.reading.tables import read_table
from classtune.errors import DataError

Write = Callable[[str, bytes | str], Path]
TABLE = "Save it as .xlsx or .csv."
DOCUMENT = "Put texts and labels into a table, and save that as .xlsx or .csv."


def ole(*streams: str) -> bytes:
    """As Office wrote files before 2007, and wraps those with a password: a header, and entries of a directory."""
    written = [f"{name}\0".encode("utf-16-le") for name in ("Root Entry", *streams)]
    entries = [(name.ljust(64, b"\0") + len(name).to_bytes(2, "little")).ljust(128, b"\0") for name in written]
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".ljust(512, b"\0") + b"".join(entries)


def packed(*names: str, kind: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        if kind:
            archive.writestr("mimetype", f"application/vnd.oasis.opendocument.{kind}")
        for name in names:
            archive.writestr(name, "<x/>")
    return buffer.getvalue()


FILES = {
    "locked.xlsx": (
        ole("EncryptionInfo", "EncryptedPackage"),
        "an Office file with a password, which is not read. "
        "Open it with its password and save it without one, as .xlsx or .csv.",
    ),
    "old.xls": (ole("Workbook"), f"an old Excel workbook (.xls), which is not read. {TABLE}"),
    "older.xlsx": (ole("Book"), f"an old Excel workbook (.xls), which is not read. {TABLE}"),
    "letter.csv": (ole("1Table", "WordDocument"), f"an old Word document (.doc), which is not read. {DOCUMENT}"),
    "other.xlsx": (ole("Contents"), f"an old Office file, which is not read. {TABLE}"),
    "sheet.ods": (
        packed("content.xml", kind="spreadsheet"),
        f"an OpenDocument spreadsheet (.ods), which is not read. {TABLE}",
    ),
    "sheet.xlsx": (
        packed("content.xml", kind="spreadsheet"),
        f"an OpenDocument spreadsheet (.ods), which is not read. {TABLE}",
    ),
    "text.xlsx": (packed("content.xml", kind="text"), f"an OpenDocument document, which is not read. {DOCUMENT}"),
    "binary.xlsb": (
        packed("[Content_Types].xml", "xl/workbook.bin"),
        f"a binary Excel workbook (.xlsb), which is not read. {TABLE}",
    ),
    "word.xlsx": (
        packed("[Content_Types].xml", "word/document.xml"),
        f"a Word document (.docx), which is not read. {DOCUMENT}",
    ),
    "slides.xlsx": (
        packed("ppt/presentation.xml"),
        f"a PowerPoint presentation (.pptx), which is not read. {DOCUMENT}",
    ),
    "apple.xlsx": (
        packed("Index/Document.iwa"),
        f"a file of Apple Numbers, Pages or Keynote, which is not read. {TABLE}",
    ),
    "new.xls": (
        xlsx(S={1: ["text", "label"], 2: ["a", "x"]}),
        "an .xlsx workbook by another name. Rename it to end in .xlsx.",
    ),
    "export.xls": (b"text;label\na;x\n", "text, and no workbook. If it is a table, rename it to end in .csv."),
}


@pytest.mark.parametrize("name", FILES)
def test_what_it_is_and_what_to_do(name: str, write: Write) -> None:
    content, message = FILES[name]
    path = write(name, content)
    assert problems(path) == [f"{path}: is {message}"]
    assert problems(path, labelled=False) == [f"{path}: is {message}"]


@pytest.mark.parametrize("name", ["locked.xlsx", "word.xlsx"])
def test_an_upload_is_told_the_same(name: str, write: Write) -> None:
    path = write(name, FILES[name][0])
    with pytest.raises(DataError) as refused:
        read_upload(path, TableFormat())
    assert refused.value.problems == [f"{path}: is {FILES[name][1]}"]


def test_a_zip_that_is_no_workbook_and_a_workbook_in_a_zip(write: Write) -> None:
    (said,) = problems(write("t.xlsx", packed("rows.csv")))
    assert said.endswith("It is a zip file. If it holds a table, unpack it, or rename it to end in .zip.")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("rows.xlsx", xlsx(S={1: ["text", "label"], 2: ["a", "x"], 3: ["b", "y"]}))
    assert read_table(write("t.zip", buffer.getvalue())).labels == ["x", "y"]
