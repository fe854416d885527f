"""What more labelled rows would gain, from how the error fell while the rows doubled twice. Knows arrays alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from classtune.judging.comparison import in_words
from classtune.stats import Z95, Floats

# error = a + b * rows ** -EXPONENT. Three noisy points do not tell the exponent. This one is usual; what others would
# say, from a straight line over the logarithm of the rows to 1, is part of the uncertainty (docs/log.md).
EXPONENT, EXPONENTS = 0.35, (0.01, 1.0)
LITTLE = 0.005  # of a gain in accuracy that is not worth labels


@dataclass(frozen=True)
class Part:
    """Some held-out rows and what was wrong of them, 0 or 1 [sizes, held-out rows], by models that learned from
    ``sizes`` rows, each size twice the one before."""

    sizes: tuple[int, ...]
    wrong: Floats


@dataclass(frozen=True)
class LearningCurve:
    """candidate: of which it is. rows, error, error_se: its points: training rows, the share of the held-out rows that
    is wrong and its standard error. gain: of accuracy by twice the rows, 0 … 1; half_width: of its 95 % interval."""

    candidate: str
    rows: list[int]
    error: list[float]
    error_se: list[float]
    held_out_rows: int
    gain: float
    half_width: float
    sentence: str


def learning_curve(parts: Sequence[Part], candidate: str) -> LearningCurve:
    """The curve of all parts, and what twice the rows would gain by it.

    Parts may judge the same rows, or others each; a difference between them that is more than the rows' own noise
    counts as noise too.
    """
    wrong = np.concatenate([part.wrong for part in parts], axis=1)
    sizes = np.mean([part.sizes for part in parts], axis=0)
    weights = _weights(sizes, EXPONENT)
    gain = float(weights @ wrong.mean(1))
    # As in a paired test, a row more that only the least data has wrong and one that only the most: where the same rows
    # are wrong at every size the rows alone would say that nothing is uncertain.
    noise = _noise(
        [*(weights @ part.wrong for part in parts[:-1]), np.append(weights @ parts[-1].wrong, weights[[0, -1]])]
    )
    low, high = sorted(float(_weights(sizes, exponent) @ wrong.mean(1)) for exponent in EXPONENTS)
    half = float(np.hypot(Z95 * noise, (high - low) / 2))
    errors = [_noise([part.wrong[place] for part in parts]) for place in range(len(sizes))]
    return LearningCurve(
        candidate,
        rows=[round(size) for size in sizes],
        error=wrong.mean(1).tolist(),
        error_se=errors,
        held_out_rows=wrong.shape[1],
        gain=gain,
        half_width=half,
        sentence=_sentence(gain, half, candidate),
    )


def _weights(sizes: Floats, exponent: float) -> Floats:
    """Of the error at each size in what twice the last size would gain, where a and b are fitted by least squares."""
    terms = sizes**-exponent
    apart = terms - terms.mean()
    ahead = terms[-1] * (1 - 2**-exponent)
    return np.asarray(ahead * apart / (apart @ apart))


def _noise(values: Sequence[Floats]) -> float:
    """Standard error of the mean of all values: by the rows or, if that is more, by the parts."""
    together = np.concatenate(values)
    by_rows = together.std() / np.sqrt(len(together))
    means = [value.mean() for value in values]
    by_parts = np.std(means, ddof=1) / np.sqrt(len(means)) if len(means) > 1 else 0.0
    return float(max(by_rows, by_parts))


def _sentence(gain: float, half: float, candidate: str) -> str:
    points, within = round(100 * gain, 1) + 0.0, 100 * half  # + 0.0: never "-0.0"
    shown = f"{points:.1f} points of accuracy (± {within:.1f}), by the learning curve of {in_words(candidate)}."
    if gain > half and gain >= LITTLE:
        return f"Twice as many training rows would gain about {shown}"
    if gain + half <= 2 * LITTLE:
        return f"More training rows of this kind would gain little: twice as many {shown}"
    return f"What more training rows would gain is within noise: twice as many {shown}"
