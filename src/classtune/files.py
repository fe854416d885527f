"""Files and folders that are whole or not there, names that stay inside their folder, one writer at a time.

What classtune writes for a moment is called ``.NAME.classtune-…``: nothing else is ever cleared away.
Knows nothing of what the files hold, but by which a folder is a bundle or an export: nothing else is written there.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from classtune.errors import BundleError, UserError, writing

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_MARK = ".classtune-"
_OLD = "old"
# Files beyond this size with so small a part of them on the disk hold nothing: reading them would take hours.
_SPARSE_BYTES, _SPARSE_SHARE = 1 << 26, 64
_AT_CWD, _EXCHANGE = -100, 2
# The record of a bundle; that of a plain Hugging Face folder that `export` wrote, by which it may be replaced.
RECORD, EXPORTED = "classtune.json", "classtune-export.json"
_DEPTH = 3  # of the folders in either, at most


class Busy(UserError):
    """Another run is writing to the same place."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write a file or a folder that takes the place of ``path`` once it is whole and on the disk.

    Whatever interrupts, what stood there stays, and nothing half written is found under its name; a link stays a link.
    The place is alone in a folder: libraries write files of their own beside what they are told to (safetensors does).
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = _beside(target, secrets.token_hex(4))
    scratch = folder / target.name
    try:
        folder.mkdir()
        yield scratch
        _bring_to_disk(scratch)
        if scratch.is_dir() and target.is_dir() and any(target.iterdir()):
            _swap(scratch, target)
        else:
            os.replace(scratch, target)
        _sync(target.parent)
    finally:
        _remove(folder)


def check_outside_bundles(path: Path, named: str = "") -> None:
    """Raise BundleError for a place in a bundle or export: its record proves what lies there, which goes with it."""
    for folder in [*Path(os.path.realpath(path)).parents][:_DEPTH]:
        if any((folder / name).is_file() for name in (RECORD, EXPORTED)):
            raise BundleError(f"{named or path}: lies in the bundle {folder}. Name a place outside of it.")


def check_file(path: Path, *, force: bool, others: Iterable[str | Path] = (), flag: str = "") -> None:
    """Raise BundleError where a file cannot be written: before any work is done, and again before it is put in place.

    force: it may take the place of a file. others: what else the work reads and writes, which it never replaces; words
    that name no file do no harm. flag: the option that named it.
    """
    named = f"{flag} {path}".lstrip()
    if not path.parent.is_dir():
        raise BundleError(f"{named}: there is no folder {path.parent}. Make it, or name another place.")
    check_outside_bundles(path, named)
    if any(_same(path, Path(other)) for other in others):
        raise BundleError(f"{named}: this command reads or writes that file already. Name another one.")
    if path.is_dir():
        raise BundleError(f"{named}: is a folder. Name a file.")
    if path.exists() and not path.is_file():
        raise BundleError(f"{named}: is no regular file. Name another place.")
    if os.path.lexists(path) and not force:
        raise BundleError(f"{named}: is there already. Name a new file, or pass --force to replace it.")


@contextlib.contextmanager
def new_file(path: Path, *, force: bool) -> Iterator[Path]:
    """Where to write a file that is put in place when it is whole; see `check_file`, which is asked once more.

    Raises BundleError where it cannot be written; what stood there stays.
    """
    with claimed(path), writing(path), replacing(path) as scratch:
        yield scratch
        check_file(path, force=force)


