"""SetFit with its documented defaults, in an environment of its own: rows come in as JSON, answers go out.

Defaults: one epoch over every pair, oversampled, batches of 16 pairs, cosine similarity loss, logistic regression as
the head. Started by peers.py; knows nothing of classtune.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time

import torch
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments


def main() -> None:
    task = json.load(sys.stdin)
    torch.set_num_threads(1)
    started = time.process_time()
    model = SetFitModel.from_pretrained(task["model"])
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch,
            seed=task["seed"],
            num_iterations=task["num_iterations"],  # None: every pair
            save_strategy="no",
            report_to="none",
            show_progress_bar=False,
        )
        rows = Dataset.from_dict({"text": task["texts"], "label": task["labels"]})
        trainer = Trainer(model=model, args=arguments, train_dataset=rows)
        trainer.train()
    trained = time.process_time()
    answers = model.predict(task["test"], as_numpy=True, show_progress_bar=False)
    done = time.process_time()
    result = {"answers": [int(one) for one in answers], "train_seconds": trained - started, "seconds": done - started}
    print(json.dumps(result))  # the last line: the trainer prints too


if __name__ == "__main__":
    main()
