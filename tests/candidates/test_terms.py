"""Terms that are counted once are those that scikit-learn counts anew in the rows that learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from classtune.candidates.lexical import fit_tfidf, shared_counts
from classtune.candidates.terms import TOKEN, Counts
from classtune.errors import DataError

TEXTS = ["Win a prize!", "see you at home", "WIN now, win!", "home at 5?", "Win a prize!", "no prize", "ok"]
LEARNED = [TEXTS[row] for row in (6, 2, 0, 4, 5)]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("least", "most"), [(1, 1000), (2, 1000), (1, 7)])
def test_a_part_of_the_texts_has_the_features_that_scikit_learn_gives_it(least: int, most: int, dtype: Any) -> None:
    chosen = Counts.of(TEXTS).chosen(LEARNED, least=least, most=most, dtype=dtype)
    features, start = chosen.features(LEARNED).toarray(), 0
    assert features.dtype == dtype
    for kind, cut in {
        "words": {"ngram_range": (1, 2), "token_pattern": TOKEN},
        "characters": {"ngram_range": (2, 5), "analyzer": "char_wb"},
    }.items():
        oracle = TfidfVectorizer(sublinear_tf=True, min_df=least, max_features=most, dtype=dtype, **cut)
        expected = oracle.fit_transform(LEARNED).toarray()
        names = oracle.get_feature_names_out().tolist()
        assert [str(term) for term in chosen.counts.terms[kind][chosen.columns[kind]]] == names
        np.testing.assert_allclose(features[:, start : start + len(names)], expected, rtol=1e-6)
        start += len(names)
    assert start == features.shape[1]


def test_other_texts_have_the_same_features_as_those_that_were_counted() -> None:
    chosen = Counts.of(TEXTS).chosen(LEARNED, least=1, most=1000, dtype=np.float64)
    np.testing.assert_allclose(chosen.vectorizers().transform(TEXTS).toarray(), chosen.features(TEXTS).toarray())


def test_what_learns_from_a_part_is_the_same_whoever_counted() -> None:
    told: dict[str, Any] = {"classes": 2, "seed": 0}
    for shared_terms in (False, True):
        own, common = (
            fit_tfidf(LEARNED, np.array([0, 1, 1, 1, 0]), shared_terms=shared_terms, counts=counts, **told)
            for counts in (None, shared_counts(TEXTS))
        )
        np.testing.assert_allclose(own.probabilities(TEXTS), common.probabilities(TEXTS), rtol=1e-6)


def test_texts_that_share_no_term_are_an_error() -> None:
    with pytest.raises(DataError, match="no two texts share a word"):
        Counts.of(["ab", "xy"]).chosen(["ab", "xy"], least=2, most=9, dtype=np.float64)
