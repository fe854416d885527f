"""The bundles as the page uses them: the same, but what they run waits in the server's queue like everybody's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from classtune.errors import DataError
from classtune.inference.predictor import Predictor
from classtune.model.tokens import Pieces, TokenIds
from classtune.server.batching import Batcher, Logits, QueueFull
from classtune.server.registry import Served, Shelf


class QueuedShelf:
    """The bundles of ``shelf``, whichever versions it holds when it is gone through.

    patience: seconds that a batch waits for room in the queue, and then for its answer.
    """

    def __init__(self, shelf: Shelf, batcher: Batcher, patience: float) -> None:
        self._shelf = shelf
        self._batcher = batcher
        self._patience = patience

    def __iter__(self) -> Iterator[Served]:
        for served in self._shelf:
            yield replace(served, predictor=_Queued(served.predictor, self._batcher, self._patience))


class _Queued(Predictor):
    def __init__(self, predictor: Predictor, batcher: Batcher, patience: float) -> None:
        vars(self).update(vars(predictor))  # made anew, it would lay out the weights a second time
        self._predictor = predictor
        self._batcher = batcher
        self._patience = patience

    def run(self, ids: Sequence[TokenIds]) -> Logits:
        pieces = Pieces(list(ids), np.arange(len(ids)))
        try:
            answer = self._batcher.submit(self._predictor, pieces, len(ids), patience=self._patience)
            try:
                return answer.result(self._patience)
            finally:
                answer.cancel()
        except (QueueFull, TimeoutError):
            raise DataError("There is too much to do here just now. Try again in a moment.") from None
