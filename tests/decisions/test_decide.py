"""Logits to answers as a whole: what is fitted, what is promised, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from classtune.config.areas import DecisionSettings
from classtune.decisions.decide import decide
from classtune.decisions.decisions import Decisions
from classtune.errors import DataError, SettingsError

TWO, THREE = ["ham", "spam"], ["a", "b", "c"]


def rows(prior: Any, count: int, seed: int = 0, sharpness: float = 4.0) -> tuple[Any, Any]:
    """Logits of a network trained on these shares, and the truth: normal points around their class."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(len(prior), size=count, p=prior)
    points = rng.normal(np.eye(len(prior))[truth] * sharpness, 1.0)
    return points * sharpness + np.log(prior), truth


EVERYTHING: list[tuple[list[str], bool, DecisionSettings]] = [
    (TWO, False, DecisionSettings()),
    (TWO, False, DecisionSettings(max_error=0.05)),
    (TWO, False, DecisionSettings(deploy_prior={"spam": 0.1}, cost="spam:fn=10", max_error=0.1)),
    (THREE, False, DecisionSettings(calibration="isotonic", precision={"a": 0.9}, recall={"b": 0.9})),
    (THREE, False, DecisionSettings(calibration="vector", deploy_prior={"c": 0.2}, max_error=0.1)),
    (THREE, True, DecisionSettings(precision={"a": 0.9})),
    (THREE, True, DecisionSettings(calibration="none", cost="fn=2", deploy_prior={"a": 0.2})),
]


@pytest.mark.parametrize(("labels", "multi", "wishes"), EVERYTHING)
def test_a_journey_through_json_changes_nothing(labels: list[str], multi: bool, wishes: DecisionSettings) -> None:
    prior = np.full(len(labels), 1 / len(labels))
    logits, truth = rows(prior, 600, sharpness=2.0)
    known = np.eye(len(labels), dtype=bool)[truth] if multi else truth
    found = decide(logits, known, labels, wishes, trained_prior=prior, multi=multi)
    again = Decisions.from_record(labels, json.loads(json.dumps(found.record())))
    assert again == found
    assert found == decide(logits, known, labels, wishes, trained_prior=prior, multi=multi)
    probabilities = again.probabilities(logits)
    np.testing.assert_array_equal(probabilities, found.probabilities(logits))
    np.testing.assert_array_equal(again.answers(probabilities), found.answers(probabilities))
    assert multi or again.answers(probabilities).sum(axis=1).max() == 1


def test_two_labels_and_a_temperature_let_every_row_serve_the_promise() -> None:
    logits, truth = rows([0.87, 0.13], 557)
    found = decide(logits, truth, TWO, DecisionSettings(max_error=0.01), trained_prior=np.array([0.87, 0.13]))
    assert found.abstention is not None
    assert (found.abstention.rows, found.calibration.rows, found.calibration.method) == (557, 557, "temperature")
    assert found.abstention.promised
    assert found.notes[-1].startswith("Promised with 95 % confidence")
    probabilities = found.probabilities(logits)
    answers = found.answers(probabilities)
    assert answers.any(axis=1).sum() == found.abstention.answered
    np.testing.assert_array_equal(found.choices(probabilities) >= 0, answers.any(axis=1))
    assert (answers[np.arange(557), truth] | ~answers.any(axis=1)).sum() == 557 - found.abstention.errors
    # What the promise is made of does not depend on the temperature that was fitted on the same rows.
    raw = decide(
        logits, truth, TWO, DecisionSettings(calibration="none", max_error=0.01), trained_prior=np.array([0.87, 0.13])
    )
    assert raw.abstention is not None
    assert raw.abstention.answered == found.abstention.answered
    np.testing.assert_array_equal(raw.answers(raw.probabilities(logits)), answers)


@pytest.mark.parametrize(
    ("labels", "wishes"),
    [
        (THREE, DecisionSettings(max_error=0.05)),
        (TWO, DecisionSettings(calibration="isotonic", max_error=0.05)),
        (TWO, DecisionSettings(max_error=0.05, deploy_prior={"spam": 0.4})),
        (TWO, DecisionSettings(max_error=0.05, cost="spam:fn=2")),
        (TWO, DecisionSettings(calibration="none", max_error=0.05, recall={"spam": 0.9})),
    ],
    ids=["three labels", "isotonic", "prior", "cost", "threshold"],
)
def test_rows_that_fit_what_ranks_texts_do_not_promise(labels: list[str], wishes: DecisionSettings) -> None:
    prior = np.full(len(labels), 1 / len(labels))
    logits, truth = rows(prior, 900)
    found = decide(logits, truth, labels, wishes, trained_prior=prior)
    assert found.abstention is not None
    assert 280 <= found.calibration.rows <= 320 or wishes.calibration == "none"
    assert found.abstention.rows <= 620
    assert any("served the promise" in note for note in found.notes)


