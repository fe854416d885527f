"""`TextClassifier`: scikit-learn's contract over everything else."""

from __future__ import annotations

import shutil
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Self

import numpy as np
import sklearn.exceptions
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from classtune.bundle import check_target, new_bundle
from classtune.config import meant
from classtune.data.reading.cells import is_blank
from classtune.data.reading.columns import TableFormat, listed_names
from classtune.data.reading.labels import typed_labels
from classtune.data.reading.tables import table_from_rows
from classtune.errors import UserError, printable
from classtune.estimator.inputs import (
    callers_random_state,
    column_of,
    counted,
    labels_given,
    path_of,
    rows_of,
    texts_of,
    validation_of,
)
from classtune.estimator.parameters import PARAMETERS, SIGNATURE, settings_of
from classtune.estimator.pickled import files_of, folder_of, saved
from classtune.estimator.words import in_python, told_in_python
from classtune.inference.predictor import Predictor, Ranked, load_predictor, single_network
from classtune.inference.tables import of_bundles
from classtune.jobs.train import train
from classtune.model.pooled import pooled_states

_SMALLEST = float(np.finfo(np.float64).tiny)  # probabilities may be 0, and their logarithm must be finite


class NotFittedError(UserError, sklearn.exceptions.NotFittedError):  # type: ignore[misc]
    """The classifier was asked before it was fitted; also scikit-learn's error of that name."""


