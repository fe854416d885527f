"""Work on a thread that ends with it, for a server, whose other threads stay.

OpenMP, which PyTorch computes with, keeps a team of threads for every thread that has run a model. Once a process has
more of them than cores, they fall asleep between any two steps of a forward pass, and waking them takes a short text
half as long again (benchmarks/serve.py). A team goes when its thread ends. So the server's models run on one thread
that stays, and what else runs a model now and then goes through here.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def on_own_thread(work: Callable[[], Result]) -> Result:
    """What ``work`` returns or raises, done on a thread that ends with it."""
    with ThreadPoolExecutor(1, "classtune-once") as thread:
        return thread.submit(work).result()
