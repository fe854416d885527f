"""What an office file is that no reader here takes: told by its bytes, before anything opens it.

Names lie: a workbook with a password is no .xlsx inside, and a document that is renamed is none either.
"""

from __future__ import annotations

import io
import zipfile

from classtune.errors import DataError

_OLE = b"\xd0\xcf\x11\xe0"
_TABLE = "Save it as .xlsx or .csv."
_DOCUMENT = "Put texts and labels into a table, and save that as .xlsx or .csv."
_LOCKED = "Open it with its password and save it without one, as .xlsx or .csv."
# Names of streams in what Office wrote before 2007, and still writes round a file with a password.
_STREAMS = {
    "EncryptedPackage": ("an Office file with a password", _LOCKED),
    "Workbook": ("an old Excel workbook (.xls)", _TABLE),
    "Book": ("an old Excel workbook (.xls)", _TABLE),
    "WordDocument": ("an old Word document (.doc)", _DOCUMENT),
    "PowerPoint Document": ("an old PowerPoint presentation (.ppt)", _DOCUMENT),
}
# Files in a zip, by how their names begin.
_ENTRIES = {
    "xl/workbook.bin": ("a binary Excel workbook (.xlsb)", _TABLE),
    "word/": ("a Word document (.docx)", _DOCUMENT),
    "ppt/": ("a PowerPoint presentation (.pptx)", _DOCUMENT),
    "Index/": ("a file of Apple Numbers, Pages or Keynote", _TABLE),
}
_TYPES = {
    "opendocument.spreadsheet": ("an OpenDocument spreadsheet (.ods)", _TABLE),
    "opendocument.": ("an OpenDocument document", _DOCUMENT),
}


def check_office(name: str, data: bytes) -> None:
    """Raise DataError where the bytes are an office file that is not read; it says which, and what to do."""
    found = None
    if data.startswith(_OLE):
        kinds = (kind for stream, kind in _STREAMS.items() if _entry_of_ole(stream) in data)
        found = next(kinds, ("an old Office file", _TABLE))
    elif data.startswith(b"PK"):
        found = _in_zip(data)
    if found is not None:
        what, advice = found
        raise DataError(f"{name}: is {what}, which is not read. {advice}")


def is_workbook(data: bytes) -> bool:
    """Whether the bytes are an .xlsx workbook, whatever its name."""
    return data.startswith(b"PK") and any(entry.startswith("xl/") for entry in _names(data))


def _entry_of_ole(name: str) -> bytes:
    """A directory entry of this name: 64 bytes of it, and how many of them count."""
    written = f"{name}\0".encode("utf-16-le")
    return written.ljust(64, b"\0") + len(written).to_bytes(2, "little")


def _in_zip(data: bytes) -> tuple[str, str] | None:
    names = _names(data)
    for start, kind in _ENTRIES.items():
        if any(entry.startswith(start) for entry in names):
            return kind
    if names and names[0] == "mimetype":  # stands first, as it is
        return next((kind for part, kind in _TYPES.items() if part.encode() in data[:200]), None)
    return None


def _names(data: bytes) -> list[str]:
    """Names of the files in a zip; none where it is damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return []