def test_a_promise_for_other_shares_holds_in_the_field() -> None:
    trained, field = np.array([0.5, 0.5]), np.array([0.9, 0.1])
    wishes = DecisionSettings(calibration="temperature", deploy_prior={"spam": 0.1}, max_error=0.05)
    pool, pool_truth = rows(field, 20_000, seed=99, sharpness=1.7)
    pool = pool - np.log(field) + np.log(trained)  # scored by the network that was trained on even shares
    broken = made = 0
    for seed in range(60):
        logits, truth = rows(trained, 700, seed=seed, sharpness=1.7)
        found = decide(logits, truth, TWO, wishes, trained_prior=trained, seed=seed)
        answers = found.answers(found.probabilities(pool))
        answered = answers.any(axis=1)
        if found.abstention is not None and found.abstention.promised:
            made += 1
            broken += (answers[answered].argmax(axis=1) != pool_truth[answered]).mean() > 0.05
    assert made > 30
    assert broken <= 8  # P(Binomial(60, 0.05) > 8) < 1 %


def test_comparing_more_networks_makes_a_promise_harder() -> None:
    logits, truth = rows([0.5, 0.5], 400, sharpness=9.0)
    prior, wishes = np.array([0.5, 0.5]), DecisionSettings(max_error=0.01)
    one = decide(logits, truth, TWO, wishes, trained_prior=prior)
    four = decide(logits, truth, TWO, wishes, trained_prior=prior, networks=4)
    assert one.abstention is not None
    assert four.abstention is not None
    assert one.abstention.promised
    assert not four.abstention.promised
    assert four.abstention.rows_needed == 437
    assert four.answers(four.probabilities(logits)).any(axis=1).all()
    assert any("chose among 4 classifiers" in note for note in four.notes)


def test_the_field_s_shares_make_probabilities_right() -> None:
    trained, field = np.array([0.5, 0.5]), np.array([0.95, 0.05])
    logits, truth = rows(trained, 2000, sharpness=1.5)
    found = decide(logits, truth, TWO, DecisionSettings(deploy_prior={"spam": 0.05}), trained_prior=trained)
    live, live_truth = rows(field, 20_000, seed=1, sharpness=1.5)
    live = live - np.log(field) + np.log(trained)  # scored by the network that was trained on even shares
    spam = found.probabilities(live)[:, 1]
    assert spam.mean() == pytest.approx(live_truth.mean(), abs=0.005)


def test_a_calibration_of_each_class_speaks_of_the_rows_that_fitted_it() -> None:
    natural, even = np.array([0.9, 0.1]), np.array([0.5, 0.5])
    logits, truth = rows(natural, 3000, sharpness=1.5)
    balanced = logits - np.log(natural)  # as balanced class weights would have it
    found = decide(
        balanced, truth, TWO, DecisionSettings(calibration="vector", deploy_prior={"spam": 0.1}), trained_prior=even
    )
    assert found.probabilities(balanced)[:, 1].mean() == pytest.approx(0.1, abs=0.01)
    simple = decide(
        balanced,
        truth,
        TWO,
        DecisionSettings(calibration="temperature", deploy_prior={"spam": 0.1}),
        trained_prior=even,
    )
    assert simple.probabilities(balanced)[:, 1].mean() == pytest.approx(0.1, abs=0.02)


