"""Texts to probabilities with a loaded bundle: the same token path as training, frozen weights laid out for speed."""

from __future__ import annotations

import copy
from collections.abc import Sequence, Sized
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from classtune.config import Progress
from classtune.data.reading.cells import with_cells
from classtune.decisions.decisions import Decisions
from classtune.errors import DataError
from classtune.model.batches import length_sorted_batches
from classtune.model.network import Network
from classtune.model.tokens import pool_pieces

# Texts that are tokenised and sorted together: bounds memory for any number of texts.
_CHUNK = 8192

Ranked = list[dict[str, Any]]


class TooLong(DataError):
    """A text has more tokens than the classifier takes, and nobody allowed it to be cut."""


@dataclass(frozen=True)
class Items:
    """Texts as what can wait in a queue until `Predictor.run` is given it: one item a text, or one a window of it.

    items: each has a length, its tokens. of_text: number of the text that each item comes from [items]. texts: count.
    """

    items: Sequence[Sized]
    of_text: NDArray[np.int64]
    texts: int

    @property
    def tokens(self) -> int:
        """Tokens of all items."""
        return sum(map(len, self.items))

    def pooled(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logits of the items [items, labels] → logits of the texts [texts, labels]."""
        result: NDArray[np.float64] = pool_pieces(torch.from_numpy(logits), self.of_text, self.texts).numpy()
        return result


class Predictor:
    """Scores texts. ``network`` must not be trained any further while the predictor is used.

    decisions: what makes probabilities of logits and answers of probabilities. whole: the module that it runs.
    """

    def __init__(self, network: Network, labels: list[str], decisions: Decisions) -> None:
        self.network = network
        self.labels = labels
        self.decisions = decisions
        self.encoder = network.encoder
        self.whole = network.tail(None, frozen=True).eval()

    def logits(
        self, texts: Sequence[str], *, places: Sequence[str] | None = None, progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """Logits [texts, labels], in the order of ``labels``; equal texts are run once.

        places: what error messages call each text. Raises DataError for texts that are empty or too long.
        """
        first: dict[tuple[str, ...], int] = {}
        rows = np.array([first.setdefault(with_cells(text), row) for row, text in enumerate(texts)])
        kept, of_row = np.unique(rows.astype(np.int64), return_inverse=True)
        unique = kept.tolist()
        result = np.zeros((len(unique), len(self.labels)))
        for start in range(0, len(unique), _CHUNK):
            chunk = unique[start : start + _CHUNK]
            where = [places[row] if places else f"text {row + 1}" for row in chunk]
            read = self.read([texts[row] for row in chunk], where)
            logits = np.zeros((len(read.items), len(self.labels)))
            done = 0
            for rows in length_sorted_batches([len(item) for item in read.items]):
                logits[rows] = self.run([read.items[row] for row in rows])
                done += len(rows)
                if progress:
                    progress("predict", start + done * len(chunk) // len(read.items), len(unique))
            result[start : start + len(chunk)] = read.pooled(logits)
        by_row: NDArray[np.float64] = result[of_row]
        return by_row

    def read(self, texts: Sequence[str], places: Sequence[str]) -> Items:
        """The texts as items for `run`, cut where the bundle was made so. Raises DataError, each text by its place."""
        pieces = self.encoder.pieces(texts, places)
        return Items(pieces.ids, pieces.of_text, len(texts))

    @property
    def limit(self) -> int:
        """Most tokens of a text that are read at once."""
        return self.encoder.rules.limit

    @property
    def pairs(self) -> bool:
        """Whether it reads a text as a pair (`as_pair`)."""
        return self.encoder.rules.pairs

    @property
    def single(self) -> bool:
        """Whether one network is all that answers."""
        return True

    @property
    def explainable(self) -> bool:
        """Whether `classtune.explain` can look into it: an export can only answer."""
        return self.network.in_parts

    @property
    def cuts(self) -> bool:
        """Whether long texts are cut, or read in windows, without being asked."""
        return self.encoder.rules.cut or self.encoder.rules.windows

    def items(
        self, texts: Sequence[str], places: Sequence[str] | None = None, *, truncate: bool | None = None
    ) -> Items:
        """The texts as items for a queue, each of which `run` takes beside items of other callers; safe under threads.

        truncate: cut long texts; None: as the bundle was made. Raises TooLong, or DataError for texts that cannot be
        read, each with its place.
        """
        reader = copy.copy(self.encoder)  # rules and counts of its own
        reader.rules = replace(reader.rules, cut=True)
        reader.texts_cut = 0
        pieces = reader.pieces(texts, places)
        if reader.texts_cut and not (self.cuts if truncate is None else truncate):
            named = places or [f"text {number}" for number in range(1, len(texts) + 1)]
            raise TooLong(
                [
                    f"{place}: the text has more than {self.limit:,} tokens, the most that this classifier takes."
                    for place, length in zip(named, reader.lengths(texts), strict=True)
                    if length > self.limit
                ]
            )
        return Items(pieces.ids, pieces.of_text, len(texts))

    def copy_weights(self) -> None:
        """Move the weights from the bundle's files into memory: a file that is overwritten then changes no answer."""
        for parameter in self.whole.parameters():
            parameter.data = parameter.data.clone()

    @torch.inference_mode()
    def run(self, items: Sequence[Any]) -> NDArray[np.float64]:
        """Logits [items, labels] of one batch."""
        batch = self.encoder.batch(items).to(self.network.device)
        logits: NDArray[np.float64] = self.whole(batch).cpu().double().numpy()
        return logits

    def probabilities(
        self, texts: Sequence[str], *, places: Sequence[str] | None = None, progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """Probabilities [texts, labels], calibrated; see `logits`."""
        return self.decisions.probabilities(self.logits(texts, places=places, progress=progress))

    def predict(self, texts: Sequence[str]) -> list[Ranked]:
        """Hugging Face's form: for each text its labels with scores, highest first; see `ranked`."""
        return self.ranked(self.probabilities(texts))

    def ranked(self, probabilities: NDArray[np.float64]) -> list[Ranked]:
        """Probabilities [texts, labels] as label and score, highest first.

        Where the answer is not simply the first label (several labels a text, thresholds, answers that are withheld),
        each entry says in ``answer`` whether its label is given.
        """
        decisions = self.decisions
        plain = not (decisions.multi or decisions.thresholds or decisions.abstention)
        answers = None if plain else decisions.answers(probabilities)
        order = np.argsort(-probabilities, axis=1, kind="stable")
        return [
            [
                {"label": self.labels[index], "score": float(probabilities[row, index])}
                | ({} if answers is None else {"answer": bool(answers[row, index])})
                for index in ranks
            ]
            for row, ranks in enumerate(order)
        ]
