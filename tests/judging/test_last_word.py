"""The last word is one voice: TF-IDF that was saved is not advised against, and what loses to nothing is."""

from __future__ import annotations

import numpy as np
import pytest

from classtune.judging.comparison import Candidate
from classtune.judging.figures import Figures
from classtune.judging.last_word import last_word, shift


def candidate(name: str, right: np.ndarray) -> Candidate:
    share = float(right.mean())
    return Candidate(Figures({"accuracy": share}, {"accuracy": [0, 1]}, len(right), name=name), 1.0, 2.0, 0)


def right_on(share: float, rows: int = 1000) -> np.ndarray:
    return np.arange(rows) < share * rows


def test_tf_idf_that_was_saved_is_enough() -> None:
    lexical = candidate("tf-idf", right_on(0.9))
    found = last_word(lexical, lexical, candidate("majority class", right_on(0.5)), right_on(0.9), right_on(0.9))
    assert found.sentence == (
        "TF-IDF + logistic regression is enough here, and is what was saved: 100 errors on 1,000 test texts."
    )
    assert (found.outcome, found.cost_ratio) == ("equal", 1.0)


def test_what_loses_to_the_most_common_label_is_advised_against() -> None:
    chosen, lexical = candidate("tail", right_on(0.6)), candidate("tf-idf", right_on(0.5))
    said = last_word(chosen, lexical, candidate("majority class", right_on(0.7)), right_on(0.6), right_on(0.5)).sentence
    assert said.endswith(
        "Do not use it as it is: always giving the most common label is right more often (70.0 % against 60.0 %)."
    )
    assert "Do not" not in last_word(chosen, lexical, lexical, right_on(0.6), right_on(0.5)).sentence


@pytest.mark.parametrize(("held_out", "tested", "said"), [(0.95, 0.8, True), (0.95, 0.94, False), (0.8, 0.95, False)])
def test_a_loss_on_test_rows_beyond_noise_is_said(held_out: float, tested: float, said: bool) -> None:
    sentence = shift(right_on(held_out, 400), right_on(tested, 300))
    assert ("the test rows differ from those it learned from" in sentence) == said
    assert shift(np.zeros(0, dtype=bool), right_on(tested)) == ""
