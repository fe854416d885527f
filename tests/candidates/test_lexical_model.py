"""TF-IDF + logistic regression as it ships: scikit-learn's scores, through two plain files."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax
from small import rows

from classtune.candidates.lexical import fit_tfidf
from classtune.candidates.lexical_model import VOCABULARY, LexicalModel
from classtune.errors import BundleError

TEXTS = [text for text, _ in rows()]
NEW = ["win a prize, call now 77 today", "see you at 77 then, mate", "hello", "🎉 nothing known"]


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_its_softmax_is_what_scikit_learn_says(classes: int) -> None:
    truth = np.arange(len(TEXTS)) % min(classes, 3)  # of four classes one has no rows
    fitted = fit_tfidf(TEXTS, truth, classes=classes, seed=1)
    model = LexicalModel.of(fitted)
    np.testing.assert_allclose(softmax(model.logits(NEW), axis=1), fitted.probabilities(NEW), atol=1e-4)


def test_of_several_labels_each_has_its_own_sigmoid() -> None:
    numbers = np.arange(len(TEXTS))
    truth = np.column_stack([numbers % 2 == 0, numbers % 3 == 0, numbers < 0, numbers >= 0])
    fitted = fit_tfidf(TEXTS, truth, classes=4, seed=1)
    model = LexicalModel.of(fitted)
    np.testing.assert_allclose(expit(model.logits(NEW)), fitted.probabilities(NEW), atol=1e-4)


@given(st.lists(st.text(max_size=40), min_size=1, max_size=8))
def test_texts_are_cut_as_scikit_learn_cuts_them(texts: list[str]) -> None:
    fitted = fit_tfidf([*TEXTS, *texts], np.arange(len(TEXTS) + len(texts)) % 2, classes=2, seed=1)
    model = LexicalModel.of(fitted)
    np.testing.assert_allclose(softmax(model.logits(texts), axis=1), fitted.probabilities(texts), atol=1e-4)


def test_a_long_text_takes_little_memory() -> None:
    model = LexicalModel.of(fit_tfidf(TEXTS, np.arange(len(TEXTS)) % 2, classes=2, seed=1))
    long = "win a prize now " * 60_000
    tracemalloc.start()
    model.logits([long])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20 * len(long)  # a list of its 7 million terms takes 400 bytes a character


def test_it_comes_back_the_same(tmp_path: Path) -> None:
    model = LexicalModel.of(fit_tfidf(TEXTS, np.arange(len(TEXTS)) % 2, classes=2, seed=1))
    model.save(tmp_path, ["a", "b"])
    again = LexicalModel.load(tmp_path, ["a", "b"])
    np.testing.assert_array_equal(model.logits(NEW), again.logits(NEW))
    assert again.logits([]).shape == (0, 2)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    model = LexicalModel.of(fit_tfidf(TEXTS, np.arange(len(TEXTS)) % 2, classes=2, seed=1))
    model.save(tmp_path, ["a", "b"])
    terms = json.loads((tmp_path / VOCABULARY).read_text(encoding="utf-8"))
    (tmp_path / VOCABULARY).write_text(json.dumps({**terms, "words": terms["words"][1:]}), encoding="utf-8")
    with pytest.raises(BundleError, match="do not fit"):
        LexicalModel.load(tmp_path, ["a", "b"])
    (tmp_path / VOCABULARY).write_text("{", encoding="utf-8")
    with pytest.raises(BundleError, match="lexical member"):
        LexicalModel.load(tmp_path, ["a", "b"])
