"""The default of `train` beside what ten lines by hand give on the same rows: every set, one command.

By hand: a sentence embedding (MiniLM, mean of the last states, length 1) + logistic regression; TF-IDF of words +
logistic regression, and + LinearSVC, as scikit-learn's own documentation has them. Official test rows where a set has
them; elsewhere, and for few rows a class, splits drawn with each seed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import sets
from common import Figure, main, note, silent, sms_spam
from numpy.typing import NDArray

from classtune.config import resolve
from classtune.data.dataset import prepare
from classtune.data.reading.tables import Table, table_from_rows
from classtune.jobs.train import train

FIRST_SEED = 123
Run = tuple[Table, Table | None, Table | None, int]  # training, validation and test rows, and the seed
EMBEDDING = "minilm-l6"
# Set → its parts and the figure that it is judged by.
OFFICIAL: dict[str, tuple[Callable[[], sets.Parts], str]] = {
    "trec": (sets.trec, "accuracy"),
    "banking77": (sets.banking77, "accuracy"),
    "emotion": (sets.emotion, "macro_f1"),
    "irony": (sets.irony, "macro_f1"),
    "offensive": (sets.offensive, "macro_f1"),
    "italian": (sets.italian, "macro_f1"),
    "imdb": (sets.imdb, "accuracy"),
    "goemotions": (sets.goemotions, "macro_f1"),
}
FEW: dict[str, Callable[[], Table]] = {
    "sms": sms_spam,
    "trec": lambda: sets.trec()[0],
    "banking77": lambda: sets.banking77()[0],
}


def ours(
    table: Table, seed: int, told: dict[str, Any], validation: Table | None = None, test: Table | None = None
) -> dict[str, Any]:
    """The result document of the default run."""
    settings = resolve(None, {"seed": seed, **told})
    return train(table, settings, validation=validation, test=test, notify=silent, progress=silent).result.document()


class Rows(NamedTuple):
    """The rows of a run as others learn from them. truth: a class number a row, or an indicator of each label."""

    texts: NDArray[np.object_]
    truth: NDArray[Any]
    learn: NDArray[np.int64]  # training and validation rows: by hand, both are learned from
    test: NDArray[np.int64]
    multi: bool  # several labels a text


def rows_of(
    table: Table, seed: int, told: dict[str, Any], validation: Table | None = None, test: Table | None = None
) -> Rows:
    """The rows that `train` has: its splits, without the training rows that stand in the test."""
    material = prepare(table, resolve(None, {"seed": seed, **told}), validation=validation, test=test)
    splits = material.splits
    learn = np.concatenate([splits.train, splits.validation])
    return Rows(np.array(material.texts, dtype=object), material.truth, learn, splits.test, material.multi)


def scores(truth: NDArray[Any], answers: NDArray[Any]) -> dict[str, float]:
    """Accuracy and macro F1 of answers, as shares."""
    from sklearn.metrics import accuracy_score, f1_score

    f1 = f1_score(truth, answers, average="macro", zero_division=0)
    return {"accuracy": float(accuracy_score(truth, answers)), "macro_f1": float(f1)}


def by_hand(rows: Rows) -> dict[str, dict[str, float]]:
    """Figures of the three ten-line classifiers."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    texts, truth, learn, test = rows.texts, rows.truth, rows.learn, rows.test
    many: Callable[[Any], Any] = OneVsRestClassifier if rows.multi else lambda model: model
    found, started = {}, time.perf_counter()
    states = embeddings([texts[row] for row in np.concatenate([learn, test])])
    model = many(LogisticRegression(max_iter=1000)).fit(states[: len(learn)], truth[learn])
    found["embedding + LR"] = scores(truth[test], model.predict(states[len(learn) :]))
    found["embedding + LR"]["seconds"] = time.perf_counter() - started
    for name, last in (("TF-IDF + LR", LogisticRegression(max_iter=1000)), ("TF-IDF + LinearSVC", LinearSVC())):
        started = time.perf_counter()
        fitted = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), many(last))
        fitted.fit(texts[learn], truth[learn])
        found[name] = {**scores(truth[test], fitted.predict(texts[test])), "seconds": time.perf_counter() - started}
    return found


def embeddings(texts: Sequence[str]) -> NDArray[np.float32]:
    """Sentence embeddings [texts, 384] as the model's card makes them: the mean of the last states, of length 1."""
    from classtune.model.backbone import load_backbone
    from classtune.model.pooled import pooled_states
    from classtune.sources import fetch_model

    settings = resolve(None, {"model": EMBEDDING, "pooling": "mean", "max_tokens": 256})
    network = load_backbone(fetch_model(EMBEDDING), ["a", "b"], settings)
    states = pooled_states(network, network.encoder.encode(list(texts)))
    unit: NDArray[np.float32] = states / np.linalg.norm(states, axis=1, keepdims=True)
    return unit


