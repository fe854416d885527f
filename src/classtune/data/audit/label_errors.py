"""Rows whose label is probably wrong, by confident learning on out-of-sample probabilities.

Knows arrays and labels only; the search is cleanlab's, an extra (`audit`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classtune.errors import DataError, require


def find_label_errors(
    probabilities: NDArray[np.floating[Any]], truth: NDArray[np.integer[Any]], labels: Sequence[str]
) -> list[dict[str, Any]]:
    """Rows that confident learning takes for mislabelled, the most suspicious first, ready for JSON.

    probabilities [rows, labels] in 0 … 1, each row by a model that never saw it (see `training.probe.out_of_sample`).
    Each finding: ``row`` (from 0), ``label`` as given, ``suggested`` the most probable other one, and ``score``, the
    probability of the given label: the smaller, the more suspicious. (Northcutt et al., Confident learning, 2021.)
    Raises UserError where cleanlab is not installed, DataError where shapes or class numbers do not fit.
    """
    _check(probabilities, truth, labels)
    require("label errors", "audit", "cleanlab")
    from cleanlab.filter import find_label_issues

    # Classes without rows have no threshold; they are left out, and the rest of a row's probability is shared out.
    present, numbered = np.unique(truth, return_inverse=True)
    if len(present) < 2:
        return []
    of_present = probabilities[:, present].astype(np.float64) + np.finfo(np.float64).tiny
    of_present /= of_present.sum(1, keepdims=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "May not flag all label issues")  # in classes of a few rows
        issues = find_label_issues(numbered, of_present, return_indices_ranked_by="self_confidence", n_jobs=1)
    findings = []
    for row in issues:
        others = of_present[row].copy()
        others[numbered[row]] = -1.0
        findings.append(
            {
                "row": int(row),
                "label": labels[int(truth[row])],
                "suggested": labels[int(present[others.argmax()])],
                "score": float(of_present[row, numbered[row]]),
            }
        )
    return findings


def _check(probabilities: NDArray[np.floating[Any]], truth: NDArray[np.integer[Any]], labels: Sequence[str]) -> None:
    problems = []
    if probabilities.shape != (len(truth), len(labels)):
        problems.append(
            f"probabilities: shape {probabilities.shape} for {len(truth):,} rows and {len(labels)} labels. "
            "Give one row of probabilities a text and one column a label."
        )
    if len(truth) and not 0 <= truth.min() <= truth.max() < len(labels):
        problems.append(f"truth: class numbers {truth.min()} … {truth.max()} for {len(labels)} labels. Count from 0.")
    if wrong := np.count_nonzero(~np.isfinite(probabilities)):
        problems.append(f"probabilities: {wrong:,} are not finite. Give numbers in 0 … 1.")
    if problems:
        raise DataError(problems)