class TextClassifier(ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Fine-tune a language model on texts and labels.

    Every setting (docs/settings.md) is a parameter, so that grids can search them; None leaves the recipe's value.
    recipe: a recipe's name or TOML file. settings: settings as a mapping; parameters come before it.
    loss: a setting's value, or a callable (logits, truth) → loss. optimizer: a callable (parameters, lr=…) →
    optimizer, such as a class of torch.optim. metrics: name → callable (truth, probabilities) → figure.
    on_epoch: called with each epoch's figures; True stops training. See `classtune.training.extensions`.
    text, columns, pair: of texts that come as a data frame, the names of their column, of columns that are features
    beside it (``train --with``), and of the texts that make pairs with it (``--pair``; else a text may be a tuple of
    both). `predict` reads the same columns of its frames.
    verbose: lines of progress on standard error.

    After `fit`: ``classes_`` (label names, sorted), ``result_`` (the document that ``train --json`` prints).
    Labels may be several a text: lists of them, or a matrix of 0 and 1 [texts, labels].
    All rows given to `fit` are for training and validation; keep test rows aside, or pass ``test=0.2``.

    Texts (``X``) may be any sequence or iterable of strings, an array, a column of any data frame, or a data frame of
    one column or several; a text may be a tuple of its parts, such as (subject, body). scikit-learn's clone, pickle
    and joblib work; a pickle holds the bundle's files.
    """

    # What each parameter is stored under; `__init__` takes them by name.
    model: str | Path | None
    recipe: str | None
    loss: Any
    optimizer: Any
    metrics: Mapping[str, Any] | None
    on_epoch: Callable[[dict[str, Any]], object] | None
    settings: Mapping[str, Any] | None
    text: str | None
    columns: str | Sequence[str] | None
    pair: str | None
    device: str | None
    verbose: bool

    def __init__(self, model: str | Path | None = None, **parameters: Any) -> None:
        unknown = [name for name in parameters if name not in PARAMETERS]
        if unknown:
            hint = meant(unknown[0], PARAMETERS)
            raise TypeError(f"TextClassifier has no parameter {unknown[0]!r}. {hint}")
        for name, default in PARAMETERS.items():
            setattr(self, name, parameters.get(name, default))
        self.model = model

    @told_in_python()
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, validation: tuple[Any, Any] | None = None) -> Self:
        """Train on texts ``X`` and labels ``y``, one entry a row. The caller's random state stays as it was.

        Labels that are numbers, or True and False, come back as such from `predict`, also after `save` and
        `classtune.load`; everything else calls them by their text. Labels of which some are numbers and others text are
        text. Those of other types (moments, Decimal, bytes) are refused: a bundle could not give them back.

        sample_weight: how often each row counts in learning, numbers above 0; only their ratios matter. Figures, and
        the choice between candidates, count every row once, and a loss of your own weighs no rows.
        validation: texts and labels in place of a share of the rows. Raises DataError, SettingsError or SourceError.
        """
        settings, extensions = settings_of({name: getattr(self, name) for name in PARAMETERS})
        y, format = column_of(y), self._format()
        table = rows_of(X, y, sample_weight, format, own_loss=callable(self.loss))
        with callers_random_state():
            self._trained: Any = train(
                table,
                settings,
                validation=validation_of(validation, format),
                extensions=extensions,
                notify=print_note if self.verbose else lambda _: None,
                progress=lambda *_: None,
            )
        # scikit-learn sorts classes as they are (2 before 10), the bundle by their text.
        classes = typed_labels(self._trained.labels, table.label_kind)
        self.classes_, self._columns = np.unique(classes, return_index=True)
        self.result_ = self._trained.result.document()
        self._predictor = self._trained.predictor
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """The answer to each text: its label [texts], None where it is withheld or the text is blank; or, where texts
        have several labels, a matrix of 0 and 1 [texts, classes].
        """
        answers = self._answers(X)
        if self._fitted().decisions.multi:
            return answers.astype(np.int64)
        labels: NDArray[Any] = self.classes_[answers.argmax(1)]
        withheld = ~answers.any(1)
        if withheld.any():
            labels = labels.astype(object)
            labels[withheld] = None
        return labels

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities [texts, classes], columns in the order of ``classes_``; NaN for a blank text."""
        return self._probabilities(X)[:, self._columns]

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Natural logarithms of `predict_proba` [texts, classes], all finite; NaN for a blank text."""
        logarithms: NDArray[np.float64] = np.log(self.predict_proba(X).clip(min=_SMALLEST))
        return logarithms

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Scores that order texts as `predict_proba` does, without its ends at 0 and 1.

        Two classes: the log-odds of ``classes_[1]`` [texts]. More: log-probabilities [texts, classes]. Several labels a
        text: the log-odds of each [texts, classes]. Costs and thresholds are in `predict` alone.
        """
        proba = self.predict_proba(X).clip(min=_SMALLEST)
        if self._fitted().decisions.multi:
            return np.asarray(np.log(proba) - np.log((1 - proba).clip(min=_SMALLEST)))
        return np.asarray(np.log(proba[:, 1] / proba[:, 0]) if proba.shape[1] == 2 else np.log(proba))

    @told_in_python()
    def transform(self, X: Any) -> NDArray[np.float32]:
        """What goes into the head: pooled states [texts, width], as features for another estimator.

        Raises UserError where the classifier is no single network, DataError for texts that are empty or too long.
        """
        network, texts = single_network(self._fitted()), texts_of(X, self._as_fitted())
        if not texts:
            return np.zeros((0, network.pooled_width), dtype=np.float32)
        return np.asarray(pooled_states(network, network.encoder.encode(texts)), dtype=np.float32)

    @told_in_python()
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of texts whose answer is right, 0 … 1: every label of it, where texts have several.

        An answer that is withheld counts as not right. sample_weight [texts]: how much each counts, 0 or more.
        """
        table = table_from_rows(column_of(X), column_of(labels_given(y)), format=self._as_fitted())
        table = table.with_known(self._fitted().labels)
        if sample_weight is not None:
            sample_weight = counted(sample_weight, len(table.texts))
        names = np.array(self._fitted().labels, dtype=object)[self._columns]
        truth = [set(labels) for labels in table.row_labels]
        answers = self._answers(table.texts)
        right = [set(names[answer]) == labels for answer, labels in zip(answers, truth, strict=True)]
        return float(np.average(np.array(right, dtype=np.float64), weights=sample_weight))

    def rank(self, X: Any) -> list[Ranked]:
        """Hugging Face's form: for each text its labels with scores, highest first; none for a blank text."""
        scores = self._probabilities(X)
        ranked: list[Ranked] = [[] for _ in scores]
        for row, labels in zip(_scored(scores), self._fitted().ranked(scores[_scored(scores)]), strict=True):
            ranked[row] = labels
        return ranked

    def scores(self, texts: Sequence[str]) -> list[Ranked]:
        """The former name of `rank`."""
        warnings.warn("TextClassifier.scores is now called rank.", DeprecationWarning, stacklevel=2)
        return self.rank(texts)

    @told_in_python()
    def save(self, folder: str | Path, *, force: bool = False) -> None:
        """Write the bundle. force: replace a bundle that stands there. Raises BundleError."""
        self._fitted()
        target = path_of(folder)
        check_target(target, force=force)
        if hasattr(self, "_trained"):
            self._trained.save(target, force=force)
            self.result_["bundle"] = str(folder)
        else:
            with new_bundle(target, force=force) as scratch:
                shutil.copytree(self._kept, scratch, dirs_exist_ok=True)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_predictor")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.classifier_tags.multi_label = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Parameters and attributes; of what is fitted, the files of its bundle."""
        state = super().__getstate__()
        state = {key: value for key, value in state.items() if key not in ("_trained", "_predictor", "_kept")}
        if hasattr(self, "_predictor"):
            with self._bundle() as folder:
                state["_files"] = files_of(folder)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Put the files into a folder that goes when this object goes, and load the bundle, checked as any other."""
        state = dict(state)
        files = state.pop("_files", None)
        super().__setstate__(state)
        if files is None:
            return
        self._kept = folder_of(files, self)
        with callers_random_state():
            self._predictor, _ = load_predictor(self._kept, device=self.device or "auto")

    @property
    def _n_features_out(self) -> int:
        """Columns of `transform`, for scikit-learn's names of them."""
        return single_network(self._fitted()).pooled_width

    def _bundle(self) -> AbstractContextManager[Path]:
        """The folder of the fitted classifier's bundle."""
        return nullcontext(self._kept) if hasattr(self, "_kept") else saved(self._trained)

    def _answers(self, X: Any) -> NDArray[np.bool_]:
        """Whether each label is given [texts, classes], columns in the order of ``classes_``."""
        scores = self._probabilities(X)
        answers, scored = np.zeros(scores.shape, dtype=np.bool_), _scored(scores)
        answers[scored] = self._fitted().decisions.answers(scores[scored])
        return answers[:, self._columns]

    @told_in_python()
    def _probabilities(self, X: Any) -> NDArray[np.float64]:
        """Probabilities with columns in the order of the bundle's labels; NaN for texts that are blank."""
        predictor, texts = self._fitted(), texts_of(X, self._as_fitted(), blanks=True)
        rows = [row for row, text in enumerate(texts) if not is_blank(text)]
        scores = np.full((len(texts), len(predictor.labels)), np.nan)
        places = [f"texts row {row + 1}" for row in rows]
        scores[rows] = predictor.probabilities([texts[row] for row in rows], places=places)
        return scores

    def _format(self) -> TableFormat:
        """Which columns of a data frame are read, as the parameters say."""
        columns = listed_names(self.columns) if isinstance(self.columns, str) else self.columns or ()
        return TableFormat(text=self.text, pair=self.pair, beside=tuple(columns))

    def _as_fitted(self) -> TableFormat:
        """Which columns of a data frame are read, as the classifier was fitted."""
        self._fitted()
        return of_bundles(TableFormat(), [self.result_])

    def _fitted(self) -> Predictor:
        if not hasattr(self, "_predictor"):
            raise NotFittedError("This TextClassifier is not fitted: call fit(X, y) first, or classtune.load(folder).")
        return self._predictor


TextClassifier.__init__.__signature__ = SIGNATURE  # type: ignore[attr-defined]


def _scored(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """The rows of texts that were not blank."""
    return np.flatnonzero(~np.isnan(scores[:, 0]))


def print_note(line: str) -> None:
    """A line of progress on standard error."""
    print(printable(in_python(line)), file=sys.stderr)
