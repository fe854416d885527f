"""Files that hold one table packed: ``.gz``, and ``.zip`` with one table in it. None is unpacked beyond a limit."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import IO

from classtune.errors import DataError

MOST_BYTES = 1 << 31  # of a table that is read at once, unpacked
_CHUNK = 1 << 20


def unpacked(name: str, path: str, data: bytes, is_table: Callable[[str], bool]) -> tuple[str, bytes]:
    """(path that names the table's kind, its bytes); of a file that is not packed both are as they are.

    is_table: whether a file of this name is a table. Raises DataError for what is damaged, too large, or holds several.
    """
    try:
        if data.startswith(b"\x1f\x8b"):
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                inner = path[: -len(".gz")] if path.lower().endswith(".gz") else path
                return inner, read_within(name, file)
        if path.lower().endswith(".zip") and data.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                inside = [entry for entry in archive.infolist() if _counts(entry)]
                tables = [entry for entry in inside if is_table(entry.filename)]
                if len(tables) != 1:
                    listed = ", ".join(repr(entry.filename) for entry in (tables or inside)[:5]) or "nothing"
                    raise DataError(f"{name}: holds {len(tables)} tables ({listed}). Unpack it and name one of them.")
                if tables[0].file_size > MOST_BYTES:
                    raise too_large(name)
                with archive.open(tables[0]) as member:
                    return tables[0].filename, read_within(name, member)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{name}: cannot be unpacked ({error}). Pack it again.") from None
    return path, data


def _counts(entry: zipfile.ZipInfo) -> bool:
    """Whether it is a file that somebody put there: not what systems add."""
    parts = PurePosixPath(entry.filename).parts
    return not entry.is_dir() and not any(part.startswith((".", "__MACOSX")) for part in parts)


def read_within(name: str, file: IO[bytes] | gzip.GzipFile) -> bytes:
    """All bytes, piece by piece. Raises DataError beyond MOST_BYTES."""
    pieces: list[bytes] = []
    read = 0
    while piece := file.read(_CHUNK):
        read += len(piece)
        if read > MOST_BYTES:
            raise too_large(name)
        pieces.append(piece)
    return b"".join(pieces)


def too_large(name: str) -> DataError:
    """The error for a table beyond MOST_BYTES."""
    return DataError(
        f"{name}: is larger than {MOST_BYTES >> 30:,} GB, which is not read at once. Cut it into several files; "
        "`classtune predict` answers a folder of them: -o answers/."
    )
