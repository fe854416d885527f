"""A Ray cluster that takes the pass: a worker a core, each with the backbone; this process does all else.

Workers are sent the backbone's files and batches of token ids, and send back what leaves the frozen blocks, so that
they need classtune and no shared disk. One that is lost is started again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from classtune.config import Settings
from classtune.errors import SettingsError, UserError
from classtune.inference.bulk.cluster import cluster, start_workers, unpacked
from classtune.jobs import steps
from classtune.model.backbone import load_backbone
from classtune.model.batches import Batch
from classtune.model.network import Network
from classtune.model.passes import Engine, Run, Span, shared
from classtune.model.trunk import Passes

_AHEAD = 2  # batches a worker, so that none waits for its next one


class PassWorker:
    """A process of the cluster that passes batches through frozen blocks."""

    def __init__(self, files: dict[str, bytes], file: str | None, labels: list[str], settings: Settings) -> None:
        torch.set_num_threads(1)
        with unpacked(files) as folder:
            self._passes = Passes(load_backbone(folder / file if file else folder, labels, settings))

    def versions(self) -> dict[str, str]:
        """See `steps.versions`."""
        return steps.versions()

    def run(self, span: Span, *arrays: NDArray[Any] | None) -> NDArray[Any]:
        """values, mask and last of a batch → what leaves the span."""
        # Ray's own memory cannot be written to, and a tensor of it would warn.
        values, mask, last = (None if array is None else torch.from_numpy(array.copy()) for array in arrays)
        assert values is not None
        assert last is not None
        return self._passes(span, Batch(values, mask, last)).numpy()


class RayCrew:
    """The workers of a cluster; see `on_cluster`."""

    learners = None  # what it would have to be sent for every step is too much

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._workers: list[Any] = []
        self._files: Any = None

    @contextlib.contextmanager
    def loading(
        self, path: Path, labels: list[str], settings: Settings, *, multi: bool
    ) -> Iterator[Callable[[Network], Engine]]:
        """While this process loads a backbone, workers start with it. Raises UserError where they have other versions.

        multi: does not matter to blocks that stay as they are.
        """
        if settings.device not in ("auto", "cpu"):
            raise SettingsError(f"device = {settings.device}: the workers of --engine ray run on processors.")
        self.leave()
        # Kept here as long as the workers: one that is started again is sent them again.
        self._files = self._ray.put({file.name: file.read_bytes() for file in steps.model_files(path)})
        told = self._files, path.name if path.is_file() else None, labels, settings.model_copy(update={"device": "cpu"})
        self._workers = start_workers(self._ray, PassWorker, *told)
        yield lambda network: self._run
        here, others = steps.versions(), self._ray.get([worker.versions.remote() for worker in self._workers])
        if problems := {line for there in others for line in steps.differences(there, here, "a worker of the cluster")}:
            raise UserError(sorted(problems))

    def leave(self) -> None:
        """End the workers."""
        for worker in self._workers:
            self._ray.kill(worker)
        self._workers, self._files = [], None

    def _run(self, span: Span, own: Run, batches: Iterable[Batch]) -> Iterator[tuple[int, Tensor]]:
        yield from shared(None, [self._work(worker, span) for worker in self._workers * _AHEAD], batches)

    def _work(self, worker: Any, span: Span) -> Run:
        def run(batch: Batch) -> Tensor:
            arrays = [None if one is None else one.cpu().numpy() for one in (batch.values, batch.mask, batch.last)]
            return torch.from_numpy(self._ray.get(worker.run.remote(span, *arrays)).copy())

        return run


@contextlib.contextmanager
def on_cluster() -> Iterator[RayCrew]:
    """The workers of a cluster, which end with this; it raises what `cluster` raises."""
    with cluster() as ray:
        crew = RayCrew(ray)
        try:
            yield crew
        finally:
            crew.leave()
