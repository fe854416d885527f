"""Bulk prediction of many messages against `transformers.pipeline(batch_size=32)` with the uncut model, and its memory.

The pipeline is measured on a sample of the same messages. Memory is that of a process which answers a CSV file with a
stand-in for the model, so that what is compared is reading, deciding and writing: 1 M rows against 10 k.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import Figure, main, note, seconds, silent, sms_spam
from train_sms import sms_network

_MEMORY = """
import hashlib, json, sys
from pathlib import Path
import numpy as np
from classtune.bundle import Bundle
from classtune.data.reading.columns import TableFormat
from classtune.decisions.decisions import Decisions
from classtune.inference.bulk import job as bulk
from classtune.inference.predictor import Predictor

class Standing(Predictor):
    def __init__(self, labels):
        self.labels, self.decisions = labels, Decisions.plain(labels)

    def logits(self, texts, **_):
        sums = [hashlib.md5(text.encode(), usedforsecurity=False).digest() for text in texts]
        return np.frombuffer(b"".join(sums), np.uint8).reshape(-1, 16)[:, :2] / 50.0

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1e6

folder, table, output = map(Path, sys.argv[1:])
standing = Standing(["ham", "spam"])
bundle = Bundle(folder, None, standing.labels, {}, standing.decisions)
bulk.load_exported = lambda *_: (standing, bundle)
before = peak()
result = bulk.predict_bulk(folder, [str(table)], output, format=TableFormat(), wishes={},
                           notify=lambda *_: None, progress=lambda *_: None)
print(json.dumps({"peak_gb": peak(), "loaded_gb": before, "rows": result["rows"], "seconds": result["seconds"]}))
"""


def messages(count: int) -> Iterator[str]:
    """``count`` messages, no two alike but by chance: the set's own, then again with words left out and numbers new."""
    chance = random.Random(123)
    distinct = list(dict.fromkeys(sms_spam().texts))
    for number, text in enumerate(itertools.islice(itertools.cycle(distinct), count)):
        words = text.split()
        if number >= len(distinct) and len(words) > 2:
            del words[chance.randrange(len(words))]
            words.insert(chance.randrange(len(words) + 1), str(chance.randrange(1000)))
        yield " ".join(words)


def write_table(path: Path, count: int) -> list[str]:
    """A CSV file of numbered messages, and those messages."""
    texts = list(messages(count))
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "text"), *((f"{number:07d}", text) for number, text in enumerate(texts))])
    return texts


def speed(folder: Path, count: int, sampled: int, scratch: Path) -> Figure:
    from transformers import pipeline

    from classtune.bundle import read_record
    from classtune.config import resolve
    from classtune.data.reading.columns import TableFormat
    from classtune.inference.bulk.job import predict_bulk
    from classtune.model.backbone import load_backbone, quiet_transformers
    from classtune.sources import fetch_model

    texts = write_table(scratch / "messages.csv", count)
    record = read_record(folder)
    settings = resolve(None, {"model": record["settings"]["model"], "depth": "all", "device": "cpu"})
    uncut = load_backbone(fetch_model(settings.model, notify=note), record["labels"], settings)
    with quiet_transformers():
        scores: Any = pipeline(
            "text-classification",
            model=uncut.classifier.eval(),
            tokenizer=uncut.encoder.tokenizer,
            batch_size=32,
            device="cpu",
            top_k=None,
        )
    sample = [texts[place * count // sampled] for place in range(sampled)]
    scores(sample[:32])  # warm
    before = sampled / seconds(lambda: scores(sample))
    note(f"pipeline: {before:.1f} texts a second")
    result = predict_bulk(
        folder,
        [str(scratch / "messages.csv")],
        scratch / "out",
        format=TableFormat(),
        wishes={},
        notify=note,
        progress=silent,
    )
    after = sampled / seconds(lambda: scores(sample))
    theirs = (before + after) / 2
    detail = {
        "texts_per_second": result["rows_per_second"],
        "pipeline_texts_per_second": theirs,
        "pipeline_before_and_after": [before, after],
        "pipeline_sample": sampled,
        "problems": result["problems"],
        "depth": {key: record["depth"][key] for key in ("kept", "of")},
    }
    name = f"bulk, {count:,} messages against transformers.pipeline, uncut model (on {sampled:,} of them)"
    return Figure(name, result["rows_per_second"] / theirs, "x", 4, 10, detail)


def memory(few: int, many: int, scratch: Path) -> Figure:
    (scratch / "bundle").mkdir()
    (scratch / "bundle" / "classtune.json").write_text("{}", encoding="utf-8")
    found = {}
    for count in (few, many):
        table = scratch / f"{count}.csv"
        write_table(table, count)
        arguments = [str(scratch / "bundle"), str(table), str(scratch / f"out-{count}")]
        done = subprocess.run(
            [sys.executable, "-c", _MEMORY, *arguments], stdout=subprocess.PIPE, text=True, check=True
        )
        found[count] = json.loads(done.stdout)
        note(f"{count:,} rows: {found[count]}")
    detail = {f"{count}": values for count, values in found.items()}
    value = found[many]["peak_gb"] / found[few]["peak_gb"]
    return Figure(f"bulk memory, {many:,} rows over {few:,}", value, "x", 1.3, 1.1, detail)


def measure(args: argparse.Namespace) -> list[Figure]:
    figures = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        if "memory" in args.only:
            figures.append(memory(args.few, args.many, scratch))
        if "speed" in args.only:
            figures.append(speed(args.bundle or sms_network(), args.messages, args.sample, scratch))
    return figures


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, help="a bundle of one network; unset: sms_network() of train_sms.py")
    parser.add_argument("--only", nargs="+", choices=("memory", "speed"), default=("memory", "speed"))
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--sample", type=int, default=1000, help="messages that the pipeline is measured on")
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--many", type=int, default=1_000_000)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    main(__doc__, measure, options)
