"""Noise raises no alarm, and what has changed does, with an interval round every difference."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import fisher_exact, ks_2samp

from classtune.judging.drift import FEWEST_TEXTS, KEPT_VALUES, NO_ANSWER, Reference, Seen, compare

LABELS = ["a", "b", "c"]
SHARES = np.array([0.5, 0.3, 0.15, 0.05])  # the last: no answer


def seen(generator: np.random.Generator, count: int, shares: np.ndarray = SHARES, shift: float = 0.0) -> Seen:
    labels = generator.choice(4, size=count, p=shares)
    measures = {
        "certainty": 1 - generator.beta(1, 8, count),
        "distance": generator.normal(0.4 + shift, 0.1, count),
        "unknown": np.where(generator.random(count) < 0.7, 0.0, generator.random(count)),  # mostly ties
    }
    return Seen(np.eye(4, dtype=bool)[labels][:, :3], measures)


@pytest.mark.parametrize(("rows", "texts"), [(300, 1000), (5000, 1000), (60, 60)])
def test_noise_raises_an_alarm_once_in_a_hundred_looks(rows: int, texts: int) -> None:
    """At a level of 20 %, so that 200 looks tell whether the tests keep it."""
    generator = np.random.default_rng(rows)
    alarms = sum(
        compare(Reference.of(seen(generator, rows)), seen(generator, texts), LABELS, false_alarms=0.2).alarm
        for _ in range(200)
    )
    assert alarms <= 54  # of 40 at most in the mean: 2.5 standard deviations above


def test_a_doubled_label_and_a_shifted_distance_are_found_and_named() -> None:
    generator = np.random.default_rng(5)
    doubled = np.array([0.41, 0.25, 0.30, 0.04])
    for _ in range(50):
        reference = Reference.of(seen(generator, 700))
        drift = compare(reference, seen(generator, 1000, doubled), LABELS)
        change = next(one for one in drift.labels if one.name == "c")
        assert change.alarm
        assert change.difference_ci95[0] > 0
        assert "'c' is" in drift.sentence
        far = compare(reference, seen(generator, 1000, shift=0.05), LABELS)
        assert [one.name for one in far.measures if one.alarm] == ["distance"]
        assert not any(one.alarm for one in far.labels)


def test_shares_counts_and_p_values_are_the_samples() -> None:
    generator = np.random.default_rng(2)
    then, now = seen(generator, 400), seen(generator, 300)
    drift = compare(Reference.of(then), now, LABELS)
    counts = {**dict(zip(LABELS, now.given.sum(0), strict=True)), NO_ANSWER: (~now.given.any(1)).sum()}
    before = {**dict(zip(LABELS, then.given.sum(0), strict=True)), NO_ANSWER: (~then.given.any(1)).sum()}
    for one in drift.labels:
        assert (one.then, one.now) == (before[one.name] / 400, counts[one.name] / 300)
        table = [[before[one.name], 400 - before[one.name]], [counts[one.name], 300 - counts[one.name]]]
        assert one.p_value == pytest.approx(fisher_exact(table).pvalue)
    for one in drift.measures:
        expected = ks_2samp(then.measures[one.name].astype("f4"), now.measures[one.name].astype("f4"), method="asymp")
        assert one.p_value == pytest.approx(expected.pvalue, rel=0.15, abs=0.02)
        assert one.difference_ci95[0] <= one.now - one.then <= one.difference_ci95[1]


def test_what_is_kept_is_small_and_stands_for_all() -> None:
    generator = np.random.default_rng(3)
    many = seen(generator, 50_000)
    reference = Reference.of(many)
    assert all(len(values) == KEPT_VALUES for values in reference.values.values())
    assert reference.values["distance"].mean() == pytest.approx(many.measures["distance"].mean(), abs=1e-3)
    assert not compare(reference, many, LABELS).alarm


def test_a_few_texts_raise_no_alarm_and_it_is_said() -> None:
    generator = np.random.default_rng(4)
    others = seen(generator, FEWEST_TEXTS - 1, np.array([0.0, 0.0, 1.0, 0.0]), shift=1.0)
    drift = compare(Reference.of(seen(generator, 500)), others, LABELS)
    assert not drift.alarm
    assert "nothing can be told" in drift.sentence
    assert not compare(Reference.of(others), seen(generator, 500), LABELS).alarm


def test_a_change_that_is_tiny_is_none_however_many_texts_prove_it() -> None:
    generator = np.random.default_rng(6)
    reference = Reference.of(seen(generator, 100_000))
    drift = compare(reference, seen(generator, 100_000, np.array([0.508, 0.292, 0.15, 0.05]), shift=0.005), LABELS)
    assert min(one.p_value for one in (*drift.labels, *drift.measures)) < 1e-6
    assert not drift.alarm
    rare = np.array([0.499, 0.296, 0.15, 0.055])  # by less than a point
    assert not compare(reference, seen(generator, 100_000, rare), LABELS).alarm
    few = Reference.of(seen(generator, 100_000, np.array([0.5, 0.347, 0.15, 0.003])))
    assert compare(few, seen(generator, 100_000, np.array([0.5, 0.343, 0.15, 0.007])), LABELS).alarm  # twice as many
