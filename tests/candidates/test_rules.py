"""A rule is found, told in words that are true of it, and judged like every other classifier."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from classtune.candidates import rules
from classtune.candidates.rules import fit_majority, fit_rule
from classtune.errors import DataError
from classtune.judging.metrics import judge

DATA = Path(os.environ.get("CLASSTUNE_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")


def test_digits_tell_spam_on_real_messages() -> None:
    file = DATA / "sms_spam" / "SMSSpamCollection"
    if not file.exists():
        pytest.skip(f"no {file} (set CLASSTUNE_TEST_DATA)")
    labels, texts = zip(*(row.split("\t", 1) for row in file.read_text("utf-8").split("\n") if row), strict=True)
    truth = np.array([label == "spam" for label in labels], dtype=int)
    rule = fit_rule(texts[:4000], truth[:4000], classes=["ham", "spam"], seed=0)
    assert rule.sentence == "5 or more digits means spam, anything else ham"
    judged = judge(rule.probabilities(texts[4000:]), truth[4000:], ["ham", "spam"]).document()
    assert judged["accuracy"] > 0.96
    assert judged["log_loss"] < 0.15


def test_the_sentence_is_what_the_rule_does() -> None:
    texts = ["who is it", "Who are you?", "how many are there", "HOW  many?", "how is this done", "how do they"]
    texts += ["tell me of it", "a thing", "Name one OF all"]
    truth = np.array([0, 0, 1, 1, 2, 2, 3, 3, 3])
    rule = fit_rule(texts * 20, np.tile(truth, 20), classes=["person", "number", "manner", "other"], seed=0)
    assert rule.sentence == (
        "starting with 'who' means person; starting with 'how many' means number; "
        "starting with 'how' means manner, anything else other"
    )
    assert rule.probabilities(texts).argmax(axis=1).tolist() == truth.tolist()


@pytest.mark.parametrize(
    ("yes", "no", "sentence"),
    [
        ("go www.x.y", "go wwwax.y", "1 or more links means yes, anything else no"),
        ("so cheap!", "so cheap.", "1 or more exclamation marks means yes, anything else no"),
        ("ALL LOUD", "all loud", "more than 50 % capitals means yes, anything else no"),
        ("for £5", "for @5", "1 or more currency signs means yes, anything else no"),
        ("hi", "hi hi hi", "2 or fewer words means yes, anything else no"),
    ],
)
def test_features_have_plain_names(yes: str, no: str, sentence: str) -> None:
    texts = [yes.ljust(len(no))] * 9 + [no] * 10
    rule = fit_rule(texts, np.array([0] * 9 + [1] * 10), classes=["yes", "no"], seed=0)
    assert rule.sentence == sentence
    assert rule.probabilities([yes, no]).argmax(axis=1).tolist() == [0, 1]


def test_no_row_is_ever_certain_and_absent_classes_get_nothing() -> None:
    rule = fit_rule(["1234", "abcd"] * 10, np.array([0, 2] * 10), classes=["number", "never", "word"], seed=0)
    probabilities = rule.probabilities(["5678", "efgh", ""])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert not probabilities[:, 1].any()
    assert 0.9 < probabilities.max() < 1
    assert rule.probabilities([]).shape == (0, 3)


def test_majority_gives_the_shares() -> None:
    single = fit_majority(np.array([0, 0, 0, 2]), ["a", "b", "c"])
    assert single.probabilities(["x", "y"]).tolist() == [[0.75, 0, 0.25]] * 2
    several = fit_majority(np.array([[True, False], [True, True]]), ["a", "b"])
    assert several.probabilities(["x"]).tolist() == [[1.0, 0.5]]


def test_too_little_to_learn_from_is_refused() -> None:
    with pytest.raises(DataError, match="1 class among 2 rows"):
        fit_rule(["a", "b"], np.array([1, 1]), classes=["a", "b"], seed=0)
    with pytest.raises(DataError, match="there are none"):
        fit_majority(np.array([], dtype=int), ["a", "b"])


def test_of_many_rows_a_part_makes_the_same_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"who is {row:04}" if row % 3 else f"call {row:04} 0906 123456 now" for row in range(900)]
    truth = np.array([int(row % 3 == 0) for row in range(900)])
    every = fit_rule(texts, truth, classes=["question", "advert"], seed=0, groups=np.arange(900))
    monkeypatch.setattr(rules, "MOST_ROWS", 150)
    some = fit_rule(texts, truth, classes=["question", "advert"], seed=0, groups=np.arange(900))
    assert some.tree.tree_.n_node_samples[0] == 150
    assert some.sentence == every.sentence
