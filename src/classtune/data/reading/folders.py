"""Texts in folders by part and label, one file a text (``train/pos/17_9.txt``), as a folder or packed as .tar.gz.

The layout of the Large Movie Review Dataset (Maas et al. 2011). Nothing is ever unpacked to disk.
"""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from classtune.data.reading.cells import is_blank
from classtune.data.reading.tables import Table
from classtune.errors import DataError

PARTS, LABELS = ("test", "train"), ("pos", "neg")  # in the order of the rows
_FILE = re.compile(r"\d+_\d+\.txt")
_SHOWN = 5


def read_folders(path: Path, name: str) -> Table:
    """The rows of ``path``: parts, labels and file names in order, as the tutorial reads them (names as text).

    What stands beside the four folders (such as ``train/unsup``) is not looked at. Raises DataError with all problems:
    an archive that is damaged, folders that are missing or hold no review, files that are no reviews of the set, are
    empty or not UTF-8.
    """
    reviews: dict[tuple[str, str], list[tuple[str, bytes]]] = defaultdict(list)
    try:
        for part, label, file, content in _from_folder(path) if path.is_dir() else _from_archive(path):
            reviews[part, label].append((file, content))
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        reason = str(error) or type(error).__name__
        raise DataError(
            f"{path}: damaged, or not an archive of the reviews ({reason}). Remove it and fetch it again."
        ) from None
    texts: list[str] = []
    labels: list[str] = []
    faults: dict[str, list[str]] = defaultdict(list)
    for part in PARTS:
        for label in LABELS:
            files = sorted(reviews[part, label])
            if not files:
                faults["holds no review. The set has the folders train/pos, train/neg, test/pos and test/neg"].append(
                    f"{part}/{label}"
                )
            for file, content in files:
                text, fault = _text(file, content)
                if fault:
                    faults[fault].append(f"{part}/{label}/{file}")
                texts.append(text)
                labels.append(label)
    if faults:
        raise DataError([f"{path}: {_listed(places)} {fault}." for fault, places in faults.items()])
    return Table(texts, labels, list(range(1, len(texts) + 1)), name, "text", "label", unit="row")


def _from_folder(path: Path) -> Iterator[tuple[str, str, str, bytes]]:
    for part in PARTS:
        for label in LABELS:
            folder = path / part / label
            for file in folder.iterdir() if folder.is_dir() else ():
                if file.is_file() and not file.name.startswith("."):
                    yield part, label, file.name, file.read_bytes()


def _from_archive(path: Path) -> Iterator[tuple[str, str, str, bytes]]:
    with gzip.open(path) as packed, tarfile.open(fileobj=packed, mode="r|") as archive:
        for member in archive:
            place = PurePosixPath(member.name).parts[-3:]
            if member.isfile() and len(place) == 3 and place[0] in PARTS and place[1] in LABELS:
                stream = archive.extractfile(member)
                assert stream is not None
                part, label, file = place
                yield part, label, file, stream.read()
        while packed.read(1 << 20):  # tarfile takes damage for the end: what is left, and the checksum, say otherwise
            pass


def _text(file: str, content: bytes) -> tuple[str, str]:
    """A review's text, and what is wrong with it."""
    if not _FILE.fullmatch(file):
        return "", "is no review of the set: their files are called NUMBER_STARS.txt"
    try:
        text = content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")  # as a file is read as text
    except UnicodeDecodeError:
        return "", "is not UTF-8"
    return text, "is empty" if is_blank(text) else ""


def _listed(places: list[str]) -> str:
    more = f" and {len(places) - _SHOWN:,} more" if len(places) > _SHOWN else ""
    return ", ".join(places[:_SHOWN]) + more
