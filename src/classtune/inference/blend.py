"""A classifier that is no single network (TF-IDF or columns alone, a blend) with the methods of a network's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from classtune.candidates.blend import Weight, blended
from classtune.candidates.columns import ColumnsModel
from classtune.candidates.lexical_model import LexicalModel
from classtune.data.reading.cells import is_blank
from classtune.decisions.decisions import Decisions
from classtune.errors import DataError
from classtune.inference.scoring import Items, Predictor
from classtune.model.batches import length_sorted_batches
from classtune.model.tokens import TokenIds, pool_pieces
from classtune.stats import Floats

# Most tokens of a text for a classifier that has none: no text of a request is longer.
_NO_LIMIT = 1_000_000


@dataclass(frozen=True)
class _Text:
    """A text on its way: its token ids for each network, in pieces. Its length is the number of its tokens."""

    text: str
    pieces: list[list[TokenIds]]

    def __len__(self) -> int:
        return sum(len(piece) for pieces in self.pieces for piece in pieces) or 1 + len(self.text) // 4


class BlendPredictor(Predictor):
    """Scores texts by several members, or by one that is no network.

    parts: each member with its weight, the main network first where there is one. networks: the predictors among them;
    an explanation by gradients and the nearest training texts are those of the first. Leaving words out asks the blend.
    """

    def __init__(
        self,
        parts: Sequence[tuple[Predictor | LexicalModel | ColumnsModel, Weight]],
        labels: list[str],
        decisions: Decisions,
    ) -> None:
        self.parts = list(parts)
        self.labels = labels
        self.decisions = decisions
        self.networks = [member for member, _ in parts if isinstance(member, Predictor)]
        if self.networks:  # what looks into a classifier looks into its main network
            main = self.networks[0]
            self.network, self.encoder, self.whole = main.network, main.encoder, main.whole

    @property
    def single(self) -> bool:
        return False

    @property
    def limit(self) -> int:
        return min((network.limit for network in self.networks), default=_NO_LIMIT)

    @property
    def pairs(self) -> bool:
        return any(network.pairs for network in self.networks)

    @property
    def explainable(self) -> bool:
        return all(network.explainable for network in self.networks)

    @property
    def cuts(self) -> bool:
        return all(network.cuts for network in self.networks)

    def read(self, texts: Sequence[str], places: Sequence[str]) -> Items:
        return self._together(texts, places, [network.read(texts, places) for network in self.networks])

    def items(
        self, texts: Sequence[str], places: Sequence[str] | None = None, *, truncate: bool | None = None
    ) -> Items:
        named = places or [f"text {number}" for number in range(1, len(texts) + 1)]
        by_network = [network.items(texts, named, truncate=truncate) for network in self.networks]
        return self._together(texts, named, by_network)

    def _together(self, texts: Sequence[str], places: Sequence[str], by_network: Sequence[Items]) -> Items:
        """One item a text, whatever the members made of it."""
        if empty := [place for place, text in zip(places, texts, strict=True) if is_blank(text)]:
            raise DataError([f"{place}: the text is empty. Give it words, or leave it out." for place in empty])
        pieces: list[list[list[TokenIds]]] = [[[] for _ in by_network] for _ in texts]
        for network, read in enumerate(by_network):
            for item, text in zip(read.items, read.of_text, strict=True):
                pieces[int(text)][network].append(item)  # type: ignore[arg-type]
        items = [_Text(text, own) for text, own in zip(texts, pieces, strict=True)]
        return Items(items, np.arange(len(items)), len(items))

    def run(self, items: Sequence[Any]) -> Floats:
        logits, number = [], 0
        for member, _ in self.parts:
            if isinstance(member, Predictor):
                logits.append(_run_network(member, [item.pieces[number] for item in items]))
                number += 1
            else:
                logits.append(member.logits([item.text for item in items]))
        return blended(logits, [weight for _, weight in self.parts], multi=self.decisions.multi)

    def copy_weights(self) -> None:
        for network in self.networks:
            network.copy_weights()


def _run_network(member: Predictor, pieces: Sequence[Sequence[TokenIds]]) -> Floats:
    """Logits [texts, labels] of texts in pieces."""
    import torch

    flat = [piece for own in pieces for piece in own]
    of_text = np.repeat(np.arange(len(pieces)), [len(own) for own in pieces])
    logits = np.zeros((len(flat), len(member.labels)))
    for rows in length_sorted_batches([len(piece) for piece in flat]):
        logits[rows] = member.run([flat[row] for row in rows])
    pooled: Floats = pool_pieces(torch.from_numpy(logits), of_text, len(pieces)).numpy()
    return pooled
