"""Texts to probabilities with a loaded bundle: the same token path as training, frozen weights laid out for speed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from classtune.bundle import Bundle, check_golden, load_bundle
from classtune.config import Progress
from classtune.model.network import Network
from classtune.model.tokens import length_sorted_batches

# Texts that are tokenised and sorted together: bounds memory for any number of texts.
_CHUNK = 8192


class Predictor:
    """Scores texts. ``network`` must not be trained any further while the predictor is used."""

    def __init__(self, network: Network, labels: list[str]) -> None:
        self.network = network
        self.labels = labels
        self.encoder = network.encoder
        self._whole = network.tail(None, frozen=True).eval()

    @torch.inference_mode()
    def probabilities(
        self, texts: Sequence[str], *, places: Sequence[str] | None = None, progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """Probabilities [texts, labels], in the order of ``labels``; equal texts are run once.

        places: what error messages call each text. Raises DataError for texts that are empty or too long.
        """
        distinct: dict[str, int] = {}
        of_row = np.array([distinct.setdefault(text, len(distinct)) for text in texts], dtype=np.int64)
        first = {text: row for row, text in reversed(list(enumerate(texts)))}
        unique = list(distinct)
        scores = np.zeros((len(unique), len(self.labels)))
        for start in range(0, len(unique), _CHUNK):
            chunk = unique[start : start + _CHUNK]
            where = [places[first[text]] if places else f"text {first[text] + 1}" for text in chunk]
            ids = self.encoder.encode(chunk, where)
            done = 0
            for rows in length_sorted_batches([len(item) for item in ids]):
                batch = self.encoder.batch([ids[row] for row in rows]).to(self.network.device)
                logits = self._whole(batch).double()
                scores[start + rows] = torch.softmax(logits, dim=1).cpu().numpy()
                done += len(rows)
                if progress:
                    progress("predict", start + done, len(unique))
        result: NDArray[np.float64] = scores[of_row]
        return result

    def predict(self, texts: Sequence[str]) -> list[list[dict[str, str | float]]]:
        """Hugging Face's form: for each text its labels with scores, highest first."""
        return [self.ranked(row) for row in self.probabilities(texts)]

    def ranked(self, row: NDArray[np.float64]) -> list[dict[str, str | float]]:
        """One text's probabilities as label and score, highest first."""
        order = np.argsort(-row, kind="stable")
        return [{"label": self.labels[index], "score": float(row[index])} for index in order]


def load_predictor(folder: Path, *, device: str = "cpu", verify: bool = True) -> tuple[Predictor, Bundle]:
    """Load a bundle and prove on its golden texts that it scores as it did. Raises BundleError."""
    bundle = load_bundle(folder, device=device, verify=verify)
    predictor = Predictor(bundle.network, bundle.labels)
    golden = [entry["text"] for entry in bundle.record.get("golden", [])]
    if golden and verify:
        check_golden(bundle, predictor.probabilities(golden).tolist())
    return predictor, bundle
