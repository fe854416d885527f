"""What a pickle of a fitted classifier holds: the files of its bundle, which are checked when they are loaded."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path

from classtune.jobs.train import Trained


@contextlib.contextmanager
def saved(trained: Trained) -> Iterator[Path]:
    """A folder with the bundle of a run while this lasts; the result says of its place what it said before."""
    with tempfile.TemporaryDirectory(prefix="classtune-") as name:
        folder, place = Path(name) / "bundle", trained.result.bundle
        trained.save(folder)
        trained.result.bundle = place
        yield folder


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its path within it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def folder_of(files: Mapping[str, bytes], owner: object) -> Path:
    """A folder with these files that goes when ``owner`` goes."""
    folder = Path(tempfile.mkdtemp(prefix="classtune-"))
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
