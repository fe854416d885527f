"""What a bundle keeps of the rows beside its classifier, each in a file of its own: numbers, hashes, a few texts."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from classtune.bundle.record import RECORD_BYTES, TEXTS
from classtune.data.versions import RowHashes, hashes
from classtune.errors import BundleError, reading
from classtune.files import check_regular
from classtune.stats import BoolArray

VALIDATION = "validation.safetensors"
ROWS = "rows.safetensors"
HELD_OUT = "held_out.jsonl"


@contextlib.contextmanager
def read_arrays(
    path: Path, what: str, missing: str, most_bytes: int | None = None
) -> Iterator[dict[str, NDArray[Any]]]:
    """The arrays of a file of the bundle, by name; what is wrong with them, or is raised within, is a BundleError.

    what: the file holds. missing: what a bundle without it is, and what to do. most_bytes: of the file.
    """
    if not path.is_file():
        raise BundleError(f"{path.parent}: {missing}")
    with reading(path, what):
        check_regular(path, most_bytes)
        yield load_file(str(path))


def write_validation(folder: Path, logits: NDArray[np.float64], truth: NDArray[Any]) -> None:
    """Keep the logits of the validation rows [rows, labels] and their truth, for decisions that are taken later."""
    save_file({"logits": np.ascontiguousarray(logits), "truth": truth.astype(np.int64)}, str(folder / VALIDATION))


def read_validation(folder: Path) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Logits and truth (class numbers [rows], or a bool matrix [rows, labels]) of the validation rows."""
    missing = "holds no validation rows to decide by. Train it again."
    with read_arrays(folder / VALIDATION, "the validation rows", missing) as kept:
        return kept["logits"], kept["truth"] if kept["truth"].ndim == 1 else kept["truth"].astype(bool)


def write_rows(folder: Path, rows: RowHashes) -> None:
    """Keep hashes of the labelled texts, for the next version and for what chooses texts to label."""
    save_file({"learned": rows.learned, "test": rows.test}, str(folder / ROWS))


def read_rows(folder: Path) -> RowHashes:
    """Hashes of the texts that the bundle learned from and was tested on. Raises BundleError where it has none."""
    missing = (
        "does not know which rows it was trained on: it was pushed, exported, or written by an earlier classtune. Take "
        "the folder that `classtune train` wrote, or train it again."
    )
    with read_arrays(folder / ROWS, "the hashes of its rows", missing, RECORD_BYTES) as kept:
        return RowHashes(kept["learned"], kept["test"])


def learned_rows(folder: Path, texts: Sequence[str]) -> BoolArray:
    """Which texts are copies of those that the bundle learned from [texts]; none where it does not know its rows."""
    if not (folder / ROWS).is_file():
        return np.zeros(len(texts), dtype=np.bool_)
    return np.isin(hashes(texts), read_rows(folder).learned)


def write_held_out(folder: Path, texts: Sequence[str]) -> None:
    """Texts that were not trained on: what an export is compared on. folder: the bundle's ``texts/``."""
    lines = [json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts]
    (folder / HELD_OUT).write_text("".join(lines), encoding="utf-8", newline="\n")


def read_held_out(folder: Path) -> list[str]:
    """Empty where the bundle keeps no texts, or is of an earlier classtune."""
    path = next((path for path in (folder / TEXTS / HELD_OUT, folder / HELD_OUT) if path.is_file()), None)
    if path is None:
        return []
    with reading(path), path.open(encoding="utf-8", newline="\n") as file:
        return [str(json.loads(line)["text"]) for line in file]
