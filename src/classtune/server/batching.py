"""Requests that arrive together run together: a bounded queue, and one thread that runs the models.

No request waits for company: what has piled up while the model was busy is the next round. A round takes the texts that
have waited longest, and runs them in batches of like length, so that hardly any padding is computed.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from classtune.inference.predictor import Items
from classtune.model.batches import BATCH_TOKENS, length_sorted_batches

Logits = NDArray[np.float64]

# Tokens of one round: later arrivals wait for no more than this, and texts of like length are found among so many.
ROUND_TOKENS = 4 * BATCH_TOKENS
# Padded share of a batch, at most: a fuller batch reads the weights less often, which is worth some padding.
MAX_WASTE = 0.1


class Runner(Protocol):
    """What the batcher needs of a bundle: `classtune.inference.predictor.Predictor` has it."""

    def run(self, items: Sequence[Any], /) -> Logits:
        """Logits [items, labels] of one batch."""


class QueueFull(Exception):
    """So many texts wait that these are refused."""


class ModelFailed(Exception):
    """The model failed on a text of the request, whose number is ``text``; the cause is chained."""

    def __init__(self, text: int) -> None:
        super().__init__(text)
        self.text = text


@dataclass(eq=False)
class _Job:
    """The texts of one request. taken: its first items, which a round has; logits: of each item that was run."""

    runner: Runner
    texts: Items
    answer: Future[Logits] = field(default_factory=Future)
    taken: int = 0
    logits: dict[int, Logits] = field(default_factory=dict)

    @property
    def left(self) -> int:
        return len(self.texts.items) - self.taken

    @property
    def complete(self) -> bool:
        return len(self.logits) == len(self.texts.items)


# An item to be run: whose it is, and its number there.
_Item = tuple[_Job, int]


class Batcher:
    """The queue and its thread. room: items (texts, or windows of long ones) that may wait.

    observe: called with the number of items of each batch that was run.
    """

    def __init__(self, *, room: int, observe: Callable[[int], object] = lambda items: None) -> None:
        self.room = room
        self.waiting = 0  # items
        self._observe = observe
        self._queue: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="classtune-model", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def submit(self, runner: Runner, texts: Items, *, patience: float = 0) -> Future[Logits]:
        """Logits [texts, labels], later. Cancelled, what has not been run of it is dropped.

        Raises QueueFull where there is no room within ``patience`` seconds. A queue that is empty takes any request.
        """
        job = _Job(runner, texts)
        with self._changed:
            if not self._changed.wait_for(lambda: self._stopping or self._fits(job), patience) or self._stopping:
                raise QueueFull
            self.waiting += job.left
            self._queue.append(job)
            self._changed.notify_all()
        return job.answer

    def _fits(self, job: _Job) -> bool:
        return not self.waiting or self.waiting + job.left <= self.room

    def stop(self, timeout: float | None = None) -> None:
        """Take no more, finish what waits, and end the thread; give up after ``timeout`` seconds."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout)

    def _work(self) -> None:
        while round_ := self._next_round():
            for rows in length_sorted_batches(
                [len(job.texts.items[number]) for job, number in round_], tokens=BATCH_TOKENS, waste=MAX_WASTE
            ):
                self._run([round_[row] for row in rows])

    def _next_round(self) -> list[_Item]:
        """The items that have waited longest, all for one runner; waits for some. Empty when all is done.

        A request that does not fit goes to the end of the queue with its rest: short ones never wait for all of it.
        """
        with self._changed:
            while True:
                while not self._queue and not self._stopping:
                    self._changed.wait()
                chosen: list[_Item] = []
                others: list[_Job] = []
                tokens = 0
                while self._queue and tokens < ROUND_TOKENS:
                    job = self._queue.popleft()
                    if job.answer.done():  # given up
                        self.waiting -= job.left
                    elif chosen and job.runner is not chosen[0][0].runner:
                        others.append(job)
                    else:
                        while job.left and tokens < ROUND_TOKENS:
                            chosen.append((job, job.taken))
                            tokens += len(job.texts.items[job.taken])
                            job.taken += 1
                            self.waiting -= 1
                        if job.left:
                            self._queue.append(job)
                self._queue.extendleft(reversed(others))
                self._changed.notify_all()  # there may be room now
                if chosen or self._stopping:
                    return chosen

    def _run(self, batch: list[_Item]) -> None:
        """Run one batch, and answer the requests that it completes.

        Where the model fails, the batch is run again in halves, so that only the text that it fails on has no answer.
        """
        batch = [(job, number) for job, number in batch if not job.answer.done()]
        if not batch:
            return
        try:
            logits = batch[0][0].runner.run([job.texts.items[number] for job, number in batch])
        except Exception as error:  # whatever it was, it is these requests' answer, and the thread goes on
            if len(batch) > 1:
                middle = len(batch) // 2
                self._run(batch[:middle])
                self._run(batch[middle:])
                return
            ((job, number),) = batch
            failed = ModelFailed(int(job.texts.of_text[number]))
            failed.__cause__ = error
            _settle(job, failed)
            return
        self._observe(len(batch))
        for (job, number), row in zip(batch, logits, strict=True):
            job.logits[number] = row
            if job.complete:
                _settle(job)


def _settle(job: _Job, error: Exception | None = None) -> None:
    """Give a request its answer, unless it has one or was given up."""
    if job.answer.done() or not job.answer.set_running_or_notify_cancel():
        return
    if error is not None:
        job.answer.set_exception(error)
        return
    logits = np.stack([job.logits[number] for number in range(len(job.logits))])
    job.answer.set_result(job.texts.pooled(logits))
