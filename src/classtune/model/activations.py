"""The activation store: what leaves the trunk, once for each distinct text, in memory or in a memory-mapped file."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from classtune.config import Progress
from classtune.errors import ClasstuneError
from classtune.model.network import Network, Trunk
from classtune.model.tokens import Batch, TokenIds, length_sorted_batches, padding_mask

_UNUSED = 2  # references to a buffer that only the store holds: its own and that of the call that counts them


@dataclass
class Distinct:
    """Texts by their distinct token ids.

    of_row: index in ``ids`` of each row's text [rows]; -1 for a row without tokens.
    """

    ids: list[TokenIds]
    of_row: NDArray[np.int64]

    @classmethod
    def of(cls, ids: Sequence[TokenIds]) -> Distinct:
        seen: dict[bytes, int] = {}
        of_row = np.empty(len(ids), dtype=np.int64)
        distinct: list[TokenIds] = []
        for row, item in enumerate(ids):
            if len(item) == 0:  # a row that no split uses
                of_row[row] = -1
                continue
            index = seen.setdefault(item.tobytes(), len(distinct))
            if index == len(distinct):
                distinct.append(item)
            of_row[row] = index
        return cls(distinct, of_row)

    @property
    def tokens(self) -> int:
        return sum(len(item) for item in self.ids)


class ActivationStore:
    """Trunk outputs of distinct texts: ``values`` float32 [tokens of all texts, width]."""

    def __init__(self, network: Network, distinct: Distinct, limit_bytes: int | None) -> None:
        self.distinct = distinct
        self.network = network
        self.lengths = np.array([len(item) for item in distinct.ids], dtype=np.int64)
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self.last = np.array([network.encoder.last_pooled(item) for item in distinct.ids], dtype=np.int64)
        self.tokens_passed = 0
        self.seconds = 0.0
        shape = (int(self.starts[-1]), network.width)
        needed = shape[0] * shape[1] * 4
        self.limit_bytes = psutil.virtual_memory().available // 4 if limit_bytes is None else limit_bytes
        self.on_disk = needed > self.limit_bytes
        if self.on_disk:
            free = psutil.disk_usage(tempfile.gettempdir()).free
            if needed > free:
                raise ClasstuneError(
                    f"The activations take {needed / 2**20:,.0f} MB; memory for {self.limit_bytes / 2**20:,.0f} MB "
                    f"and {free / 2**20:,.0f} MB of {tempfile.gettempdir()} are free. "
                    "Set TMPDIR to a larger disk, or use fewer texts."
                )
        self._rows = self._reserve(shape[0] + 1, network.width)
        self._rows[-1] = 0
        self.values: NDArray[np.float32] = self._rows[:-1]
        self._buffer = np.empty(0, np.float32)

    def _reserve(self, rows: int, width: int) -> NDArray[np.float32]:
        """Room for the activations, of which the last row is the one that pads texts."""
        if not self.on_disk:
            return np.empty((rows, width), np.float32)
        size = rows * width * 4
        with tempfile.TemporaryFile(prefix="classtune-store-") as file:  # the mapping keeps it until the store goes
            try:
                if hasattr(os, "posix_fallocate"):  # a disk that fills later would end the process with SIGBUS
                    os.posix_fallocate(file.fileno(), 0, size)
                else:
                    file.truncate(size)
            except OSError as error:
                raise ClasstuneError(
                    f"{tempfile.gettempdir()}: no room for {size / 2**20:,.0f} MB of activations ({error.strerror}). "
                    "Set TMPDIR to a larger disk, or use fewer texts."
                ) from None
            return np.memmap(file, np.float32, "r+", shape=(rows, width))

    def fill(self, trunk: Trunk, progress: Progress) -> None:
        """Run the trunk over every distinct text, in length-sorted batches."""
        started = time.perf_counter()
        done, total = 0, int(self.starts[-1])
        for rows in length_sorted_batches(self.lengths.tolist()):
            batch = self.network.encoder.batch([self.distinct.ids[row] for row in rows])
            states = trunk(batch.to(self.network.device)).cpu().numpy()
            self.tokens_passed += batch.values.numel()
            self._put(rows, states)
            done += int(self.lengths[rows].sum())
            progress("trunk", done, total)
        self.seconds = time.perf_counter() - started

    def advance(self, trunk: Trunk) -> None:
        """Run the stored activations through further blocks; they are replaced by what leaves those."""
        for texts in length_sorted_batches(self.lengths.tolist()):
            states = trunk(self._batch(texts).to(self.network.device)).cpu().numpy()
            self._put(texts, states)

    def facts(self) -> dict[str, Any]:
        """What passed the trunk, for the result document."""
        return {
            "texts": len(self.distinct.ids),
            "tokens": self.tokens_passed,
            "distinct_tokens": self.distinct.tokens,
            "seconds": self.seconds,
            "on_disk": self.on_disk,
        }

    def restore(self, kept: Path) -> None:
        """Take the activations that `fill` kept."""
        self.values[:] = np.load(kept, mmap_mode="r", allow_pickle=False)

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """Stored activations of some rows of the table, padded with zeros on the right."""
        return self._batch(self.distinct.of_row[rows])

    def _batch(self, texts: NDArray[np.int64]) -> Batch:
        lengths = self.lengths[texts]
        width = int(lengths.max())
        places = np.where(np.arange(width) < lengths[:, None], self.starts[texts, None] + np.arange(width), -1)
        values = self._room(places.size).reshape(*places.shape, -1)
        self._rows.take(places, axis=0, out=values, mode="wrap")  # the mode that copies straight to `out`; -1 is zeros
        mask = padding_mask(lengths, width, self.network.encoder.needs_mask)
        return Batch(torch.from_numpy(values), mask, torch.from_numpy(self.last[texts]))

    def _room(self, positions: int) -> NDArray[np.float32]:
        """Memory for a batch: that of an earlier one where no tensor looks at it any more, for fresh pages cost more
        than what is copied into them."""
        needed = positions * self._rows.shape[1]
        if len(self._buffer) < needed or sys.getrefcount(self._buffer) > _UNUSED:
            self._buffer = np.empty(needed, np.float32)
        return self._buffer[:needed]

    def _put(self, texts: NDArray[np.int64], states: NDArray[np.float32]) -> None:
        real = np.arange(states.shape[1]) < self.lengths[texts, None]
        self.values[(self.starts[texts, None] + np.arange(states.shape[1]))[real]] = states[real]
