"""classtune against the tutorial's own procedure, in plain PyTorch, on GPT-2-small's shapes with random weights.

The tutorial's side: every text padded to 120 tokens, batches of 8, all frozen but the last block, the final norm and
the head, AdamW, 5 epochs of 130 steps; every 50 steps the loss on 5 batches of training and validation rows; after each
epoch the accuracy on 5 batches of both; at the end the accuracy on all three sets. All batches are equally long, so by
default a share of its steps and evaluation batches is timed, before, between and after classtune's runs, and the
medians are multiplied by the exact counts. ``--full`` runs all of it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from common import Figure, main, note
from gpt2 import LONGEST, classtune_run, comparable_seconds, gpt2_folder, tutorial_rows
from plain import (
    BATCH,
    EPOCHS,
    EVALUATE_BATCHES,
    EVALUATE_EVERY,
    PARTS,
    SEED,
    PlainClassifier,
    Tutorial,
    longest,
    padded,
    shuffled,
)

from classtune.data.reading.tables import Table
from classtune.data.splits import Splits
from classtune.model.backbone import quiet_transformers

STEPS_PER_EPOCH = 130
STEPS = STEPS_PER_EPOCH * EPOCHS

# classtune's two ways; the recipe's own is the padded one, with the same numbers as the tutorial.
WAYS: dict[str, dict[str, Any]] = {"padded": {}, "own": {"padding": "none", "pool_padding": False}}


@dataclass
class Timed(Tutorial):
    """The procedure, timed whole or a share of it at a time."""

    step_seconds: list[float] = field(default_factory=list)
    evaluation_seconds: list[float] = field(default_factory=list)

    def whole(self) -> float:
        """Seconds of everything."""
        start = time.perf_counter()
        recorded = self.run(lambda _: shuffled(self._rows("train")), note=note)
        note("accuracy on training, validation and test rows:", *(f"{recorded.final[part]:.4f}" for part in PARTS))
        assert self.evaluated_rows == self.rows_to_evaluate()
        return time.perf_counter() - start

    def rows_to_evaluate(self) -> int:
        """Texts of all evaluations of the whole run."""
        return 2 * BATCH * EVALUATE_BATCHES * (STEPS // EVALUATE_EVERY + EPOCHS) + sum(map(self._rows, PARTS))

    def sample(self, steps: int, batches: int) -> None:
        """Time some steps and some full evaluation batches, one by one, after one untimed step."""
        self.model.train()
        for number, rows in enumerate(shuffled(self._rows("train"))[: steps + 1]):
            start = time.perf_counter()
            self.step(rows)
            if number:
                self.step_seconds.append(time.perf_counter() - start)
        for _ in range(batches):
            start = time.perf_counter()
            self.evaluate("validation", 1)
            self.evaluation_seconds.append(time.perf_counter() - start)

    def extrapolated(self) -> float:
        """Seconds of everything, from the sample."""
        batches = self.rows_to_evaluate() / BATCH
        return STEPS * statistics.median(self.step_seconds) + batches * statistics.median(self.evaluation_seconds)

    def _rows(self, part: str) -> int:
        return len(self.sets[part][1])


def plain_tutorial(folder: Path, table: Table, splits: Splits) -> Timed:
    """The tutorial's model and sets; checks its padded length and number of steps."""
    from transformers import AutoTokenizer

    torch.manual_seed(SEED)
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    texts = {part: [table.texts[row] for row in getattr(splits, part)] for part in PARTS}
    length = longest(tokenizer, texts["train"])
    assert length == LONGEST, f"the longest training text has {length} tokens"
    assert table.labels is not None
    sets = {}
    for part in PARTS:
        truth = [int(table.labels[row] == "spam") for row in getattr(splits, part)]
        sets[part] = padded(tokenizer, texts[part], length), torch.tensor(truth)
    assert len(shuffled(len(sets["train"][1]))) == STEPS_PER_EPOCH
    with quiet_transformers():
        return Timed(PlainClassifier(folder), sets)


def measure(args: argparse.Namespace) -> list[Figure]:
    table, splits = tutorial_rows()
    folder = gpt2_folder()
    tutorial = plain_tutorial(folder, table, splits)
    shares = len(args.ways) + 1

    def sample() -> None:
        if not args.full:
            tutorial.sample(-(-args.steps // shares), -(-args.batches // shares))

    ours = {}
    sample()
    for way in args.ways:
        ours[way] = classtune_run(table, folder, WAYS[way])
        note(f"classtune, {way}: {comparable_seconds(ours[way]['timing']):.1f} s")
        sample()
        assert ours[way]["training"]["history"][-1]["step"] == STEPS
        assert ours[way]["settings"]["padding"] == (LONGEST if way == "padded" else "none")
    theirs = tutorial.whole() if args.full else tutorial.extrapolated()
    how: dict[str, Any] = {"measured": "all of it"}
    if not args.full:
        how = {
            "measured": f"{len(tutorial.step_seconds)} of {STEPS} steps, {len(tutorial.evaluation_seconds)} of "
            f"{tutorial.rows_to_evaluate() / BATCH:.0f} evaluation batches; medians times exact counts",
            "step_seconds": statistics.median(tutorial.step_seconds),
            "evaluation_batch_seconds": statistics.median(tutorial.evaluation_seconds),
        }
    names = {
        "own": "speed against the tutorial's procedure",
        "padded": "the same, classtune padding as the tutorial does",
    }
    return [
        Figure(
            names[way],
            theirs / comparable_seconds(result["timing"]),
            "x",
            12 if way == "own" else None,
            25 if way == "own" else None,
            {
                "tutorial_seconds": theirs,
                "classtune_seconds": comparable_seconds(result["timing"]),
                "with_loading_and_baseline": theirs / result["timing"]["total"],
                "timing": result["timing"],
                **how,
            },
        )
        for way, result in reversed(ours.items())
    ]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--full", action="store_true", help="run all of the tutorial's side: about 17 minutes")
    parser.add_argument("--steps", type=int, default=42, help="training steps timed")
    parser.add_argument("--batches", type=int, default=24, help="evaluation batches timed")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), help="classtune's ways")


if __name__ == "__main__":
    main(__doc__, measure, options)
