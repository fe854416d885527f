"""Where bulk answers lie: a folder of shards, a manifest of what they are made from, and the rows without an answer.

A shard is written under another name, brought to the disk and renamed, so that one which stands there is whole; what
is left to do after a crash is what does not stand there. Knows files and tables, not models.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from classtune.data.reading.faults import listed
from classtune.data.reading.formats import is_table_name
from classtune.data.reading.streams import SUFFIXES
from classtune.data.reading.streams.stream import Stream
from classtune.errors import BundleError, DataError, writing
from classtune.files import Busy, check_outside_bundles, check_regular, claimed, clear_leftovers, inside, replacing

MANIFEST = "manifest.json"
PROBLEMS = "problems.jsonl"
_SCHEMA = 1
_MANIFEST_BYTES = 1 << 28
_SHARD_NAME = re.compile(r"(?P<stem>.+)-\d{5,}\.[a-z]+", re.DOTALL)
_NAMES = {"bundle": "the bundle", "wishes": "the wishes about answers", "format": "how the input is read"}


@dataclass(frozen=True)
class Shard:
    """One file of answers: ``rows`` rows of the piece with this number of a table."""

    stream: Stream
    piece: int
    name: str  # below the output folder, with /
    rows: int


def find_inputs(inputs: Sequence[str], output: Path, notify: Callable[[str], None]) -> list[tuple[Path, str]]:
    """(file, its name below the folder that all of them lie in): of files, folders and patterns such as ``*.csv``.

    Raises DataError with every input that names nothing.
    """
    files: dict[Path, None] = {}
    problems, aside = [], []
    for named in inputs:
        path = Path(named)
        if path.is_dir():
            below = [(file, file.relative_to(path).parts) for file in sorted(path.rglob("*")) if file.is_file()]
            shown = [file for file, parts in below if not any(part.startswith((".", "_")) for part in parts)]
            tables = [file for file in shown if file.suffix.lower() in SUFFIXES]
            # Others come along where there is nothing else: whoever opens them says what is to be done.
            tables = tables or [file for file in shown if is_table_name(file.name)]
            aside += [file for file in shown if file not in set(tables)]
            if not tables:
                problems.append(f"{named}: the folder holds no table ({', '.join(sorted(SUFFIXES))}).")
        elif path.exists() or not glob.has_magic(named):
            tables = [path]
            if not path.is_file():
                problems.append(f"{named}: no such file or folder." if named != "-" else
                                "standard input cannot be read twice, as bulk answers need. Name a file.")  # fmt: skip
        else:
            tables = [Path(match) for match in sorted(glob.glob(named, recursive=True)) if Path(match).is_file()]
            if not tables:
                problems.append(f"{named}: no file fits this pattern.")
        files.update((file.absolute(), None) for file in tables)
    inside = [file for file in files if output.absolute() in file.parents]
    if inside:
        problems.append(f"-o {output}: holds {inside[0].name}, one of the inputs. Name another folder.")
    if problems:
        raise DataError(problems)
    if whole := [file.name for file in aside if is_table_name(file.name)]:
        notify(f"left out of the folder, for archives and workbooks are not read in pieces: {listed(whole)}")
    if others := [file.name for file in aside if not is_table_name(file.name)]:
        notify(f"left out of the folder, as no tables: {listed(others)}")
    root = os.path.commonpath([file.parent for file in files])
    return [(file, file.relative_to(root).as_posix()) for file in files]


def shards_of(streams: Mapping[str, Stream]) -> list[Shard]:
    """The shards of tables by name: ``a.csv`` → ``a-00000.csv``, ``a-00001.csv``, …

    Raises DataError for inputs whose shards would have the same name.
    """
    shards: dict[str, Shard] = {}
    problems = []
    for name, stream in streams.items():
        path = PurePosixPath(name)
        stem = path.with_suffix("") if path.suffix == stream.suffix else path
        for number, rows in enumerate(stream.sizes):
            shard = Shard(stream, number, f"{stem}-{number:05d}{stream.suffix}", rows)
            other = shards.setdefault(shard.name, shard)
            if other is not shard and not number:
                problems.append(f"{name} and {other.stream.name} would both be written to {shard.name}. Rename one.")
    if problems:
        raise DataError(problems)
    return list(shards.values())


def fingerprint(path: Path) -> dict[str, Any]:
    """Size and sha256 of a file, for the manifest. Raises DataError."""
    try:
        with path.open("rb") as file:
            return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None


class ShardFolder:
    """The output of one bulk run.

    manifest: what decides about the answers, ready for JSON; `open` compares it with the one that stands there.
    """

    def __init__(self, folder: Path, shards: Sequence[Shard], manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        self.shards = shards
        listed = [{"file": shard.name, "rows": shard.rows} for shard in shards]
        self.manifest = {"schema": _SCHEMA, **manifest, "shards": listed}

    @contextlib.contextmanager
    def alone(self, notify: Callable[[str], None] = lambda line: None) -> Iterator[None]:
        """Keep other runs out while this lasts. Raises DataError where one is at work here, BundleError in a bundle."""
        check_outside_bundles(self.folder, f"-o {self.folder}")
        try:
            with claimed(self.folder, notify):
                yield
        except Busy:
            raise DataError(
                f"-o {self.folder}: another run is writing here. Wait for it, or name another folder."
            ) from None

    def open(self, *, resume: bool, force: bool, notify: Callable[[str], None]) -> set[str]:
        """Make the folder ready; the names of the shards that are finished.

        resume: go on with a run of the same manifest. force: replace the answers that stand there.
        Raises DataError where the folder holds something else, BundleError where it cannot be written.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise DataError(f"-o {self.folder}: is a file. Name a folder.")
        clear_leftovers(self.folder, MANIFEST)  # a run may have been killed before there was one
        old = self._old_manifest()
        finished: set[str] = set()
        if old is not None:
            changed = self._changed(old)
            if resume and not changed:
                finished = self._finished(notify)
            elif force:
                for entry in old["shards"]:
                    inside(self.folder, entry["file"], portable=False).unlink(missing_ok=True)
                (self.folder / PROBLEMS).unlink(missing_ok=True)
            elif resume:
                raise DataError(
                    f"{self.folder}: holds answers of another run; changed: {', '.join(changed)}. "
                    "Name another folder, or pass --force to replace them."
                )
            else:
                raise DataError(
                    f"{self.folder}: holds answers already. Pass --resume to go on with them, --force to replace them."
                )
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise DataError(f"{self.folder}: is not empty and holds no {MANIFEST} of bulk answers. Name a new folder.")
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for folder in {self.folder, *((self.folder / shard.name).parent for shard in self.shards)}:
                clear_leftovers(folder)  # of a run that was killed
            if (self.folder / PROBLEMS).exists():  # those of shards that a crash has cut off come again
                kept = [entry for entry in self._problems() if entry["shard"] in finished]
                self._put(PROBLEMS, lambda path: path.write_text("".join(map(_line, kept)), encoding="utf-8"))
            self._put(MANIFEST, lambda path: path.write_text(_document(self.manifest), encoding="utf-8"))
        return finished

    def put(self, shard: Shard, write: Callable[[Path], object], problems: Iterable[Mapping[str, Any]]) -> None:
        """A finished shard, after the rows of it that have no answer. Raises BundleError, and leaves no half of it."""
        with writing(self.folder / shard.name):
            entries = [{**entry, "shard": shard.name} for entry in problems]
            if entries:
                with (self.folder / PROBLEMS).open("a", encoding="utf-8") as file:
                    file.writelines(map(_line, entries))
                    file.flush()
                    os.fsync(file.fileno())
            (self.folder / shard.name).parent.mkdir(parents=True, exist_ok=True)
            self._put(shard.name, write)

    def count_problems(self) -> int:
        """Rows without an answer, of all shards."""
        return sum(1 for _ in self._problems())

    def _put(self, name: str, write: Callable[[Path], object]) -> None:
        with replacing(self.folder / name) as scratch:
            write(scratch)

    def _problems(self) -> Iterator[dict[str, Any]]:
        try:
            with (self.folder / PROBLEMS).open(encoding="utf-8", errors="replace") as file:
                for line in file:
                    with contextlib.suppress(ValueError):  # a crash may have cut the last line
                        yield json.loads(line)
        except FileNotFoundError:
            return

    def _old_manifest(self) -> dict[str, Any] | None:
        path = self.folder / MANIFEST
        if not path.exists():
            return None
        try:
            check_regular(path, _MANIFEST_BYTES)
            manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            self._check_manifest(manifest)
        except OSError as error:
            raise BundleError(f"{path}: cannot be read ({error.strerror}).") from None
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise DataError(
                f"{path}: is no list of bulk answers, or one of another classtune. Name another folder."
            ) from None
        return manifest

    def _check_manifest(self, manifest: dict[str, Any]) -> None:
        """Raise ValueError, or whatever comes of it, for a manifest that classtune did not write: it says what goes."""
        if manifest["schema"] != _SCHEMA or not {*_NAMES, "inputs"} <= manifest.keys():
            raise ValueError("is of another kind")
        stems = {str(PurePosixPath(entry["file"]).with_suffix("")) for entry in manifest["inputs"]}
        stems |= {entry["file"] for entry in manifest["inputs"]}
        for entry in manifest["shards"]:
            inside(self.folder, entry["file"], portable=False)
            known = _SHARD_NAME.fullmatch(entry["file"])
            if known is None or known["stem"] not in stems or not isinstance(entry["rows"], int):
                raise ValueError(f"{entry['file']!r} is no shard of its inputs")

    def _changed(self, old: Mapping[str, Any]) -> list[str]:
        """What of the manifest is not as it was, in words."""
        now: dict[str, Any] = json.loads(_document(self.manifest))
        then = {entry["file"]: entry for entry in old.get("inputs", [])}
        inputs = {entry["file"]: entry for entry in now["inputs"]}
        changed = [name for key, name in _NAMES.items() if now[key] != old.get(key)]
        changed += [name for name in {**then, **inputs} if then.get(name) != inputs.get(name)]
        return changed or ([] if now["shards"] == old["shards"] else ["how the rows are shared among files"])

    def _finished(self, notify: Callable[[str], None]) -> set[str]:
        finished = set()
        for shard in self.shards:
            path = self.folder / shard.name
            if path.exists():
                try:
                    rows = shard.stream.rows_in(path)
                except (OSError, ValueError):
                    rows = -1
                if rows == shard.rows:
                    finished.add(shard.name)
                else:
                    notify(f"{path} is damaged and is made again.")
        return finished


def _document(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"
