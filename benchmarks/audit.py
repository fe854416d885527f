"""The audit of 1,000,000 short texts: seconds and peak memory; and how many near pairs are found on real texts.

The texts are real messages with up to four words changed, dropped or put in, from one seed, so that most stand in
crowds of near copies: the hardest case. They are audited in a process of their own, whose memory the kernel tells.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
from common import Figure, main, needs, note, seconds

SETS = {
    "sms_spam": "sms_spam/SMSSpamCollection",
    "banking77": "banking77/train.csv",
    "tweet emotion": "tweeteval/emotion/train_text.txt",
}
CHILD = "--child"


def messages(folder: Path) -> dict[str, list[str]]:
    """The texts of each set."""
    sms, banking, tweets = (folder / name for name in SETS.values())
    with banking.open(encoding="utf-8", newline="") as file:
        questions = [row["text"] for row in csv.DictReader(file)]
    lines = sms.read_text(encoding="utf-8").split("\n")
    return dict(
        zip(
            SETS,
            [[line.partition("\t")[2] for line in lines if line], questions, tweets.read_text("utf-8").splitlines()],
            strict=True,
        )
    )


def perturbed(texts: list[str], rows: int, seed: int = 1) -> list[str]:
    """So many texts, made from these in turn."""
    generator = random.Random(seed)
    words = [word for text in texts for word in text.split()]
    made = []
    for row in range(rows):
        text = texts[row % len(texts)].split()
        for _ in range(generator.randint(0, 4)):
            place = generator.randrange(len(text) + 1)
            put_in = [generator.choice(words)] if generator.random() < 0.7 else []
            text[place : place + generator.randint(0, 1)] = put_in
        made.append(" ".join(text))
    return made


def audit(rows: int) -> None:
    """What the child does: seconds, peak memory in bytes with and without the audit, and what was found, as JSON."""
    from classtune.data.audit.audit import audit_rows

    sms, questions, tweets = messages(needs(*SETS.values())).values()
    texts = perturbed(sms + questions + tweets, rows)
    labels = [("ham", "spam", "question")[row % 3] for row in range(rows)]
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found: dict[str, object] = {}
    spent = seconds(lambda: found.update(audit_rows(texts, labels).document()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts = {name: found[name] for name in ("rows", "duplicates", "near_duplicates")}
    print(json.dumps({"seconds": spent, "bytes": peak * unit, "bytes_of_texts": before * unit, **counts}))


def recall(texts: list[str], threshold: float = 0.8) -> tuple[int, int]:
    """Pairs of distinct folded texts at the threshold, each compared with each; and those that share a near group."""
    from sklearn.feature_extraction.text import CountVectorizer

    from classtune.data.near import SHINGLE, groups_of_folded
    from classtune.data.splits import fold

    distinct = list(dict.fromkeys(map(fold, texts)))
    groups = groups_of_folded(distinct, threshold=threshold)
    counter = CountVectorizer(
        analyzer="char", ngram_range=(SHINGLE, SHINGLE), binary=True, lowercase=False, dtype=np.float32
    )
    shingles = counter.fit_transform([text.ljust(SHINGLE, "\0") for text in distinct])
    sizes = np.asarray(shingles.sum(axis=1)).ravel()
    pairs = together = 0
    for start in range(0, len(distinct), 500):
        shared = (shingles[start : start + 500] @ shingles.T).tocoo()
        one, other = shared.row + start, shared.col
        near = (one < other) & (shared.data >= threshold * (sizes[one] + sizes[other] - shared.data))
        pairs += int(near.sum())
        together += int((groups[one[near]] == groups[other[near]]).sum())
    return pairs, together


def measure(args: argparse.Namespace) -> list[Figure]:
    folder = needs(*SETS.values())
    note(f"auditing {args.rows:,} texts in a process of its own")
    command = [sys.executable, __file__, CHILD, str(args.rows)]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    name = f"audit of {args.rows:,} short texts"
    limits: list[tuple[float | None, float | None]] = [(600, 180), (4, 2)]
    if args.rows != 1_000_000:
        limits = [(None, None)] * 2
    figures = [
        Figure(name, found["seconds"], "s", *limits[0], found),
        Figure(f"{name}, peak memory", found["bytes"] / 1e9, "GB", *limits[1]),
    ]
    for name, texts in messages(folder).items():
        pairs, together = recall(texts)
        detail = {"pairs": pairs, "found": together}
        figures.append(Figure(f"near pairs found in {name}", together / max(1, pairs), "", 0.95, 1.0, detail))
    return figures


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=1_000_000)


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        audit(int(sys.argv[2]))
    else:
        main(__doc__, measure, options)
