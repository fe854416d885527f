"""`classtune drift`: false alarms where nothing has changed, and alarms where one label is twice as frequent.

A bundle is trained on 2,500 rows of a set (no fine-tuning); the rows that it never saw are the world. 100 times 1,000
of them are drawn as they come, and 100 times with the share of one label doubled: each label of at least a tenth in
turn.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import sets
from common import Figure, main, note, silent, sms_spam
from numpy.typing import NDArray

from classtune.config import resolve
from classtune.data.reading.tables import Table, table_from_rows
from classtune.inference.vectors import network_vectors
from classtune.jobs.train import Trained, train
from classtune.judging.drift import Drift, compare
from classtune.model.network import Network

SEED = 123
LEARNED, TEXTS, RESAMPLES = 2500, 1000, 100
LEAST_SHARE = 0.1
SETS: dict[str, Callable[[], Table]] = {"trec": lambda: sets.trec()[0], "sms": sms_spam}


class World:
    """A trained classifier, and what it says of rows that it never saw."""

    def __init__(self, table: Table, seed: int) -> None:
        labels = np.array(table.labels, dtype=object)
        order = np.random.default_rng(seed).permutation(len(labels))
        learned, rest = order[:LEARNED], order[LEARNED:]
        part = table_from_rows([table.texts[row] for row in learned], list(labels[learned]), name=table.name)
        told = {"seed": seed, "effort": "fast", "model": "minilm-l6", "keep_texts": False}
        self.trained: Trained = train(part, resolve(None, told), notify=note, progress=silent)
        self.labels = labels[rest]
        self.texts = [table.texts[row] for row in rest]
        predictor = self.trained.predictor
        self.scores = predictor.probabilities(self.texts)
        networks = [member.model for member in self.trained.members if isinstance(member.model, Network)]
        self.vectors = network_vectors(networks[0], self.texts, silent) if networks else None

    def drift(self, rows: NDArray[np.int64]) -> Drift:
        yardstick = self.trained.yardstick
        assert yardstick is not None
        seen = yardstick.seen(
            self.trained.predictor.decisions,
            self.scores[rows],
            [self.texts[row] for row in rows],
            None if self.vectors is None else self.vectors[rows],
        )
        return compare(yardstick.reference, seen, self.trained.labels)

    def drawn(self, generator: np.random.Generator, doubled: str | None = None) -> NDArray[np.int64]:
        """TEXTS rows without replacement; of ``doubled`` twice as many as its share."""
        if doubled is None:
            return generator.permutation(len(self.labels))[:TEXTS]
        own, others = (generator.permutation(np.flatnonzero(part)) for part in self._parts(doubled))
        count = round(2 * TEXTS * len(own) / len(self.labels))
        return np.concatenate([own[:count], others[: TEXTS - count]])

    def _parts(self, label: str) -> tuple[Any, Any]:
        return self.labels == label, self.labels != label


def measure(args: argparse.Namespace) -> list[Figure]:
    figures = []
    for name in args.only:
        world = World(SETS[name](), args.seed)
        names, counts = np.unique(world.labels, return_counts=True)
        frequent = [
            label for label, share in zip(names, counts / counts.sum(), strict=True) if LEAST_SHARE <= share < 0.5
        ]
        generator = np.random.default_rng(args.seed)
        quiet = [world.drift(world.drawn(generator)) for _ in range(RESAMPLES)]
        loud = [(frequent[n % len(frequent)], n) for n in range(RESAMPLES)]
        found = [(label, world.drift(world.drawn(generator, label))) for label, _ in loud]
        named = sum(any(one.alarm and one.name == label for one in drift.labels) for label, drift in found)
        detail = {
            "classifier": world.trained.result.chosen.name,
            "reference rows": quiet[0].reference_rows,
            "labels doubled": frequent,
            "the label itself was named": named,
            "false alarms": [drift.sentence for drift in quiet if drift.alarm],
        }
        alarms = sum(drift.alarm for drift in quiet)
        figures += [
            Figure(f"drift, {name}: false alarms of 100", alarms, "", must=5, strive=1, detail=detail),
            Figure(f"drift, {name}: found of 100", sum(one.alarm for _, one in found), "", must=95, strive=100),
        ]
    return figures


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--seed", type=int, default=SEED)


if __name__ == "__main__":
    main(__doc__, measure, options)
