"""The same shards through Ray, on a local one of two workers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small import one_thread, rows, write_csv

from classtune.data.reading.columns import TableFormat
from classtune.errors import UserError
from classtune.inference.bulk.job import predict_bulk

pytest_plugins = ["bundle_fixtures"]

ROWS = [(" " if number % 7 == 3 else text, label) for number, (text, label) in enumerate(rows(40))]


def _run(bundle: Path, table: Path, output: Path, engine: str) -> dict[str, bytes]:
    with one_thread():
        predict_bulk(
            bundle,
            [str(table)],
            output,
            format=TableFormat(),
            wishes={},
            shard_rows=8,
            engine=engine,
            notify=lambda _: None,
            progress=lambda *_: None,
        )
    return {path.name: path.read_bytes() for path in output.iterdir()}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path: Path = write_csv(tmp_path / "a.csv", ROWS)
    path.write_text(path.read_text(encoding="utf-8").replace("text,label", "text,truth", 1), encoding="utf-8")
    return path


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A Ray of three CPUs, one of which is left to this process: two workers."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else a busy machine starves the workers
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    ray = pytest.importorskip("ray", reason="ray is not installed")
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 1024 * 1024)
    yield 2
    ray.shutdown()


def test_ray_writes_what_this_machine_writes(
    small_bundle: Path, table: Path, tmp_path: Path, cluster: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    workers: list[Any] = []
    kill = ray.kill

    def counted(worker: Any) -> None:
        workers.append(worker)
        kill(worker)

    monkeypatch.setattr(ray, "kill", counted)
    through_ray = _run(small_bundle, table, tmp_path / "ray", "ray")
    assert through_ray == _run(small_bundle, table, tmp_path / "local", "local")
    assert len(through_ray) == 7  # five shards, manifest, problems
    assert len(workers) == cluster
    assert ray.is_initialized()  # it was there before


def test_without_ray_the_error_names_the_extra(
    small_bundle: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r'pip install "classtune\[ray\]"'):
        _run(small_bundle, table, tmp_path / "out", "ray")
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
