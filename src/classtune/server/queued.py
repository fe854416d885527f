"""The bundles as the page uses them: what they run waits in the server's queue like everybody's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classtune.config import Progress
from classtune.data.reading.cells import with_cells
from classtune.errors import DataError
from classtune.explain.neighbours import Neighbours
from classtune.inference.predictor import Items, Predictor
from classtune.server.batching import Batcher, Logits, ModelFailed, QueueFull
from classtune.server.registry import LoadedBundle, ModelRegistry

# Texts that the page puts in the queue at once: a table of the page leaves room for others between.
_CHUNK = 256


class QueuedRegistry:
    """The bundles of ``registry``, whichever versions it holds when it is gone through.

    patience: seconds that a batch waits for room in the queue, and then for its answer.
    """

    def __init__(self, registry: ModelRegistry, batcher: Batcher, patience: float) -> None:
        self._registry = registry
        self._batcher = batcher
        self._patience = patience

    def __iter__(self) -> Iterator[QueuedBundle]:
        for bundle in self._registry:
            yield QueuedBundle(bundle, self._batcher, self._patience)


class QueuedBundle:
    """One version of a bundle; see `classtune.server.page.actions.PageBundle`."""

    def __init__(self, bundle: LoadedBundle, batcher: Batcher, patience: float) -> None:
        self.name: str = bundle.name
        self.folder: Path = bundle.folder
        self.predictor: Predictor = bundle.predictor
        self.record: dict[str, Any] = bundle.record
        self.neighbours: Neighbours | None = bundle.neighbours
        self._batcher = batcher
        self._patience = patience

    def probabilities(
        self, texts: Sequence[str], *, places: Sequence[str], progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """Probabilities [texts, labels]; equal rows are run once. Raises DataError for texts that are not taken."""
        numbers: dict[tuple[str, ...], int] = {}
        of_text = [numbers.setdefault(with_cells(text), len(numbers)) for text in texts]
        firsts = np.unique(np.array(of_text, dtype=np.int64), return_index=True)[1].tolist()
        distinct, named = [texts[row] for row in firsts], [places[row] for row in firsts]
        logits = np.zeros((len(distinct), len(self.predictor.labels)))
        for start in range(0, len(distinct), _CHUNK):
            chunk = distinct[start : start + _CHUNK]
            names = named[start : start + len(chunk)]
            logits[start : start + len(chunk)] = self._run(self.predictor.items(chunk, names), names)
            if progress:
                progress("predict", start + len(chunk), len(distinct))
        return self.predictor.decisions.probabilities(logits[of_text])

    def _run(self, items: Items, places: Sequence[str]) -> Logits:
        try:
            answer = self._batcher.submit(self.predictor, items, patience=self._patience)
            try:
                return answer.result(self._patience)
            finally:
                answer.cancel()
        except (QueueFull, TimeoutError):
            raise DataError("There is too much to do here just now. Try again in a moment.") from None
        except ModelFailed as failed:
            raise DataError(f"{places[failed.text]}: the model failed on it. Leave it out.") from failed
