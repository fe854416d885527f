"""classtune against Hugging Face's Trainer: the same model folder, rows, frozen layers, batch size and epochs.

Trainer pads each batch to its longest text and evaluates the validation rows after each epoch; at the end both score
the test rows. By default Trainer runs two single epochs, one before and one after classtune's whole run, and their mean
is counted five times; ``--full`` runs all five in one go.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from common import Figure, main, note, seconds
from gpt2 import classtune_run, comparable_seconds, gpt2_folder, token_ids, tutorial_rows
from plain import BATCH, DECAY, EPOCHS, RATE, SEED

from classtune.data.reading.tables import Table
from classtune.data.splits import Splits
from classtune.model.backbone import quiet_transformers

# The recipe's settings, but real tokens only and evaluated as Trainer evaluates.
OURS = {"padding": "none", "pool_padding": False, "drop_last": False, "evaluate_every": 0, "epoch_metrics": "loss"}
STEPS = -(-1045 // BATCH) * EPOCHS


def make_trainer(folder: Path, table: Table, splits: Splits, epochs: int, scratch: str) -> tuple[Any, Any]:
    """Trainer and its test rows."""
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        PrinterCallback,
        Trainer,
        TrainingArguments,
    )

    torch.manual_seed(SEED)
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    tokenizer.pad_token = tokenizer.eos_token
    model = AutoModelForSequenceClassification.from_pretrained(str(folder), num_labels=2, dtype=torch.float32)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.requires_grad_(False)
    for module in (model.transformer.h[-1], model.transformer.ln_f, model.score):
        module.requires_grad_(True)
    ids = token_ids(tokenizer, table)
    assert table.labels is not None
    labels = [int(label == "spam") for label in table.labels]
    parts = {
        name: [{"input_ids": ids[row], "labels": labels[row]} for row in getattr(splits, name)]
        for name in ("train", "validation", "test")
    }
    arguments = TrainingArguments(
        output_dir=scratch,
        num_train_epochs=epochs,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=BATCH,
        learning_rate=RATE,
        weight_decay=DECAY,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        eval_strategy="epoch",
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        seed=SEED,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        data_collator=DataCollatorWithPadding(tokenizer),
        train_dataset=parts["train"],
        eval_dataset=parts["validation"],
        compute_metrics=lambda found: {"accuracy": float((found.predictions.argmax(1) == found.label_ids).mean())},
    )
    trainer.remove_callback(PrinterCallback)  # it prints to standard output, which is the result's
    return trainer, parts["test"]


def measure(args: argparse.Namespace) -> list[Figure]:
    table, splits = tutorial_rows()
    folder = gpt2_folder()
    epochs = EPOCHS if args.full else 1
    with tempfile.TemporaryDirectory() as scratch:
        with quiet_transformers():
            trainer, test = make_trainer(folder, table, splits, epochs, scratch)
        runs = [seconds(trainer.train)]
        assert trainer.state.global_step == STEPS * epochs // EPOCHS
        note(f"Trainer, {epochs} epochs: {runs[0]:.1f} s")
        ours = classtune_run(table, folder, OURS)
        assert ours["training"]["history"][-1]["step"] == STEPS
        note(f"classtune, {EPOCHS} epochs: {comparable_seconds(ours['timing']):.1f} s")
        if not args.full:
            runs.append(seconds(trainer.train))
        tested = seconds(lambda: trainer.predict(test))
    theirs = statistics.mean(runs) * EPOCHS / epochs + tested
    detail = {
        "trainer_seconds": theirs,
        "classtune_seconds": comparable_seconds(ours["timing"]),
        "with_loading_and_baseline": theirs / ours["timing"]["total"],
        "measured": "all of it"
        if args.full
        else f"two single epochs ({runs[0]:.1f} s and {runs[1]:.1f} s), counted as {EPOCHS}",
        "timing": ours["timing"],
    }
    figure = "speed against Hugging Face Trainer, same layers frozen"
    return [Figure(figure, theirs / comparable_seconds(ours["timing"]), "x", 4, 8, detail)]


if __name__ == "__main__":
    main(__doc__, measure, lambda parser: parser.add_argument("--full", action="store_true", help="all five epochs"))
