"""`classtune next` against choice at random: labels that are needed to reach 95 % of the accuracy with all of them.

The embeddings of a set are made once (minilm-l6, mean). A draw starts from 50 random labels; 50 more at a time are
chosen as `next` chooses them (a tenth of them at random), or all at random, and a logistic regression on the embeddings
is fitted to all that are labelled and judged on the set's test rows. The rule was tuned on other draws.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sets
from common import Figure, main, note, silent, sms_spam
from numpy.typing import NDArray

from classtune.data.reading.tables import Table
from classtune.inference.vectors import model_vectors
from classtune.jobs.next import SHARE_AT_RANDOM, choose_texts, doubts

FIRST_SEED = 123
START, BATCH, POOL = 50, 50, 4000
REACHED = 0.95
MUST, STRIVE = 0.7, 0.5


@dataclass(frozen=True)
class Embedded:
    """A set: vectors [rows, width] and class numbers of the rows to choose from and of those that judge."""

    vectors: NDArray[np.float32]
    truth: NDArray[np.int64]
    test_vectors: NDArray[np.float32]
    test_truth: NDArray[np.int64]


def official(read: Callable[[], sets.Parts]) -> Embedded:
    table, _, test = read()
    assert test is not None
    return embedded(table.texts, list(table.labels or []), test.texts, list(test.labels or []))


def spam() -> Embedded:
    """A random fifth judges: this set has no test rows of its own."""
    table: Table = sms_spam()
    order = np.random.default_rng(FIRST_SEED).permutation(len(table.texts))
    parts = order[len(order) // 5 :], order[: len(order) // 5]
    texts, labels = (np.array(values, dtype=object) for values in (table.texts, table.labels))
    return embedded(*(list(values[rows]) for rows in parts for values in (texts, labels)))


def embedded(texts: list[str], labels: list[str], test_texts: list[str], test_labels: list[str]) -> Embedded:
    vectors = model_vectors("minilm-l6", [*texts, *test_texts], notify=note, progress=silent)
    names = sorted(set(labels))
    truth = np.array([names.index(label) for label in [*labels, *test_labels]], dtype=np.int64)
    count = len(texts)
    return Embedded(vectors[:count], truth[:count], vectors[count:], truth[count:])


def fitted(vectors: NDArray[Any], truth: NDArray[Any]) -> Any:
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 100 steps are enough here
        return LogisticRegression(C=10, max_iter=100, tol=1e-3).fit(vectors, truth)


def labels_needed(data: Embedded, seed: int, choose: Callable[[Any, Any, int], Any]) -> tuple[float, float]:
    """Labels until the accuracy is reached, between two batches in proportion; and the accuracy with all labels."""
    pool = np.random.default_rng(seed).permutation(len(data.truth))[:POOL]
    vectors, truth = data.vectors[pool], data.truth[pool]
    full = float((fitted(vectors, truth).predict(data.test_vectors) == data.test_truth).mean())
    known = np.arange(START)
    before = (0, 0.0)
    while True:
        model = fitted(vectors[known], truth[known])
        accuracy = float((model.predict(data.test_vectors) == data.test_truth).mean())
        if accuracy >= REACHED * full or len(known) == len(pool):
            if len(known) == START:
                return START, full
            share = (REACHED * full - before[1]) / (accuracy - before[1])
            return before[0] + share * (len(known) - before[0]), full
        before = (len(known), accuracy)
        free = np.setdiff1d(np.arange(len(pool)), known)
        chosen = choose(model.predict_proba(vectors[free]), vectors[free], seed + len(known))
        known = np.concatenate([known, free[chosen]])


def by_next(probabilities: Any, vectors: Any, seed: int) -> Any:
    drawn = round(SHARE_AT_RANDOM * BATCH)
    chosen = choose_texts(doubts(probabilities), vectors.__getitem__, BATCH, drawn, seed=seed)
    return np.array([row for row, _ in chosen])


def by_chance(probabilities: Any, vectors: Any, seed: int) -> Any:
    del vectors
    return np.random.default_rng(seed).permutation(len(probabilities))[:BATCH]


SETS: dict[str, Callable[[], Embedded]] = {
    "trec": lambda: official(sets.trec),
    "emotion": lambda: official(sets.emotion),
    "banking77": lambda: official(sets.banking77),
    "sms": spam,
}
HELD = ("trec", "emotion", "banking77")


def measure(args: argparse.Namespace) -> list[Figure]:
    figures = []
    for name in args.only:
        data, started = SETS[name](), time.perf_counter()
        seeds = range(args.first_seed, args.first_seed + args.draws)
        chosen = [labels_needed(data, seed, by_next) for seed in seeds]
        chance = [labels_needed(data, seed, by_chance) for seed in seeds]
        ratio = float(np.mean([count for count, _ in chosen]) / np.mean([count for count, _ in chance]))
        detail = {
            "next": [round(count) for count, _ in chosen],
            "random": [round(count) for count, _ in chance],
            "accuracy with all labels": [round(full, 4) for _, full in chosen],
            "seconds": time.perf_counter() - started,
        }
        must, strive = (MUST, STRIVE) if name in HELD else (None, None)
        title = f"next, {name}: labels needed against random"
        figures.append(Figure(title, ratio, "x", must=must, strive=strive, detail=detail))
    return figures


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)


if __name__ == "__main__":
    main(__doc__, measure, options)
