"""Names for kinds of arrays, and the few formulas that several rooms share. Numpy alone, since `--help` may load it."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]
BoolArray = npt.NDArray[np.bool_]

Z95 = NormalDist().inv_cdf(0.975)
# Probabilities mostly come out of a float32 softmax; every classifier is held to the same smallest doubt.
SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)


def wilson(right: int, rows: int) -> list[float]:
    """Wilson's 95 % score interval ``[lo, hi]`` of a share ``right / rows`` (E. B. Wilson, 1927); of no rows 0 … 1."""
    if rows == 0:
        return [0.0, 1.0]
    share, z2 = right / rows, Z95 * Z95
    centre = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    half = Z95 / (1 + z2 / rows) * math.sqrt(share * (1 - share) / rows + z2 / (4 * rows * rows))
    # The ends are exact at none and all right; the formula misses them by a rounding error.
    return [0.0 if right == 0 else centre - half, 1.0 if right == rows else centre + half]


def ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """``part / whole``, and 0 where the whole is 0."""
    return np.asarray(np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole != 0))
