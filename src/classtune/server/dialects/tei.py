"""Text Embeddings Inference's dialect: labels with their scores, highest first. Types and status codes: its router.

``["a", "b"]`` is a pair only to a classifier of pairs, else two texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from classtune.inference.predictor import Ranked
from classtune.server.dialects.texts import Columns, Lists, Question, Text, Texts, texts_of
from classtune.server.registry import LoadedBundle


class PredictRequest(Question):
    """Text Embeddings Inference's question, which may also name a ``model``."""

    inputs: Text | Texts | Lists = Field(
        description="One text, or a list of texts; of a classifier of pairs a list of two, or a list of such lists."
    )
    truncate: bool | None = Field(None, description="Cut texts that are too long; unset: as the bundle was trained.")
    raw_scores: bool = Field(False, description="Logits instead of probabilities.")
    columns: Columns = None
    model: str | None = Field(None, description="Which of the bundles answers; unset: the first.")


class Prediction(BaseModel):
    """A label and its score. answer: whether the label is given, where that is not simply the first one."""

    label: str
    score: float
    answer: bool | None = None


def predict_texts(question: PredictRequest, *, pairs: bool) -> list[str]:
    """The texts that are asked for, or the pairs of a classifier that reads ``pairs``. Raises Refusal for none, and for
    what is neither."""
    if _is_one_pair(question.inputs, pairs=pairs):
        return texts_of([question.inputs], "inputs", pairs=True)
    return texts_of(question.inputs, "inputs", pairs=pairs)


def predict_answer(question: PredictRequest, ranked: list[Ranked], *, pairs: bool) -> Any:
    """A text's (or pair's) labels with their scores, highest first; a list of such where a list of them was sent."""
    alone = isinstance(question.inputs, str) or _is_one_pair(question.inputs, pairs=pairs)
    return ranked[0] if alone else ranked


def _is_one_pair(inputs: Any, *, pairs: bool) -> bool:
    """Whether a list of two texts is asked of a classifier of pairs: one pair, as Text Embeddings Inference has it."""
    return pairs and len(inputs) == 2 and all(isinstance(item, str) for item in inputs) and not isinstance(inputs, str)


def with_scores(bundle: LoadedBundle, ranked: list[Ranked], scores: NDArray[np.float64]) -> list[Ranked]:
    """The same labels in the same order with other scores [texts, labels]."""
    columns = {label: number for number, label in enumerate(bundle.predictor.labels)}
    return [
        [entry | {"score": float(row[columns[entry["label"]]])} for entry in entries]
        for entries, row in zip(ranked, scores, strict=True)
    ]


def info_answer(bundles: Sequence[LoadedBundle], queue: int, most_texts: int) -> dict[str, Any]:
    """The first bundle as Text Embeddings Inference describes a model, and all of them under ``models``."""
    first = bundles[0]
    labels = first.predictor.labels
    of_labels = {
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
    }
    return {
        "model_id": first.name,
        "model_sha": first.version,
        "model_dtype": "float32",
        "model_type": {"classifier": of_labels},
        "max_concurrent_requests": queue,
        "max_input_length": first.predictor.limit,
        "max_client_batch_size": most_texts,
        "auto_truncate": first.predictor.cuts,
        "version": metadata.version("classtune"),
        "models": [
            {
                "name": bundle.name,
                "version": bundle.version,
                "labels": bundle.predictor.labels,
                "several_labels": bundle.predictor.decisions.multi,
                "withholds_answers": bundle.withholds,
                "max_input_length": bundle.predictor.limit,
                "auto_truncate": bundle.predictor.cuts,
                "classifier": bundle.record.get("classifier", "one network"),
                "columns": bundle.beside,
                "pair": bundle.pair,
                "depth": (bundle.record["depth"] or {}).get("kept"),  # TF-IDF has no blocks
            }
            for bundle in bundles
        ],
    }
