"""Bulk prediction on a Ray cluster: a worker a core, each with the bundle; this machine reads and writes.

Workers are sent the bundle and the texts and send back logits, so that they need classtune and no shared disk.
Needs the extra ``ray``.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from classtune.bundle import RECORD, read_record
from classtune.errors import ClasstuneError, require
from classtune.files import inside
from classtune.inference.bulk.engines import Engine, Job
from classtune.inference.bulk.scorer import Scored, Scorer
from classtune.inference.runtimes import load_exported

_AHEAD = 2  # jobs a worker, so that none waits for its next one
_RESTARTS = 3  # of a worker, and tries of a job, where a machine goes away


class Worker:
    """A process of the cluster that scores texts."""

    def __init__(self, files: dict[str, bytes], runtime: str) -> None:
        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory() as scratch:
            for name, content in files.items():
                path = inside(Path(scratch), name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            predictor, _ = load_exported(Path(scratch), runtime, "cpu")
        self._scorer = Scorer(predictor, 1)

    def score(self, texts: list[str]) -> Scored:
        """See `Scorer`."""
        return self._scorer(texts)


def ray_engine(folder: Path, runtime: str) -> Engine:
    """An engine on the cluster that RAY_ADDRESS names or this process is joined to, else on a local one.

    Raises UserError without Ray, and, when it runs, ClasstuneError where the cluster fails.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing calls out
    require("--engine ray", "ray", "ray")
    import ray

    def run(jobs: Iterator[Job]) -> Iterator[tuple[Job, Scored]]:
        joined = ray.is_initialized()
        try:
            if not joined:
                ray.init(include_dashboard=False, log_to_driver=False)
            yield from _spread(ray, jobs, folder, runtime)
        except (ray.exceptions.RayError, ConnectionError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise ClasstuneError(f"Ray failed ({reason}). What is finished is kept: go on with --resume.") from error
        finally:
            if not joined and ray.is_initialized():
                ray.shutdown()

    return run


def _spread(ray: Any, jobs: Iterator[Job], folder: Path, runtime: str) -> Iterator[tuple[Job, Scored]]:
    """Jobs in turn to the workers, their results in order; so many under way that memory stays the same."""
    names = [RECORD, *read_record(folder)["sha256"]]
    files = ray.put({name: inside(folder, name).read_bytes() for name in names})
    # A core is left to this process: a pool that takes every one leaves Ray itself none.
    count = max(1, int(ray.cluster_resources().get("CPU", 1)) - 1)
    remote = ray.remote(Worker).options(num_cpus=1, max_restarts=_RESTARTS, max_task_retries=_RESTARTS)
    workers = [remote.remote(files, runtime) for _ in range(count)]
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
