"""A saved classifier as an estimator: `load`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from classtune.bundle import read_record
from classtune.data.reading.labels import typed_labels
from classtune.errors import BundleError, UserError
from classtune.estimator.classifier import TextClassifier
from classtune.estimator.inputs import callers_random_state, path_of
from classtune.estimator.words import told_in_python
from classtune.inference.predictor import load_predictor


class LoadedClassifier(TextClassifier):
    """A `TextClassifier` that was read from a bundle: it predicts, and cannot be saved or fitted again."""

    @told_in_python()
    def __init__(self, folder: str | Path, *, device: str = "cpu") -> None:
        self.folder = folder
        self.device = device
        self._kept = path_of(folder)
        with callers_random_state():
            self._predictor, bundle = load_predictor(self._kept, device=device)
        # Labels that were numbers come back as numbers: a bundle knows them by their text.
        kind = (bundle.record.get("data") or {}).get("label_kind", "text")
        self.classes_, self._columns = np.unique(typed_labels(bundle.labels, kind), return_index=True)
        self.result_ = bundle.record

    @contextlib.contextmanager
    def _bundle(self) -> Iterator[Path]:
        if read_record(self._kept) != self.result_:
            raise BundleError(
                f"{self._kept}: was replaced since it was loaded: what answers here is not there any more."
            )
        yield self._kept

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, validation: tuple[Any, Any] | None = None) -> Self:
        raise UserError("A loaded bundle is not trained any further: fit a new TextClassifier.")

    def save(self, folder: str | Path, *, force: bool = False) -> None:
        raise UserError(f"This classifier was loaded from {self.folder}: copy that folder.")


def load(folder: str | Path, *, device: str = "cpu") -> LoadedClassifier:
    """Load a bundle; its files and golden texts are checked. Raises BundleError."""
    return LoadedClassifier(folder, device=device)
