"""Many batches through blocks that stay as they are: by this process alone, or shared with workers.

Knows no transport. A worker is a function that takes a batch and gives what leaves the blocks: a thread here waits for
each. Batches are handed out one by one, so that a slow worker has fewer and a pass with few batches leaves some idle.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from classtune.model.batches import Batch


@dataclass(frozen=True)
class Span:
    """Which blocks: from ``start`` (None: the embeddings before them too) to ``stop - 1``.

    pooling: the norm and this pooling come after them, up to what goes into the head; None: states of every token.
    one_position: see `Tail`.
    """

    start: int | None
    stop: int
    pooling: str | None = None
    one_position: bool = True


Run = Callable[[Batch], Tensor]
# Whatever runs a span over batches: given how this process runs it, it yields the number of each batch and what leaves
# the span of it, in any order.
Engine = Callable[[Span, Run, Iterable[Batch]], Iterator[tuple[int, Tensor]]]


def alone(run: Run, batches: Iterable[Batch]) -> Iterator[tuple[int, Tensor]]:
    """One after the other."""
    for number, batch in enumerate(batches):
        yield number, run(batch)


def shared(run: Run | None, workers: Sequence[Run], batches: Iterable[Batch]) -> Iterator[tuple[int, Tensor]]:
    """Batches by this process (``run``; None: it only waits) and by workers, each as soon as it is done.

    Raises what a worker raises, once the batches that are under way are done.
    """
    waiting, lock, ended = enumerate(batches), threading.Lock(), threading.Event()
    done: queue.SimpleQueue[tuple[int, Tensor] | BaseException | None] = queue.SimpleQueue()

    def take() -> tuple[int, Batch] | None:
        with lock:
            return None if ended.is_set() else next(waiting, None)

    def serve(worker: Run) -> None:
        try:
            while (taken := take()) is not None:
                done.put((taken[0], worker(taken[1])))
        except BaseException as error:
            ended.set()
            done.put(error)
        done.put(None)

    threads = [threading.Thread(target=serve, args=(worker,), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    working, left = run is not None, len(threads)
    try:
        while working or left:
            if run is not None and working and done.empty():
                taken = take()
                working = taken is not None
                if taken is not None:
                    yield taken[0], run(taken[1])
                continue
            item = done.get()
            if item is None:
                left -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                yield item
    finally:
        ended.set()
        for thread in threads:
            thread.join()
