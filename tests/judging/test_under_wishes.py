"""The table under the user's costs: every row as if it were answered, also where answers are withheld."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix

from classtune.decisions.abstention import Abstention
from classtune.decisions.costs import by_cost
from classtune.decisions.decisions import Decisions, Prior
from classtune.decisions.thresholds import Thresholds
from classtune.judging.under_wishes import UnderWishes, Wished, beside_plain, judge_under_wishes, pooled

LABELS = ("ask", "buy", "chat")
COSTS = np.array([[0.0, 1.0, 1.0], [5.0, 0.0, 5.0], [1.0, 1.0, 0.0]])
DRAWN = np.random.default_rng(3)
TRUTH = DRAWN.integers(0, 3, 300)
LOGITS = DRAWN.normal(size=(300, 3)) + 1.5 * np.eye(3)[TRUTH]
DECISIONS = replace(Decisions.plain(LABELS), thresholds=Thresholds((None,) * 3, tuple(map(tuple, COSTS))))


def test_a_withheld_answer_costs_what_it_would_cost_and_not_what_the_first_label_does() -> None:
    sure = Abstention(0.1, 0.6, 300, 100, 3, 0.08, 0.4, (0.3, 0.5), 20, "Some are withheld.")
    withholding = replace(DECISIONS, abstention=sure)
    probabilities = withholding.probabilities(LOGITS)
    found = judge_under_wishes(withholding, TRUTH, {"it": (withholding, probabilities)})
    assert found is not None
    assert (withholding.choices(probabilities) < 0).sum() > 50
    given = (probabilities @ COSTS).argmin(1)
    figures = found.classifiers["it"]
    assert figures.accuracy == pytest.approx(accuracy_score(TRUTH, given))
    assert figures.expected_cost == pytest.approx((confusion_matrix(TRUTH, given) * COSTS).sum() / 300)


def test_beside_the_answers_of_least_cost_stands_what_the_most_probable_label_costs() -> None:
    probabilities = DECISIONS.probabilities(LOGITS)
    found = beside_plain(DECISIONS, probabilities, TRUTH)
    assert found is not None
    told, plain = found.classifiers["the answers given"], found.classifiers["the most probable label"]
    argmax = probabilities.argmax(1)
    assert plain.accuracy == pytest.approx(accuracy_score(TRUTH, argmax))
    assert plain.expected_cost == pytest.approx((confusion_matrix(TRUTH, argmax) * COSTS).sum() / 300)
    assert told.expected_cost is not None
    assert plain.expected_cost is not None
    assert told.expected_cost < plain.expected_cost
    assert told.accuracy < plain.accuracy
    assert beside_plain(Decisions.plain(LABELS), probabilities, TRUTH) is None


def test_rows_count_as_in_the_field_and_those_of_labels_it_has_not_weigh_nothing() -> None:
    elsewhere = replace(DECISIONS, thresholds=None, prior=Prior((1 / 3,) * 3, (0.0, 0.5, 0.5)))
    probabilities = elsewhere.probabilities(LOGITS)
    found = beside_plain(elsewhere, probabilities, TRUTH)
    assert found is not None
    (figures,) = found.classifiers.values()
    shares = [np.mean(probabilities[np.equal(TRUTH, label)].argmax(1) == label) for label in (1, 2)]
    assert figures.weighted_accuracy == pytest.approx(np.mean(shares))
    none_counts = beside_plain(elsewhere, probabilities[:5], np.zeros(5, dtype=np.int64))
    assert none_counts is not None
    assert none_counts.classifiers["the answers given"].weighted_accuracy is None


def test_several_labels_cost_what_each_missed_and_each_wrong_one_costs() -> None:
    truth = DRAWN.random((200, 3)) < 0.4
    logits = DRAWN.normal(size=(200, 3)) + 1.5 * truth - 1
    costs = by_cost("fn=10,fp=1,chat:fn=1,fp=3", LABELS, np.full(3, 0.4), multi=True)
    decisions = replace(Decisions.plain(LABELS, multi=True), thresholds=costs)
    probabilities = decisions.probabilities(logits)
    found = beside_plain(decisions, probabilities, truth)
    assert found is not None
    for name, least in (("the answers given", np.array([1 / 11, 1 / 11, 0.75])), ("each label of 0.5 or more", 0.5)):
        given = probabilities >= least
        missed, wrong = (truth & ~given).sum(0), (given & ~truth).sum(0)
        expected = (missed @ [10, 10, 1] + wrong @ [1, 1, 3]) / 200
        assert found.classifiers[name].expected_cost == pytest.approx(expected)


def test_parts_of_the_rows_make_one_table_in_which_every_row_counts_once() -> None:
    """Four rows and one: what a fold cannot say is left to the others."""
    first = UnderWishes(4, {"it": Wished(0.5, 0.6, 2.0), "other": Wished(1.0, None, 0.0)})
    last = UnderWishes(1, {"it": Wished(1.0, None, 12.0), "other": Wished(0.0, None, 5.0)})
    assert pooled([first, last]) == UnderWishes(5, {"it": Wished(0.6, 0.6, 4.0), "other": Wished(0.8, None, 1.0)})
    assert pooled([]) is None
