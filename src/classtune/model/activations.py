"""The activation store: what leaves the trunk, once for each distinct text, in memory or in a memory-mapped file."""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from classtune.config import Progress
from classtune.errors import ClasstuneError
from classtune.model.batches import Batch, length_sorted_batches, padding_mask
from classtune.model.network import Network
from classtune.model.tokens import TokenIds
from classtune.model.trunk import Trunk

Precision = Literal["auto", "float32", "float16"]

# Half precision is taken where it changes no logit of a sample by more than this share of the largest one: trained
# logits lie within ±10, so by less than 0.01.
HALF_TOLERANCE = 1e-3
_SAMPLE_TEXTS = 64
SAMPLE_SECONDS, LONG_SECONDS = 1.0, 60.0  # work that takes longer is announced
_LESS = (
    "Set TMPDIR to a larger disk, pass --set store=float16 (half as much) or --effort fast (nearly none), "
    "or use fewer texts."
)
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


class StoreTooLarge(ClasstuneError):
    """Neither memory nor disk hold the activations; raised before the trunk runs."""


@dataclass(frozen=True)
class TrunkFacts:
    """What passed the trunk: distinct texts, the tokens that were run and the tokens of those texts, seconds; whether
    the store is a file, and its type of number."""

    texts: int
    tokens: int
    distinct_tokens: int
    seconds: float
    on_disk: bool
    precision: str


