"""Accuracy and calibration of the default settings beside TF-IDF + logistic regression on the same rows.

sms-spam: the leak-free split and the training drawn anew with each seed. The others: their official test rows, whose
copies are left out of training. Probabilities are calibrated on validation rows.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import sets
from common import Figure, main, note, silent, sms_spam

from classtune.config import resolve
from classtune.data.reading.tables import Table
from classtune.jobs.train import train

FIRST_SEED = 123
CALIBRATION = {"must": 3.0, "strive": 1.5}  # points of expected calibration error


class Official(NamedTuple):
    """A set with test rows of its own, the figure that it is judged by, and what that is held to."""

    read: Callable[[], sets.Parts]
    figure: str
    key: str
    must: float | None
    strive: float | None
    calibrated: bool = False


SETS = {
    "trec": Official(sets.trec, "TREC-6 official test, accuracy", "accuracy", 95, 97, calibrated=True),
    "emotion": Official(sets.emotion, "tweet emotion, macro F1", "macro_f1", 70, 76.1, calibrated=True),
    "goemotions": Official(sets.goemotions, "goemotions, macro F1", "macro_f1", 42, 46),
    "imdb": Official(sets.imdb, "imdb sample, 2,000 training reviews, accuracy", "accuracy", 85, 89),
    "italian": Official(sets.italian, "Italian tweets, macro F1", "macro_f1", None, None),
}


def run(
    table: Table,
    seed: int,
    told: dict[str, Any] | None = None,
    *,
    validation: Table | None = None,
    test: Table | None = None,
) -> dict[str, Any]:
    """The result document of one training with default settings, but for what is told."""
    settings = resolve(None, {"seed": seed, "keep_texts": False, **(told or {})})
    result = train(table, settings, validation=validation, test=test, notify=silent, progress=silent).result.document()
    note(f"{table.name}, seed {seed}, {result['timing']['total']:.0f} s: {result['verdict']['sentence']}")
    return result


def sms(seeds: int) -> list[Figure]:
    """Errors of the model over errors of the baseline, each the mean over the seeds."""
    table = sms_spam()
    results = [run(table, FIRST_SEED + number) for number in range(seeds)]
    ours = [result["verdict"]["model_errors"] for result in results]
    theirs = [result["verdict"]["baseline_errors"] for result in results]
    detail = {
        "test_rows": [result["splits"]["test"] for result in results],
        "errors": ours,
        "baseline_errors": theirs,
        "mean_errors": statistics.mean(ours),
        "mean_baseline_errors": statistics.mean(theirs),
        # The seeds' test rows overlap, so the interval is somewhat too narrow.
        "difference_ci95": paired_interval([a - b for a, b in zip(ours, theirs, strict=True)]),
        "depths": [result["depth"]["kept"] for result in results],
        "seconds": [result["timing"]["total"] for result in results],
    }
    name = f"sms-spam, {seeds} seeds: mean errors / those of TF-IDF + LR"
    return [Figure(name, sum(ours) / max(1, sum(theirs)), "", 1.0, 0.5, detail), _calibration("sms-spam", results)]


def paired_interval(differences: list[int]) -> list[float] | None:
    """Student's 95 % interval of the mean difference; None for a single pair."""
    from scipy.stats import t

    if len(differences) < 2:
        return None
    half = float(t.ppf(0.975, len(differences) - 1)) * statistics.stdev(differences) / len(differences) ** 0.5
    return [statistics.mean(differences) - half, statistics.mean(differences) + half]


def official(name: str, seeds: int, told: dict[str, Any]) -> list[Figure]:
    """Mean over the runs, in percent; intervals are those of the first run's test rows."""
    chosen = SETS[name]
    table, validation, test = chosen.read()
    results = [run(table, FIRST_SEED + n, told, validation=validation, test=test) for n in range(seeds)]
    first, key = results[0], chosen.key
    detail = {
        "splits": first["splits"],
        "ci95": _percent(first["test"][f"{key}_ci95"]),
        "runs": _percent([result["test"][key] for result in results]),
        "baseline": 100 * first["baseline"][key],
        "baseline_ci95": _percent(first["baseline"][f"{key}_ci95"]),
        "depths": [result["depth"]["kept"] for result in results],
        "seconds": [result["timing"]["total"] for result in results],
        "told": told,
    }
    figure = chosen.figure if not told.get("model") else f"{chosen.figure} ({told['model']})"
    figures = [Figure(figure, statistics.mean(detail["runs"]), "%", chosen.must, chosen.strive, detail)]
    return [*figures, _calibration(name, results)] if chosen.calibrated else figures


def _calibration(name: str, results: list[dict[str, Any]]) -> Figure:
    """Expected calibration error on the test rows, 15 bins of equal mass, mean over the runs."""
    errors = [100 * result["calibration"]["after"]["ece"] for result in results]
    detail = {
        "runs": errors,
        "before": [100 * result["calibration"]["before"]["ece"] for result in results],
        "methods": [result["calibration"]["method"] for result in results],
        "baseline": [100 * result["baseline"]["ece"] for result in results],
    }
    return Figure(f"{name}, calibration error", statistics.mean(errors), "pts", **CALIBRATION, detail=detail)


def _percent(shares: list[float]) -> list[float]:
    return [100 * share for share in shares]


def measure(args: argparse.Namespace) -> list[Figure]:
    from classtune.config import parse_assignments

    told = parse_assignments(args.set)
    figures: list[Figure] = []
    for name in args.only:
        figures += sms(args.seeds) if name == "sms" else official(name, args.official_seeds, told)
    return figures


def options(parser: argparse.ArgumentParser) -> None:
    names = ["sms", *SETS]
    parser.add_argument("--seeds", type=int, default=5, help="runs on sms-spam")
    parser.add_argument("--official-seeds", type=int, default=1, help="runs on sets with official test rows")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings other than the defaults")


if __name__ == "__main__":
    main(__doc__, measure, options)