def test_a_label_without_validation_rows_leaves_nothing_to_promise() -> None:
    logits, truth = rows([0.6, 0.3999, 0.0001], 900)
    known = truth < 2
    shares = DecisionSettings(calibration="none", deploy_prior={"c": 0.3}, max_error=0.1)
    found = decide(logits[known], truth[known], THREE, shares, trained_prior=np.array([0.6, 0.3, 0.1]))
    assert found.abstention is not None
    assert not found.abstention.promised
    assert "No held-out row has 'c'. Nothing can be promised of it. Add held-out rows of every label." in found.notes
    # Without a word on the field, texts of the third label are none of those that the promise was shown on.
    usual = DecisionSettings(calibration="none", max_error=0.4)
    found = decide(logits[known], truth[known], THREE, usual, trained_prior=np.array([0.6, 0.3, 0.1]))
    assert found.abstention is not None
    assert found.abstention.promised
    assert any("What is promised holds among texts of the other labels only" in note for note in found.notes)
    logits, truth = rows([0.5, 0.4, 0.1], 900)
    found = decide(logits, truth, THREE, usual, trained_prior=np.array([0.6, 0.3, 0.1]))
    assert not [note for note in found.notes if "No held-out row has" in note]


def test_costs_change_answers_and_not_probabilities() -> None:
    logits, truth = rows([0.5, 0.5], 500, sharpness=1.5)
    plain, costly = (
        decide(logits, truth, TWO, wishes, trained_prior=np.array([0.5, 0.5]))
        for wishes in (DecisionSettings(), DecisionSettings(cost="spam:fn=20"))
    )
    probabilities = plain.probabilities(logits)
    np.testing.assert_array_equal(probabilities, costly.probabilities(logits))
    assert costly.answers(probabilities)[:, 1].sum() > plain.answers(probabilities)[:, 1].sum()


def test_many_labels_get_thresholds_for_f1() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(-2.5, 2.0, (2000, 3))
    truth = rng.random(logits.shape) < expit(logits)
    found = decide(logits, truth, THREE, DecisionSettings(), trained_prior=truth.mean(axis=0), multi=True)
    assert found.thresholds is not None
    assert all(bound is not None and 0.2 < bound < 0.45 for bound in found.thresholds.least)
    asked = decide(
        logits, truth, THREE, DecisionSettings(precision={"a": 0.9}), trained_prior=truth.mean(axis=0), multi=True
    )
    assert asked.thresholds is not None
    assert asked.thresholds.least[1:] == found.thresholds.least[1:]
    given = asked.answers(asked.probabilities(logits))[:, 0]
    assert truth[given, 0].mean() >= 0.9
    few = decide(logits[:30], truth[:30], THREE, DecisionSettings(), trained_prior=truth.mean(axis=0), multi=True)
    assert few.thresholds is not None
    assert few.thresholds.least == (None, None, None)


def test_without_validation_rows_wishes_that_need_none_are_kept() -> None:
    nothing, none = np.empty((0, 2)), np.empty(0, dtype=np.int64)
    prior = np.array([0.5, 0.5])
    found = decide(
        nothing, none, TWO, DecisionSettings(deploy_prior={"spam": 0.1}, cost="spam:fn=9"), trained_prior=prior
    )
    assert found.probabilities(np.zeros((1, 2)))[0] == pytest.approx([0.9, 0.1])
    assert "no held-out rows" in found.notes[-1]
    with pytest.raises(SettingsError, match="--recall, --max-error, --calibration vector: there are no validation"):
        decide(
            nothing,
            none,
            TWO,
            DecisionSettings(calibration="vector", recall={"spam": 0.9}, max_error=0.1),
            trained_prior=prior,
        )


def test_everything_that_is_wrong_with_the_wishes_is_said_at_once() -> None:
    logits, truth = rows([0.5, 0.5], 100)
    wishes = DecisionSettings.model_construct(
        calibration="platt",  # type: ignore[arg-type]
        deploy_prior={"spma": 0.1},
        cost="fx=1",
        precision={"egg": 0.9},
        recall={"spam": 3.0},
        max_error=2.0,
    )
    with pytest.raises(SettingsError) as caught:
        decide(logits, truth, TWO, wishes, trained_prior=np.array([0.5, 0.5]))
    told = "\n".join(caught.value.problems)
    for part in ("'platt'", "spma=0.1", "'fx=1'", "egg=0.9", "spam=3", "Give one of them", "--max-error 2"):
        assert part in told
    with pytest.raises(SettingsError, match="texts have many labels"):
        decide(
            logits,
            truth[:, None] == [0, 1],
            TWO,
            DecisionSettings(max_error=0.1),
            trained_prior=np.ones(2) / 2,
            multi=True,
        )
    with pytest.raises(DataError, match="one share a label"):
        decide(logits, truth, TWO, DecisionSettings(), trained_prior=np.array([1.0]))
