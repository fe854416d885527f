"""What goes into the head: of texts as they are asked for, all that a probe needs; or of texts all at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from classtune.config import Progress
from classtune.model import slicing
from classtune.model.activations import LONG_SECONDS, SAMPLE_SECONDS, Distinct, TrunkFacts, evenly
from classtune.model.batches import Batch, length_sorted_batches
from classtune.model.head import pool
from classtune.model.network import Network
from classtune.model.tokens import Pieces, TokenIds
from classtune.model.trunk import Vectors

_TOGETHER = 20_000  # texts whose pieces are pooled at once, in float64


class PooledStates:
    """Pooled states of a network that stays as it is: each distinct piece of text passes once, when it is first asked
    for. A vector a piece takes a small part of what the states of its tokens take.
    """

    def __init__(self, network: Network, pieces: Pieces, progress: Progress) -> None:
        self.network = network
        self.pieces = pieces
        self.progress = progress
        self.distinct = Distinct.of(pieces.ids)
        self.lengths = np.array([len(item) for item in self.distinct.ids], dtype=np.int64)
        self.tokens_passed = 0
        self.seconds = 0.0
        self._states: NDArray[np.float32] | None = None  # [distinct pieces, width]
        self._there = np.zeros(len(self.distinct.ids), dtype=bool)

    def of(self, rows: NDArray[np.int64], notify: Callable[[str], None] | None = None) -> NDArray[np.float32]:
        """Pooled states of texts by their numbers [rows, width]; of a text in pieces their mean.

        notify: is told what is ahead where it takes over a minute.
        """
        self._pass(np.unique(self.distinct.of_row[self.pieces.rows(rows)]), notify)
        if self._states is None:
            return np.zeros((len(rows), self.network.width), np.float32)
        result = np.empty((len(rows), self._states.shape[1]), np.float32)
        for start in range(0, len(rows), _TOGETHER):
            part = rows[start : start + _TOGETHER]
            states = torch.from_numpy(self._states[self.distinct.of_row[self.pieces.rows(part)]])
            result[start : start + _TOGETHER] = self.pieces.pooled(states.double(), part).numpy()
        return result

    def take(self, rows: NDArray[np.int64], states: NDArray[np.float32]) -> None:
        """Take pooled states of texts that were computed elsewhere, where each is one piece."""
        places = self.pieces.rows(rows)
        if len(places) == len(rows):
            texts = self.distinct.of_row[places]
            self._put(texts, states)
            self.tokens_passed += int(self.lengths[np.unique(texts)].sum())

    def facts(self) -> TrunkFacts:
        """What passed, for the result."""
        there = int(self._there.sum()), self.tokens_passed, int(self.lengths[self._there].sum())
        return TrunkFacts(*there, self.seconds, on_disk=False, precision="float32")

    def save(self, file: Path) -> None:
        """Keep what is known."""
        from safetensors.numpy import save_file

        known = np.flatnonzero(self._there)
        states = np.empty((0, 0), np.float32) if self._states is None else self._states[known]
        save_file({"texts": known, "states": states}, str(file))

    def restore(self, file: Path) -> None:
        """Take what `save` kept."""
        from safetensors.numpy import load_file

        kept = load_file(str(file))
        if len(kept["texts"]):
            self._put(kept["texts"], kept["states"])

    def _put(self, texts: NDArray[np.int64], states: NDArray[np.float32]) -> None:
        if self._states is None:  # room that nothing is written to takes no memory
            self._states = np.empty((len(self.distinct.ids), states.shape[1]), np.float32)
        self._states[texts] = states
        self._there[texts] = True

    def _pass(self, texts: NDArray[np.int64], notify: Callable[[str], None] | None) -> None:
        """Run the network over those of some distinct pieces that have not passed, in batches of like length."""
        missing = texts[~self._there[texts]]
        if not len(missing):
            return
        started, done, total = time.perf_counter(), 0, int(self.lengths[missing].sum())
        announced = notify is None
        texts_of = [missing[places] for places in evenly(list(length_sorted_batches(self.lengths[missing].tolist())))]
        batches = (self.network.encoder.batch([self.distinct.ids[text] for text in own]) for own in texts_of)
        for number, states in Vectors(self.network).over(batches):
            own = texts_of[number]
            self._put(own, states.cpu().numpy())
            self.tokens_passed += len(own) * int(self.lengths[own].max())
            done += int(self.lengths[own].sum())
            self.progress("trunk", done, total)
            spent = time.perf_counter() - started
            if not announced and spent > SAMPLE_SECONDS:
                announced = True
                if notify and spent * total / done > LONG_SECONDS:
                    minutes = max(1, round(spent * total / done / 60))
                    notify(f"trunk: about {minutes:,} min for {len(missing):,} distinct texts of {total:,} tokens.")
        self.seconds += time.perf_counter() - started


def pooled_states(
    network: Network, ids: Sequence[TokenIds], *, progress: Callable[[int, int], object] | None = None
) -> NDArray[np.float32]:
    """What goes into the head, for texts that are all asked for at once [texts, width] (twice it for ``last+mean``).

    ids: token ids of each text. Runs in length-sorted batches on the fast layers. progress: told of texts done, of all.
    """
    network.classifier.eval()
    run: Callable[[Batch], Tensor] = partial(_of_whole, network) if network.whole else Vectors(network)
    result: NDArray[np.float32] | None = None
    done = 0
    for rows in length_sorted_batches([len(item) for item in ids]):
        batch = network.encoder.batch([ids[row] for row in rows]).to(network.device)
        pooled = run(batch).cpu().numpy()
        if result is None:
            result = np.empty((len(ids), pooled.shape[1]), dtype=np.float32)
        result[rows] = pooled
        done += len(rows)
        if progress:
            progress(done, len(ids))
    return np.empty((0, network.width), dtype=np.float32) if result is None else result


@torch.inference_mode()
def _of_whole(network: Network, batch: Batch) -> Tensor:
    """Pooled states [texts, width] of a network that is run as transformers runs it."""
    how = network.pooling if network.family else "mean"  # of an unknown class the pooling is not known
    return pool(slicing.states(network.base, batch.values, batch.mask), batch.last, how).float()
