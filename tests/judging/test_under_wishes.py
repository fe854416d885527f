"""The table under the user's costs: every row as if it were answered, also where answers are withheld."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix

from classtune.config.areas import DecisionSettings
from classtune.decisions.abstention import Abstention
from classtune.decisions.decisions import Decisions
from classtune.decisions.thresholds import Thresholds
from classtune.judging.under_wishes import judge_under_wishes

LABELS = ("ask", "buy", "chat")
COSTS = np.array([[0.0, 1.0, 1.0], [5.0, 0.0, 5.0], [1.0, 1.0, 0.0]])


def test_a_withheld_answer_costs_what_it_would_cost_and_not_what_the_first_label_does() -> None:
    drawn = np.random.default_rng(3)
    truth = drawn.integers(0, 3, 300)
    logits = drawn.normal(size=(300, 3)) + 1.5 * np.eye(3)[truth]
    decisions = replace(Decisions.plain(LABELS), thresholds=Thresholds((None,) * 3, tuple(map(tuple, COSTS))))
    sure = Abstention(0.1, 0.6, 300, 100, 3, 0.08, 0.4, (0.3, 0.5), 20, "Some are withheld.")
    withholding = replace(decisions, abstention=sure)
    found = judge_under_wishes(DecisionSettings(cost="buy:fn=5,fp=1"), truth, {"it": (withholding, logits)})
    assert found is not None
    probabilities = withholding.probabilities(logits)
    assert (withholding.choices(probabilities) < 0).sum() > 50
    given = (probabilities @ COSTS).argmin(1)
    figures = found.classifiers["it"]
    assert figures.accuracy == pytest.approx(accuracy_score(truth, given))
    assert figures.expected_cost == pytest.approx((confusion_matrix(truth, given) * COSTS).sum() / 300)
