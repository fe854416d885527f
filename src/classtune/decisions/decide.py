"""What stands between logits and answers, fitted on validation rows; `decisions.py` applies it.

What validation rows are used for, and what that does to a promise of ``max_error``:

- For two labels, temperature changes neither the answers nor the order of texts by confidence. What a promise is made
  of does not depend on it, so every validation row serves both.
- Everything else that is fitted (curves, scales of classes, thresholds; temperature with a prior, with costs or with
  more than two labels) can change answers or their order. Then a third of the rows fits, the others promise.
- They also chose the epoch. Told how many ``networks`` they compared, the promise divides its risk by that number
  (Bonferroni) and holds for whichever was chosen; for one network this changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from classtune.config.areas import DecisionSettings
from classtune.data.folds import deal
from classtune.decisions.abstention import CONFIDENCE, Abstention, promise
from classtune.decisions.calibration import SIMPLE, check_method, fit_calibration
from classtune.decisions.costs import by_cost
from classtune.decisions.decisions import Decisions, Prior
from classtune.decisions.prior import wanted_prior
from classtune.decisions.thresholds import Thresholds, by_f1, by_wish, check_wishes
from classtune.errors import DataError, SettingsError
from classtune.stats import FloatArray, Floats, IntArray, Truth

SHARE_THAT_FITS = 1 / 3
ROWS_FOR_F1 = 50
_SHOWN_LABELS = 10


def decide(
    logits_validation: FloatArray,
    truth_validation: Truth,
    labels: Sequence[str],
    wishes: DecisionSettings,
    *,
    trained_prior: FloatArray,
    multi: bool = False,
    seed: int = 123,
    networks: int = 1,
    groups: IntArray | None = None,
) -> Decisions:
    """Fit what stands between logits and answers on validation rows.

    ``logits_validation`` (n, k); ``truth_validation`` (n,) class numbers, or with ``multi`` booleans (n, k).
    ``trained_prior`` (k,): shares of the labels that the network learned from (with balanced class weights 1 / k each).
    ``networks``: how many networks (epochs) were compared on these rows; see the top of this file. ``groups`` (n,):
    equal for copies of a text, which cross-validation never divides.
    Same input, same result.
    Raises SettingsError with every wish that cannot be read or that no row can serve; DataError for bad arrays.
    """
    trained = np.asarray(trained_prior, dtype=np.float64)
    if trained.shape != (len(labels),) or len(logits_validation) != len(truth_validation):
        raise DataError(
            f"decisions: {len(labels)} labels with {trained.shape} shares, {len(logits_validation):,} rows of logits "
            f"with {len(truth_validation):,} of truth. Give one share a label and one row a text."
        )
    deployed, costs = read_wishes(wishes, labels, trained, multi, rows=len(truth_validation))
    trained_shares = tuple(trained.tolist())
    prior = Prior(trained_shares, trained_shares if deployed is None else tuple(deployed.tolist()))
    plain = replace(Decisions.plain(labels, multi), prior=prior, thresholds=costs)
    notes = list(costs.notes if costs else ())
    if len(truth_validation) == 0:
        return replace(
            plain, notes=(*notes, "There are no held-out rows, so probabilities are as the network gives them.")
        )
    fits, promises = _rows(truth_validation, wishes, labels, seed, groups)
    truth = truth_validation[fits]
    method = wishes.calibration
    if wishes.max_error is not None and method == "auto" and len(fits) == len(promises):
        method = "temperature"  # the others could change the order that the promise rests on
    own = None if groups is None else groups[fits]
    calibration = fit_calibration(logits_validation[fits], truth, method=method, multi=multi, seed=seed, groups=own)
    if calibration.method not in SIMPLE:  # fitted class by class, probabilities speak of the rows that fitted them
        shares = tuple(_shares(truth, len(labels)).tolist())
        prior = Prior(shares, prior.deployed if wishes.deploy_prior else shares)
    found = replace(plain, calibration=calibration, prior=prior)
    notes += calibration.notes
    weights, unseen = np.ones(len(logits_validation)), False
    if deployed is not None and not multi:
        present = _shares(truth_validation, len(labels))
        weights = (deployed / np.maximum(present, 1 / len(weights)))[truth_validation]
        unseen = bool((deployed[present == 0] > 0).any())
    # Rows kept with a chance of weight / largest weight are drawn as from the field. The pair is a stream of its own:
    # the same seed has shuffled these rows before.
    thin = np.random.default_rng([seed, 1]).random(len(weights)) < weights / weights.max()
    if unseen:  # nothing can be said of a field with labels that no validation row has
        thin[:] = False
    if multi or wishes.precision or wishes.recall:
        probabilities = found.probabilities(logits_validation[fits])
        start: Sequence[float | None] = (None,) * len(labels)
        if costs:
            start = costs.least
        elif multi and len(truth) >= ROWS_FOR_F1:
            start = by_f1(probabilities, truth)
        thresholds = by_wish(
            probabilities,
            truth,
            labels,
            precision=wishes.precision,
            recall=wishes.recall,
            start=start,
            weights=weights[fits],
            thin=thin[fits],
        )
        found = replace(found, thresholds=replace(thresholds, costs=None if costs is None else costs.costs))
        notes += thresholds.notes
    if wishes.max_error is not None:
        rows = promises[thin[promises]]
        chosen, confidence = found.chosen(found.probabilities(logits_validation[rows]))
        level = (1 - CONFIDENCE) / networks
        abstention = promise(confidence, chosen != truth_validation[rows], wishes.max_error, level=level)
        found = replace(found, abstention=abstention)
        absent = [
            label for label, share in zip(labels, _shares(truth_validation, len(labels)), strict=True) if not share
        ]
        if absent:
            notes.append(_unheard(absent, promised=abstention.promised))
        notes += _how_promised(abstention, len(fits), len(promises), len(rows), len(truth_validation), networks)
    return replace(found, notes=tuple(notes))


def read_wishes(
    wishes: DecisionSettings, labels: Sequence[str], trained: Floats, multi: bool, *, rows: int
) -> tuple[Floats | None, Thresholds | None]:
    """The wished shares of the labels (k,) and the thresholds by cost, of which ``rows`` validation rows will decide.

    Raises SettingsError with everything that is wrong: ask before a long training, not after it.
    """
    problems: list[str] = []

    def attempt(work: Callable[[], Any]) -> Any:
        try:
            return work()
        except SettingsError as error:
            problems.extend(error.problems)

    shares, cost = wishes.deploy_prior, wishes.cost
    attempt(lambda: check_method(wishes.calibration))
    deployed = attempt(lambda: wanted_prior(shares, labels, trained, multi=multi)) if shares is not None else None
    costs = attempt(lambda: by_cost(cost, labels, trained, multi=multi)) if cost is not None else None
    attempt(lambda: check_wishes(wishes.precision, wishes.recall, labels))
    if cost is not None and (wishes.precision or wishes.recall):
        problems.append("--cost with --precision or --recall: each sets the thresholds. Give one of them.")
    if wishes.max_error is not None and not 0 < wishes.max_error < 1:
        problems.append(f"--max-error {wishes.max_error:g}: lies between 0 and 1. Write 0.01 for 1 %.")
    if wishes.max_error is not None and multi:
        problems.append("--max-error: texts have many labels here, and it promises for one. Use --precision LABEL=….")
    needing = {
        "--precision": wishes.precision,
        "--recall": wishes.recall,
        "--max-error": wishes.max_error,
        f"--calibration {wishes.calibration}": wishes.calibration not in {"auto", "none"},
    }
    if rows == 0 and (named := [flag for flag, wish in needing.items() if wish]):
        problems.append(f"{', '.join(named)}: there are no validation rows. Give some, or a larger validation share.")
    if problems:
        raise SettingsError(problems)
    return deployed, costs


def _shares(truth: Truth, labels: int) -> Floats:
    """The share of rows (k,) that carry each label."""
    return truth.mean(axis=0) if truth.ndim == 2 else np.bincount(truth, minlength=labels) / len(truth)


def _rows(
    truth: Truth, wishes: DecisionSettings, labels: Sequence[str], seed: int, groups: IntArray | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows that fit and the rows that make a promise: all for both where that does no harm."""
    every = np.arange(len(truth))
    ranked_by_two = len(labels) == 2 and wishes.calibration in {"auto", "temperature"}
    shifted = wishes.deploy_prior is not None or wishes.cost is not None
    harmless = wishes.calibration == "none" or (ranked_by_two and not shifted)
    if wishes.max_error is None or (harmless and not wishes.precision and not wishes.recall):
        return every, every
    fits = deal(truth, round(1 / SHARE_THAT_FITS), seed=seed, groups=groups) == 0
    return every[fits], every[~fits]


def _unheard(absent: Sequence[str], *, promised: bool) -> str:
    """That labels which no held-out row has are outside what the held-out rows promise."""
    names = ", ".join(map(repr, absent[:_SHOWN_LABELS])) + (", …" if len(absent) > _SHOWN_LABELS else "")
    what = (
        "What is promised holds among texts of the other labels only" if promised else "Nothing can be promised of it"
    )
    return f"No held-out row has {names}. {what}. Add held-out rows of every label."


def _how_promised(abstention: Abstention, fitted: int, promised: int, used: int, rows: int, networks: int) -> list[str]:
    notes = [abstention.sentence]
    if promised < rows:
        notes.append(f"{fitted:,} held-out rows fitted the probabilities; the other {promised:,} served the promise.")
    if used < promised:
        notes.append(f"{used:,} of them were drawn so that the labels have the shares of the field.")
    if networks > 1:
        notes.append(f"The held-out rows also chose among {networks} classifiers; the promise allows for that.")
    return notes
