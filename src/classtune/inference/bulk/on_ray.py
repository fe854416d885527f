"""Bulk prediction on a Ray cluster: a worker a core, each with the bundle; this machine reads and writes.

Workers are sent the bundle and the texts and send back logits, so that they need classtune and no shared disk.
Needs the extra ``ray``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from classtune.bundle import RECORD, read_record
from classtune.files import inside
from classtune.inference.bulk.cluster import cluster, start_workers, unpacked
from classtune.inference.bulk.engines import Engine, Job
from classtune.inference.bulk.scorer import Scored, Scorer
from classtune.inference.runtimes import load_exported

_AHEAD = 2  # jobs a worker, so that none waits for its next one


class Worker:
    """A process of the cluster that scores texts."""

    def __init__(self, files: dict[str, bytes], runtime: str) -> None:
        torch.set_num_threads(1)
        with unpacked(files) as folder:
            predictor, _ = load_exported(folder, runtime, "cpu")
        self._scorer = Scorer(predictor, 1)

    def score(self, texts: list[str]) -> Scored:
        """See `Scorer`."""
        return self._scorer(texts)


def ray_engine(folder: Path, runtime: str) -> Engine:
    """An engine on a cluster; it raises what `cluster` raises."""

    def run(jobs: Iterator[Job]) -> Iterator[tuple[Job, Scored]]:
        with cluster() as ray:
            yield from _spread(ray, jobs, folder, runtime)

    return run


def _spread(ray: Any, jobs: Iterator[Job], folder: Path, runtime: str) -> Iterator[tuple[Job, Scored]]:
    """Jobs in turn to the workers, their results in order; so many under way that memory stays the same."""
    names = [RECORD, *read_record(folder)["sha256"]]
    files = ray.put({name: inside(folder, name).read_bytes() for name in names})
    workers = start_workers(ray, Worker, files, runtime)
    count = len(workers)
    under_way: deque[tuple[Job, Any]] = deque()
    try:
        for number, job in enumerate(jobs):
            under_way.append((job, workers[number % count].score.remote(job.texts)))
            if len(under_way) >= _AHEAD * count:
                first, result = under_way.popleft()
                yield first, ray.get(result)
        while under_way:
            first, result = under_way.popleft()
            yield first, ray.get(result)
    finally:
        for worker in workers:
            ray.kill(worker)
