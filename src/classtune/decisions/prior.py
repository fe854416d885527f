"""Right probabilities where labels are rarer or more common than they were in training.

Assumes that only the shares of the labels change: texts of one label look the same in training and in the field.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from classtune.errors import DataError, SettingsError, counted, did_you_mean
from classtune.stats import Z95, FloatArray, Floats, ratio

ROUNDS = 2000
SETTLED = 1e-6
# An estimate is called unreliable from fewer texts, or with a wider interval on either side.
LEAST_TEXTS = 100
WIDEST = 0.1
_SHOWN_LABELS = 10


@dataclass(frozen=True)
class PriorEstimate:
    """Shares (k,) of the labels among ``texts`` unlabelled ones; ``ci95`` (k, 2) is their 95 % interval.

    reliable: False where the texts cannot tell; ``notes`` says why.
    """

    prior: Floats
    ci95: Floats
    texts: int
    rounds: int
    converged: bool
    reliable: bool
    notes: tuple[str, ...]

    def record(self, labels: Sequence[str]) -> dict[str, Any]:
        """For JSON."""
        return {
            "shares": dict(zip(labels, self.prior.tolist(), strict=True)),
            "ci95": dict(zip(labels, self.ci95.tolist(), strict=True)),
            "texts": self.texts,
            "rounds": self.rounds,
            "converged": self.converged,
            "reliable": self.reliable,
            "notes": list(self.notes),
        }

    def as_wish(self, labels: Sequence[str], trained_prior: FloatArray, *, multi: bool) -> dict[str, float]:
        """The shares by label, none of a taught label 0 or 1: no number of texts shows that one is never met."""
        least = 0.5 / ((self.texts + 1) * len(labels))
        shares = np.where(trained_prior > 0, self.prior.clip(least, 1 - least), 0.0)
        return dict(zip(labels, (shares if multi else shares / shares.sum()).tolist(), strict=True))

    def sentence(self, labels: Sequence[str], trained_prior: FloatArray) -> str:
        """What was estimated, from what, with which intervals; of many labels the most common ones."""
        shown = np.argsort(-self.prior, kind="stable")[:_SHOWN_LABELS]
        shares = [
            f"{labels[i]} {_percent(self.prior[i])} (95 % interval {_percent(self.ci95[i, 0])} to "
            f"{_percent(self.ci95[i, 1])}; in training {_percent(trained_prior[i])})"
            for i in shown.tolist()
        ]
        more = len(labels) - len(shown)
        return (
            f"class prior (share of each label) estimated from the {counted(self.texts, 'text')} given, without their "
            f"labels: {', '.join(shares)}{f', and {more:,} more' * bool(more)}. Scores and answers are for this class "
            "prior. This assumes that texts of one label look as they did in training."
        )


def correct_prior(
    probabilities: FloatArray, trained_prior: FloatArray, deployed_prior: FloatArray, *, multi: bool = False
) -> Floats:
    """Probabilities (n, k) for shares (k,) of the labels other than those in training (Elkan 2001, theorem 2;
    Saerens, Latinne & Decaestecker 2002, equation 2.4). With ``multi`` each label is corrected by itself.

    A label without training rows keeps probability 0. Raises DataError where shares and probabilities do not fit.
    """
    given, trained, deployed = (
        np.asarray(array, dtype=np.float64) for array in (probabilities, trained_prior, deployed_prior)
    )
    if not trained.shape == deployed.shape == given.shape[1:]:
        raise DataError(f"shares {trained.shape} and {deployed.shape}: give one for each of {given.shape[1]} labels.")
    here = given * ratio(deployed, trained)
    others = (1 - given) * ratio(1 - deployed, 1 - trained)
    return ratio(here, here + others if multi else np.broadcast_to(here.sum(axis=1, keepdims=True), here.shape))


def estimate_prior(probabilities: FloatArray, trained_prior: FloatArray, *, multi: bool = False) -> PriorEstimate:
    """Shares of the labels among unlabelled texts, by expectation maximisation (Saerens et al. 2002, section 2.2).

    ``probabilities`` (n, k): calibrated, not yet corrected. ``trained_prior`` (k,). The interval is that of maximum
    likelihood (observed information); it holds where the probabilities are right and the texts of a label look as in
    training. Raises DataError without texts.
    """
    given, trained = np.asarray(probabilities, dtype=np.float64), np.asarray(trained_prior, dtype=np.float64)
    if len(given) == 0:
        raise DataError("unlabelled texts: there are none, so the shares of the labels cannot be estimated. Give some.")
    if multi:
        pairs = [np.stack([column, 1 - column], axis=1) for column in given.T]
        found = [_maximise(pair, np.array([share, 1 - share])) for pair, share in zip(pairs, trained, strict=True)]
        prior, error = np.array([shares[0] for shares, _, _ in found]), np.array([errors[0] for _, errors, _ in found])
        rounds = max(taken for _, _, taken in found)
    else:
        prior, error, rounds = _maximise(given, trained)
    notes = []
    if len(given) < LEAST_TEXTS:
        notes.append(
            f"{counted(len(given), 'text')}: few to estimate shares of labels from. Give {LEAST_TEXTS} or more."
        )
    if rounds >= ROUNDS:
        notes.append(
            f"The estimate did not settle in {ROUNDS:,} rounds: the classifier hardly tells the labels apart. Do not "
            "rely on it."
        )
    if (widest := float(Z95 * error.max())) > WIDEST:
        known = f"to ± {100 * widest:.0f} points only" if math.isfinite(widest) else "not at all"
        notes.append(
            f"The estimate is uncertain: one of the shares is known {known}. Give more texts, or name the shares "
            "yourself: --deploy-prior LABEL=SHARE."
        )
    ends = np.stack([prior - Z95 * error, prior + Z95 * error], axis=1).clip(0, 1)
    return PriorEstimate(prior, ends, len(given), rounds, rounds < ROUNDS, not notes, tuple(notes))


def wanted_prior(
    shares: Mapping[str, float], labels: Sequence[str], trained_prior: FloatArray, *, multi: bool = False
) -> Floats:
    """Shares (k,) from a wish such as ``{"spam": 0.134}``: labels that it does not name share what is left in the
    proportions of training; with ``multi`` they keep their share.

    Raises SettingsError with every problem of the wish.
    """
    trained = np.asarray(trained_prior, dtype=np.float64)
    problems = []
    for label, share in shares.items():
        if label not in labels:
            problems.append(f"--deploy-prior {label}={share:g}: no such label. {did_you_mean(label, labels)}")
        elif not 0 <= share < 1:
            problems.append(f"--deploy-prior {label}={share:g}: a share lies from 0 to below 1. Write 0.1 for 10 %.")
        elif share > 0 and trained[list(labels).index(label)] == 0:
            problems.append(f"--deploy-prior {label}={share:g}: no training row has this label. Add some.")
    if not shares:
        problems.append("--deploy-prior: names no label. Write, for example, --deploy-prior spam=0.134.")
    if problems:
        raise SettingsError(problems)
    named = np.array([label in shares for label in labels])
    result = np.array([shares.get(label, 0.0) for label in labels])
    if multi:
        return np.where(named, result, trained)
    total, rest = float(result.sum()), float(trained[~named].sum())
    told = ", ".join(f"{label}={share:g}" for label, share in shares.items())
    if total > 1 + 1e-6 or (rest == 0 and abs(total - 1) > 1e-6):
        raise SettingsError(f"--deploy-prior {told}: the shares add up to {total:g}. They must make 1 together.")
    if rest > 0:
        result[~named] = max(0.0, 1 - total) * trained[~named] / rest
    return np.asarray(result / result.sum())


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _maximise(given: Floats, trained: Floats) -> tuple[Floats, Floats, int]:
    """Most likely shares (k,), their standard errors (k,) and the rounds it took."""
    likelihood = ratio(given, np.broadcast_to(trained, given.shape))
    prior, rounds = trained.copy(), 0
    while rounds < ROUNDS:
        rounds += 1
        weights = likelihood * prior
        before, prior = prior, (weights / weights.sum(axis=1, keepdims=True)).mean(axis=0)
        if np.abs(prior - before).max() < SETTLED:
            break
    slopes = likelihood / (likelihood @ prior)[:, None]
    # Shares move only so that they still add up to 1: along the differences from the last of them.
    alive = np.flatnonzero(trained)
    steps = np.zeros((len(prior), max(0, len(alive) - 1)))
    steps[alive[:-1], range(len(alive) - 1)], steps[alive[-1]] = 1.0, -1.0
    information = steps.T @ (slopes.T @ slopes) @ steps
    try:
        variance = np.diag(steps @ np.linalg.inv(information) @ steps.T)
    except np.linalg.LinAlgError:
        variance = np.full(len(prior), np.inf)
    return prior, np.sqrt(np.maximum(variance, 0)), rounds
