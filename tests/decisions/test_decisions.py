"""Decisions as they are applied: plain ones are those of the libraries, and a damaged record is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

from classtune.decisions.decisions import Decisions
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


def test_a_damaged_record_is_a_bundle_error() -> None:
    record = Decisions.plain(LABELS).record()
    del record["calibration"]["scale"]
    with pytest.raises(BundleError, match="damaged"):
        Decisions.from_record(LABELS, record)
