"""What callers of an estimator give: texts, labels and weights in any form, and their random state, left as it was."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sized
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import narwhals
import numpy as np
import torch
from numpy.typing import NDArray

from classtune.data.reading.columns import TableFormat
from classtune.data.reading.frames import values_of
from classtune.data.reading.labels import other_kinds
from classtune.data.reading.tables import Table, table_from_rows
from classtune.errors import BundleError, DataError, SettingsError


def texts_of(X: Any, format: TableFormat, *, blanks: bool = False) -> list[str]:
    """Texts to predict; none is allowed. format: which columns of a data frame are read. Raises DataError for what is
    not text."""
    X = column_of(X)
    empty = isinstance(X, Sized) and not (isinstance(X, np.ndarray) and X.ndim == 0) and not len(X)
    return [] if empty else table_from_rows(X, blanks=blanks, format=format).texts


def rows_of(X: Any, y: Any, sample_weight: Any, format: TableFormat, *, own_loss: bool) -> Table:
    """Rows to learn from. Raises DataError, also for labels that would not come back as they are and where ``format``
    names columns of what has none, and SettingsError where nothing would weigh by the weights."""
    table = table_from_rows(column_of(X), labels_given(y), name="training data", format=format)
    if table.label_sets is None and (kinds := other_kinds(values_of(y, "y"))):
        raise DataError(
            f"y: holds labels of type {', '.join(kinds)}, which a bundle cannot give back. Give text, whole numbers, "
            "numbers, or True and False, such as y.astype(str)."
        )
    if lacking := {*format.beside} - {*table.beside}:
        raise DataError(f"X: has no columns, such as {min(lacking)!r} (columns). Give a data frame.")
    if sample_weight is None:
        return table
    return replace(table, weights=_above_0(sample_weight, len(table.texts), own_loss=own_loss))


def labels_given(y: Any) -> Any:
    """``y``. Raises DataError where there is none."""
    if y is None:
        raise DataError("y: there are no labels. Give one a text.")
    return y


def path_of(folder: Any) -> Path:
    """The folder of a bundle. Raises BundleError for what names none."""
    if not isinstance(folder, str | PathLike) or folder == "":
        raise BundleError(f"folder = {folder!r}: names no folder. Give its path.")
    return Path(folder)


def validation_of(pair: Any, format: TableFormat) -> Table | None:
    """Rows to validate on, given as a pair of texts and labels; None for None. Raises DataError."""
    if pair is None:
        return None
    if not (isinstance(pair, tuple | list) and len(pair) == 2):
        raise DataError("validation: give a pair, its texts and its labels.")
    return table_from_rows(*map(column_of, pair), name="validation", format=format)


def _numbers(values: Any, rows: int) -> NDArray[np.float64]:
    """sample_weight as one number a row. Raises DataError."""
    try:
        weights = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError("sample_weight: holds what is no number. Give a number above 0 for each row.") from None
    if weights.shape != (rows,):
        raise DataError(f"sample_weight: its shape is {weights.shape}, and there are {rows:,} rows. Give one a row.")
    return weights


def counted(values: Any, rows: int) -> NDArray[np.float64]:
    """Weights of an average, one a row. Raises DataError."""
    weights = _numbers(values, rows)
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise DataError("sample_weight: give each row a number of 0 or more, and one row more than 0.")
    return weights


def _above_0(values: Any, rows: int, *, own_loss: bool) -> list[float]:
    """One number above 0 a row. Raises DataError, SettingsError."""
    if own_loss:
        raise SettingsError("sample_weight: a loss of your own takes none. Give one of the two.")
    weights = _numbers(values, rows)
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights > 0)))
    if len(wrong):
        raise DataError(
            f"sample_weight row {wrong[0] + 1}: is {weights[wrong[0]]:g}, and so {len(wrong):,} in all are no number "
            "above 0. Leave out the rows that shall not count."
        )
    listed: list[float] = (weights / weights.max()).tolist()  # so that no sum of them overflows
    return listed


def column_of(values: Any) -> Any:
    """The one column of a data frame or of an array [rows, 1], the list of a generator; else ``values``."""
    if isinstance(values, Iterator):
        return list(values)
    if isinstance(values, np.ndarray):
        return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if hasattr(values, "columns"):
        frame = narwhals.from_native(values, pass_through=True, eager_only=True)
        if isinstance(frame, narwhals.DataFrame) and len(frame.columns) == 1:
            return frame.get_column(frame.columns[0]).to_native()
    return values


@contextlib.contextmanager
def callers_random_state() -> Iterator[None]:
    """Whatever is drawn within, the global generators of Python, NumPy and torch are afterwards what they were."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    try:
        with torch.random.fork_rng(devices=list(devices)):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
