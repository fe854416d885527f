from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer

from classtune.data import near
from classtune.data.near import near_groups, similarity
from classtune.data.splits import fold
from classtune.errors import SettingsError


def near_pairs(texts: list[str], threshold: float) -> list[tuple[int, int]]:
    """All pairs at the threshold or above, each text compared with each."""
    counts = CountVectorizer(analyzer="char", ngram_range=(4, 4), binary=True, lowercase=False, dtype=np.int64)
    found = counts.fit_transform([fold(text).ljust(4, "\0") for text in texts])
    sizes = np.asarray(found.sum(axis=1)).ravel()
    shared = (found @ found.T).toarray()
    return list(zip(*np.nonzero(np.triu(shared >= threshold * (sizes[:, None] + sizes - shared), 1)), strict=True))


def perturbed(texts: list[str], *, seed: int) -> list[str]:
    """Each text and a copy with up to three words changed, dropped or put in."""
    generator = random.Random(seed)
    made = []
    for text in texts:
        words = text.split()
        for _ in range(generator.randint(0, 3)):
            place = generator.randrange(len(words) + 1)
            words[place : place + generator.randint(0, 1)] = [str(generator.randint(0, 999))]
        made += [text, " ".join(words)]
    return made


@pytest.mark.parametrize("threshold", [0.8, 0.5])
def test_at_least_95_percent_of_near_pairs_are_found_on_real_messages(
    real: Callable[[str], Path], threshold: float
) -> None:
    lines = real("sms_spam/SMSSpamCollection").read_text(encoding="utf-8").splitlines()
    texts = perturbed([line.partition("\t")[2] for line in lines[:600]], seed=1)
    groups = near_groups(texts, threshold=threshold)
    pairs = near_pairs(texts, threshold)
    assert len(pairs) > 300
    assert np.mean([groups[one] == groups[other] for one, other in pairs]) >= 0.95


def test_no_group_holds_a_text_that_is_near_none_of_the_others(real: Callable[[str], Path]) -> None:
    lines = real("sms_spam/SMSSpamCollection").read_text(encoding="utf-8").splitlines()
    texts = perturbed([line.partition("\t")[2] for line in lines[:600]], seed=2)
    groups = near_groups(texts)
    folded = [fold(text) for text in texts]
    crowded = [np.flatnonzero(groups == group) for group in np.flatnonzero(np.bincount(groups) > 1)]
    assert len(crowded) > 200
    for rows in crowded:
        for row in rows:
            assert max(similarity(folded[row], folded[other]) for other in rows if other != row) >= 0.8


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text(max_size=12), max_size=20))
def test_equal_folded_texts_share_a_group_and_numbers_count_up_from_zero(texts: list[str]) -> None:
    groups = near_groups([*texts, *(f"  {text} " for text in texts)])
    assert groups[: len(texts)].tolist() == groups[len(texts) :].tolist()
    assert list(dict.fromkeys(groups.tolist())) == list(range(len(set(groups.tolist()))))


def test_short_texts_are_near_to_their_equals_only() -> None:
    assert near_groups(["ok", "Ok", "ok!", "no", "", " ", "👍", "👍👍"]).tolist() == [0, 0, 1, 2, 3, 3, 4, 5]


def test_near_is_passed_on() -> None:
    words = [f"word{letter * 3}" for letter in "abcdefghijklmnop"]
    chain = [" ".join(words[start : start + 12]) for start in range(4)]  # each shares 11 words with the next
    assert similarity(chain[0], chain[1]) >= 0.8 > similarity(chain[0], chain[3])
    assert near_groups([*chain, "something else entirely"]).tolist() == [0, 0, 0, 0, 1]


def test_the_same_seed_gives_the_same_groups_and_long_texts_and_other_scripts_work() -> None:
    generator = random.Random(0)
    words = ["".join(generator.choices("абвгдежзиклмн", k=6)) for _ in range(400)]
    long = [" ".join(generator.choices(words, k=800)) for _ in range(20)]
    texts = long + [text + " конец" for text in long]
    groups = near_groups(texts, seed=5)
    assert groups.tolist() == near_groups(texts, seed=5).tolist() == [*range(20), *range(20)]


def test_comparisons_in_a_table_of_one_template_grow_with_its_rows_not_their_square(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = random.Random(0)
    compared = Counter[int]()

    def counting(texts: Sequence[str], pairs: near.Numbers, *args: Any) -> NDArray[np.bool_]:
        compared[rows] += len(pairs)
        return are_near(texts, pairs, *args)

    are_near = near._are_near
    monkeypatch.setattr(near, "_are_near", counting)
    template = (
        "Dear customer, thank you for your order {}. It is on its way and will be with you by the end of the week."
    )
    for rows in (500, 4000):
        texts = [template.format(generator.randint(10**15, 10**16)) for _ in range(rows)]
        assert 0.68 < similarity(fold(texts[0]), fold(texts[1])) < 0.8  # all in the same buckets, and not near
        assert len(set(near_groups(texts).tolist())) > 0.9 * rows
    assert 500 < compared[500] < compared[4000] < 12 * compared[500]  # with the square it would be 64


@pytest.mark.parametrize("threshold", [0.0, 1.2, float("nan")])
def test_impossible_thresholds(threshold: float) -> None:
    with pytest.raises(SettingsError, match="above 0 and at most 1"):
        near_groups(["a"], threshold=threshold)


def test_progress_counts_texts_to_the_end() -> None:
    texts = [str(number) * 5 for number in range(300)]
    told: list[tuple[str, int, int]] = []
    near_groups(texts, progress=lambda *news: told.append(news))
    assert {(stage, total) for stage, _, total in told} == {("near copies", len(texts))}
    done = [count for _, count, _ in told]
    assert (done[0], done[-1]) == (0, len(texts))
    assert done == sorted(done)
    near_groups([], progress=lambda *news: told.append(news))