class ActivationStore:
    """Trunk outputs of distinct texts: ``values`` float32 or float16 [tokens of all texts, width].

    limit_bytes: the largest store in memory; beyond, a file is mapped. None: a quarter of free memory. half: store
    float16. Batches are float32 either way. Raises StoreTooLarge.
    """

    def __init__(self, network: Network, distinct: Distinct, limit_bytes: int | None, *, half: bool = False) -> None:
        self.distinct = distinct
        self.network = network
        self.lengths = np.array([len(item) for item in distinct.ids], dtype=np.int64)
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self.last = np.array([network.encoder.last_pooled(item) for item in distinct.ids], dtype=np.int64)
        self.tokens_passed = 0
        self._there = np.zeros(len(distinct.ids), dtype=bool)  # texts whose activations are known already
        self.seconds = 0.0
        self.dtype = np.dtype(np.float16 if half else np.float32)
        shape = (int(self.starts[-1]), network.width)
        needed = shape[0] * shape[1] * self.dtype.itemsize
        self.limit_bytes = _limit(limit_bytes)
        self.on_disk = needed > self.limit_bytes
        if self.on_disk:
            free = psutil.disk_usage(tempfile.gettempdir()).free
            if needed > free:
                raise StoreTooLarge(
                    f"The activations take {needed / 2**20:,.0f} MB; memory for {self.limit_bytes / 2**20:,.0f} MB "
                    f"and {free / 2**20:,.0f} MB of {tempfile.gettempdir()} are free. {_LESS}"
                )
        self._rows = self._reserve(shape[0] + 1, network.width)
        self._rows[-1] = 0
        self.values: NDArray[Any] = self._rows[:-1]
        self._buffer = np.empty(0, np.float32)

    @classmethod
    def fitting(
        cls, network: Network, distinct: Distinct, limit_bytes: int | None, *, precision: Precision, start: int
    ) -> Self:
        """A store in the wanted precision of what leaves block ``start - 1``.

        ``auto`` takes half precision where float32 would not fit in memory and a sample of the texts shows that it
        changes no answer (HALF_TOLERANCE). Raises StoreTooLarge.
        """
        half = precision == "float16"
        if precision == "auto" and distinct.tokens * network.width * 4 > _limit(limit_bytes):
            half = half_changes(network, start, distinct) <= HALF_TOLERANCE
        return cls(network, distinct, limit_bytes, half=half)

    def _reserve(self, rows: int, width: int) -> NDArray[Any]:
        """Room for the activations, of which the last row is the one that pads texts."""
        if not self.on_disk:
            return np.empty((rows, width), self.dtype)
        size = rows * width * self.dtype.itemsize
        with tempfile.TemporaryFile(prefix="classtune-store-") as file:  # the mapping keeps it until the store goes
            try:
                if hasattr(os, "posix_fallocate"):  # a disk that fills later would end the process with SIGBUS
                    os.posix_fallocate(file.fileno(), 0, size)
                else:
                    file.truncate(size)
            except OSError as error:
                raise StoreTooLarge(
                    f"{tempfile.gettempdir()}: no room for {size / 2**20:,.0f} MB of activations ({error.strerror}). "
                    + _LESS
                ) from None
            return np.memmap(file, self.dtype, "r+", shape=(rows, width))

    def take(self, rows: NDArray[np.int64], states: NDArray[np.float32]) -> None:
        """Take what was computed elsewhere: what leaves the trunk [tokens of these rows one after the other, width]."""
        texts = self.distinct.of_row[rows]
        ends = np.cumsum(self.lengths[texts])
        self._check(states)
        for text, end in zip(texts, ends, strict=True):
            self.values[self.starts[text] : self.starts[text + 1]] = states[end - self.lengths[text] : end]
        self._there[texts] = True
        self.tokens_passed += int(self.lengths[self._there].sum())

    def fill(self, trunk: Trunk, progress: Progress, notify: Callable[[str], None] | None = None) -> None:
        """Run the trunk over every distinct text that was not taken, in batches of like length.

        Batches from all lengths go first: ``notify`` is told what is ahead where those say that it takes over a minute.
        """
        started = time.perf_counter()
        done, total = 0, int(self.lengths[~self._there].sum())
        announced = notify is None
        missing = np.flatnonzero(~self._there)
        own = [missing[places] for places in evenly(list(length_sorted_batches(self.lengths[missing].tolist())))]
        batches = (self.network.encoder.batch([self.distinct.ids[row] for row in rows]) for rows in own)
        for number, states in trunk.over(batches):
            rows = own[number]
            self.tokens_passed += states.shape[0] * states.shape[1]
            self._put(rows, states.cpu().numpy())
            done += int(self.lengths[rows].sum())
            progress("trunk", done, total)
            self.seconds = time.perf_counter() - started
            if not announced and self.seconds > SAMPLE_SECONDS:
                announced = True
                if notify and self.seconds * total / done > LONG_SECONDS:
                    notify(self.announcement(self.seconds * total / done))

    def announcement(self, seconds: float) -> str:
        """What filling the store takes, in words."""
        place = f"in {tempfile.gettempdir()}" if self.on_disk else "of memory"
        return (
            f"trunk: about {max(1, round(seconds / 60)):,} min for {len(self.distinct.ids):,} distinct texts of "
            f"{self.distinct.tokens:,} tokens; the activations take {self.values.nbytes / 2**20:,.0f} MB {place} "
            f"({self.dtype})."
        )

    def advance(self, trunk: Trunk) -> None:
        """Run the stored activations through further blocks; they are replaced by what leaves those."""
        for texts in length_sorted_batches(self.lengths.tolist()):
            states = trunk(self._batch(texts).to(self.network.device)).cpu().numpy()
            self._put(texts, states)

    def facts(self) -> TrunkFacts:
        """What passed the trunk, for the result."""
        return TrunkFacts(
            texts=len(self.distinct.ids),
            tokens=self.tokens_passed,
            distinct_tokens=self.distinct.tokens,
            seconds=self.seconds,
            on_disk=self.on_disk,
            precision=str(self.dtype),
        )

    def save(self, file: Path) -> None:
        """Keep the activations."""
        with file.open("wb") as out:  # given a name, NumPy would add .npy to it
            np.save(out, self.values, allow_pickle=False)

    def restore(self, kept: Path) -> None:
        """Take the activations that `save` kept."""
        self.values[:] = np.load(kept, mmap_mode="r", allow_pickle=False)

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """Stored activations of some rows of the table, padded with zeros on the right."""
        return self._batch(self.distinct.of_row[rows])

    def _batch(self, texts: NDArray[np.int64]) -> Batch:
        lengths = self.lengths[texts]
        width = int(lengths.max())
        places = np.where(np.arange(width) < lengths[:, None], self.starts[texts, None] + np.arange(width), -1)
        values = self._room(places.size).reshape(*places.shape, -1)
        if self._rows.dtype == values.dtype:
            self._rows.take(places, axis=0, out=values, mode="wrap")  # copied straight to `out`; -1 is the row of zeros
        else:
            torch.from_numpy(values).copy_(torch.from_numpy(self._rows.take(places, axis=0, mode="wrap")))
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
        kept = states[real]
        self._check(kept)
        self.values[(self.starts[texts, None] + np.arange(states.shape[1]))[real]] = kept

    def _check(self, states: NDArray[np.float32]) -> None:
        if self.dtype == np.float16 and not np.abs(states).max() <= np.finfo(np.float16).max:
            raise ClasstuneError('The activations are beyond what half precision holds. Set store = "float32".')


@torch.inference_mode()
def half_changes(network: Network, start: int, distinct: Distinct) -> float:
    """The largest change in a logit where what leaves the trunk is kept in half precision, as a share of the largest
    logit, on texts of all lengths; infinite where half precision does not hold the activations."""
    order = np.argsort([len(item) for item in distinct.ids], kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, _SAMPLE_TEXTS).astype(np.int64))]
    trunk, tail = Trunk(network, start), network.tail(start).eval()
    change = largest = 0.0
    for text in chosen:
        batch = network.encoder.batch([distinct.ids[text]]).to(network.device)
        states = trunk(batch)
        exact = tail(Batch(states, batch.mask, batch.last))
        rounded = tail(Batch(states.half().float(), batch.mask, batch.last))
        change = max(change, float((rounded - exact).abs().nan_to_num(nan=math.inf).max()))
        largest = max(largest, float(exact.abs().max()))
    return change / max(largest, 1e-6)


def _limit(limit_bytes: int | None) -> int:
    return psutil.virtual_memory().available // 4 if limit_bytes is None else limit_bytes


def evenly(batches: list[NDArray[np.int64]]) -> Iterator[NDArray[np.int64]]:
    """Batches of all lengths from the beginning on: every 64th, then the others in their order."""
    yield from batches[::64]
    yield from (batch for place, batch in enumerate(batches) if place % 64)
