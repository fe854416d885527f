"""`TextClassifier`: scikit-learn's fit, predict and predict_proba over everything else; `load` for saved ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import sklearn.exceptions
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from classtune.bundle import check_target
from classtune.config import resolve
from classtune.data.reading.tables import table_from_rows
from classtune.errors import UserError
from classtune.files import claimed
from classtune.inference.predictor import Predictor, Ranked, load_predictor
from classtune.jobs.train import train


class NotFittedError(UserError, sklearn.exceptions.NotFittedError):  # type: ignore[misc]
    """The classifier was asked before it was fitted; also scikit-learn's error of that name."""


class TextClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Fine-tune a language model on texts and labels.

    model, depth, trainable, pooling, epochs, seed, device: the settings used most; None leaves the recipe's value.
    recipe: a recipe's name or TOML file. settings: any other setting by name (docs/settings.md).
    verbose: lines of progress on standard error.

    After `fit`: ``classes_`` (label names, sorted), ``result_`` (the document that ``train --json`` prints).
    Labels may be several a text: lists of them, or a matrix of 0 and 1 [texts, labels].
    All rows given to `fit` are for training and validation; keep test rows aside, or pass ``settings={"test": 0.2}``.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        recipe: str | None = None,
        depth: int | str | None = None,
        trainable: int | str | None = None,
        pooling: str | None = None,
        epochs: int | None = None,
        seed: int | None = None,
        device: str | None = None,
        settings: Mapping[str, Any] | None = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.recipe = recipe
        self.depth = depth
        self.trainable = trainable
        self.pooling = pooling
        self.epochs = epochs
        self.seed = seed
        self.device = device
        self.settings = settings
        self.verbose = verbose

    def fit(self, texts: Any, labels: Any, *, validation: tuple[Any, Any] | None = None) -> Self:
        """Train. texts, labels: lists, arrays or columns of any data frame, one entry a row. Labels may be
        numbers: `predict` gives them back as they came; everything else calls them by their text.

        validation: texts and labels in place of a share of the rows. Raises DataError, SettingsError or SourceError.
        """
        names = ("model", "depth", "trainable", "pooling", "epochs", "seed", "device")
        told = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        resolved = resolve(self.recipe, {"test": 0.0, **(self.settings or {}), **told})
        extra = None if validation is None else table_from_rows(*validation, name="validation")
        table = table_from_rows(texts, labels, name="training rows")
        self._trained = train(
            table,
            resolved,
            validation=extra,
            notify=print_note if self.verbose else _silent,
            progress=_silent,
        )
        self._predictor = self._trained.predictor
        if table.label_sets is None:
            given = dict(zip(table.labels or [], np.asarray(labels), strict=True))  # text → label as the caller has it
            classes = [given[label] for label in self._trained.labels]
        else:
            classes = self._trained.labels
        # scikit-learn sorts classes as they are (2 before 10), the bundle by their text.
        self.classes_, self._columns = np.unique(classes, return_index=True)
        self.result_ = self._trained.result
        return self

    def predict(self, texts: Any) -> NDArray[Any]:
        """The answer to each text: its label [texts], None where it is withheld; or, where texts have several labels, a
        matrix of 0 and 1 [texts, classes].
        """
        scores, decisions = self._scores(texts), self._fitted().decisions
        answers = decisions.answers(scores)[:, self._columns]
        if decisions.multi:
            return answers.astype(np.int64)
        labels: NDArray[Any] = self.classes_[answers.argmax(1)]
        withheld = ~answers.any(1)
        if withheld.any():
            labels = labels.astype(object)
            labels[withheld] = None
        return labels

    def predict_proba(self, texts: Any) -> NDArray[np.float64]:
        """Probabilities [texts, classes], columns in the order of ``classes_``."""
        return self._scores(texts)[:, self._columns]

    def scores(self, texts: Sequence[str]) -> list[Ranked]:
        """Hugging Face's form: for each text its labels with scores, highest first."""
        return self._fitted().predict(texts)

    def save(self, folder: str | Path, *, force: bool = False) -> None:
        """Write the bundle. force: replace a bundle that stands there. Raises BundleError."""
        self._fitted()
        check_target(Path(folder), force=force)
        with claimed(Path(folder)):
            self._trained.save(Path(folder), force=force)

    def _scores(self, texts: Any) -> NDArray[np.float64]:
        """Probabilities with columns in the order of the bundle's labels."""
        return self._fitted().probabilities(table_from_rows(texts).texts if len(texts) else [])

    def _fitted(self) -> Predictor:
        if not hasattr(self, "_predictor"):
            raise NotFittedError(
                "This TextClassifier is not fitted: call fit(texts, labels) first, or classtune.load(folder)."
            )
        return self._predictor


class LoadedClassifier(TextClassifier):
    """A `TextClassifier` that was read from a bundle: it predicts, and cannot be saved or fitted again."""

    def __init__(self, folder: str | Path, *, device: str = "cpu") -> None:
        self.folder = folder
        self.device = device
        self._predictor, bundle = load_predictor(Path(folder), device=device)
        self.classes_, self._columns = np.array(bundle.labels), np.arange(len(bundle.labels))
        self.result_ = bundle.record

    def fit(self, texts: Any, labels: Any, *, validation: tuple[Any, Any] | None = None) -> Self:
        raise UserError("A loaded bundle is not trained any further: fit a new TextClassifier.")

    def save(self, folder: str | Path, *, force: bool = False) -> None:
        raise UserError(f"This classifier was loaded from {self.folder}: copy that folder.")


def load(folder: str | Path, *, device: str = "cpu") -> LoadedClassifier:
    """Load a bundle; its files and golden texts are checked. Raises BundleError."""
    return LoadedClassifier(folder, device=device)


def print_note(line: str) -> None:
    """A line of progress on standard error."""
    import sys

    print(line, file=sys.stderr)


def _silent(*_: Any) -> None:
    """Nobody asked."""
