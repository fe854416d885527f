"""TF-IDF + logistic regression as a classifier that ships: plain arrays, saved without pickle, the same scores again.

``vocabulary.json`` holds the terms and how texts are cut into them, ``weights.safetensors`` the numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from classtune.candidates.lexical import TOKEN, TfidfBaseline
from classtune.errors import reading, writing
from classtune.files import check_regular
from classtune.stats import Floats

VOCABULARY, WEIGHTS = "vocabulary.json", "weights.safetensors"
# Log-odds of a label that no training row had, and of one that all had.
_CERTAIN = 20.0
_LARGEST = 1 << 30  # bytes of a file
_TOGETHER = 10_000  # texts whose features are held at once


def _words(text: str) -> Iterator[str]:
    """Words and pairs of neighbours."""
    before = None
    for found in re.finditer(TOKEN, text.lower()):
        word = found.group()
        yield word
        if before is not None:
            yield f"{before} {word}"
        before = word


def _characters(text: str) -> Iterator[str]:
    """Every 2 to 5 characters of each word with a space round it; all of a shorter one once."""
    for found in re.finditer(r"\S+", text.lower()):
        word = f" {found.group()} "
        for size in range(2, 6):
            yield word[:size]
            if size >= len(word):
                break
            for start in range(1, len(word) - size + 1):
                yield word[start : start + size]


# How each vectorizer cuts texts into terms, by its name: as scikit-learn does, but one by one. A list of all terms of
# a text of 10 million characters takes gigabytes.
_CUTS: dict[str, Callable[[str], Iterator[str]]] = {"words": _words, "characters": _characters}


@dataclass(frozen=True)
class LexicalModel:
    """Logits = tf-idf features @ coefficients.T + intercept. coefficients float32 [labels, terms].

    terms, idf: of each vectorizer by name, its terms in the order of its columns and their weights.
    """

    terms: dict[str, list[str]]
    idf: dict[str, NDArray[np.float64]]
    coefficients: NDArray[np.float32]
    intercept: NDArray[np.float32]

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "_vectorizers", [_vectorizer(name, self.terms[name], self.idf[name]) for name in self.terms]
        )

    @classmethod
    def of(cls, fitted: TfidfBaseline) -> Self:
        """The fitted baseline as arrays."""
        vectorizers = dict(fitted.features.transformer_list)
        terms = {
            name: sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
            for name, vectorizer in vectorizers.items()
        }
        idf = {name: np.asarray(vectorizer.idf_, dtype=np.float64) for name, vectorizer in vectorizers.items()}
        coefficients, intercept = linear(fitted.regression, fitted.classes, sum(map(len, terms.values())))
        return cls(terms, idf, coefficients, intercept)

    def features(self, texts: Sequence[str]) -> Any:
        """TF-IDF of the terms, a sparse matrix [texts, terms]."""
        from scipy.sparse import hstack

        vectorizers: list[Any] = self._vectorizers  # type: ignore[attr-defined]
        return hstack([vectorizer.transform(texts) for vectorizer in vectorizers]).tocsr()

    def logits(self, texts: Sequence[str]) -> Floats:
        """Logits [texts, labels]; of several labels a text their log-odds."""
        if not len(texts):
            return np.zeros((0, len(self.intercept)))
        weights = self.coefficients.T.astype(np.float64)
        parts = (texts[start : start + _TOGETHER] for start in range(0, len(texts), _TOGETHER))
        return np.concatenate([self.features(part) @ weights + self.intercept for part in parts])

    @property
    def bytes(self) -> int:
        """What it takes on disk, about."""
        letters = sum(len(term.encode()) + 4 for terms in self.terms.values() for term in terms)
        return int(letters + self.coefficients.nbytes + sum(idf.nbytes for idf in self.idf.values()))

    def save(self, folder: Path, labels: Sequence[str]) -> None:
        """Write the two files. labels: what the rows of the coefficients mean. Raises BundleError where it cannot."""
        from safetensors.numpy import save_file

        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / VOCABULARY).write_text(json.dumps(self.terms, ensure_ascii=False), encoding="utf-8", newline="\n")
            numbers: dict[str, NDArray[Any]] = {f"idf.{name}": idf for name, idf in self.idf.items()}
            numbers |= {"coefficients": self.coefficients, "intercept": self.intercept}
            save_file(
                {name: np.ascontiguousarray(value) for name, value in numbers.items()},
                str(folder / WEIGHTS),
                {"labels": json.dumps(list(labels))},
            )

    @classmethod
    def load(cls, folder: Path, labels: Sequence[str]) -> Self:
        """Read what `save` wrote. Raises BundleError for files that are missing, damaged, or of other labels."""
        from safetensors import safe_open

        with reading(folder, "the lexical member"):
            for name in (VOCABULARY, WEIGHTS):
                check_regular(folder / name, _LARGEST)
            terms = json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))
            with safe_open(str(folder / WEIGHTS), "numpy") as file:
                numbers = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                known = json.loads((file.metadata() or {}).get("labels", "null"))
            if known is not None and known != list(labels):
                raise ValueError(f"its labels are {known}, those of the bundle {list(labels)}")
            idf = {name: numbers[f"idf.{name}"] for name in terms}
            columns = sum(map(len, terms.values()))
            coefficients, intercept = numbers["coefficients"], numbers["intercept"]
            fits = [idf[name].shape == (len(terms[name]),) for name in terms]
            shapes = intercept.shape == (len(labels),) and coefficients.shape == (len(labels), columns)
            if not terms.keys() <= _CUTS.keys() or not all(fits) or not shapes:
                raise ValueError("its terms and its numbers do not fit, or not its labels")
            if not all(value.dtype.kind == "f" and np.isfinite(value).all() for value in numbers.values()):
                raise ValueError("a weight is no number")
            return cls(terms, idf, coefficients, intercept)


def _vectorizer(name: str, terms: list[str], idf: NDArray[np.float64]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        sublinear_tf=True, vocabulary={term: place for place, term in enumerate(terms)}, analyzer=_CUTS[name]
    )
    vectorizer.idf_ = idf
    return vectorizer


def linear(regression: Any, classes: int, terms: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Coefficients [classes, terms] and intercepts [classes] of a fitted regression, or of one a label."""
    coefficients = np.zeros((classes, terms), dtype=np.float32)
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
