"""Thresholds against exact tolerance bounds, and draws from known populations."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import f1_score, precision_score, recall_score

from classtune.decisions.costs import by_cost
from classtune.decisions.thresholds import Thresholds, by_f1, by_wish, precision_recall
from classtune.errors import SettingsError
from classtune.stats import wilson

HAM_SPAM, NATURAL = ["ham", "spam"], np.array([0.87, 0.13])


def two(count: int, seed: int = 0, sharpness: float = 3.0) -> tuple[Any, Any]:
    """Calibrated probabilities (n, 2) of a rare class 1, and the truth."""
    rng = np.random.default_rng(seed)
    spam = expit(rng.normal(-2.5, sharpness, count))
    return np.stack([1 - spam, spam], axis=1), (rng.random(count) < spam).astype(int)


def wish(probabilities: Any, truth: Any, labels: list[str], **wishes: Any) -> Thresholds:
    plain = {
        "precision": {},
        "recall": {},
        "start": (None,) * len(labels),
        "weights": np.ones(len(truth)),
        "thin": np.ones(len(truth), dtype=bool),
    }
    return by_wish(probabilities, truth, labels, **{**plain, **wishes})


def test_a_precision_that_rows_can_show_is_promised_for_new_rows() -> None:
    probabilities, truth = two(6000, sharpness=7)
    found = wish(probabilities, truth, HAM_SPAM, precision={"spam": 0.95})
    (fact,) = found.facts
    assert fact["shown"]
    new, new_truth = two(200_000, seed=1, sharpness=7)
    assert precision_score(new_truth, found.choose(new)) >= 0.95
    assert fact["reached"] == pytest.approx(precision_score(truth, found.choose(probabilities)))
    claimed = int((found.choose(probabilities) == 1).sum())
    assert fact["ci95"] == wilson(round(fact["reached"] * claimed), claimed)
    assert found.notes == ()


def test_few_rows_reach_a_precision_without_showing_it() -> None:
    probabilities, truth = two(300)
    found = wish(probabilities, truth, HAM_SPAM, precision={"spam": 0.97})
    (fact,) = found.facts
    assert not fact["shown"]
    assert fact["reached"] >= 0.97 > fact["ci95"][0]
    assert "do not prove 0.97" in found.notes[0]


def test_a_precision_that_is_never_reached_leaves_the_plain_rule() -> None:
    truth = np.arange(100) % 2
    found = wish(np.full((100, 2), 0.5), truth, HAM_SPAM, precision={"spam": 0.9})
    assert found.least == (None, None)
    assert found.facts[0]["threshold"] is None
    assert "reached at no threshold" in found.notes[0]


@pytest.mark.parametrize("rows", [300, 1500])
def test_recall_holds_for_new_rows_as_often_as_it_says(rows: int) -> None:
    new, new_truth = two(30_000, seed=99)
    reached, shown = [], []
    for seed in range(60):
        found = wish(*two(rows, seed=seed), HAM_SPAM, recall={"spam": 0.9})
        shown.append(found.facts[0]["shown"])
        assert found.facts[0]["reached"] >= 0.9
        assert found.least[1] is not None
        assert found.least[1] <= 0.5
        reached.append(recall_score(new_truth, found.choose(new)))
    assert all(shown)
    assert np.mean(np.array(reached) >= 0.9) >= 0.85  # 95 %, less what 60 draws may miss it by
    assert np.mean(reached) < 0.98  # not by answering spam to everything


def test_too_few_positives_for_a_recall_say_so() -> None:
    probabilities, truth = two(60)
    found = wish(probabilities, truth, HAM_SPAM, recall={"spam": 0.95})
    assert found.facts[0]["rows"] == truth.sum() < 59
    assert not found.facts[0]["shown"]
    assert "do not prove" in found.notes[0]


def test_precision_and_recall_together() -> None:
    probabilities, truth = two(4000)
    both = wish(probabilities, truth, HAM_SPAM, precision={"spam": 0.6}, recall={"spam": 0.6})
    assert both.least[1] == 0.5  # it gives both
    assert [fact["shown"] for fact in both.facts] == [True, True]
    clash = wish(probabilities, truth, HAM_SPAM, precision={"spam": 0.97}, recall={"spam": 0.97})
    assert clash.facts[0]["reached"] >= 0.97 > clash.facts[1]["reached"]
    assert not clash.facts[1]["shown"]
    assert "the precision is kept" in clash.notes[-1]


def test_precision_is_that_of_the_field() -> None:
    # Trained on half spam; in the field a fiftieth: the same threshold would be far less precise.
    rng = np.random.default_rng(0)
    truth = np.arange(8000) % 2
    spam = expit(rng.normal(np.where(truth == 1, 1.5, -1.5), 1.5))
    probabilities = np.stack([1 - spam, spam], axis=1)
    weights = np.where(truth == 1, 0.04, 1.96)
    thin = rng.random(8000) < weights / weights.max()
    found = wish(probabilities, truth, HAM_SPAM, precision={"spam": 0.8}, weights=weights, thin=thin)
    given = found.choose(probabilities) == 1
    assert np.average(truth[given], weights=weights[given]) == pytest.approx(found.facts[0]["reached"])
    assert found.facts[0]["reached"] >= 0.8
    assert found.facts[0]["rows"] < given.sum()
    plain = wish(probabilities, truth, HAM_SPAM, precision={"spam": 0.8})
    assert found.least[1] is not None
    assert plain.least[1] is not None
    assert found.least[1] > plain.least[1]


def test_of_several_labels_those_with_a_threshold_come_first() -> None:
    rule = Thresholds((None, 0.9, 0.2))
    probabilities = np.array([[0.1, 0.85, 0.05], [0.04, 0.95, 0.01], [0.7, 0.05, 0.25], [0.0, 0.7, 0.3]])
    assert rule.choose(probabilities).tolist() == [0, 1, 2, 2]
    assert Thresholds((0.9, 0.9)).choose(np.array([[0.8, 0.2], [0.05, 0.95]])).tolist() == [-1, 1]


def labelled(count: int, seed: int) -> tuple[Any, Any]:
    """20 labels from common to rare, their probabilities too low for the best F1 at 0.5."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(np.linspace(-1.5, -5.5, 20), 1.5, (count, 20))
    return expit(logits), rng.random((count, 20)) < expit(logits)