def few_rows(table: Table, count: int, seed: int) -> tuple[Table, Table]:
    """So many rows of each class, drawn with the seed, and the others (2,000 at most)."""
    labels = np.array(table.labels)
    order = np.random.default_rng(seed).permutation(len(labels))
    chosen = np.concatenate([order[labels[order] == label][:count] for label in np.unique(labels)])
    rest = np.setdiff1d(order, chosen)
    rest = np.random.default_rng(seed).permutation(rest)[:2000]

    def part(rows: NDArray[np.int64], name: str) -> Table:
        return table_from_rows([table.texts[row] for row in rows], labels[rows].tolist(), name=name)

    return part(chosen, f"{table.name}, {count} a class"), part(rest, f"{table.name} rest")


def draws(name: str, number: int) -> list[Run]:
    """So many draws of NAME-8, which is 8 rows of each class of the set NAME, and others to test."""
    source, count = name.rsplit("-", 1)
    table = FEW[source]()
    runs: list[Run] = []
    for seed in range(FIRST_SEED, FIRST_SEED + number):
        few, rest = few_rows(table, int(count), seed)
        runs.append((few, None, rest, seed))
    return runs


def official_runs(name: str, seeds: int) -> list[Run]:
    """A set with its official test rows, once; sms-spam, which has none, with so many seeds."""
    if name == "sms":
        return [(sms_spam(), None, None, FIRST_SEED + number) for number in range(seeds)]
    return [(*OFFICIAL[name][0](), FIRST_SEED)]


def ece_by_chance(bins: Sequence[dict[str, Any]]) -> float:
    """The calibration error in percent that a perfectly calibrated classifier shows in the mean on so few rows."""
    rng = np.random.default_rng(FIRST_SEED)
    rows = np.array([one["rows"] for one in bins])
    confidence = np.array([one["confidence"] for one in bins])
    drawn = rng.binomial(rows, confidence, size=(1000, len(rows))) / np.maximum(rows, 1)
    return float(100 * (np.abs(drawn - confidence) * rows / rows.sum()).sum(axis=1).mean())


def compared(
    name: str,
    key: str,
    runs: Sequence[Run],
    told: dict[str, Any],
) -> list[Figure]:
    """Our figure in percent, mean over the runs, with everything else in the detail."""
    detail: dict[str, Any] = {"runs": [], "key": key}
    for table, validation, test, seed in runs:
        result = ours(table, seed, told, validation, test)
        hand = by_hand(rows_of(table, seed, told, validation, test))
        others = {one["name"]: 100 * one[key] for one in result["comparison"]["candidates"]}
        run = {
            "seed": seed,
            "chosen": result["chosen"]["name"],
            "ours": 100 * result["test"][key],
            "ci95": [100 * end for end in result["test"][f"{key}_ci95"]],
            "errors": result["verdict"]["model_errors"],
            "ece": 100 * result["calibration"]["after"]["ece"],
            "ece_by_chance": ece_by_chance(result["calibration"]["after"]["bins"]),
            "log_loss": result["test"]["log_loss"],
            "seconds": result["timing"]["total"],
            "ms_per_text": result["verdict"]["ms_per_text"],
            "candidates": others,
            "by_hand": {one: 100 * figures[key] for one, figures in hand.items()},
            "by_hand_seconds": {one: figures["seconds"] for one, figures in hand.items()},
        }
        detail["runs"].append(run)
        note(f"{name}, seed {seed}: {run['ours']:.2f} ({run['chosen']}, {run['seconds']:.0f} s); {run['by_hand']}")
    mean = float(np.mean([run["ours"] for run in detail["runs"]]))
    return [Figure(f"{name}, {key}", mean, "%", detail=detail)]


def is_whole(name: str) -> bool:
    """Whether it names a whole set, not NAME-8."""
    return name == "sms" or name in OFFICIAL


def runs_of(name: str, args: argparse.Namespace) -> tuple[str, str, list[Run]]:
    """How a set, or NAME-8, is shown, the figure that it is judged by, and its runs."""
    if is_whole(name):
        shown, key = ("sms-spam", "accuracy") if name == "sms" else (name, OFFICIAL[name][1])
        return shown, key, official_runs(name, args.seeds)
    source, count = name.rsplit("-", 1)
    return f"{source}, {count} rows a class", "accuracy", draws(name, args.draws)


def measure(args: argparse.Namespace) -> list[Figure]:
    from classtune.config import parse_assignments

    told = parse_assignments(args.set)
    return [figure for name in args.only for figure in compared(*runs_of(name, args), told)]


def options(parser: argparse.ArgumentParser) -> None:
    few = ["sms-8", "trec-8", "banking77-8", "banking77-10", "banking77-50"]
    parser.add_argument("--only", nargs="+", default=["sms", *OFFICIAL, *few], help="sets; NAME-8 is 8 rows a class")
    parser.add_argument("--seeds", type=int, default=5, help="runs on sms-spam")
    parser.add_argument("--draws", type=int, default=3, help="draws of few rows")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings other than the defaults")


if __name__ == "__main__":
    main(__doc__, measure, options)
