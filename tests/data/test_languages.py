"""Which languages a table is in: real texts where they are there, and written ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from classtune.data.languages import language_shares

ENGLISH = [f"I would like to return the {thing}, it does not work any more" for thing in "abcdefghijklmnopqrstuvwxyz"]
GERMAN = [f"Ich möchte {thing} zurückgeben, weil es leider nicht mehr geht" for thing in "abcdefghijklmnopqrstuvwxyz"]


@pytest.mark.parametrize(
    ("folder", "language"),
    [
        ("xlmt_sentiment/italian/train_text.txt", "it"),
        ("xlmt_sentiment/english/train_text.txt", "en"),
        ("tweeteval/offensive/train_text.txt", "en"),
        ("sms_spam/SMSSpamCollection", "en"),
    ],
)
def test_a_table_is_in_its_language_and_no_other(folder: str, language: str, real: Callable[[str], Path]) -> None:
    texts = real(folder).read_text(encoding="utf-8").splitlines()
    for seed in range(3):
        shares = language_shares(texts, seed=seed)
        assert list(shares) == [language]
        assert shares[language] > 0.9


def test_the_shares_of_a_table_in_two_languages_are_those_of_its_texts() -> None:
    assert language_shares([*ENGLISH, *GERMAN], seed=1) == {"en": 0.5, "de": 0.5}
    assert language_shares([*ENGLISH, GERMAN[0]], seed=1) == {"en": pytest.approx(26 / 27)}


def test_few_texts_and_texts_in_no_language_say_nothing() -> None:
    assert language_shares(GERMAN[:19], seed=1) == {}
    assert language_shares([f"{number}-{number} %%" for number in range(100)], seed=1) == {}
