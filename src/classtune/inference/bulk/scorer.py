"""Many texts to logits on all cores, none of which can stop the others. Knows texts, not tables.

Cores share the texts, not the layers: a thread runs a slice of them on one core. So no core waits for the others in the
middle of a matrix product, and a text gets the same score however many cores there are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from classtune.data.reading.cells import with_cells
from classtune.errors import DataError
from classtune.inference.predictor import Predictor

# Texts of a slice, in characters: enough for batches of one length to be full (half as many cost 1 % more, an eighth
# 30 %), few enough to be shared among cores and to stop soon.
SLICE_CHARACTERS = 1 << 15
_PLAIN_TEXT = "ok"  # with which no model fails that works at all


@dataclass(frozen=True)
class Scored:
    """logits: [texts, labels], zeros where there is no answer. faults: why there is none, by the text's number."""

    logits: NDArray[np.float64]
    faults: dict[int, str]


@contextlib.contextmanager
def cores() -> Iterator[int]:
    """How many threads PyTorch has here; while this lasts, whatever is loaded or run takes one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


class Scorer:
    """Runs texts through a predictor on so many threads, within `cores`; to be closed."""

    def __init__(self, predictor: Predictor, threads: int) -> None:
        self.predictor = predictor
        # PyTorch keeps its number of threads per thread, too.
        self._pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))

    def close(self) -> None:
        """Wait for the slices that run; those that wait are dropped."""
        self._pool.shutdown(cancel_futures=True)

    def __call__(self, texts: Sequence[str], report: Callable[[int], None] = lambda done: None) -> Scored:
        """Logits of these texts; equal ones are run once. report: told how many of them are done.

        Raises nothing for a text that the model cannot take: it is among the ``faults``.
        """
        rows_of: dict[tuple[str, ...], list[int]] = {}
        for row, text in enumerate(texts):
            rows_of.setdefault(with_cells(text), []).append(row)
        logits = np.zeros((len(texts), len(self.predictor.labels)))
        faults: dict[int, str] = {}
        done = 0
        work = {
            self._pool.submit(self._run, part): part for part in _slices(texts[rows[0]] for rows in rows_of.values())
        }
        for future in as_completed(work):
            scores, refused = future.result()
            for text, score in zip(work[future], scores, strict=True):
                rows = rows_of[with_cells(text)]
                logits[rows] = score
                faults.update((row, refused[text]) for row in rows if text in refused)
                done += len(rows)
            report(done)
        return Scored(logits, dict(sorted(faults.items())))

    def _run(self, texts: list[str]) -> tuple[NDArray[np.float64], dict[str, str]]:
        """Logits of a slice, and why texts of it have none.

        Raises what the model raises where it fails with a plain word too: then it is not the texts.
        """
        try:
            return self.predictor.logits(texts), {}
        except DataError:
            refused = {text: fault for text in texts if (fault := self._fault(text)) is not None}
            if not refused:
                raise
        except Exception:
            self.predictor.logits([_PLAIN_TEXT])
            refused = self._failing(texts)
        logits = np.zeros((len(texts), len(self.predictor.labels)))
        kept = [row for row, text in enumerate(texts) if text not in refused]
        if kept:
            logits[kept], more = self._run([texts[row] for row in kept])
            refused |= more
        return logits, refused

    def _failing(self, texts: list[str]) -> dict[str, str]:
        """The texts with which the model fails, found by halves, and with what."""
        try:
            self.predictor.logits(texts)
            return {}
        except DataError:  # refused with a reason of its own, later
            texts = [text for text in texts if self._fault(text) is None]
            return self._failing(texts) if texts else {}
        except Exception as error:
            if len(texts) == 1:
                reason = str(error).strip().partition("\n")[0][:200]
                return {texts[0]: f"the model fails with this text ({type(error).__name__}: {reason})"}
            half = len(texts) // 2
            return self._failing(texts[:half]) | self._failing(texts[half:])

    def _fault(self, text: str) -> str | None:
        """Why the model cannot take the text, if it cannot."""
        try:
            self.predictor.encoder.pieces([text], [""])
        except DataError as error:
            return error.problems[0].removeprefix(": ").removesuffix(".")
        return None


def _slices(texts: Iterable[str]) -> list[list[str]]:
    """Texts of like length together, the longest first: then what is left to do at the end is short."""
    slices: list[list[str]] = [[]]
    room = SLICE_CHARACTERS
    for text in sorted(texts, key=len, reverse=True):
        if slices[-1] and len(text) > room:
            slices.append([])
            room = SLICE_CHARACTERS
        slices[-1].append(text)
        room -= len(text)
    return [part for part in slices if part]
