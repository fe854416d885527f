"""The baseline is strong, repeatable, and speaks of every class of the task."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classtune.candidates import lexical, terms
from classtune.candidates.lexical import fit_tfidf
from classtune.errors import DataError
from classtune.judging.metrics import judge

HAM, SPAM = (
    ["see you at home", "are you coming tonight?", "ok, later then"],
    ["WIN £1000 now!!!", "free prize, call 0906", "txt WIN to 88222"],
)


@pytest.fixture
def real() -> Callable[[str, str], list[list[str]]]:
    """Rows of a real data file, cut at its separator; the test is skipped where the file is missing."""
    folder = Path(os.environ.get("CLASSTUNE_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")

    def read(name: str, separator: str) -> list[list[str]]:
        if not (folder / name).exists():
            pytest.skip(f"no {name} in {folder} (set CLASSTUNE_TEST_DATA)")
        return [line.split(separator, 1) for line in (folder / name).read_text("utf-8").split("\n") if line]

    return read


def test_probabilities_cover_classes_without_training_rows() -> None:
    baseline = fit_tfidf(HAM + SPAM, np.array([1] * 3 + [3] * 3), classes=5, seed=0)
    probabilities = baseline.probabilities(["WIN a free prize!", "see you later", "zzz"])
    assert probabilities.argmax(axis=1)[:2].tolist() == [3, 1]
    assert not probabilities[:, [0, 2, 4]].any()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_same_rows_give_the_same_bytes() -> None:
    truth = np.array([0, 1, 2] * 2)
    runs = [fit_tfidf(HAM + SPAM, truth, classes=3, seed=1).probabilities(SPAM).tobytes() for _ in range(2)]
    assert runs[0] == runs[1]


def test_balanced_weights_favour_the_rare_class() -> None:
    texts, truth = [*HAM * 10, SPAM[0]], np.array([0] * 30 + [1])
    plain, balanced = (
        fit_tfidf(texts, truth, classes=2, seed=0, class_weight=weight).probabilities(["call now"])[0, 1]
        for weight in (None, "balanced")
    )
    assert balanced > plain


def test_texts_without_any_word_are_taken() -> None:
    baseline = fit_tfidf(["!!!", "???", "😀", "感情"], np.array([0, 1, 0, 1]), classes=2, seed=0)
    assert baseline.probabilities(["!!!", ""]).shape == (2, 2)


def test_one_class_is_an_error() -> None:
    with pytest.raises(DataError, match="at least two classes"):
        fit_tfidf(HAM, np.zeros(3, dtype=int), classes=2, seed=0)


def test_several_labels_have_a_probability_each() -> None:
    """Label 0: spam; 1: all rows; 2: none; 3: rows that ask. A row may have several."""
    asks = np.array(["?" in text for text in HAM + SPAM])
    truth = np.column_stack([np.arange(6) >= 3, np.ones(6, bool), np.zeros(6, bool), asks])
    baseline = fit_tfidf(HAM + SPAM, truth, classes=4, seed=0)
    probabilities = baseline.probabilities(["WIN a free prize!", "see you later?", "zzz"])
    assert probabilities.shape == (3, 4)
    assert probabilities[0, 0] > 0.5 > probabilities[1, 0]
    assert probabilities[1, 3] > probabilities[0, 3]
    assert probabilities[:, 1].tolist() == [1, 1, 1]
    assert probabilities[:, 2].tolist() == [0, 0, 0]
    assert (
        probabilities.tobytes()
        == fit_tfidf(HAM + SPAM, truth, classes=4, seed=0)
        .probabilities(["WIN a free prize!", "see you later?", "zzz"])
        .tobytes()
    )


def test_balanced_weights_favour_a_rare_label() -> None:
    texts, truth = [*HAM * 10, SPAM[0]], np.array([[True, False]] * 30 + [[False, True]])
    plain, balanced = (
        fit_tfidf(texts, truth, classes=2, seed=0, class_weight=weight).probabilities(["call now"])[0, 1]
        for weight in (None, "balanced")
    )
    assert balanced > plain


def test_thousands_of_classes_are_their_centroids() -> None:
    """Each class has a word of its own among words that all share; the first class has more rows than the others."""
    classes, rng = 1500, np.random.default_rng(0)
    truth = np.concatenate([np.repeat(np.arange(classes), 3), np.zeros(300, dtype=int)])
    shared = rng.integers(0, 50, (len(truth), 4))
    words = [" ".join(f"word{word}" for word in row) for row in shared]
    texts = [f"topic{label} {rest}" for label, rest in zip(truth, words, strict=True)]
    baseline = fit_tfidf(texts, truth, classes=classes + 1, seed=0)
    assert baseline.name == "TF-IDF + nearest centroid"
    assert baseline.regression.coef_.size <= 50_000_000
    probabilities = baseline.probabilities([f"topic{label} word1" for label in range(classes)])
    assert probabilities.shape == (classes, classes + 1)
    assert (probabilities.argmax(axis=1) == np.arange(classes)).mean() > 0.9
    assert not probabilities[:, classes].any()  # no row had it
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_hundreds_of_classes_keep_their_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexical, "MOST_SCORES", 0)
    monkeypatch.setattr(lexical, "MOST_COEFFICIENTS", 20_000)  # so that it takes no time
    texts = [f"topic{label} word{row}" for label in range(499) for row in range(2)]
    baseline = fit_tfidf(texts, np.repeat(np.arange(499), 2), classes=499, seed=0)
    assert baseline.name == "TF-IDF + logistic regression"


def test_rows_without_any_label_are_an_error() -> None:
    with pytest.raises(DataError, match="no label among 3 rows"):
        fit_tfidf(HAM, np.zeros((3, 2), dtype=bool), classes=2, seed=0)


def test_several_labels_are_found_in_real_comments(real: Callable[[str, str], list[list[str]]]) -> None:
    rows = real("goemotions/train.tsv", "\t")[:6000]
    truth = np.zeros((len(rows), 28), dtype=bool)
    for row, (_, rest) in enumerate(rows):
        truth[row, [int(number) for number in rest.split("\t")[0].split(",")]] = True
    texts = [text for text, _ in rows]
    baseline = fit_tfidf(texts[1000:], truth[1000:], classes=28, seed=123)
    figures = judge(baseline.probabilities(texts[:1000]), truth[:1000], [str(i) for i in range(28)]).document()
    assert figures["micro_f1"] > 0.35
    assert figures["per_label"]["15"]["average_precision"] > 0.7  # gratitude says thanks
    assert figures["log_loss"] < 0.15


def test_reaches_its_strength_on_real_messages(real: Callable[[str, str], list[list[str]]]) -> None:
    rows = real("sms_spam/SMSSpamCollection", "\t")
    distinct = list({text.casefold(): (label, text) for label, text in rows}.values())
    order = np.random.default_rng(0).permutation(len(distinct))
    texts = [distinct[i][1] for i in order]
    truth = np.array([distinct[i][0] == "spam" for i in order]).astype(int)
    baseline = fit_tfidf(texts[1000:], truth[1000:], classes=2, seed=123)
    figures = judge(baseline.probabilities(texts[:1000]), truth[:1000], ["ham", "spam"]).document()
    assert figures["accuracy"] >= 0.98
    assert figures["log_loss"] < 0.06


@pytest.mark.parametrize("kind", ["one", "several", "centroids"])
def test_rows_that_weigh_more_decide_between_rows_that_contradict_each_other(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "centroids":
        monkeypatch.setattr(lexical, "MANY_CLASSES", 2)
        monkeypatch.setattr(lexical, "MOST_SCORES", 1)
    texts, classes = (HAM + SPAM) * 2, np.array([0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0])
    truth = classes if kind != "several" else classes[:, None] == np.arange(2)
    for heavy, expected in ((slice(0, 6), [0, 1]), (slice(6, 12), [1, 0])):
        weights = np.full(12, 0.2, np.float32)
        weights[heavy] = 1.8
        fitted = fit_tfidf(texts, truth, classes=2, seed=0, weights=weights)
        assert fitted.probabilities([HAM[0], SPAM[0]]).argmax(1).tolist() == expected


def _small_limits(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Make so many rows many."""
    monkeypatch.setattr(lexical, "MANY_ROWS", rows)
    monkeypatch.setattr(terms, "_TOGETHER", 1000)


