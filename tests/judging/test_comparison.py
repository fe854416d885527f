"""The recommendation follows the counts: the cheapest rung that no dearer one beats beyond noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from classtune.errors import DataError
from classtune.judging.comparison import climb, holm
from classtune.stats import wilson

NAMES = ("majority class", "one-line rule", "TF-IDF", "last block", "full fine-tune")
COSTS = (0.001, 0.01, 0.1, 40.0, 41.0)


def ladder(rows: int, *wrong: int, nested: bool = True) -> dict[str, Any]:
    """A ladder of rungs with so many wrong answers each; ``nested``: a rung errs only where a worse one does too."""
    right = {}
    for place, (name, errors) in enumerate(zip(NAMES, wrong, strict=False)):
        answers = np.ones(rows, dtype=bool)
        answers[:errors] = False
        right[name] = answers if nested else np.roll(answers, 37 * place)
    rungs = [
        {"name": name, "accuracy": float(answers.mean()), "accuracy_ci95": wilson(int(answers.sum()), rows)}
        | {"macro_f1": 0.9, "log_loss": 0.2, "ece": 0.01, "train_seconds": 1.0, "ms_per_text": cost, "bytes": None}
        for (name, answers), cost in zip(right.items(), COSTS, strict=False)
    ]
    return climb(rungs, right)


def test_tfidf_is_enough_where_the_language_model_gains_within_noise() -> None:
    result = ladder(1000, 130, 60, 15, 12)
    assert result["recommended"] == "TF-IDF"
    assert result["recommendation"] == (
        "TF-IDF is enough: the gain of last block (0.3 points) is within noise (p = 0.25), at 400 times the cost "
        "per text. It makes 75 % fewer errors than one-line rule (p < 0.001), at 10 times the cost per text."
    )


def test_a_dear_rung_is_taken_where_it_earns_its_cost() -> None:
    result = ladder(1000, 130, 60, 50, 20)
    assert result["recommended"] == "last block"
    assert result["recommendation"] == (
        "Take last block: it makes 60 % fewer errors than TF-IDF (p < 0.001), at 400 times the cost per text."
    )
    above = ladder(1000, 130, 60, 50, 20, 20)
    assert above["recommended"] == "last block"
    assert above["recommendation"].startswith("Last block is enough: no dearer rung makes fewer errors. It makes 60 %")


def test_too_few_rows_say_so() -> None:
    result = ladder(40, 6, 6, 5, 4, nested=False)
    assert result["recommended"] == "majority class"
    assert result["recommendation"].startswith("40 test texts are too few to tell the rungs apart: the gain of last")
    assert result["recommendation"].endswith("Until a larger test, take majority class.")


def test_a_rung_with_more_errors_than_a_cheaper_one_is_never_recommended() -> None:
    # The rule stands against the top only because it was not beaten beyond noise; the majority class is better still.
    right = {name: np.ones(2000, dtype=bool) for name in NAMES[:3]}
    right["majority class"][:20] = False
    right["one-line rule"][100:122] = False
    right["TF-IDF"][:6] = False
    rungs = [{"name": name, "accuracy": float(right[name].mean())} for name in right]
    assert climb(rungs, right)["recommended"] == "TF-IDF"


def test_each_rung_is_tested_against_the_one_below() -> None:
    result = ladder(1000, 130, 60, 15, 12)
    first, second, *_, last = result["rungs"]
    assert (first["p_value"], first["difference"], first["difference_ci95"]) == (None, None, None)
    assert second["difference"] == pytest.approx(7.0)
    assert last["p_value"] == pytest.approx(2 * binom.cdf(0, 3, 0.5))
    assert last["difference_ci95"][0] < 0.3 < last["difference_ci95"][1]
    assert set(last) >= {"accuracy_ci95", "macro_f1", "log_loss", "ece", "train_seconds", "ms_per_text", "bytes"}
    assert result["rows"] == 1000


def test_comparisons_are_corrected_for_their_number() -> None:
    # By hand: 3 × 0.01, then 2 × 0.03, then 0.04 raised to what stands before it.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    # Six rows that only the top has right: p = 0.031 alone, and not beyond noise as one of two comparisons.
    assert ladder(1000, 50, 44)["recommended"] == "one-line rule"
    assert ladder(1000, 50, 50, 44)["recommended"] == "majority class"
    assert "corrected for 2 comparisons" in ladder(1000, 50, 50, 44)["recommendation"]


def test_equal_rungs_are_seldom_passed_over() -> None:
    rng, passed = np.random.default_rng(0), 0
    for _ in range(200):
        right = {name: rng.random(400) < 0.9 for name in NAMES}
        rungs = [{"name": name} for name in NAMES]
        passed += climb(rungs, right)["recommended"] != NAMES[0]
    assert passed / 200 <= 0.08  # 5 % stated, and three standard errors are 4.6 %


def test_one_rung_stands_alone_and_rows_must_agree() -> None:
    right = np.ones(200, dtype=bool)
    assert climb([{"name": "TF-IDF"}], {"TF-IDF": right})["recommendation"] == "TF-IDF is the only rung."
    with pytest.raises(DataError, match="same rows"):
        climb([{"name": "a"}, {"name": "b"}], {"a": right, "b": right[:5]})
    with pytest.raises(DataError, match="name of its own"):
        climb([{"name": "a"}, {"name": "a"}], {"a": right})
