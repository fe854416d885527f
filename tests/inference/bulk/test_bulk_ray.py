"""The same shards through Ray, on a local one of two workers."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from small import one_thread, rows, write_csv

from classtune.data.reading.columns import TableFormat
from classtune.errors import UserError
from classtune.inference.bulk.job import predict_bulk

pytest_plugins = ["bundle_fixtures", "ray_fixture"]

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


def test_ray_writes_what_this_machine_writes(
    small_bundle: Path, table: Path, tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers: list[Any] = []
    kill = cluster.kill

    def counted(worker: Any) -> None:
        workers.append(worker)
        kill(worker)

    monkeypatch.setattr(cluster, "kill", counted)
    through_ray = _run(small_bundle, table, tmp_path / "ray", "ray")
    assert through_ray == _run(small_bundle, table, tmp_path / "local", "local")
    assert len(through_ray) == 7  # five shards, manifest, problems
    assert len(workers) == 2
    assert cluster.is_initialized()  # it was there before


def test_without_ray_the_error_names_the_extra(
    small_bundle: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r'pip install "classtune\[ray\]"'):
        _run(small_bundle, table, tmp_path / "out", "ray")
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
