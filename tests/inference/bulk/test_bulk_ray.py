"""The same shards through Ray, on a local one of two workers."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from small import one_thread, pair_rows, rows, write_csv

from classtune.data.reading.columns import TableFormat
from classtune.data.reading.tables import read_table
from classtune.errors import UserError
from classtune.inference.bulk.job import predict_bulk
from classtune.inference.predictor import load_predictor
from classtune.inference.tables import as_trained

pytest_plugins = ["bundle_fixtures", "ray_fixture"]

ROWS = [(" " if number % 7 == 3 else text, label) for number, (text, label) in enumerate(rows(40))]


def _run(bundle: Path, table: Path, output: Path, engine: str) -> dict[str, bytes]:
    with one_thread():
        predict_bulk(
            bundle,
            [str(table)],
            output,
            format=as_trained(TableFormat(), bundle),
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


def test_pairs_go_to_the_workers_as_pairs(small_pairs: Path, tmp_path: Path, cluster: Any) -> None:
    lines = [[answer, question] for question, answer, _ in pair_rows(20)]
    lines += [["no idea", question] for _, question in lines[:5]] + [["", lines[0][1]]]
    table = write_csv(tmp_path / "a.csv", lines, ("answer", "question"))
    through_ray = _run(small_pairs, table, tmp_path / "ray", "ray")
    assert through_ray == _run(small_pairs, table, tmp_path / "local", "local")
    shards = [
        read_table(path, TableFormat(text="question"), labelled=False) for path in sorted(tmp_path.glob("ray/*.csv"))
    ]
    found = [float(score) for shard in shards for score in shard.columns["score:fits"]]
    table_read = read_table(table, as_trained(TableFormat(), small_pairs), labelled=False)
    expected = load_predictor(small_pairs)[0].probabilities(table_read.texts)[:, 0]
    assert found == pytest.approx(expected.tolist(), abs=1e-6)


def test_without_ray_the_error_names_the_extra(
    small_bundle: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r'pip install "classtune\[ray\]"'):
        _run(small_bundle, table, tmp_path / "out", "ray")
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
