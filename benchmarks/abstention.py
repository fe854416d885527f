"""Is the promise of ``--max-error`` kept? Validation rows drawn 200 times from populations whose true error is known.

sms-spam: one training with default settings; its validation and test rows, which it was not trained on, are the
population. (That the validation rows chose the epoch does not matter here: the network stays the same in every draw.)
Synthetic: populations made to be hard for a promise. In each draw everything is fitted anew: calibration, then
threshold. A promise is broken where the error among answered texts of the whole population is larger.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from common import Figure, main, note, silent, sms_spam

from classtune.config.areas import DecisionSettings
from classtune.decisions.decide import decide

PROMISES = (0.01, 0.02, 0.05)
SYNTHETIC_ROWS = 100_000
LABELS = ("ham", "spam")

# Rank of a text by confidence, from 0 to 1, the surest, to its chance of a wrong answer in units of the promise.
HARD: dict[str, Callable[[Any], Any]] = {
    "wrong where unsure": lambda rank: 8 * (1 - rank) ** 3,
    "wrong labels among the surest": lambda rank: 0.7 + 6 * (1 - rank) ** 2,
    "a little too wrong everywhere": lambda rank: np.full(len(rank), 1.05),
    "up and down": lambda rank: 1 + 0.9 * np.sin(25 * rank),
}


def spam_population(seed: int) -> tuple[Any, Any]:
    """Logits (n, 2) and truth (n,) of the sms-spam rows that the network was not trained on."""
    from classtune.config import resolve
    from classtune.data.dataset import prepare
    from classtune.jobs.train import train

    table, settings = sms_spam(), resolve(None, {"seed": seed})
    trained = train(table, settings, notify=silent, progress=silent)
    material = prepare(table, settings)
    rows = np.concatenate([material.splits.validation, material.splits.test])
    return trained.predictor.logits([material.texts[row] for row in rows]), material.truth[rows]


def synthetic_population(kind: str, max_error: float, seed: int) -> tuple[Any, Any]:
    """The same for made rows: the answer is the class of the larger logit, wrong as ``HARD`` says."""
    rng = np.random.default_rng(seed)
    rank, answer = rng.random(SYNTHETIC_ROWS), rng.integers(0, 2, SYNTHETIC_ROWS)
    wrong = rng.random(SYNTHETIC_ROWS) < np.minimum(1, max_error * HARD[kind](rank))
    half = (0.01 + 4 * rank)[:, None] / 2
    return np.where(np.arange(2) == answer[:, None], half, -half), np.where(wrong, 1 - answer, answer)


def draws(logits: Any, truth: Any, max_error: float, args: argparse.Namespace) -> dict[str, Any]:
    """What became of the promises made from ``args.draws`` samples of ``args.rows`` rows."""
    rng = np.random.default_rng(args.seed)
    prior = np.bincount(truth, minlength=2) / len(truth)
    shares, errors, wishes = [], [], DecisionSettings(max_error=max_error)
    for number in range(args.draws):
        drawn = rng.integers(0, len(truth), args.rows)
        found = decide(logits[drawn], truth[drawn], LABELS, wishes, trained_prior=prior, seed=number)
        if found.abstention is None or not found.abstention.promised:
            continue
        answers = found.choices(found.probabilities(logits))
        answered = answers >= 0
        shares.append(float(answered.mean()))
        errors.append(float((answers != truth)[answered].mean()))
    broken = sum(error > max_error for error in errors)
    return {
        "draws": args.draws,
        "rows": args.rows,
        "population": len(truth),
        "error_of_all": float((logits.argmax(axis=1) != truth).mean()),
        "promised": len(errors),
        "broken": broken,
        "broken_ci95": _interval(broken, args.draws),
        "mean_answered": float(np.mean(shares)) if shares else None,
        "mean_error_of_answered": float(np.mean(errors)) if errors else None,
    }


def measure(args: argparse.Namespace) -> list[Figure]:
    figures = []
    for name in args.only:
        real = spam_population(args.seed) if name == "sms" else None
        for max_error in PROMISES:
            cases = (
                {"sms-spam": real}
                if real
                else {f"synthetic, {kind}": synthetic_population(kind, max_error, args.seed) for kind in HARD}
            )
            for case, (logits, truth) in cases.items():
                detail = draws(logits, truth, max_error, args)
                figure = f"{case}: promises of {100 * max_error:g} % broken, of {args.draws} draws"
                # Kept at the stated rate: no more broken than 5 % would leave by chance once in a thousand benchmarks.
                must = 100 * _most_by_chance(args.draws) / args.draws
                figures.append(Figure(figure, 100 * detail["broken"] / args.draws, "%", must, 5.0, detail))
                note(f"{figure}: {detail['broken']} ({detail['promised']} made)")
    return figures


def _most_by_chance(number: int) -> int:
    from scipy.stats import binom

    return int(binom.ppf(0.999, number, 0.05))


def _interval(count: int, number: int) -> list[float]:
    from classtune.stats import wilson

    return wilson(count, number)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--draws", type=int, default=200, help="validation sets drawn for each promise")
    parser.add_argument("--rows", type=int, default=557, help="validation rows in each")
    parser.add_argument("--seed", type=int, default=123)
    parser.add_argument("--only", nargs="+", choices=["sms", "synthetic"], default=["sms", "synthetic"])


if __name__ == "__main__":
    main(__doc__, measure, options)
