"""The tutorial's procedure in plain PyTorch, transformers and pandas, written from its description: the reference.

The tests hold the recipe `llms-from-scratch` to it, number by number, and tutorial.py times it. Knows nothing of
classtune: what both must share (the head's first weights, the order of the batches) comes in as arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

BATCH, EPOCHS, RATE, DECAY, SEED = 8, 5, 5e-5, 0.1, 123
EVALUATE_EVERY, EVALUATE_BATCHES = 50, 5
PARTS = ("train", "validation", "test")

Rows = NDArray[np.int64]
Pairs = list[tuple[str, str]]  # label, text


def read_messages(file: Path) -> dict[str, Pairs]:
    """The messages of the tutorial's three parts, in its order: read with default quoting, balanced, shuffled, cut."""
    table = pd.read_csv(file, sep="\t", header=None, names=["label", "text"])
    spam = table[table["label"] == "spam"]
    ham = table[table["label"] == "ham"].sample(len(spam), random_state=SEED)
    rows = pd.concat([ham, spam]).sample(frac=1, random_state=SEED)
    first = int(len(rows) * 0.7)
    second = first + int(len(rows) * 0.1)
    pairs = list(zip(rows["label"], rows["text"], strict=True))
    return {"train": pairs[:first], "validation": pairs[first:second], "test": pairs[second:]}


def padded(tokenizer: Any, texts: Sequence[str], length: int) -> Tensor:
    """Token ids [texts, length]: padded with end-of-text, cut where they are longer."""
    ids = [tokenizer(text)["input_ids"] for text in texts]
    return torch.tensor([(item + [tokenizer.eos_token_id] * length)[:length] for item in ids])


def longest(tokenizer: Any, texts: Sequence[str]) -> int:
    """Tokens of the longest text."""
    return max(len(tokenizer(text)["input_ids"]) for text in texts)


class PlainClassifier(nn.Module):
    """GPT-2 with a linear layer in the place of its output layer, frozen as the tutorial's rows freeze it.

    position: whose token state is classified: that of the `last` position (padding or not), the `first`, the last
        `real` one, or the `mean` of all. trained: blocks, counted from the last, or `head`, `all`, `lora` (peft's).
    """

    def __init__(
        self,
        folder: Path,
        *,
        classes: int = 2,
        position: Literal["last", "first", "real", "mean"] = "last",
        trained: int | Literal["head", "all", "lora"] = 1,
        causal: bool = True,
    ) -> None:
        super().__init__()
        from transformers import GPT2Model

        self.position, self.causal = position, causal
        # The tutorial sets dropout to 0 for classification.
        without = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        self.gpt2: Any = GPT2Model.from_pretrained(str(folder), dtype=torch.float32, **without)
        self.end_of_text = int(self.gpt2.config.eos_token_id)
        self.head = nn.Linear(self.gpt2.config.n_embd, classes)
        self.gpt2.requires_grad_(trained == "all")
        if isinstance(trained, int):
            self.gpt2.h[-trained:].requires_grad_(True)
            self.gpt2.ln_f.requires_grad_(True)
        if trained == "lora":
            self._add_lora()

    def _add_lora(self) -> None:
        """Rank 16, alpha 16, on every linear layer of every block."""
        from peft import LoraConfig, inject_adapter_in_model

        layers = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]
        config = LoraConfig(r=16, lora_alpha=16, target_modules=layers, fan_in_fan_out=True)
        inject_adapter_in_model(config, self.gpt2)

    def forward(self, ids: Tensor) -> Tensor:
        """[texts, tokens] → logits [texts, classes]."""
        # transformers takes a mask of four dimensions as it is: zeros add nothing, so that all is seen.
        mask = None if self.causal else torch.zeros(len(ids), 1, ids.shape[1], ids.shape[1])
        states = self.gpt2(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        if self.position == "mean":
            pooled = states.mean(1)
        elif self.position == "first":
            pooled = states[:, 0]
        elif self.position == "real":
            pooled = states[torch.arange(len(ids)), (ids != self.end_of_text).sum(1) - 1]
        else:
            pooled = states[:, -1]
        logits: Tensor = self.head(pooled)
        return logits


@dataclass
class Recorded:
    """losses: (step, training loss, validation loss). accuracies: (training, validation) after each epoch.

    epochs: mean training loss on the way, and the validation loss of all rows, of each epoch. final: of all three sets.
    """

    losses: list[tuple[int, float, float]] = field(default_factory=list)
    accuracies: list[tuple[float, float]] = field(default_factory=list)
    epochs: list[tuple[float, float]] = field(default_factory=list)
    final: dict[str, float] = field(default_factory=dict)


@dataclass
class Tutorial:
    """The procedure, whole or step by step. sets: token ids and classes of each part."""

    model: PlainClassifier
    sets: dict[str, tuple[Tensor, Tensor]]
    evaluated_rows: int = 0

    def __post_init__(self) -> None:
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=DECAY)

    def step(self, rows: Rows | Tensor) -> float:
        """One batch of training rows; its loss before the step."""
        ids, classes = (values[rows] for values in self.sets["train"])
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(ids), classes)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def evaluate(self, part: str, batches: int | None = None) -> tuple[float, float]:
        """Mean loss and accuracy of the first batches of a part, its rows in order (None: of all)."""
        self.model.eval()
        ids, classes = self.sets[part]
        rows = len(ids) if batches is None else min(len(ids), BATCH * batches)
        loss, right = 0.0, 0
        for start in range(0, rows, BATCH):
            one = slice(start, min(start + BATCH, rows))
            logits = self.model(ids[one])
            loss += F.cross_entropy(logits, classes[one], reduction="sum").item()
            right += int((logits.argmax(1) == classes[one]).sum())
        self.evaluated_rows += rows
        self.model.train()
        return loss / rows, right / rows

    def run(
        self,
        order: Callable[[int], Sequence[Rows | Tensor]],
        *,
        epochs: int = EPOCHS,
        every: int = EVALUATE_EVERY,
        accuracy_batches: int | None = EVALUATE_BATCHES,
        note: Callable[[str], None] = lambda line: None,
    ) -> Recorded:
        """All of it. order: the batches of an epoch. accuracy_batches: those that are looked at after an epoch."""
        recorded, done = Recorded(), 0
        self.model.train()
        for epoch in range(epochs):
            on_the_way = []
            for rows in order(epoch):
                on_the_way.append(self.step(rows))
                done += 1
                if done % every == 0:
                    train, validation = (self.evaluate(part, EVALUATE_BATCHES)[0] for part in PARTS[:2])
                    recorded.losses.append((done, train, validation))
                    note(f"step {done}: training loss {train:.3f}, validation loss {validation:.3f}")
            found = [self.evaluate(part, accuracy_batches) for part in PARTS[:2]]
            recorded.accuracies.append((found[0][1], found[1][1]))
            recorded.epochs.append((float(np.mean(on_the_way)), found[1][0]))
            note(f"epoch {epoch + 1}: training accuracy {found[0][1]:.3f}, validation accuracy {found[1][1]:.3f}")
        recorded.final = {part: self.evaluate(part)[1] for part in PARTS}
        return recorded


def shuffled(rows: int) -> list[Tensor]:
    """The batches of an epoch as a loader draws them that shuffles and leaves out a last batch that is not full."""
    return list(torch.randperm(rows)[: rows // BATCH * BATCH].reshape(-1, BATCH))
