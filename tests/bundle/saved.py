"""What the tests of bundles share: texts to score, the files of a bundle, a way to change its record."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

TEXTS = ["win a prize", "see you at 7 then", "ok", "ein längerer Text mit Ümläuten, der in keinem Training stand 🎉"]
FILES = [
    "README.md",
    "classtune.json",
    "config.json",
    "model.safetensors",
    "reference.safetensors",
    "report.html",
    "rows.safetensors",
    "texts/held_out.jsonl",
    "texts/neighbours.jsonl",
    "texts/neighbours.safetensors",
    "texts/quotes.json",
    "texts/report.html",
    "tokenizer.json",
    "tokenizer_config.json",
    "validation.safetensors",
]


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def edit(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what classtune.json says."""
    path = bundle / "classtune.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    change(record)
    path.write_text(json.dumps(record), encoding="utf-8")


def scores(folder: Path, **how: Any) -> np.ndarray[Any, Any]:
    from classtune.inference.predictor import load_predictor

    return load_predictor(folder, **how)[0].probabilities(TEXTS)
