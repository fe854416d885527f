"""A folder that is one table: a folder a class of text files, or a data set of Hugging Face on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from classtune.data.reading.columns import Columns
from classtune.data.reading.grid import Grid
from classtune.data.reading.packed import read_within
from classtune.errors import DataError
from classtune.files import inside

MOST_FILE_BYTES = 1 << 24


def read_folder(folder: Path) -> Grid:
    """The rows of the folder; of a data set with several splits, those to train on. Raises DataError."""
    if (folder / "dataset_dict.json").is_file():
        splits = sorted(path.name for path in folder.iterdir() if (path / "state.json").is_file())
        if "train" not in splits:
            raise DataError(f"{folder}: has the splits {', '.join(splits) or 'none'}. Name one: {folder}/SPLIT.")
        return _noted(read_folder(folder / "train"), "train", [split for split in splits if split != "train"], folder)
    if (folder / "state.json").is_file():
        return _saved(folder)
    if shards := sorted(folder.glob("train*.parquet")) or sorted((folder / "data").glob("train*.parquet")):
        others = {path.name.partition("-")[0] for path in shards[0].parent.glob("*.parquet") if path not in shards}
        return _noted(_parquet_shards(shards), "train", sorted(others), shards[0].parent)
    classes = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith((".", "_"))]
    texts = {path: sorted(path.glob("*.txt")) for path in classes}
    if len([path for path in classes if texts[path]]) > 1:
        return _classes(folder, {path: files for path, files in texts.items() if files})
    raise DataError(f"{folder}: is a folder. Name a file in it.")


def _saved(folder: Path) -> Grid:
    """What `Dataset.save_to_disk` wrote; names of classes that its Arrow files lack stand beside them."""
    from classtune.data.reading.arrow import classes_in, read_arrow_files

    grid = read_arrow_files(str(folder), _listed(folder))
    about = folder / "dataset_info.json"
    if not grid.class_names and about.is_file() and about.stat().st_size < MOST_FILE_BYTES:
        grid.class_names = classes_in(about.read_bytes(), grid.names)
    return grid


def _listed(folder: Path) -> list[Path]:
    """The files of a saved data set, as its state.json lists them: others there are what was computed from it."""
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        return [inside(folder, entry["filename"]) for entry in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return sorted(folder.glob("*.arrow"))


def _parquet_shards(paths: Sequence[Path]) -> Grid:
    from classtune.data.reading.arrow import read_parquet

    grids: list[Grid] = []
    for path in paths:
        with path.open("rb") as file:
            grids.append(read_parquet(str(path), read_within(str(path), file)))
    if any(grid.names != grids[0].names for grid in grids):
        raise DataError(f"{paths[0].parent}: {paths[0].name} and the files after it have other columns.")
    if any(grid.class_names != grids[0].class_names for grid in grids):
        raise DataError(f"{paths[0].parent}: {paths[0].name} and the files after it name the classes otherwise.")

    def column(position: int) -> Sequence[Any]:
        return list(chain.from_iterable(grid.column(position) for grid in grids))

    grid = Grid(grids[0].names, column, range(1, sum(len(grid.lines) for grid in grids) + 1), unit="row")
    grid.class_names = grids[0].class_names
    return grid


def _noted(grid: Grid, taken: str, others: list[str], folder: Path) -> Grid:
    if others:
        grid.notes.append(
            f"{taken!r} is read; beside it stand {', '.join(others)}: --validation or --test {folder}/NAME."
        )
    return grid


def _classes(folder: Path, files: dict[Path, list[Path]]) -> Grid:
    """A text a file, whose label is its folder's name."""
    texts: list[str] = []
    labels: list[str] = []
    for path, texts_of_class in files.items():
        for file in texts_of_class:
            if file.stat().st_size > MOST_FILE_BYTES:
                raise DataError(f"{file}: is larger than {MOST_FILE_BYTES >> 20} MB. Shorten it.")
            try:
                texts.append(file.read_text(encoding="utf-8-sig"))
            except UnicodeDecodeError as error:
                raise DataError(f"{file}: byte 0x{error.object[error.start]:02X} is not UTF-8. Save it so.") from None
            labels.append(path.name)
    grid = Grid(["text", "label"], [texts, labels].__getitem__, range(1, len(texts) + 1), unit="file")
    grid.guessed = Columns((0,), 1)
    listed = ", ".join(path.name for path in list(files)[:5])
    grid.notes.append(f"a folder a class, a text a file: {len(files):,} classes ({listed}{', …' * (len(files) > 5)}).")
    return grid
