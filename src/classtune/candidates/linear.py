"""Linear models as scikit-learn fits them and as they ship: plain arrays in two files, without pickle.

A JSON file says what the features are, ``weights.safetensors`` holds the numbers and names the labels.
Knows nothing of what the features mean.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classtune.errors import writing
from classtune.files import check_regular
from classtune.stats import BoolArray, FloatArray

WEIGHTS = "weights.safetensors"
# Log-odds of a label that no training row had, and of one that all had.
_CERTAIN = 20.0
_LARGEST = 1 << 30  # bytes of a file


class OneVsRest:
    """A logistic regression for each label that some rows have and others not; a label that all have is certain.

    scikit-learn's OneVsRestClassifier warns of labels without rows, and warnings are errors here.
    """

    def __init__(self, regression: Any) -> None:
        self.regression = regression

    def fit(self, features: Any, truth: BoolArray, weights: FloatArray | None = None) -> None:
        from sklearn.base import clone

        self.classes_ = np.flatnonzero(truth.any(axis=0))
        columns = [truth[:, label] for label in self.classes_]
        self.fitted = [
            None if column.all() else clone(self.regression).fit(features, column, weights) for column in columns
        ]

    def predict_proba(self, features: Any) -> FloatArray:
        """Probabilities (n, labels met) in the order of ``classes_``."""
        certain = np.ones(features.shape[0])
        return np.column_stack([one.predict_proba(features)[:, 1] if one else certain for one in self.fitted])


def coefficients_of(regression: Any, classes: int, features: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Coefficients [classes, features] and intercepts [classes] of a fitted regression, or of one a label."""
    coefficients = np.zeros((classes, features), dtype=np.float32)
    intercept = np.full(classes, -_CERTAIN, dtype=np.float32)
    if hasattr(regression, "fitted"):  # a regression a label; None: every row has it
        for label, one in zip(regression.classes_, regression.fitted, strict=True):
            intercept[label] = _CERTAIN if one is None else one.intercept_[0]
            if one is not None:
                coefficients[label] = one.coef_[0]
    elif len(regression.classes_) == 2:  # the second class against the first
        first, second = regression.classes_
        coefficients[second], intercept[second] = regression.coef_[0] / 2, regression.intercept_[0] / 2
        coefficients[first], intercept[first] = -coefficients[second], -intercept[second]
    else:
        coefficients[regression.classes_], intercept[regression.classes_] = regression.coef_, regression.intercept_
    return coefficients, intercept


def write_linear(
    folder: Path, name: str, features: Any, numbers: Mapping[str, NDArray[Any]], labels: Sequence[str]
) -> None:
    """Write what the features are to a JSON file of this name, and the numbers. labels: what the rows of the
    coefficients mean. Raises BundleError where it cannot."""
    from safetensors.numpy import save_file

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(features, ensure_ascii=False), encoding="utf-8", newline="\n")
        whole = {key: np.ascontiguousarray(value) for key, value in numbers.items()}
        save_file(whole, str(folder / WEIGHTS), {"labels": json.dumps(list(labels))})


def read_linear(
    folder: Path, name: str, labels: Sequence[str], *, unlabelled: bool = False
) -> tuple[Any, dict[str, NDArray[Any]]]:
    """What the features are, and the numbers, as `write_linear` wrote them. unlabelled: files that name no labels are
    taken too. Raises ValueError for other labels and for numbers that are none; whether they fit is not asked."""
    from safetensors import safe_open

    for file in (name, WEIGHTS):
        check_regular(folder / file, _LARGEST)
    features = json.loads((folder / name).read_text(encoding="utf-8"))
    with safe_open(str(folder / WEIGHTS), "numpy") as weights:
        numbers = {key: weights.get_tensor(key) for key in weights.keys()}  # noqa: SIM118 - no dictionary
        known = json.loads((weights.metadata() or {}).get("labels", "null"))
    if known != list(labels) and not (unlabelled and known is None):
        raise ValueError(f"its labels are {known}, those of the bundle {list(labels)}")
    if not all(value.dtype.kind == "f" and np.isfinite(value).all() for value in numbers.values()):
        raise ValueError("a weight is no number")
    return features, numbers