@pytest.mark.parametrize("several", [False, True])
def test_many_rows_are_learned_from_in_a_few_passes_and_as_well(
    several: bool, real: Callable[[str, str], list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = real("sms_spam/SMSSpamCollection", "\t")
    distinct = list({text.casefold(): (label, text) for label, text in rows}.values())
    texts = [distinct[i][1] for i in np.random.default_rng(0).permutation(len(distinct))]
    spam = {text: label == "spam" for label, text in distinct}
    truth = np.array([[spam[text], not spam[text]] for text in texts])
    truth = truth if several else truth[:, 0].astype(int)
    told: dict[str, Any] = {"classes": 2, "seed": 123}
    few = fit_tfidf(texts[1000:], truth[1000:], **told)
    _small_limits(monkeypatch, 2500)
    many, again = (fit_tfidf(texts[1000:], truth[1000:], **told).probabilities(texts[:1000]) for _ in range(2))
    assert many.tobytes() == again.tobytes()
    right = (few.probabilities(texts[:1000]) > 0.5) == (many > 0.5)
    assert right.mean() > 0.99


def test_terms_of_many_rows_are_those_of_a_part_and_no_row_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the rows have a word of their own: the vocabulary stays small, and each row has its features."""
    _small_limits(monkeypatch, 100)
    monkeypatch.setattr(terms, "_TOGETHER", 7)
    texts = [f"{HAM[0]} word{row}" if row % 2 else SPAM[0] for row in range(300)]
    for shared_terms in (False, True):
        shares: list[float] = []
        told: dict[str, Any] = {"shared_terms": shared_terms, "progress": shares.append}
        fitted = fit_tfidf(texts, np.arange(300) % 2, classes=2, seed=0, **told)
        assert 0 < shares[0] < shares[-2] < shares[-1] == 1
        own = [term for term in fitted.features.transformer_list[0][1].vocabulary_ if term.startswith("word")]
        assert len(own) == (0 if shared_terms else 50)
        assert fitted.probabilities([SPAM[0], HAM[0]]).argmax(1).tolist() == [0, 1]


def test_of_more_text_than_fits_memory_a_part_of_each_class_is_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = np.array([0] * 400 + [1] * 400 + [2] * 30)
    texts = [(HAM[0], SPAM[0], HAM[1])[label] + f" {row}" for row, label in enumerate(truth)]
    assert len(lexical.rows_to_learn(texts, truth, seed=0)) == len(texts)
    monkeypatch.setattr(lexical, "MOST_CHARACTERS", sum(map(len, texts)) // 4)
    rows = lexical.rows_to_learn(texts, truth, seed=0)
    assert np.bincount(truth[rows]).tolist() == [100, 100, 30]
    weights = np.full(len(texts), np.nan, np.float32)
    weights[rows] = 1.0  # no other row is looked at
    fitted = fit_tfidf(texts, truth, classes=3, seed=0, weights=weights)
    assert fitted.probabilities([HAM[0], SPAM[0], HAM[1]]).argmax(1).tolist() == [0, 1, 2]
