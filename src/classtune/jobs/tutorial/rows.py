"""The tutorial's nineteen rows as facts: what each changes, its settings over the recipe, its published figures.

"Fine-tuning for classification", chapter 6 of Build a Large Language Model (From Scratch) (S. Raschka), and its
additional experiments: GPT-2, one run each, minutes on an A100. Its train figure is of 1,040 of the 1,045 rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from classtune.errors import SettingsError

RECIPE = "llms-from-scratch"


@dataclass(frozen=True)
class Row:
    """One experiment.

    published: accuracy on train, validation and test rows, %, and minutes. settings: over the recipe's.
    model: the larger GPT-2 that it is about; None: the run's own backbone. same_as: the row that it equals.
    """

    number: int
    change: str
    published: tuple[float, float, float, float]
    settings: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    same_as: int | None = None


_UNPADDED = {"padding": "none", "pool_padding": False, "batch_size": 1}

ROWS: dict[int, Row] = {
    row.number: row
    for row in (
        Row(1, "last token, last block, padded to the longest text", (96.63, 99.33, 95.00, 0.28)),
        Row(2, "first token", (78.46, 80.54, 75.00, 0.28), {"pooling": "first"}),
        Row(3, "head only", (78.65, 79.87, 72.00, 0.25), {"trainable": "head"}),
        Row(4, "last two blocks", (98.85, 98.66, 98.33, 0.33), {"trainable": 2}),
        Row(5, "all layers", (99.62, 96.64, 96.67, 0.69), {"trainable": "all"}),
        Row(6, "medium", (87.50, 91.28, 84.67, 0.75), model="gpt2-medium"),
        Row(7, "large", (99.52, 98.66, 96.67, 1.50), model="gpt2-large"),
        Row(8, "xl", (99.81, 99.81, 98.33, 2.83), model="gpt2-xl"),
        Row(9, "xl, all layers", (100.0, 98.66, 98.67, 8.12), {"trainable": "all"}, "gpt2-xl"),
        Row(10, "random weights, all layers", (100.0, 96.64, 93.67, 0.69), {"weights": "random", "trainable": "all"}),
        Row(11, "LoRA, rank 16, alpha 16", (100.0, 97.32, 96.67, 0.75), {"trainable": "lora"}),
        Row(
            12,
            "xl, LoRA, rank 16, alpha 8",
            (100.0, 98.66, 98.33, 5.79),
            {"trainable": "lora", "lora_alpha": 8},
            "gpt2-xl",
        ),
        Row(13, "padded to 1,024", (83.08, 87.92, 78.33, 2.46), {"padding": 1024}),
        Row(14, "no padding, batch 1", (100.0, 98.66, 98.00, 1.75), _UNPADDED),
        Row(15, "no padding, batch 1, accumulate 8", (99.33, 98.66, 98.33, 1.70), {**_UNPADDED, "accumulate": 8}),
        Row(16, "last non-padding position", (99.42, 98.66, 98.33, 0.30), {"pool_padding": False}),
        Row(17, "no causal mask", (99.23, 98.66, 95.33, 0.29), {"causal_mask": False}),
        Row(18, "`ignore_index` for padding", (96.63, 99.33, 95.00, 0.28), same_as=1),
        Row(19, "mean of all positions", (97.79, 99.33, 96.33, 0.32), {"pooling": "mean"}),
    )
}


def parse_rows(told: str) -> list[int]:
    """``"1,3-5"`` → [1, 3, 4, 5], each once, in order. Raises SettingsError with everything that is no row."""
    numbers: set[int] = set()
    problems = []
    for item in filter(None, (part.strip() for part in told.split(","))):
        first, dash, last = item.partition("-")
        if not first.strip().isdecimal() or (dash and not last.strip().isdecimal()):
            problems.append(f"rows: {item!r} is no number. Write numbers from 1 to {len(ROWS)}, such as 1,3-5.")
            continue
        span = range(int(first), int(last if dash else first) + 1)
        if not span or span[0] not in ROWS or span[-1] not in ROWS:
            problems.append(f"rows: there is no row {item}. The tutorial has rows 1 to {len(ROWS)}.")
            continue
        numbers.update(span)
    if not numbers and not problems:
        problems.append(f"rows: none was named. Write numbers from 1 to {len(ROWS)}, such as 1,3-5.")
    if problems:
        raise SettingsError(problems)
    return sorted(numbers)
