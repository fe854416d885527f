"""Decisions as they are applied: plain ones are those of the libraries, and a damaged record is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, softmax

from classtune.config.areas import DecisionSettings
from classtune.decisions.calibration import Calibration
from classtune.decisions.decide import decide
from classtune.decisions.decisions import Decisions, Prior
from classtune.decisions.thresholds import Thresholds
from classtune.errors import BundleError

LABELS = ["a", "b", "c"]


def test_plain_is_softmax_and_the_top_label_or_sigmoid_and_a_half() -> None:
    logits = np.random.default_rng(0).normal(0, 4, (50, 3))
    plain = Decisions.plain(LABELS)
    probabilities = plain.probabilities(logits)
    np.testing.assert_allclose(probabilities, softmax(logits, axis=1), rtol=1e-12)
    assert (plain.answers(probabilities).argmax(axis=1) == logits.argmax(axis=1)).all()
    assert (plain.answers(probabilities).sum(axis=1) == 1).all()
    many = Decisions.plain(LABELS, multi=True)
    np.testing.assert_allclose(many.probabilities(logits), expit(logits), rtol=1e-12)
    np.testing.assert_array_equal(many.answers(expit(logits)), logits >= 0)


def test_what_a_network_s_own_scores_lack_is_named() -> None:
    plain = replace(Decisions.plain(["a", "b"]), prior=Prior((0.5, 0.5), (0.5, 0.5)), notes=("few rows",))
    assert plain.not_in_weights == ""
    moved = replace(plain, prior=Prior((0.5, 0.5), (0.9, 0.1)))
    assert moved.not_in_weights == "class prior in production"
    costs = replace(moved, calibration=Calibration("vector", scale=(2.0,)), thresholds=Thresholds((0.1, None)))
    assert costs.not_in_weights == "calibration, class prior in production and thresholds"


def test_a_damaged_record_is_a_bundle_error() -> None:
    record = Decisions.plain(LABELS).record()
    del record["calibration"]["scale"]
    with pytest.raises(BundleError, match="damaged"):
        Decisions.from_record(LABELS, record)


@pytest.mark.parametrize(
    ("part", "damage"),
    [
        ("calibration", {"scale": [math.nan]}),
        ("calibration", {"bias": [0.0, 0.0, 0.0]}),
        ("calibration", {"curves": [[[0.0], [math.inf]], [[0.0], [0.5]]]}),
        ("prior", {"deployed": {"ham": math.nan, "spam": 0.5}}),
        ("thresholds", {"least": [None]}),
        ("thresholds", {"least": [-math.inf, 0.5]}),
        ("thresholds", {"costs": [[0.0, 1.0], [math.nan, 0.0]]}),
        ("thresholds", {"costs": [[0.0], [1.0]]}),
        ("abstention", {"threshold": math.nan}),
    ],
)
def test_numbers_that_no_fit_gave_are_a_bundle_error(part: str, damage: dict[str, Any]) -> None:
    """JSON of Python has NaN and Infinity: with them every text would get the same answer, and no word."""
    drawn = np.random.default_rng(0)
    truth = drawn.integers(0, 2, 400)
    logits = drawn.normal(4 * np.eye(2)[truth])
    wishes = DecisionSettings(max_error=0.3, cost="spam:fn=2,fp=1", deploy_prior={"spam": 0.2})
    found = decide(logits, truth, ["ham", "spam"], wishes, trained_prior=np.array([0.5, 0.5]))
    record = json.loads(json.dumps(found.record()))
    assert Decisions.from_record(["ham", "spam"], record) == found
    record[part] |= damage
    with pytest.raises(BundleError, match="damaged"):
        Decisions.from_record(["ham", "spam"], record)
