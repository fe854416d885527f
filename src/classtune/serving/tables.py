"""A bundle over a table: predictions to a file, and figures on labelled rows."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from classtune.config import Progress
from classtune.data.tables import Table
from classtune.errors import BundleError, DataError, SettingsError, did_you_mean
from classtune.judging.metrics import judge
from classtune.serving.predictor import load_predictor

Predictions = list[list[dict[str, str | float]]]


def evaluate_bundle(folder: Path, table: Table, *, progress: Progress) -> dict[str, Any]:
    """Judge a bundle on a labelled table. Raises DataError for labels that the bundle does not have."""
    assert table.labels is not None
    predictor, bundle = load_predictor(folder)
    problems = [
        f"{place}: the label {label!r} is not one of the bundle's. {did_you_mean(label, bundle.labels)}"
        for place, label in zip(table.places, table.labels, strict=True)
        if label not in bundle.labels
    ]
    if problems:
        raise DataError(problems)
    truth = np.array([bundle.labels.index(label) for label in table.labels], dtype=np.int64)
    scores = predictor.probabilities(table.texts, places=table.places, progress=progress)
    return {
        "bundle": str(folder),
        "data": {"name": table.name, "rows": len(truth)},
        "test": judge(scores, truth, bundle.labels),
    }


def predict_table(folder: Path, table: Table, output: Path | None = None, *, progress: Progress) -> Predictions:
    """Label and score of each text, highest first; written to ``output`` too, where there is one.

    Raises BundleError for the bundle or a file that cannot be written, DataError for texts that it cannot take.
    """
    if output is not None:
        _check_output(output)
    predictor, _ = load_predictor(folder)
    scores = predictor.probabilities(table.texts, places=table.places, progress=progress)
    predictions = [predictor.ranked(row) for row in scores]
    if output is not None:
        write_predictions(output, table.texts, predictions)
    return predictions


def _check_output(path: Path) -> None:
    """Raise, before any work is done, where predictions cannot be written."""
    if path.suffix not in (".csv", ".jsonl"):
        raise SettingsError(f"-o {path}: predictions are written as .csv or .jsonl. Name such a file.")
    if not path.parent.is_dir():
        raise BundleError(f"-o {path}: there is no folder {path.parent}. Make it, or name another place.")


def write_predictions(path: Path, texts: Sequence[str], predictions: Predictions) -> None:
    """A ``.csv`` (text, label, score, then a column a label) or ``.jsonl`` file, put in place when it is whole."""
    scratch = path.with_name(f".{path.name}.part")
    labels = sorted(str(entry["label"]) for entry in predictions[0]) if predictions else []
    try:
        with scratch.open("w", encoding="utf-8", newline="") as file:
            if path.suffix == ".csv":
                writer = csv.writer(file)
                writer.writerow(["text", "label", "score", *(f"score:{label}" for label in labels)])
            for text, ranked in zip(texts, predictions, strict=True):
                scores = {entry["label"]: entry["score"] for entry in ranked}
                best = ranked[0]
                if path.suffix == ".csv":
                    writer.writerow([text, best["label"], best["score"], *(scores[label] for label in labels)])
                else:
                    line = {"text": text, "label": best["label"], "score": best["score"], "scores": scores}
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
        os.replace(scratch, path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise BundleError(f"{path}: cannot be written ({error.strerror}). Name another place.") from error
