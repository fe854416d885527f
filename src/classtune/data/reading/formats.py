"""From the bytes of a file to a grid of cells: delimited text, plain lines, JSON lines, Parquet, Excel.

Knows encodings, delimiters and quotes; not which column means what. Everything stays as it was written: no cell becomes
a number or a missing value. Line numbers are those of an editor, also after cells that span lines.
"""

from __future__ import annotations

import codecs
import re
import sys
from pathlib import Path
from typing import BinaryIO

from classtune.data.reading.arrow import read_parquet
from classtune.data.reading.columns import TableFormat
from classtune.data.reading.delimited import are_bare_texts, check_length, read_delimited, split_lines, without_end
from classtune.data.reading.excel import read_excel
from classtune.data.reading.grid import Grid
from classtune.data.reading.json_tables import read_json
from classtune.data.reading.labelling import fast_text
from classtune.data.reading.office import check_office, is_workbook
from classtune.data.reading.packed import read_within, unpacked
from classtune.errors import DataError, SettingsError

READABLE = ".csv, .tsv, .jsonl, .parquet, .xlsx, or text with a delimiter (.txt: one text a line, to predict)"
KINDS = {
    ".csv": "delimited",
    ".tsv": "delimited",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".xlsx": "excel",
    ".xlsm": "excel",  # its macros are not looked at
}
PACKED = (".gz", ".zip")
SHEETS = (".xls", ".xlsb", ".ods")
UNREADABLE = {
    *SHEETS,
    ".xml",
    ".html",
    ".pdf",
    ".doc",
    ".docx",
    ".pkl",
    ".pickle",
}
MAGIC = {
    b"PK\x03\x04": "a zip or Excel file",
    b"PAR1": "a Parquet file",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file, or one with a password",
    b"%PDF": "a PDF file",
    b"\x89PNG": "a PNG picture",
    b"\x1f\x8b": "compressed with gzip",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"7z\xbc\xaf": "compressed with 7-Zip",
    b"Rar!\x1a": "a RAR archive",
    b"ARROW1": "an Arrow (Feather) file",
    b"SQLite format 3\0": "an SQLite database",
    b"{\\rtf": "an RTF document",
}
_GUESSED_BYTES = 1 << 20
_GUESSES = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256"]
_GUESSES += ["shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"]
_FEW_BYTES = 8  # beyond ASCII: too few to tell one code page from another
BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
        codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}  # fmt: skip


def read_bytes(path: str | Path, stdin: BinaryIO | None) -> bytes:
    """The file's bytes, or standard input's for ``-``. Raises DataError for what cannot be read, or is empty."""
    name = display_name(path)
    try:
        if str(path) == "-":
            data = read_within(name, stdin or sys.stdin.buffer)
        else:
            with Path(path).open("rb") as file:
                data = read_within(name, file)
    except FileNotFoundError:
        raise DataError(f"{name}: no such file.") from None
    except IsADirectoryError:
        raise DataError(f"{name}: is a folder. Name a file in it.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{name}: cannot be read ({reason}).") from None
    check_filled(name, data)
    return data


def check_filled(name: str, content: str | bytes) -> None:
    """Raise DataError where a file holds nothing, or blanks alone; as text, also nothing but a byte order mark."""
    if not (content.removeprefix("\ufeff") if isinstance(content, str) else content).strip():
        raise DataError(f"{name}: the file is empty.")


def is_table_name(name: str) -> bool:
    """Whether a file of this name is a table, by the end of its name."""
    return Path(name).suffix.lower() in {*KINDS, ".txt", *PACKED}


def display_name(path: str | Path) -> str:
    """How messages call the file."""
    return "standard input" if str(path) == "-" else str(path)


def read_grid(path: str | Path, data: bytes, table: TableFormat, *, labelled: bool) -> Grid:
    """The cells in ``data``, read as the suffix of ``path`` says or, without a known one, as the bytes themselves tell.

    Raises DataError for what is not a table; problems of single rows are kept in ``Grid.problems``.
    """
    name = display_name(path)
    path, data = unpacked(name, str(path), data, is_table_name)
    suffix = Path(path).suffix.lower()
    kind = kind_of(name, suffix, data)
    if kind == "parquet":
        return read_parquet(name, data)
    if kind == "excel":
        return read_excel(name, data, table, labelled=labelled)
    text, encoding = decode(name, data, table.encoding)
    check_filled(name, text)  # it may have been nothing but a mark, or blanks that were packed
    lines = split_lines(text)
    grid = _of_lines(name, suffix, kind, lines, encoding, table, labelled=labelled)
    grid.notes = encoding_notes(encoding, table) + grid.notes
    return grid


def _of_lines(
    name: str, suffix: str, kind: str, lines: list[str], encoding: str, table: TableFormat, *, labelled: bool
) -> Grid:
    if kind == "jsonl":
        return read_json(name, lines, encoding, labelled=labelled)
    for number, line in enumerate(lines, 1):
        check_length(name, number, line)
    if kind == "text" and (grid := fast_text(lines, encoding)) is not None:
        return grid
    if not labelled and kind == "text" and are_bare_texts(lines, suffix, table):
        texts = [without_end(line) for line in lines]
        return Grid(["text"], lambda _: texts, range(1, len(texts) + 1), encoding=encoding)
    return read_delimited(name, lines, encoding, table, suffix=suffix, labelled=labelled)


