"""What labels of any kind come back as: the same from a classifier that was fitted and from one that was loaded."""

from __future__ import annotations

import datetime
import decimal
import enum
from pathlib import Path
from typing import Any

import narwhals
import numpy as np
import pytest
from tiny_classifier import LABELS, NEW, TEXTS, small

from classtune import DataError, load

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")

SPAM = np.array([label == "spam" for label in LABELS])


class Word(str, enum.Enum):  # noqa: UP042
    """As code that is older than StrEnum has it."""

    spam = "spam"
    ham = "ham"


class Number(enum.IntEnum):
    ham = 3
    spam = 7


KINDS: dict[str, Any] = {
    "int8": SPAM.astype(np.int8),
    "unsigned": SPAM.astype(np.uint64) + np.uint64(2**63),
    "float32": np.where(SPAM, 0.1, -0.0).astype(np.float32),
    "bool": SPAM,
    "scalars of NumPy": [np.int16(spam) for spam in SPAM],
    "truth values of NumPy": [np.bool_(spam) for spam in SPAM],
    "objects": np.array([int(spam) for spam in SPAM], dtype=object),
    "members with text": [Word(label) for label in LABELS],
    "members with numbers": [Number[label] for label in LABELS],
    "a column": narwhals.from_dict({"y": SPAM.astype(int).tolist()}, backend="pyarrow")["y"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_given_is_what_comes_back(kind: str, small_llama: Path, tmp_path: Path) -> None:
    labels = KINDS[kind]
    fitted = small(small_llama, epochs=6).fit(TEXTS, labels)
    fitted.save(tmp_path / "bundle")
    for classifier in (fitted, load(tmp_path / "bundle")):
        answers = classifier.predict(TEXTS)
        assert [bool(answer == label) for answer, label in zip(answers, list(labels), strict=True)] == [True] * 60
        assert classifier.score(TEXTS, labels) == 1


@pytest.mark.parametrize("kind", ["Int64", "boolean", "category", "string"])
def test_columns_of_pandas_come_back_too(kind: str, small_llama: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    values = {"boolean": SPAM, "string": LABELS}.get(kind, SPAM.astype(int))
    labels = pandas.Series(values, dtype=kind, index=range(100, 160))
    fitted = small(small_llama, epochs=6).fit(TEXTS, labels)
    fitted.save(tmp_path / "bundle")
    for classifier in (fitted, load(tmp_path / "bundle")):
        assert (classifier.predict(TEXTS) == np.asarray(values)).all()


DAYS = np.where(SPAM, np.datetime64("2026-11-28"), np.datetime64("2026-11-29"))


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ([datetime.date(2026, 11, 28 + int(spam)) for spam in SPAM], "date"),
        (DAYS.astype("datetime64[ns]"), "datetime"),
        ([np.datetime64("2026-11-28")] * 30 + [None] * 30, None),
        ([datetime.timedelta(days=int(spam)) for spam in SPAM], "timedelta"),
        ([decimal.Decimal(int(spam)) for spam in SPAM], "Decimal"),
        (np.array(LABELS).astype("S4"), "bytes"),
    ],
)
def test_what_could_not_come_back_is_refused_in_a_sentence(labels: Any, named: str | None, small_llama: Path) -> None:
    said = rf"y: holds labels of type {named}, which a bundle cannot give back\. Give text" if named else "is empty"
    with pytest.raises(DataError, match=said) as caught:
        small(small_llama).fit(TEXTS, labels)
    assert len(caught.value.problems) == 1


def test_numbers_among_text_are_text(small_llama: Path) -> None:
    mixed = np.array([1 if spam else "ham" for spam in SPAM], dtype=object)
    classifier = small(small_llama, epochs=6).fit(TEXTS, mixed)
    assert classifier.classes_.tolist() == ["1", "ham"]
    assert classifier.predict(NEW[:2]).tolist() == ["1", "ham"]


def test_what_is_no_column_or_weighs_beyond_numbers_is_told_or_taken(small_llama: Path) -> None:
    """An array of no dimension, pandas's NA, and weights whose sum no number holds."""
    pandas = pytest.importorskip("pandas")
    fitted = small(small_llama, epochs=1).fit(TEXTS, LABELS, sample_weight=[1e308] * 60)
    assert fitted.result_["splits"]["train"] == 54
    assert (
        np.abs(fitted.predict_proba(NEW) - small(small_llama, epochs=1).fit(TEXTS, LABELS).predict_proba(NEW)).max()
        < 1e-5
    )
    with pytest.raises(DataError, match="an array of 0 dimensions"):
        fitted.predict(np.array("a"))
    with pytest.raises(DataError, match="row 1: the label is empty"):
        small(small_llama).fit(TEXTS, pandas.array([None, *[1] * 59], dtype="Int64"))
