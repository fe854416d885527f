"""The training texts that a text is most like, by the vectors that go into the head.

Knows arrays, texts and labels, not models; `model/pooled.py` makes the vectors.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classtune.errors import reading, writing

VECTORS, TEXTS = "neighbours.safetensors", "neighbours.jsonl"
MOST_TEXTS = 20_000


@dataclass(frozen=True)
class Neighbours:
    """Training texts with their labels and vectors.

    vectors: float16 [texts, width], of length 1 after ``centre`` [width], their mean, was taken off: states of language
    models all point much the same way (Ethayarajh, 2019), and would all look alike.
    """

    vectors: NDArray[np.float16]
    centre: NDArray[np.float32]
    texts: list[str]
    labels: list[str]

    @classmethod
    def of(
        cls, states: NDArray[np.floating[Any]], texts: Sequence[str], labels: Sequence[str], *, seed: int = 123
    ) -> Neighbours:
        """An index of pooled states [texts, width]; of more than MOST_TEXTS texts a random part is kept, in order."""
        kept = list(range(len(texts)))
        if len(kept) > MOST_TEXTS:
            kept = sorted(np.random.default_rng(seed).permutation(len(texts))[:MOST_TEXTS].tolist())
        chosen = states[kept].astype(np.float32)
        centre = chosen.mean(0) if len(chosen) > 1 else np.zeros(states.shape[1], dtype=np.float32)
        vectors = _unit(chosen - centre).astype(np.float16)
        return cls(vectors, centre, [texts[row] for row in kept], [labels[row] for row in kept])

    def nearest(self, vector: NDArray[np.floating[Any]], count: int = 3) -> list[dict[str, Any]]:
        """The ``count`` texts most like a pooled state [width], as text, label and similarity (cosine, -1 … 1)."""
        similarity = self.vectors.astype(np.float32) @ _unit(vector.astype(np.float32) - self.centre)
        best = np.argsort(-similarity, kind="stable")[:count]
        return [
            {
                "text": self.texts[row],
                "label": self.labels[row],
                "similarity": float(similarity[row].clip(-1, 1)),
            }
            for row in best
        ]

    def save(self, folder: Path) -> None:
        """Write ``neighbours.safetensors`` and ``neighbours.jsonl``. Raises BundleError where it cannot."""
        from safetensors.numpy import save_file

        lines = [
            json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n"
            for text, label in zip(self.texts, self.labels, strict=True)
        ]
        with writing(folder):
            save_file({"vectors": self.vectors, "centre": self.centre}, str(folder / VECTORS))
            (folder / TEXTS).write_text("".join(lines), encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, folder: Path) -> Neighbours | None:
        """Read the index of a bundle; None where it keeps none. Raises BundleError where it is damaged."""
        from safetensors.numpy import load_file

        folder = next((place for place in (folder / "texts", folder) if (place / TEXTS).exists()), folder)
        if not (folder / VECTORS).exists() and not (folder / TEXTS).exists():
            return None
        with reading(folder, "the training texts", "Train it again."):
            arrays = load_file(str(folder / VECTORS))
            lines = (folder / TEXTS).read_text(encoding="utf-8").split("\n")  # not splitlines: texts hold other ends
            rows = [json.loads(line) for line in lines if line]
            texts, labels = [str(row["text"]) for row in rows], [str(row["label"]) for row in rows]
            vectors, centre = arrays["vectors"], arrays["centre"]
            if vectors.shape != (len(rows), *centre.shape):
                raise ValueError(f"{len(rows):,} texts for vectors of shape {vectors.shape}")
        return cls(vectors, centre, texts, labels)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.sqrt((vectors**2).sum(-1, keepdims=True))
    result: NDArray[np.float32] = vectors / np.maximum(length, 1e-12)
    return result
