"""What twice the rows would gain, from errors that are known."""

from __future__ import annotations

import numpy as np
import pytest

from classtune.judging.learning_curve import EXPONENT, Part, learning_curve
from classtune.stats import Floats


def part(*errors: float, sizes: tuple[int, ...] = (1000, 2000, 4000), rows: int = 10_000) -> Part:
    """The first of the rows are wrong: each size errs where the next one does, and elsewhere."""
    return Part(sizes, np.array([np.arange(rows) < error * rows for error in errors], dtype=np.float64))


def law(a: float, b: float, exponent: float = EXPONENT) -> list[float]:
    return [a + b * rows**-exponent for rows in (1000, 2000, 4000)]


def test_an_error_that_falls_by_the_law_goes_on_so() -> None:
    curve = learning_curve([part(*law(0.05, 2))], "tiny probe")
    wanted = 2 * (4000**-EXPONENT - 8000**-EXPONENT)
    assert curve.gain == pytest.approx(wanted, abs=2e-4)
    assert curve.rows == [1000, 2000, 4000]
    assert curve.error == pytest.approx(law(0.05, 2), abs=1e-4)
    assert curve.sentence.startswith(f"Twice as many training rows would gain about {100 * wanted:.1f} points")
    assert curve.sentence.endswith(", by the learning curve of tiny probe.")


@pytest.mark.parametrize(("b", "exponent"), [(0.5, 0.1), (30, 0.8)])
def test_the_interval_holds_other_exponents(b: float, exponent: float) -> None:
    curve = learning_curve([part(*law(0.01, b, exponent))], "tiny probe")
    assert abs(b * (4000**-exponent - 8000**-exponent) - curve.gain) < curve.half_width


def test_an_error_that_stays_says_that_rows_gain_little() -> None:
    curve = learning_curve([part(0.1, 0.1, 0.1)], "tiny probe")
    assert curve.gain == pytest.approx(0)
    assert 0 < curve.half_width < 2e-4
    assert curve.sentence.startswith("More training rows of this kind would gain little: twice as many 0.0 points")


def test_the_same_wrong_rows_at_every_size_are_no_certainty() -> None:
    """100 rows, 10 of them wrong whatever was learned: a few more draws could have shown a point either way."""
    curve = learning_curve([part(0.1, 0.1, 0.1, rows=100)], "tiny probe")
    assert curve.gain == pytest.approx(0)
    assert 0.005 < curve.half_width < 0.02


def test_few_held_out_rows_say_that_it_is_noise() -> None:
    rng = np.random.default_rng(0)
    wrong: Floats = (rng.random((3, 60)) < [[0.3], [0.25], [0.2]]).astype(np.float64)
    curve = learning_curve([Part((20, 40, 80), wrong)], "tiny probe")
    assert curve.half_width > curve.gain
    assert curve.sentence.startswith("What more training rows would gain is within noise: twice as many ")


def test_draws_that_differ_by_more_than_their_rows_widen_the_interval() -> None:
    level = [part(0.2, 0.15, 0.12)] * 2
    apart = [part(0.3, 0.15, 0.12), part(0.1, 0.15, 0.12)]
    same, wider = (learning_curve(parts, "tiny probe") for parts in (level, apart))
    assert wider.gain == pytest.approx(same.gain, abs=1e-3)
    assert wider.half_width > 3 * same.half_width