def encoding_of(name: str, data: bytes, encoding: str | None) -> str:
    """As asked, or by the byte order mark, or UTF-8, or a guess. Raises DataError for what begins as no text does."""
    for magic, what in MAGIC.items():
        if data.startswith(magic):
            raise DataError(f"{name}: is {what}, not a text table. Read are: {READABLE}.")
    if data[257:262] == b"ustar":
        raise DataError(f"{name}: is a tar archive, not a text table. Unpack it, and name a table in it.")
    codec = encoding or next((known for bom, known in BOMS.items() if data.startswith(bom)), "utf-8")
    if encoding is None and codec == "utf-8":
        return _guessed(data) or codec
    return codec


def encoding_notes(encoding: str, table: TableFormat) -> list[str]:
    """What is said of an encoding that was not asked for and is a guess."""
    if table.encoding is not None or encoding.startswith("utf"):
        return []
    return [f"the file is not UTF-8; read as {encoding}, a guess. Pass --encoding if letters look wrong."]


def decode(name: str, data: bytes, encoding: str | None) -> tuple[str, str]:
    """(text, encoding): as asked, or by the byte order mark, or UTF-8. The mark is not part of the text.

    Raises DataError for bytes that are not text or not in that encoding, with the line; SettingsError for an unknown
    encoding.
    """
    codec = encoding_of(name, data, encoding)
    try:
        text = data.decode(codec)
    except UnicodeDecodeError as error:
        line = data[: error.start].decode(codec, "ignore").count("\n") + 1
        if not encoding and b"\0" in data and codec == "utf-8":
            raise _binary(name, data.index(b"\0"), data) from None
        offer = (
            "Pass --encoding cp1252 (Windows), --encoding latin-1, or what it was saved in"
            if not encoding
            else "Pass another --encoding"
        )
        raise DataError(
            f"{name} line {line}: byte 0x{data[error.start]:02X} is not {codec.upper()}. {offer}."
        ) from None
    except (LookupError, UnicodeError):  # a codec that Python has, and that is for no file: undefined
        raise SettingsError(f"--encoding {encoding!r} is unknown. Examples: utf-8, cp1252, latin-1, utf-16.") from None
    if "\0" in text and not codec.startswith(("utf-16", "utf-32", "utf_16", "utf_32")):
        raise _binary(name, data.index(b"\0"), data)
    return text.removeprefix("\ufeff"), codec


def _guessed(data: bytes) -> str | None:
    """What bytes that are not UTF-8 are most likely written in; None for UTF-8, and where nothing fits."""
    try:
        data.decode()
        return None
    except UnicodeDecodeError as error:
        cut = len(data) - error.start < 4 and error.reason == "unexpected end of data"  # the first bytes of a file
    if cut or b"\0" in data:
        return None
    sample = data[:_GUESSED_BYTES]
    windows = _without_controls(sample, "cp1252")
    if len(re.findall(rb"[\x80-\xff]", sample)) < _FEW_BYTES:
        return None if windows is None else "cp1252"
    import charset_normalizer

    best = charset_normalizer.from_bytes(sample, cp_isolation=_GUESSES).best()
    if best is None or _without_controls(sample, best.encoding) is None:
        return None
    return "cp1252" if windows == str(best) else best.encoding  # many code pages agree on western letters


def _without_controls(data: bytes, encoding: str) -> str | None:
    """The text, where the encoding has a character for every byte, and none that people do not write."""
    text = data.decode(encoding, "replace")
    return None if re.search("[\x7f-\x9f\ufffd]", text) else text


def _binary(name: str, position: int, data: bytes) -> DataError:
    line = data.count(b"\n", 0, position) + 1
    start = data[:_GUESSED_BYTES]
    order = "be" if start[::2].count(0) > start[1::2].count(0) else "le"  # the first byte of most letters is 0
    return DataError(
        f"{name} line {line}: a NUL byte, so this is binary, not text. Read are: {READABLE}. "
        f"Text saved as UTF-16 without a byte order mark needs --encoding utf-16-{order}."
    )


def _unreadable(name: str, suffix: str, data: bytes) -> str:
    """That a file of this name is not read; or what it is in truth, and is read as by another name."""
    if suffix in SHEETS and is_workbook(data):
        return f"{name}: is an .xlsx workbook by another name. Rename it to end in .xlsx."
    if suffix in SHEETS and b"\0" not in data[:_GUESSED_BYTES]:
        return f"{name}: is text, and no workbook. If it is a table, rename it to end in .csv."
    return f"{name}: {suffix} files are not read. Save it as one of: {READABLE}."


def kind_of(name: str, suffix: str, data: bytes) -> str:
    """How a file is read, as its suffix or else its first bytes say: delimited, jsonl, parquet, excel or text.

    Raises DataError for a format that is not read.
    """
    check_office(name, data)
    if suffix in UNREADABLE:
        raise DataError(_unreadable(name, suffix, data))
    if suffix in KINDS or suffix == ".txt":
        return KINDS.get(suffix, "text")
    if data.startswith(b"PAR1"):
        return "parquet"
    if data.startswith(b"PK\x03\x04"):
        return "excel"
    start = data.removeprefix(codecs.BOM_UTF8).lstrip()[:64]
    return "jsonl" if re.match(rb'\{\s*["}]|\[\s*[{"]', start) else "text"