def test_thresholds_for_f1_gain_on_new_rows_and_do_not_follow_the_noise_of_rare_labels() -> None:
    gains, over_own = [], []
    new, new_truth = labelled(20_000, seed=99)
    for seed in range(6):
        probabilities, truth = labelled(1500, seed)
        found = Thresholds(by_f1(probabilities, truth))
        score = f1_score(new_truth, found.marks(new), average="macro")
        gains.append(score - f1_score(new_truth, new >= 0.5, average="macro"))
        bounds = np.unique(probabilities[:, 19].round(2))
        scores = [f1_score(truth[:, 19], probabilities[:, 19] >= bound, zero_division=0) for bound in bounds]
        rare = f1_score(new_truth[:, 19], new[:, 19] >= bounds[int(np.argmax(scores))], zero_division=0)
        over_own.append(f1_score(new_truth[:, 19], found.marks(new)[:, 19], zero_division=0) - rare)
    assert min(gains) > 0.05
    assert np.mean(over_own) > 0


def test_precision_recall_curves_are_points_that_a_threshold_gives() -> None:
    probabilities, truth = two(2000)
    curves = precision_recall(probabilities, truth, HAM_SPAM)
    spam = curves["spam"]
    assert len(spam["thresholds"]) == 60
    assert spam["thresholds"] == sorted(spam["thresholds"])
    for point in (0, 20, 59):
        given = probabilities[:, 1] >= spam["thresholds"][point]
        assert spam["precision"][point] == pytest.approx(precision_score(truth, given))
        assert spam["recall"][point] == pytest.approx(recall_score(truth, given))
    assert spam["recall"][0] == 1
    marked = precision_recall(probabilities, np.stack([truth == 9, truth == 1], axis=1), HAM_SPAM)
    assert marked == {"spam": spam}


def test_wishes_that_cannot_be_read_are_said_at_once_and_json_keeps_thresholds() -> None:
    probabilities, truth = two(500)
    with pytest.raises(SettingsError) as caught:
        wish(probabilities, truth, HAM_SPAM, precision={"spma": 0.9}, recall={"spam": 95})
    assert "Did you mean 'spam'" in caught.value.problems[0]
    assert "Write 0.95 for 95 %" in caught.value.problems[1]
    found = wish(probabilities, truth, HAM_SPAM, precision={"spam": 0.9})
    assert Thresholds.from_record(json.loads(json.dumps(found.record()))) == found
    costly = by_cost("fn=10", HAM_SPAM, NATURAL)
    assert Thresholds.from_record(json.loads(json.dumps(costly.record()))) == costly
