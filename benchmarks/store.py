"""Rows a second that leave the activation store in batches, against a loop that copies text by text.

The shapes are those of all-MiniLM-L6-v2: width 384, texts of about 30 tokens. The loop is what the store once was.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from common import Figure, main

TEXTS, WIDTH = 20_000, 384
ROUNDS = 5


def measure(args: argparse.Namespace) -> list[Figure]:
    import numpy as np
    import torch

    from classtune.config import resolve
    from classtune.model.activations import ActivationStore, Distinct
    from classtune.model.batches import Batch, padding_mask
    from classtune.training.loop import shuffled_batches

    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(3.25, 0.5, TEXTS).astype(np.int64), 4, 128)
    ids = [np.full(length, 7, np.int32) for length in lengths]
    store = ActivationStore(_Shapes(), Distinct(ids, np.arange(TEXTS)), None)  # type: ignore[arg-type]
    store.values[:] = rng.standard_normal(store.values.shape, dtype=np.float32)

    def loop(texts: Any) -> Batch:
        width = int(lengths[texts].max())
        values = torch.zeros(len(texts), width, WIDTH)
        for place, text in enumerate(texts):
            state = torch.from_numpy(store.values[store.starts[text] : store.starts[text + 1]])
            values[place, : lengths[text]] = state
        return Batch(values, padding_mask(lengths[texts], width, True), torch.from_numpy(store.last[texts]))

    figures = []
    for size in (16, 256):
        batches = shuffled_batches(lengths, np.arange(TEXTS), resolve(overrides={"batch_size": size}), epoch=0)
        assert torch.equal(store.batch(batches[0]).values, loop(batches[0]).values)
        seconds: dict[str, list[float]] = {"gather": [], "loop": []}
        for _ in range(ROUNDS):  # in turns, so that a busy machine slows both
            seconds["gather"].append(_seconds(store.batch, batches))
            seconds["loop"].append(_seconds(loop, batches))
        ours, theirs = (TEXTS / float(np.median(seconds[name])) for name in ("gather", "loop"))
        detail = {"rows_per_second": round(ours), "loop": round(theirs), "threads": torch.get_num_threads()}
        figures.append(Figure(f"store: rows/s in batches of {size}, over a loop", ours / theirs, "x", 3, 10, detail))
    return figures


class _Shapes:
    """What the store asks of a network, without one."""

    width = WIDTH

    def __init__(self) -> None:
        self.encoder = self
        self.needs_mask = True

    def last_pooled(self, ids: Any) -> int:
        return len(ids) - 1


def _seconds(take: Callable[[Any], object], batches: list[Any]) -> float:
    started = time.perf_counter()
    for batch in batches:
        take(batch)
    return time.perf_counter() - started


if __name__ == "__main__":
    main(__doc__, measure)
