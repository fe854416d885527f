"""`TextClassifier` as scikit-learn knows classifiers, and `load` for saved ones."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import narwhals
import numpy as np
import pyarrow as pa
import pytest
import sklearn.exceptions
import torch
from numpy.typing import NDArray
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from small import QUICK, one_thread
from tiny_classifier import LABELS, NEW, TEXTS, small

import classtune
from classtune import BundleError, DataError, NotFittedError, SettingsError, TextClassifier, UserError, load
from classtune.decisions.decisions import Decisions

pytest_plugins = ["bundle_fixtures", "fitted_fixture"]
pytestmark = pytest.mark.usefixtures("single_thread")


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
    (ranked,) = fitted.rank(NEW[:1])
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
    both = pa.table({"text": NEW, "other": NEW[::-1]})
    assert np.array_equal(fitted.predict_proba(both), fitted.predict_proba(NEW))
    with pytest.raises(DataError, match=r"could hold the text: 'title', 'body'\. Choose with text=NAME\."):
        fitted.predict(pa.table({"title": NEW, "body": NEW}))
    with pytest.raises(DataError, match=r"a single str\. Give a list of texts"):
        fitted.predict("a text")


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
        lambda c: c.rank(NEW),
        lambda c: c.transform(NEW),
        lambda c: c.score(NEW, [1, 2, 3]),
        lambda c: c.save(tmp_path / "bundle"),
    ]
    for ask in asked:
        with pytest.raises(NotFittedError, match=r"call fit\(X, y\) first"):
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
    with pytest.raises(DataError, match="2 texts and 1 label"):
        small(small_llama).fit(["a", "b"], ["x"])
    with pytest.raises(DataError, match="needs two classes"):
        small(small_llama).fit(["a", "b"], ["x", "x"])
    with pytest.raises(DataError, match="row 2: the label is empty"):
        small(small_llama).fit(["a", "b"], ["x", None])
    with pytest.raises(DataError, match="there are no labels"):
        small(small_llama).fit(["a", "b"], None)


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


def test_labels_that_are_one_to_python_stay_two(small_llama: Path) -> None:
    classifier = small(small_llama, epochs=6).fit(TEXTS, [1 if label == "spam" else True for label in LABELS])
    assert classifier.classes_.tolist() == ["1", "true"]
    assert classifier.predict(NEW[:1]).tolist() == ["1"]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([0, 0], "give each row a number of 0 or more, and one row more than 0"),
        ([-1, 2], "give each row a number of 0 or more"),
        ([1], r"its shape is \(1,\), and there are 2 rows"),
    ],
)
def test_weights_of_a_score_that_are_none_are_told(weights: Any, message: str, fitted: TextClassifier) -> None:
    with pytest.raises(DataError, match=message):
        fitted.score(NEW[:2], ["spam", "ham"], sample_weight=weights)


def test_validation_is_a_pair(small_llama: Path) -> None:
    with pytest.raises(DataError, match="validation: give a pair"):
        small(small_llama).fit(TEXTS, LABELS, validation=TEXTS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "form",
    [
        iter,
        lambda v: (text for text in v),
        lambda v: np.array(v)[:, None],
        lambda v: pa.table({"text": v}),
        lambda v: narwhals.from_dict({"text": v}, backend="pyarrow"),
        lambda v: dict.fromkeys(v).keys(),
    ],
    ids=["iterator", "generator", "array of one column", "arrow table", "data frame", "keys"],
)
def test_any_sequence_of_texts(fitted: TextClassifier, form: Callable[[list[str]], Any]) -> None:
    assert np.array_equal(fitted.predict_proba(form(NEW)), fitted.predict_proba(NEW))


def test_generators_and_frames_of_one_column_can_be_learned_from(small_llama: Path) -> None:
    plain = small(small_llama, epochs=1).fit(TEXTS, LABELS)
    other = small(small_llama, epochs=1).fit(iter(TEXTS), (label for label in LABELS))
    frames = small(small_llama, epochs=1).fit(pa.table({"a": TEXTS}), np.array(LABELS)[:, None])
    assert frames.classes_.tolist() == ["ham", "spam"]
    for one in (other, frames):
        assert np.array_equal(one.predict_proba(NEW), plain.predict_proba(NEW))


def test_in_a_pipeline_and_as_features(fitted: TextClassifier) -> None:
    features = fitted.transform(NEW)
    assert features.shape == (3, 32)
    assert features.dtype == np.float32
    assert fitted.transform([]).shape == (0, 32)
    assert fitted.get_feature_names_out()[0] == "textclassifier0"
    states = make_pipeline(FrozenEstimator(fitted), LogisticRegression()).fit(TEXTS, LABELS)
    assert states.score(TEXTS, LABELS) == 1


@pytest.mark.parametrize(("pooling", "width"), [("first", 32), ("last+mean", 64)])
def test_heads_of_every_kind_name_their_features(pooling: str, width: int, small_bert: Path) -> None:
    features = small(small_bert, epochs=1).set_params(pooling=pooling).fit(TEXTS, LABELS)
    assert features.transform(NEW).shape == (3, width)
    assert features.transform([]).shape == (0, width)
    assert len(features.get_feature_names_out()) == width


def test_what_is_no_network_says_so_and_not_that_it_is_not_fitted(small_bert: Path) -> None:
    words = TextClassifier(small_bert, settings={**QUICK, "candidates": "all", "effort": "fast", "keep": "tf-idf"})
    words.fit(TEXTS, LABELS)  # a model may be named by its path, too
    for ask in (words.get_feature_names_out, lambda: words.transform(NEW)):
        with pytest.raises(UserError, match="no single network"):
            ask()


def test_texts_without_an_order_and_labels_that_are_none_are_refused(fitted: TextClassifier) -> None:
    with pytest.raises(DataError, match=r"texts: a set, which has no order\. Give a list\."):
        fitted.predict({*NEW})
    with pytest.raises(DataError, match=r"labels of training data: a frozenset, which has no order"):
        TextClassifier().fit(NEW, frozenset(NEW))
    with pytest.raises(DataError, match=r"y: there are no labels\."):
        fitted.score(TEXTS, None)


def test_logarithms_and_decisions_follow_the_probabilities(fitted: TextClassifier, small_llama: Path) -> None:
    proba = fitted.predict_proba(NEW)
    assert fitted.predict_log_proba(NEW) == pytest.approx(np.log(proba))
    decision = fitted.decision_function(NEW)
    assert decision.shape == (3,)
    assert ((decision > 0) == (proba[:, 1] > 0.5)).all()
    three = small(small_llama, epochs=1).fit(TEXTS, [*LABELS[:40], *["other"] * 20])
    assert three.decision_function(NEW).argmax(1).tolist() == three.predict_proba(NEW).argmax(1).tolist()
    several = small(small_llama, epochs=1).fit(TEXTS, [[label, "text"] for label in LABELS])
    assert ((several.decision_function(NEW) > 0) == (several.predict_proba(NEW) > 0.5)).all()


def test_a_withheld_answer_counts_as_not_right(fitted: TextClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    every = Decisions.answers

    def some(decisions: Decisions, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        return every(decisions, probabilities) & (np.arange(len(probabilities)) % 4 > 0)[:, None]

    monkeypatch.setattr(Decisions, "answers", some)
    answers = fitted.predict(TEXTS)
    assert [answer is None for answer in answers] == [index % 4 == 0 for index in range(60)]
    right = [answer == label for answer, label in zip(answers, LABELS, strict=True)]
    assert fitted.score(TEXTS, LABELS) == pytest.approx(np.mean(right)) == 0.75
    weights = np.arange(60)
    assert fitted.score(TEXTS, LABELS, weights) == pytest.approx(np.average(right, weights=weights))


def test_score_with_several_labels_asks_for_every_one(small_llama: Path) -> None:
    sets = [[label, "text"] for label in LABELS]
    several = small(small_llama, epochs=6).fit(TEXTS, sets)
    matrix = several.predict(TEXTS)
    exact = [set(several.classes_[row == 1]) == set(labels) for row, labels in zip(matrix, sets, strict=True)]
    assert several.score(TEXTS, sets) == pytest.approx(np.mean(exact))


def test_fit_and_load_leave_the_callers_random_state_alone(small_llama: Path, tmp_path: Path) -> None:
    def drawn() -> tuple[float, float, float]:
        return random.random(), float(np.random.random()), float(torch.rand(1))

    def seeded() -> None:
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)

    seeded()
    expected = drawn()
    seeded()
    small(small_llama, epochs=1).fit(TEXTS, LABELS).save(tmp_path / "bundle")
    load(tmp_path / "bundle")
    assert drawn() == expected


def test_the_former_name_of_rank_still_works(fitted: TextClassifier) -> None:
    with pytest.warns(DeprecationWarning, match="is now called rank"):
        assert fitted.scores(NEW) == fitted.rank(NEW)


def test_the_public_names_are_these() -> None:
    assert classtune.TextClassifier is TextClassifier
    assert classtune.load is load


@pytest.mark.parametrize("kind", [int, float, bool])
def test_labels_that_are_numbers_are_numbers_after_save_and_load_too(
    kind: type, small_llama: Path, tmp_path: Path
) -> None:
    labels = [kind(label == "spam") for label in LABELS]
    with one_thread():
        classifier = small(small_llama, epochs=6).fit(TEXTS, labels)
        classifier.save(tmp_path / "bundle")
        loaded = load(tmp_path / "bundle")
        assert loaded.classes_.tolist() == classifier.classes_.tolist() == [kind(0), kind(1)]
        assert (loaded.predict(TEXTS) == np.array(labels)).all()
        assert loaded.score(TEXTS, labels) == 1
        assert loaded.score(TEXTS, [str(label).upper() for label in labels]) == 1  # as spreadsheets have them


def test_a_blank_text_has_no_answer_and_the_others_have_theirs(fitted: TextClassifier) -> None:
    texts: list[Any] = [NEW[0], " ", NEW[1], None]
    assert fitted.predict(texts).tolist() == ["spam", None, "ham", None]
    proba = fitted.predict_proba(texts)
    assert np.isnan(proba[[1, 3]]).all()
    assert proba[[0, 2]] == pytest.approx(fitted.predict_proba(NEW[:2]))
    assert [len(ranked) for ranked in fitted.rank(texts)] == [2, 0, 2, 0]


@pytest.mark.parametrize("keep", ["tf-idf", "probe", "tail"])
def test_what_weighs_more_decides_between_labels_that_contradict_each_other(keep: str, small_llama: Path) -> None:
    """Every kind of candidate learns by the weights: half of the rows have the wrong label, and weigh little."""
    texts = [f"win a prize {n}" if n % 2 else f"see you {n}" for n in range(120)]
    wrong = np.arange(120) % 4 > 1
    labels = np.where((np.arange(120) % 2 == 1) ^ wrong, "spam", "ham")
    name = keep if keep == "tf-idf" else f"{small_llama.name} {keep}"
    told = {**QUICK, "candidates": "all", "effort": "best", "epochs": 4, "head_start": "probe", "keep": name}
    for weights, expected in ((np.where(wrong, 1, 9), ["spam", "ham"]), (np.where(wrong, 9, 1), ["ham", "spam"])):
        classifier = TextClassifier(str(small_llama), settings=told).fit(texts, labels, weights)
        assert classifier._predictor.logits(["win a prize", "see you"]).argmax(1).tolist() == [
            list(classifier.classes_).index(label) for label in expected
        ]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], r"its shape is \(1,\), and there are 60 rows"),
        (["a"] * 60, "holds what is no number"),
        ([1.0] * 58 + [0, -1], "sample_weight row 59: is 0, and so 2 in all are no number above 0"),
        ([1.0] * 59 + [float("nan")], "sample_weight row 60: is nan"),
    ],
)
def test_weights_that_are_none_are_told(weights: Any, message: str, small_llama: Path) -> None:
    with pytest.raises(DataError, match=message):
        small(small_llama).fit(TEXTS, LABELS, weights)
    with pytest.raises(SettingsError, match="a loss of your own takes none"):
        small(small_llama).set_params(loss=torch.nn.CrossEntropyLoss()).fit(TEXTS, LABELS, [1.0] * 60)
