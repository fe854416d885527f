"""A bundle's predictions of 1,000 messages against `transformers.pipeline` with the uncut model, in turns in one run.

The bundle is one network. Also against the pipeline on the bundle itself, whose labels and scores must be the same, and
beside the bundle that the defaults make of the same rows.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from common import Figure, main, note, sms_spam
from train_sms import sms_bundle, sms_network
from transformers import pipeline

from classtune.config import resolve
from classtune.inference.predictor import load_predictor
from classtune.model.backbone import load_backbone, quiet_transformers
from classtune.sources import fetch_model


def messages(count: int) -> list[str]:
    """Distinct messages, evenly from the whole file, in its order."""
    distinct = list(dict.fromkeys(sms_spam().texts))
    return [distinct[place * len(distinct) // count] for place in range(count)]


def measure(args: argparse.Namespace) -> list[Figure]:
    folder = args.bundle or sms_network()
    predictor, bundle = load_predictor(folder)
    settings = resolve(None, {"model": bundle.record["settings"]["model"], "depth": "all", "device": "cpu"})
    uncut = load_backbone(fetch_model(settings.model, notify=note), bundle.labels, settings)
    texts = messages(args.messages)
    options: dict[str, Any] = {"batch_size": 32, "device": "cpu", "top_k": None}
    with quiet_transformers():
        pipelines = {
            "uncut": pipeline(
                "text-classification", model=uncut.classifier.eval(), tokenizer=uncut.encoder.tokenizer, **options
            ),
            "bundle": pipeline("text-classification", model=str(folder), **options),
        }
    ways = {"classtune": predictor.predict, **pipelines, "defaults": load_predictor(sms_bundle())[0].predict}
    times: dict[str, list[float]] = defaultdict(list)
    found: dict[str, Any] = {}
    for scores in ways.values():
        scores(texts[:32])  # warm
    for number in range(args.repeats):
        for way, scores in ways.items():
            start = time.perf_counter()
            found[way] = scores(texts)
            times[way].append(time.perf_counter() - start)
        note(f"round {number + 1}: " + ", ".join(f"{way} {spent[-1]:.2f} s" for way, spent in times.items()))
    medians = {way: statistics.median(spent) for way, spent in times.items()}
    pairs = list(zip(found["classtune"], found["bundle"], strict=True))
    detail = {
        "messages": len(texts),
        "seconds": medians,
        "depth": bundle.record["depth"]["kept"],
        "of": bundle.record["depth"]["of"],
        "same_labels": sum(ours[0]["label"] == theirs[0]["label"] for ours, theirs in pairs),
        "largest_score_difference": max(abs(ours[0]["score"] - theirs[0]["score"]) for ours, theirs in pairs),
    }
    name = f"predict {len(texts):,} messages against transformers.pipeline"
    return [
        Figure(f"{name}, uncut model", medians["uncut"] / medians["classtune"], "x", 3, 6, detail),
        Figure(f"{name}, the bundle", medians["bundle"] / medians["classtune"], "x"),
        Figure(f"{name}, uncut model: the defaults", medians["uncut"] / medians["defaults"], "x"),
    ]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, help="a bundle of one network; unset: sms_network() of train_sms.py")
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)


if __name__ == "__main__":
    main(__doc__, measure, options)
