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
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from common import Figure, main, note
from gpt2 import (
    BATCH,
    DECAY,
    END_OF_TEXT,
    EPOCHS,
    LONGEST,
    RATE,
    SEED,
    classtune_run,
    comparable_seconds,
    gpt2_folder,
    token_ids,
    tutorial_rows,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from classtune.data.reading.tables import Table
from classtune.data.splits import Splits
from classtune.model.backbone import quiet_transformers

STEPS_PER_EPOCH = 130
STEPS = STEPS_PER_EPOCH * EPOCHS
EVALUATE_EVERY, EVALUATE_BATCHES = 50, 5
Loader = DataLoader[tuple[Tensor, ...]]

# classtune's two ways; the recipe's own is the padded one, with the same numbers as the tutorial.
WAYS: dict[str, dict[str, Any]] = {"padded": {}, "own": {"padding": "none", "pool_padding": False}}


class PlainClassifier(nn.Module):
    """GPT-2 with a linear layer on the last position; frozen as the tutorial freezes it."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from transformers import GPT2Model

        self.gpt2: Any = GPT2Model.from_pretrained(str(folder), dtype=torch.float32)
        self.head = nn.Linear(self.gpt2.config.n_embd, 2)
        self.gpt2.requires_grad_(False)
        self.gpt2.h[-1].requires_grad_(True)
        self.gpt2.ln_f.requires_grad_(True)

    def forward(self, ids: Tensor) -> Tensor:
        """[texts, tokens] → logits [texts, 2]."""
        logits: Tensor = self.head(self.gpt2(input_ids=ids, use_cache=False).last_hidden_state[:, -1])
        return logits


@dataclass
class Tutorial:
    """The procedure, whole or a share of it at a time."""

    model: PlainClassifier
    loaders: dict[str, Loader]
    step_seconds: list[float] = field(default_factory=list)
    evaluation_seconds: list[float] = field(default_factory=list)
    evaluated_rows: int = 0

    def __post_init__(self) -> None:
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=DECAY)
        # A sample goes through the loaders without end; the whole run takes them from the start each time.
        self._training = self._endless("train")
        self._evaluating = self._endless("validation")

    def _endless(self, name: str) -> Iterator[tuple[Tensor, ...]]:
        return (batch for _ in cycle([None]) for batch in self.loaders[name])

    def step(self, ids: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(ids), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        loss.item()  # the tutorial prints it now and then; it also ends the step

    @torch.no_grad()
    def evaluate(self, name: str, batches: int | None = None) -> tuple[float, float]:
        """Mean loss and accuracy of the first batches of a set (None: all)."""
        self.model.eval()
        loss, right, rows, count = 0.0, 0, 0, 0
        for ids, labels in islice(self.loaders[name], batches):
            logits = self.model(ids)
            loss += F.cross_entropy(logits, labels).item()
            right += int((logits.argmax(1) == labels).sum())
            rows, count = rows + len(ids), count + 1
        self.evaluated_rows += rows
        self.model.train()
        return loss / count, right / rows

    def whole(self) -> float:
        """Seconds of everything."""
        start = time.perf_counter()
        done = 0
        self.model.train()
        for epoch in range(EPOCHS):
            for ids, labels in self.loaders["train"]:
                self.step(ids, labels)
                done += 1
                if done % EVALUATE_EVERY == 0:
                    losses = [self.evaluate(name, EVALUATE_BATCHES)[0] for name in ("train", "validation")]
                    note(f"step {done}: training loss {losses[0]:.3f}, validation loss {losses[1]:.3f}")
            found = [self.evaluate(name, EVALUATE_BATCHES)[1] for name in ("train", "validation")]
            note(f"epoch {epoch + 1}: training accuracy {found[0]:.3f}, validation accuracy {found[1]:.3f}")
        found = [self.evaluate(name)[1] for name in ("train", "validation", "test")]
        note(f"accuracy on training, validation and test rows: {', '.join(f'{value:.4f}' for value in found)}")
        assert done == STEPS
        assert self.evaluated_rows == self.rows_to_evaluate()
        return time.perf_counter() - start

    def rows_to_evaluate(self) -> int:
        """Texts of all evaluations of the whole run."""
        rhythm = 2 * BATCH * EVALUATE_BATCHES * (STEPS // EVALUATE_EVERY + EPOCHS)
        final = sum(_rows(self.loaders[name]) for name in ("validation", "test"))
        return rhythm + final + STEPS_PER_EPOCH * BATCH  # the training loader leaves its last 5 texts out

    def sample(self, steps: int, batches: int) -> None:
        """Time some steps and some full evaluation batches, one by one, after one untimed step."""
        self.model.train()
        self.step(*next(self._training))
        for ids, labels in islice(self._training, steps):
            start = time.perf_counter()
            self.step(ids, labels)
            self.step_seconds.append(time.perf_counter() - start)
        self.model.eval()
        with torch.no_grad():
            for ids, labels in islice((b for b in self._evaluating if len(b[0]) == BATCH), batches):
                start = time.perf_counter()
                F.cross_entropy(self.model(ids), labels).item()
                self.evaluation_seconds.append(time.perf_counter() - start)

    def extrapolated(self) -> float:
        """Seconds of everything, from the sample."""
        batches = self.rows_to_evaluate() / BATCH
        return STEPS * statistics.median(self.step_seconds) + batches * statistics.median(self.evaluation_seconds)


def _rows(loader: Loader) -> int:
    dataset: Any = loader.dataset
    return len(dataset)


def plain_tutorial(folder: Path, table: Table, splits: Splits) -> Tutorial:
    """The tutorial's model and loaders; checks its padded length and number of steps."""
    from transformers import AutoTokenizer

    torch.manual_seed(SEED)
    ids = token_ids(AutoTokenizer.from_pretrained(str(folder)), table)
    parts = {name: getattr(splits, name).tolist() for name in ("train", "validation", "test")}
    longest = max(len(ids[row]) for row in parts["train"])
    assert longest == LONGEST, f"the longest training text has {longest} tokens"
    assert table.labels is not None
    loaders: dict[str, Loader] = {}
    for name, rows in parts.items():
        padded = [(ids[row] + [END_OF_TEXT] * LONGEST)[:LONGEST] for row in rows]
        truth = [int(table.labels[row] == "spam") for row in rows]
        dataset = TensorDataset(torch.tensor(padded), torch.tensor(truth))
        loaders[name] = DataLoader(dataset, BATCH, shuffle=name == "train", drop_last=name == "train")
    assert len(loaders["train"]) == STEPS_PER_EPOCH
    with quiet_transformers():
        return Tutorial(PlainClassifier(folder), loaders)


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
