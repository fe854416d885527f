"""Scores that become probabilities: calibration fitted on validation rows, and how reliable the result is.

Four methods, from simple to rich: ``none``; ``temperature``, one number (Guo, Pleiss, Sun & Weinberger 2017);
``vector``, a scale and a bias for each class (the same paper; Platt 1999 for each label of a multi-label task);
``isotonic``, a rising curve for each class (Zadrozny & Elkan 2002). A row's result depends on that row alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from classtune.data.folds import FOLDS, deal
from classtune.errors import DataError, SettingsError, counted, did_you_mean
from classtune.stats import FloatArray, Floats, IntArray, Truth, best_scale, log_loss, sigmoid, softmax

SIMPLE = ("none", "temperature")
METHODS = (*SIMPLE, "vector", "isotonic")
# Below the first, nothing is fitted; below the second, a method with numbers for each class would fit noise, and below
# the third it is not taken unasked: it can change answers.
LEAST_ROWS, ROWS_FOR_MANY_NUMBERS, ROWS_TO_CHANGE_ANSWERS = 10, 50, 500
# Numbers for each class are fitted where so many rows a class can tell them: of thousands of classes in minutes, too.
ROWS_OF_A_LABEL = 10


@dataclass(frozen=True)
class Calibration:
    """How logits become probabilities; made by ``fit_calibration``.

    scale, bias: what logits are multiplied by and what is added, one number each, or one a class.
    curves: for ``isotonic``, breakpoints a class: log-odds (rising) and their probabilities.
    candidates: mean log loss (nats) of each method on rows it was not fitted on; empty where a method was asked for.
    rows: how many rows it was fitted on.
    folded: method, scale and bias that the network's own weights carry since; None where they carry none.
    """

    method: str = "none"
    multi: bool = False
    scale: tuple[float, ...] = (1.0,)
    bias: tuple[float, ...] = (0.0,)
    curves: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = ()
    candidates: dict[str, float] | None = None
    rows: int = 0
    notes: tuple[str, ...] = ()
    folded: dict[str, Any] | None = None

    def apply(self, logits: FloatArray) -> Floats:
        """Probabilities (n, k) of logits (n, k): rows sum to 1, or with ``multi`` each label has its own."""
        scores = np.asarray(logits, dtype=np.float64)
        if self.curves:
            odds = _log_odds(scores, self.multi)
            each = np.stack([np.interp(odds[:, c], *curve) for c, curve in enumerate(self.curves)], axis=1)
            return each if self.multi else np.asarray(each / each.sum(axis=1, keepdims=True))
        scores = scores * np.array(self.scale) + np.array(self.bias)
        return sigmoid(scores) if self.multi else softmax(scores)

    def record(self) -> dict[str, Any]:
        """For JSON; ``from_record`` reads it."""
        return {**asdict(self), "temperature": 1 / self.scale[0] if self.method == "temperature" else None}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """What ``record`` gave, also after a journey through JSON."""
        values = {key: value for key, value in record.items() if key != "temperature"}
        lists = {key: tuple(record[key]) for key in ("scale", "bias", "notes")}
        curves = tuple((tuple(odds), tuple(shares)) for odds, shares in record["curves"])
        return cls(**{**values, **lists, "curves": curves})


def fit_calibration(
    logits: FloatArray,
    truth: Truth,
    *,
    method: str = "auto",
    multi: bool = False,
    seed: int,
    groups: IntArray | None = None,
) -> Calibration:
    """Fit a calibration on rows that the network was not trained on, and that will not judge it.

    groups (n,): equal for rows that no fold divides, such as copies of a text; None: each row for itself.
    ``logits`` (n, k); ``truth`` (n,) class numbers, or with ``multi`` booleans (n, k). ``auto`` cross-validates the
    log loss of every method on these rows. It takes none or a temperature, whichever loses less, and a richer method
    only where it is better by more than one standard error of the paired difference. With too few rows for a method, a
    simpler one is taken, and ``notes`` says so. Same input, same result.
    Raises SettingsError for an unknown method; DataError for logits that are not finite or do not fit the truth.
    """
    check_method(method)
    scores = np.asarray(logits, dtype=np.float64)
    hot = _one_hot(scores, truth, multi)
    scarce = _scarce(hot, ROWS_TO_CHANGE_ANSWERS if method == "auto" else ROWS_FOR_MANY_NUMBERS)
    notes: list[str] = []
    candidates: dict[str, float] | None = None
    if len(scores) < LEAST_ROWS:
        if method != "none":
            notes.append(
                f"Calibration: {counted(len(scores), 'held-out row')}, too few to fit one; scores stay as they are."
            )
        chosen = "none"
    elif method == "auto":
        losses = _held_out_losses(scores, hot, multi, SIMPLE if scarce else METHODS, seed, groups)
        candidates = {name: float(loss.mean()) for name, loss in losses.items()}
        chosen = _simplest_of_the_best(losses)
    else:
        chosen = "temperature" if scarce and method not in SIMPLE else method
    if scarce and len(scores) >= LEAST_ROWS and method not in SIMPLE:
        notes.append(f"Calibration: {scarce}, so nothing richer than one temperature was fitted.")
    fitted = _fit(chosen, scores, hot, multi)
    return Calibration(chosen, multi, **fitted, candidates=candidates, rows=len(scores), notes=tuple(notes))


def check_method(method: str) -> None:
    """Raise SettingsError for a method that does not exist."""
    if method not in ("auto", *METHODS):
        raise SettingsError(f"calibration = {method!r}: is unknown. {did_you_mean(method, ('auto', *METHODS))}")


def _one_hot(scores: Floats, truth: Truth, multi: bool) -> Floats:
    """Truth as 0 and 1 (n, k), checked."""
    wanted = scores.shape if multi else scores.shape[:1]
    if scores.ndim != 2 or truth.shape != wanted:
        raise DataError(f"calibration: logits {scores.shape} and truth {truth.shape} do not fit. Give a row a text.")
    if wrong := np.count_nonzero(~np.isfinite(scores)):
        raise DataError(f"calibration: {wrong:,} logits are not finite. The training diverged; lower learning_rate.")
    if multi:
        return truth.astype(np.float64)
    if len(truth) and not 0 <= truth.min() <= truth.max() < scores.shape[1]:
        raise DataError(f"calibration: class numbers {truth.min()} … {truth.max()} for {scores.shape[1]} labels.")
    return np.asarray(np.eye(scores.shape[1])[truth])


def _scarce(hot: Floats, least: int) -> str:
    """Why there is too little for numbers of each class; empty where there is enough."""
    if len(hot) < least:
        return f"{len(hot)} held-out rows are few"
    if len(hot) < ROWS_OF_A_LABEL * hot.shape[1]:
        return f"{len(hot):,} held-out rows are few for {hot.shape[1]:,} labels"
    missing = np.count_nonzero((hot.sum(axis=0) == 0) | (hot.sum(axis=0) == len(hot)))
    noun = "label is" if missing == 1 else "labels are"
    return f"{missing} {noun} on none or all of the held-out rows" if missing else ""


def _held_out_losses(
    scores: Floats, hot: Floats, multi: bool, methods: tuple[str, ...], seed: int, groups: IntArray | None
) -> dict[str, Floats]:
    """Log loss (n,) of each method on the folds that it was not fitted on."""
    truth = hot > 0 if multi else hot.argmax(axis=1)
    fold = deal(truth, FOLDS, seed=seed, groups=groups)
    losses = {name: np.empty(len(scores)) for name in methods}
    for part in (fold == number for number in np.unique(fold)):
        for name, loss in losses.items():
            fitted = Calibration(name, multi, **_fit(name, scores[~part], hot[~part], multi))
            losses_of_part = log_loss(fitted.apply(scores[part]), truth[part])
            loss[part] = losses_of_part.sum(axis=1) if multi else losses_of_part
    return losses


def _simplest_of_the_best(losses: dict[str, Floats]) -> str:
    """None or a temperature, whichever has the lower held-out loss; a richer method only where it is clearly better."""
    chosen = min((name for name in SIMPLE if name in losses), key=lambda name: float(losses[name].mean()))
    for name in METHODS[len(SIMPLE) :]:
        if name in losses:
            gain = losses[chosen] - losses[name]
            if gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)):
                chosen = name
    return chosen


def _fit(method: str, scores: Floats, hot: Floats, multi: bool) -> dict[str, Any]:
    """What ``Calibration`` needs beside the method."""
    if method == "none":
        return {}
    if method == "isotonic":
        return {"curves": _rising_curves(scores, hot, multi)}
    start = best_scale(scores, hot > 0 if multi else hot.argmax(axis=1))
    if method == "temperature":
        return {"scale": (start,), "bias": (0.0,)}
    # Drawn towards the temperature, which it can become.
    scale, bias = _scale_and_bias(scores, hot, multi, start=start)
    return {"scale": tuple(scale.tolist()), "bias": tuple(bias.tolist())}


def _scale_and_bias(scores: Floats, hot: Floats, multi: bool, *, start: float) -> tuple[Floats, Floats]:
    """The most likely scale and bias of each class under a standard normal for log(scale / start) and for the bias.

    That prior weighs no more than a few rows, but keeps probabilities off 0 and 1 where no row is wrong.
    """
    from scipy.optimize import minimize

    classes = scores.shape[1]

    def unpack(numbers: Floats) -> tuple[Floats, Floats]:
        return start * np.exp(numbers[:classes]), numbers[classes:]

    def cost(numbers: Floats) -> tuple[float, Floats]:
        scale, bias = unpack(numbers)
        scaled = scores * scale + bias
        if multi:
            loss, gap = np.logaddexp(0, scaled) - scaled * hot, sigmoid(scaled) - hot
        else:
            loss = np.logaddexp.reduce(scaled, axis=1) - (scaled * hot).sum(axis=1)
            gap = softmax(scaled) - hot
        of_scale, of_bias = (gap * scores * scale).sum(axis=0), gap.sum(axis=0)
        return float(loss.sum() + numbers @ numbers / 2), np.concatenate([of_scale, of_bias]) + numbers

    found = minimize(cost, np.zeros(2 * classes), jac=True, method="L-BFGS-B")
    return unpack(found.x)


def _rising_curves(scores: Floats, hot: Floats, multi: bool) -> tuple[Any, ...]:
    """Isotonic regression of each class on its log-odds, kept off 0 and 1 by what n rows can tell: 1 / (n + 2)."""
    from sklearn.isotonic import IsotonicRegression

    odds, least = _log_odds(scores, multi), 1 / (len(scores) + 2)
    curves = []
    for column, target in zip(odds.T, hot.T, strict=True):
        curve = IsotonicRegression(y_min=least, y_max=1 - least).fit(column, target)
        curves.append((tuple(curve.X_thresholds_.tolist()), tuple(curve.y_thresholds_.tolist())))
    return tuple(curves)


def _log_odds(scores: Floats, multi: bool) -> Floats:
    """Log-odds (n, k) of each class against all others; exact where a probability would round to 1."""
    if multi:
        return scores
    top = np.arange(scores.shape[1]) == scores.argmax(axis=1, keepdims=True)
    below = np.logaddexp.reduce(np.where(top, -np.inf, scores), axis=1, keepdims=True)
    share = scores - np.logaddexp(below, scores.max(axis=1, keepdims=True))  # logarithm of the probability
    return np.where(top, scores - below, share - np.log1p(-np.exp(np.where(top, -1.0, share))))
