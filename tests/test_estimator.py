"""`TextClassifier` as scikit-learn knows classifiers, and `load` for saved ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import narwhals
import numpy as np
import pyarrow as pa
import pytest
import sklearn.exceptions
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.model_selection import cross_val_score
from small import QUICK, one_thread, rows

import classtune
from classtune import BundleError, DataError, NotFittedError, SettingsError, TextClassifier, UserError, load

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")

TEXTS = [text for text, _ in rows()]
LABELS = [label for _, label in rows()]
NEW = ["win a prize, call now 77 today", "see you at 77 then, mate", "hello"]


def small(model: Path, **more: Any) -> TextClassifier:
    told = {"split_by": "exact", "batch_size": 8, "learning_rate": 1e-3}
    return TextClassifier(str(model), depth="all", trainable=1, epochs=more.pop("epochs", 2), settings=told | more)


@pytest.fixture(scope="module")
def fitted(small_llama: Path) -> TextClassifier:
    with one_thread():
        return small(small_llama, epochs=6).fit(TEXTS, LABELS)


def test_it_learns_and_says_what_it_learned(fitted: TextClassifier) -> None:
    assert fitted.classes_.tolist() == ["ham", "spam"]
    assert fitted.score(TEXTS, LABELS) == 1
    assert fitted.predict(NEW[:2]).tolist() == ["spam", "ham"]
    proba = fitted.predict_proba(NEW)
    assert proba.shape == (3, 2)
    assert proba.sum(1) == pytest.approx(1)
    assert fitted.result_["splits"] == {"train": 54, "validation": 6, "test": 0}
    assert fitted.result_["test"] is None


def test_scores_have_the_form_of_hugging_face(fitted: TextClassifier) -> None:
    (ranked,) = fitted.scores(NEW[:1])
    proba = fitted.predict_proba(NEW[:1])[0]
    assert [entry["label"] for entry in ranked] == ["spam", "ham"]
    assert [entry["score"] for entry in ranked] == pytest.approx(sorted(proba, reverse=True))


def test_no_texts_give_no_predictions(fitted: TextClassifier) -> None:
    assert fitted.predict([]).shape == (0,)
    assert fitted.predict_proba([]).shape == (0, 2)


def test_save_and_load_give_the_same_probabilities(fitted: TextClassifier, tmp_path: Path) -> None:
    fitted.save(tmp_path / "bundle")
    loaded = load(tmp_path / "bundle")
    assert loaded.classes_.tolist() == fitted.classes_.tolist()
    assert np.abs(loaded.predict_proba(NEW) - fitted.predict_proba(NEW)).max() < 1e-6
    assert loaded.result_["labels"] == ["ham", "spam"]
    with pytest.raises(BundleError, match="holds a bundle already"):
        fitted.save(tmp_path / "bundle")
    fitted.save(tmp_path / "bundle", force=True)
    with pytest.raises(UserError, match="not trained any further"):
        loaded.fit(TEXTS, LABELS)
    with pytest.raises(UserError, match="copy that folder"):
        loaded.save(tmp_path / "other")


def test_numbers_come_back_as_numbers_in_the_order_of_numbers(small_llama: Path) -> None:
    numbers = np.array([10 if label == "spam" else 2 for label in LABELS])
    classifier = small(small_llama, epochs=6).fit(np.array(TEXTS), numbers)
    assert classifier.classes_.tolist() == [2, 10]  # "10" comes before "2" as text
    assert classifier.predict(NEW[:2]).tolist() == [10, 2]
    assert classifier.predict_proba(NEW[:1]).argmax() == 1
    assert classifier.score(TEXTS, numbers) == 1


def test_truth_values_are_labels_too(small_llama: Path) -> None:
    classifier = small(small_llama, epochs=1).fit(TEXTS, [label == "spam" for label in LABELS])
    assert classifier.classes_.tolist() == [False, True]
    assert classifier.predict(NEW).dtype == bool


@pytest.mark.parametrize(
    "column",
    [tuple, np.array, pa.array, lambda v: pa.chunked_array([v[:20], v[20:]])],
    ids=["tuple", "numpy", "arrow", "arrow chunks"],
)
def test_any_kind_of_column_gives_the_same_classifier(column: Any, small_llama: Path) -> None:
    plain = small(small_llama, epochs=1).fit(TEXTS, LABELS)
    other = small(small_llama, epochs=1).fit(column(TEXTS), column(LABELS))
    assert np.array_equal(plain.predict_proba(NEW), other.predict_proba(NEW))


def test_a_column_of_a_data_frame(small_llama: Path, fitted: TextClassifier) -> None:
    frame = narwhals.from_dict({"text": NEW}, backend="pyarrow")
    assert np.array_equal(fitted.predict_proba(frame["text"]), fitted.predict_proba(NEW))
    with pytest.raises(DataError, match="Give a list or one column of texts"):
        fitted.predict(pa.table({"text": NEW}))
    with pytest.raises(DataError, match=r"a single str\. Give a list of texts"):
        fitted.predict("a text")


def test_it_follows_scikit_learn(small_llama: Path) -> None:
    classifier = small(small_llama)
    assert is_classifier(classifier)
    told = classifier.get_params()
    assert (told["model"], told["epochs"], told["settings"]["batch_size"]) == (str(small_llama), 2, 8)
    copy = clone(classifier).set_params(epochs=3)
    assert (copy.epochs, classifier.epochs) == (3, 2)
    assert copy.get_params()["settings"] == told["settings"]
    assert "TextClassifier(" in repr(classifier)


def test_cross_validation(small_llama: Path) -> None:
    numbers = np.array([label == "spam" for label in LABELS]).astype(int)
    scores: NDArray[np.float64] = cross_val_score(
        small(small_llama, epochs=4), np.array(TEXTS), numbers, cv=2, scoring="neg_log_loss", error_score="raise"
    )
    assert scores.shape == (2,)
    assert (scores > np.log(0.5)).all()  # better than knowing nothing, so the columns are those of the classes


def test_the_same_seed_gives_the_same_classifier(small_llama: Path) -> None:
    one, again, other = (small(small_llama, epochs=1, seed=seed).fit(TEXTS, LABELS) for seed in (1, 1, 2))
    assert np.array_equal(one.predict_proba(NEW), again.predict_proba(NEW))
    assert not np.array_equal(one.predict_proba(NEW), other.predict_proba(NEW))


def test_before_it_is_fitted_it_says_so_in_both_ways(tmp_path: Path) -> None:
    asked: list[Callable[[TextClassifier], object]] = [
        lambda c: c.predict(NEW),
        lambda c: c.predict([]),
        lambda c: c.predict_proba(NEW),
        lambda c: c.scores(NEW),
        lambda c: c.save(tmp_path / "bundle"),
    ]
    for ask in asked:
        with pytest.raises(NotFittedError, match=r"call fit\(texts, labels\) first"):
            ask(TextClassifier())
        with pytest.raises(sklearn.exceptions.NotFittedError):
            ask(TextClassifier())
    assert not (tmp_path / "bundle").exists()


def test_given_validation_rows_are_used(small_llama: Path) -> None:
    fitted = small(small_llama, epochs=1).fit(TEXTS[:40], LABELS[:40], validation=(TEXTS[40:], LABELS[40:]))
    assert fitted.result_["splits"] == {"train": 40, "validation": 20, "test": 0}


def test_a_share_for_the_test_can_be_asked_for(small_llama: Path) -> None:
    result = small(small_llama, epochs=1, test=0.2).fit(TEXTS, LABELS).result_
    assert result["test"]["rows"] == result["splits"]["test"] == 12
    assert result["verdict"]["sentence"]


def test_mistakes_are_told(small_llama: Path) -> None:
    with pytest.raises(SettingsError, match="Did you mean 'epochs'"):
        TextClassifier(settings={"epoch": 3}).fit(TEXTS, LABELS)
    with pytest.raises(DataError, match="2 texts and 1 labels"):
        small(small_llama).fit(["a", "b"], ["x"])
    with pytest.raises(DataError, match="needs two classes"):
        small(small_llama).fit(["a", "b"], ["x", "x"])
    with pytest.raises(DataError, match="row 2: the label is empty"):
        small(small_llama).fit(["a", "b"], ["x", None])


def test_progress_is_told_on_standard_error_when_asked_for(
    small_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [*TEXTS, TEXTS[0].upper()]
    for verbose in (False, True):
        told = {**QUICK, "epochs": 1, "max_tokens": 20}
        classifier = TextClassifier(str(small_llama), settings=told, verbose=verbose)
        classifier.fit(lines[:-1], LABELS, validation=(lines[-6:], LABELS[-6:]))
        shown = capsys.readouterr()
        assert shown.out == ""
        assert ("left out of training" in shown.err) == verbose


def test_the_public_names_are_these() -> None:
    assert classtune.TextClassifier is TextClassifier
    assert classtune.load is load
