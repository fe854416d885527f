"""Costs: thresholds against expected costs done by hand, and every fault of what was written."""

from __future__ import annotations

import numpy as np
import pytest

from classtune.decisions.costs import by_cost
from classtune.errors import SettingsError

HAM_SPAM, NATURAL = ["ham", "spam"], np.array([0.87, 0.13])
THREE, EVEN = ["a", "b", "c"], np.full(3, 1 / 3)


def test_costs_of_two_labels_set_one_threshold() -> None:
    spam = np.array([0.05, 0.0908, 0.0910, 0.5, 0.95])
    rare = by_cost("fn=10, fp=1", HAM_SPAM, NATURAL)  # 1 / 11 = 0.0909
    assert rare.choose(np.stack([1 - spam, spam], axis=1)).tolist() == [0, 0, 1, 1, 1]
    assert "'spam', the rarer label" in rare.notes[0]
    assert "0.0909" in rare.notes[1]
    same = by_cost("spam>ham=10,ham>spam=1", HAM_SPAM, NATURAL)
    assert same.costs == rare.costs == by_cost("spam:fn=10,fp=1", HAM_SPAM, NATURAL).costs
    assert by_cost("ham:fp=10", HAM_SPAM, NATURAL).costs == same.costs


def test_answers_cost_less_than_any_other_rule() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 1, 1], 500)
    found = by_cost("a>*=5,b>c=0.5,c>a=2", THREE, EVEN)
    costs = np.array([[0, 5, 5], [1, 0, 0.5], [2, 1, 0]])
    assert found.costs is not None
    np.testing.assert_array_equal(found.costs, costs)
    expected = (probabilities[:, :, None] * costs).sum(axis=1)
    assert (expected[np.arange(500), found.choose(probabilities)] == expected.min(axis=1)).all()
    np.testing.assert_array_equal(by_cost("*>*=3", THREE, EVEN).choose(probabilities), probabilities.argmax(axis=1))
    assert by_cost("b:fn=4,fp=2", THREE, EVEN).costs == ((0, 2, 1), (4, 0, 4), (1, 2, 0))


def test_costs_of_many_labels_are_of_each_label() -> None:
    found = by_cost("fn=3,fp=1,b:fn=1,fp=4", THREE, EVEN, multi=True)
    assert found.least == pytest.approx((0.25, 0.8, 0.25))
    assert found.marks(np.array([[0.3, 0.7, 0.2]])).tolist() == [[True, False, False]]
    assert found.costs == ((3, 1), (1, 4), (3, 1))
    truth = np.array([[True, True, False], [False, False, False]])
    given = np.array([[False, True, True], [True, True, False]])
    assert found.costs_of(truth, given).tolist() == [3 + 1, 1 + 4]


def test_every_problem_of_a_cost_is_said_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        by_cost("spma:fn=1,ham>ham=2,fn=-1,fx=1,7", HAM_SPAM, NATURAL)
    unknown, right, negative, neither, nothing = caught.value.problems
    assert "Did you mean 'spam'?" in unknown
    assert "a right answer costs nothing" in right
    assert "number of 0 or more" in negative
    assert "neither fn, fp" in neither
    assert "must end in =" in nothing
    with pytest.raises(SettingsError, match="of which of the 3 labels"):
        by_cost("fn=10", THREE, EVEN)
    with pytest.raises(SettingsError, match="every mistake is free"):
        by_cost("fn=0,fp=0", HAM_SPAM, NATURAL)
    with pytest.raises(SettingsError, match="many labels"):
        by_cost("a>b=2", THREE, EVEN, multi=True)


def test_costs_of_even_labels_must_name_theirs() -> None:
    """One row of a split must not decide which mistake is the dear one."""
    for prior in (np.array([28, 27]) / 55, EVEN[:2] * 1.5, np.array([0.42, 0.58])):
        with pytest.raises(SettingsError, match="2 labels, neither of which is clearly rarer"):
            by_cost("fn=10,fp=1", HAM_SPAM, prior)
    named = by_cost("positive=spam,fn=10,fp=1", HAM_SPAM, EVEN[:2])
    assert named.costs == by_cost("spam:fn=10,fp=1", HAM_SPAM, EVEN[:2]).costs == ((0, 1), (10, 0))
    assert by_cost("positive = a, b , fp=2", ["a", "a, b"], EVEN[:2]).costs == ((0, 2), (1, 0))
    assert by_cost("positive=0,fn=10", ["0", "1"], NATURAL).costs == ((0, 10), (1, 0))
    with pytest.raises(SettingsError, match=r"no such label 'spma'\. Did you mean 'spam'"):
        by_cost("positive=spma,fn=10", HAM_SPAM, NATURAL)
    with pytest.raises(SettingsError, match="says nothing of costs"):
        by_cost("positive=spam", HAM_SPAM, NATURAL)


def test_labels_may_hold_signs() -> None:
    found = by_cost("a: b, c:fn=2,x=y:fp=3", ["a: b, c", "x=y"], EVEN[:2])
    assert found.costs == ((0, 3), (1, 0))
