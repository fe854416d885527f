"""`train` on tables that grow, each run in a process of its own: seconds of each stage, peak memory, time over time.

The texts are made from GoEmotions: two comments of the same emotion, one after the other, in pairs that never come
twice: 28 labels of very different size, about 30 tokens a text, words that people write, and no copies.
"""

from __future__ import annotations

import argparse
import csv
import random
import tempfile
from pathlib import Path

from common import Figure, main, needs, note, run_command

SIZES = (10_000, 100_000)
# Words of a comment: of two texts that share one no more than this lets them, none is a near copy of the other.
SHORTEST, LONGEST = 6, 20
# Rows → minutes and GB, must and strive.
LIMITS = {300_000: ((60.0, 25.0), (4.0, 2.5))}


def comments() -> dict[str, list[str]]:
    """Emotion → the comments that have no other, each once."""
    folder = needs("goemotions/train.tsv", "goemotions/labels.txt") / "goemotions"
    names = (folder / "labels.txt").read_text(encoding="utf-8").split()
    found: dict[str, dict[str, None]] = {}
    for part in ("train", "dev", "test"):
        for line in (folder / f"{part}.tsv").read_text(encoding="utf-8").rstrip("\n").split("\n"):
            text, numbers, _ = line.split("\t")
            if numbers.isdigit() and SHORTEST <= len(text.split()) <= LONGEST:
                found.setdefault(names[int(numbers)], {})[text] = None
    return {name: list(texts) for name, texts in found.items()}


def made(rows: int, seed: int = 1) -> list[tuple[str, str]]:
    """So many (text, label), each label with the share that it has in GoEmotions, or what its pairs allow."""
    generator = random.Random(seed)
    by_label = comments()
    labels = [label for label, texts in by_label.items() for _ in texts]
    pairs: dict[tuple[str, str], str] = {}
    while len(pairs) < rows:
        label = generator.choice(labels)
        first, second = generator.sample(by_label[label], 2)
        pairs[first, second] = label
    return [(f"{first} {second}", label) for (first, second), label in pairs.items()]


def write(rows: int, file: Path) -> None:
    """A table of so many rows."""
    with file.open("w", encoding="utf-8", newline="") as output:
        writer = csv.writer(output)
        writer.writerow(("text", "label"))
        writer.writerows(made(rows))


def measure(args: argparse.Namespace) -> list[Figure]:
    figures: list[Figure] = []
    spent: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for rows in args.rows:
            table = Path(folder) / f"{rows}.csv"
            write(rows, table)
            wall, peak, result = run_command(
                *("train", str(table), "-o", str(Path(folder) / f"bundle-{rows}"), "--json", *args.options)
            )
            table.unlink()
            spent[rows] = wall
            stages = {name: round(seconds, 1) for name, seconds in result["timing"].items()}
            detail = {"stages": stages, "chosen": result["chosen"]["name"], "accuracy": result["test"]["accuracy"]}
            note(f"{rows:,} rows: {wall:.0f} s, {peak:.2f} GB, {detail}")
            (minutes, strive), (memory, low) = LIMITS.get(rows, ((None, None), (None, None)))
            figures += [
                Figure(f"large: train {rows:,} rows", wall / 60, "min", minutes, strive, detail),
                Figure(f"large: peak memory, {rows:,} rows", peak, "GB", memory, low),
            ]
    if {10_000, 100_000} <= spent.keys():
        figures.append(Figure("large: 100,000 rows over 10,000", spent[100_000] / spent[10_000], "x", 11, 9.5))
    return figures


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES, help="sizes of the tables")
    parser.add_argument(
        "--options", nargs="*", default=("--model", "minilm-l6", "--effort", "fast"), help="of `classtune train`"
    )


if __name__ == "__main__":
    main(__doc__, measure, options)
