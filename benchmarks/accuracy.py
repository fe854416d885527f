"""Accuracy of the default settings beside TF-IDF + logistic regression on the same rows.

sms-spam: the leak-free split and the training drawn anew with each seed. TREC-6 and tweet emotion: their official test
rows; training rows that stand in the test are left out.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

from common import Figure, main, needs, note, silent, sms_spam

from classtune.config import resolve
from classtune.data.tables import Table, table_from_rows
from classtune.workflow import train

FIRST_SEED = 123


def run(table: Table, seed: int, *, validation: Table | None = None, test: Table | None = None) -> dict[str, Any]:
    """The result document of one training with default settings."""
    settings = resolve(None, {"seed": seed})
    result = train(table, settings, validation=validation, test=test, notify=silent, progress=silent).result
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
    return [Figure(name, sum(ours) / max(1, sum(theirs)), "", 1.0, 0.5, detail)]


def paired_interval(differences: list[int]) -> list[float] | None:
    """Student's 95 % interval of the mean difference; None for a single pair."""
    from scipy.stats import t

    if len(differences) < 2:
        return None
    half = float(t.ppf(0.975, len(differences) - 1)) * statistics.stdev(differences) / len(differences) ** 0.5
    return [statistics.mean(differences) - half, statistics.mean(differences) + half]


def trec(seeds: int) -> list[Figure]:
    """Six classes of questions; the fine label after the colon is not used."""
    folder = needs("trec/train_5500.label", "trec/TREC_10.label") / "trec"

    def read(name: str, shown: str) -> Table:
        # Not splitlines: latin-1 has a character that it takes for the end of a line.
        lines = [line for line in (folder / name).read_text(encoding="latin-1").split("\n") if line]
        parts = [line.partition(" ") for line in lines]
        return table_from_rows(
            [text for _, _, text in parts], [label.partition(":")[0] for label, _, _ in parts], name=shown
        )

    table, test = read("train_5500.label", "TREC-6"), read("TREC_10.label", "TREC-6 test")
    results = [run(table, FIRST_SEED + number, test=test) for number in range(seeds)]
    return [_official("TREC-6 official test, accuracy", "accuracy", results, 95, 97)]


def emotion(seeds: int) -> list[Figure]:
    """TweetEval's four emotions."""
    folder = needs("tweeteval/emotion/train_text.txt") / "tweeteval" / "emotion"
    names = dict(line.split("\t") for line in (folder / "mapping.txt").read_text(encoding="utf-8").split("\n") if line)

    def read(part: str, shown: str) -> Table:
        texts, labels = (
            (folder / f"{part}_{kind}.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
            for kind in ("text", "labels")
        )
        return table_from_rows(texts, [names[label.strip()].strip() for label in labels], name=shown)

    table, validation, test = (
        read(part, f"tweet emotion{shown}")
        for part, shown in (("train", ""), ("val", " validation"), ("test", " test"))
    )
    results = [run(table, FIRST_SEED + number, validation=validation, test=test) for number in range(seeds)]
    return [_official("tweet emotion, macro F1", "macro_f1", results, 70, 76.1)]


def _official(figure: str, key: str, results: list[dict[str, Any]], must: float, strive: float) -> Figure:
    """Mean over the runs, in percent; intervals are those of the first run's test rows."""
    detail = {
        "splits": results[0]["splits"],
        "ci95": _percent(results[0]["test"][f"{key}_ci95"]),
        "runs": _percent([result["test"][key] for result in results]),
        "baseline": 100 * results[0]["baseline"][key],
        "baseline_ci95": _percent(results[0]["baseline"][f"{key}_ci95"]),
        "depths": [result["depth"]["kept"] for result in results],
        "seconds": [result["timing"]["total"] for result in results],
    }
    return Figure(figure, statistics.mean(detail["runs"]), "%", must, strive, detail)


def _percent(shares: list[float]) -> list[float]:
    return [100 * share for share in shares]


def measure(args: argparse.Namespace) -> list[Figure]:
    figures: list[Figure] = []
    for name in args.only:
        figures += sms(args.seeds) if name == "sms" else SETS[name](args.official_seeds)
    return figures


SETS = {"sms": sms, "trec": trec, "emotion": emotion}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=5, help="runs on sms-spam")
    parser.add_argument("--official-seeds", type=int, default=1, help="runs on sets with official test rows")
    parser.add_argument("--only", nargs="+", choices=list(SETS), default=list(SETS))


if __name__ == "__main__":
    main(__doc__, measure, options)
