"""A `TextClassifier` of a tiny random model, what it learns from and what it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from small import ONE, rows

from classtune import TextClassifier

TEXTS = [text for text, _ in rows()]
LABELS = [label for _, label in rows()]
NEW = ["win a prize, call now 77 today", "see you at 77 then, mate", "hello"]


def small(model: Path, **more: Any) -> TextClassifier:
    told = {**ONE, "split_by": "exact", "batch_size": 8, "learning_rate": 1e-3}
    return TextClassifier(str(model), depth="all", trainable=1, epochs=more.pop("epochs", 2), settings=told | more)