@contextlib.contextmanager
def claimed(path: Path, notify: Callable[[str], None] = lambda line: None) -> Iterator[None]:
    """Keep other runs from writing to ``path`` while this lasts; what killed runs left of it is cleared or put back.

    Raises Busy where another run writes there, BundleError where its folder cannot be written.
    """
    target = Path(os.path.realpath(path))
    with writing(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        release = _lock(target.with_name(f".{target.name}.lock"))
    if release is None:
        raise Busy(f"{path}: another run is writing here. Wait for it, or name another place.")
    try:
        with writing(path):
            _recover(target, path, notify)
            clear_leftovers(target.parent, target.name)
        yield
    finally:
        release()


def clear_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove what killed runs had half written in ``folder`` to replace ``name``, or (None) anything in it."""
    pattern = re.compile(rf"\.{'.+' if name is None else re.escape(name)}{re.escape(_MARK)}[0-9a-f]{{8}}")
    for entry in list(folder.iterdir()) if folder.is_dir() else []:
        if pattern.fullmatch(entry.name):
            _remove(entry)


def kept_aside(path: Path) -> Path | None:
    """What stood at ``path`` before a run was killed while it put something else there; None where nothing is."""
    old = _beside(Path(os.path.realpath(path)), _OLD)
    return old if old.is_dir() and not path.exists() else None


def inside(folder: Path, name: Any, *, portable: bool = True) -> Path:
    """``folder / name`` for a name that a file says: bare names parted by ``/``, in the folder even where links lead.

    portable: only signs that every system takes in a name. Links of the Hugging Face cache (``snapshots/…`` to
    ``blobs/…``) are followed. Raises ValueError for other names.
    """
    parts = name.split("/") if isinstance(name, str) else []
    forbidden = r'[\\:\x00-\x1f"<>|?*]' if portable or os.name == "nt" else r"\x00"
    bare = all(part not in ("", ".", "..") and not re.search(forbidden, part) for part in parts)
    if not parts or not bare:
        raise ValueError(f"{name!r} is no name of a file in it")
    root = folder.resolve()
    roots = [root, root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [root]
    path = folder.joinpath(*parts)
    if not any(path.resolve().is_relative_to(allowed) for allowed in roots):
        raise ValueError(f"{name!r} leads out of it")
    return path


def check_regular(path: Path, most_bytes: int | None = None) -> None:
    """Raise ValueError where reading a file would hang or never end: a pipe, a device, a hole of many gigabytes."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("is no regular file")
    if most_bytes is not None and status.st_size > most_bytes:
        raise ValueError(f"has {status.st_size:,} bytes, and at most {most_bytes:,} are read")
    on_disk = getattr(status, "st_blocks", status.st_size) * 512
    if status.st_size > _SPARSE_BYTES and on_disk * _SPARSE_SHARE < status.st_size:
        raise ValueError(f"says that it has {status.st_size:,} bytes, and only {on_disk:,} are on the disk")


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.realpath(one) == os.path.realpath(other) or os.path.samefile(one, other)
    except (OSError, ValueError):  # a text, or nothing is there yet
        return False


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(f".{target.name}{_MARK}{ending}")


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _bring_to_disk(path: Path) -> None:
    """Every file and folder of it, so that a name is never on the disk before what it names."""
    for entry in [*path.rglob("*"), path] if path.is_dir() else [path]:
        _sync(entry)


def _sync(path: Path) -> None:
    if path.is_dir():
        if not hasattr(os, "O_DIRECTORY"):  # Windows knows no such thing
            return
        number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    else:
        number = os.open(path, os.O_RDWR)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that has nothing to bring
            raise
    finally:
        os.close(number)


def _swap(scratch: Path, target: Path) -> None:
    """A folder in the place of another; afterwards that one lies at ``scratch``, or is gone."""
    if _exchange(scratch, target):
        return
    old = _beside(target, _OLD)
    _remove(old)
    os.replace(target, old)
    try:
        os.replace(scratch, target)
    except OSError:
        os.replace(old, target)
        raise
    _sync(target.parent)
    _remove(old)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step, where the system can (Linux, macOS): there is no moment without either."""
    library = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
    first, second = os.fsencode(one), os.fsencode(other)
    if sys.platform == "darwin" and hasattr(library, "renamex_np"):
        return bool(library.renamex_np(first, second, _EXCHANGE) == 0)  # type: ignore[union-attr]
    if hasattr(library, "renameat2"):
        return bool(library.renameat2(_AT_CWD, first, _AT_CWD, second, _EXCHANGE) == 0)  # type: ignore[union-attr]
    return False


def _recover(target: Path, path: Path, notify: Callable[[str], None]) -> None:
    """Put back what a run had moved aside when it was killed."""
    old = _beside(target, _OLD)
    if not old.exists():
        return
    if target.exists():
        _remove(old)
    else:
        os.replace(old, target)
        notify(f"{path}: a run was killed while it replaced this folder; what stood there before is back.")


def _lock(path: Path) -> Callable[[], None] | None:
    """Lock a file that is gone when it is released; what releases it, or None where somebody else has it."""
    if fcntl is None:
        return _lock_elsewhere(path)
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(number)
            return None
        except OSError:  # a file system without locks
            break
        if os.fstat(number).st_nlink:
            break
        os.close(number)  # released and removed between opening and locking

    def release() -> None:
        path.unlink(missing_ok=True)
        os.close(number)

    return release


def _lock_elsewhere(path: Path) -> Callable[[], None] | None:
    from filelock import FileLock, Timeout

    try:
        held = FileLock(path, timeout=0)
        held.acquire()
    except Timeout:
        return None
    return held.release
