"""How many of the label errors that were planted are found: 5 % of the labels of banking77 and TREC changed at random.

Features are the default model's pooled states at a middle depth, without any training. What the sets' own authors got
wrong counts as a false alarm, so that precision is a lower bound.
"""

from __future__ import annotations

import argparse
import csv
import time

import numpy as np
from common import Figure, main, needs, note

from classtune.config import resolve
from classtune.data.audit.label_errors import find_label_errors
from classtune.model.backbone import load_backbone
from classtune.model.pooled import pooled_states
from classtune.sources import fetch_model
from classtune.stats import softmax
from classtune.training.probe import out_of_sample

DEPTH = 15
NOISE = 0.05


def banking77() -> tuple[list[str], list[str]]:
    """10,003 questions to a bank, 77 classes."""
    with (needs("banking77/train.csv") / "banking77" / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["category"] for row in rows]


def trec() -> tuple[list[str], list[str]]:
    """5,452 questions, 6 classes."""
    path = needs("trec/train_5500.label") / "trec" / "train_5500.label"
    lines = [line for line in path.read_text(encoding="latin-1").split("\n") if line]
    parts = [line.partition(" ") for line in lines]
    return [text for _, _, text in parts], [label.partition(":")[0] for label, _, _ in parts]


SETS = {"banking77": banking77, "trec": trec}


def run(name: str, args: argparse.Namespace) -> list[Figure]:
    """Precision among as many findings as were planted, and recall of all findings."""
    texts, named = SETS[name]()
    texts, named = texts[: args.rows], named[: args.rows]
    labels, truth = np.unique(named, return_inverse=True)
    settings = resolve(None, {"pooling": args.pooling})
    network = load_backbone(fetch_model(settings.model, notify=note), list(labels), settings)
    network.cut(args.depth)
    start = time.perf_counter()
    features = pooled_states(network, network.encoder.encode(texts))
    states_seconds = time.perf_counter() - start
    rng = np.random.default_rng(args.seed)
    planted = rng.choice(len(texts), round(NOISE * len(texts)), replace=False)
    given = truth.copy()
    given[planted] = (truth[planted] + rng.integers(1, len(labels), len(planted))) % len(labels)
    start = time.perf_counter()
    probabilities = softmax(out_of_sample(features, given, classes=len(labels), seed=args.seed))
    found = find_label_errors(probabilities, given, list(labels))
    seconds = time.perf_counter() - start
    rows = np.array([finding["row"] for finding in found], dtype=np.int64)
    hits = np.isin(rows, planted)
    mended = [labels[truth[finding["row"]]] == finding["suggested"] for finding in found if finding["row"] in planted]
    detail = {
        "rows": len(texts),
        "planted": len(planted),
        "found": len(found),
        "probe_accuracy_of_true_labels": float((probabilities.argmax(1) == truth).mean()),
        "right_label_suggested": float(np.mean(mended)) if mended else 0.0,
        "seconds": {"states": states_seconds, "probe_and_search": seconds},
        "depth": args.depth,
        "pooling": args.pooling,
    }
    precision = hits[: len(planted)].sum() / len(planted)
    return [
        Figure(f"{name}: planted label errors, precision at k", 100 * float(precision), "%", detail=detail),
        Figure(f"{name}: planted label errors, recall", 100 * float(hits.sum() / len(planted)), "%"),
    ]


def measure(args: argparse.Namespace) -> list[Figure]:
    return [figure for name in args.only for figure in run(name, args)]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--depth", type=int, default=DEPTH, help="blocks of the model")
    parser.add_argument("--pooling", default="last+mean", choices=["last", "mean", "last+mean"])
    parser.add_argument("--rows", type=int, default=None, help="only the first so many rows")
    parser.add_argument("--seed", type=int, default=123)


if __name__ == "__main__":
    main(__doc__, measure, options)
