"""The pass on a local Ray of two workers: the classifier of one process, also where a worker is lost under way."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ranked import environment, figures, silent, train_rows
from small import SEVERAL, Run, pair_rows, write_csv

from classtune.config import resolve
from classtune.data.reading.cells import paired
from classtune.data.reading.columns import TableFormat
from classtune.data.reading.tables import read_table
from classtune.errors import SettingsError, UserError
from classtune.jobs import steps
from classtune.jobs.passes import check_engine
from classtune.jobs.passes.on_ray import PassWorker, RayCrew, on_cluster
from classtune.jobs.train import train
from classtune.model.passes import Span

pytest_plugins = ["bundle_fixtures", "ray_fixture"]
pytestmark = pytest.mark.usefixtures("single_thread")


def test_ray_trains_what_one_process_trains_and_a_lost_worker_is_started_again(
    small_bert: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"model": str(small_bert), "depth": "auto", "probe_tokens": 2000, "effort": "fast"}
    settings = resolve(overrides={**SEVERAL, **told})
    alone, spans, lost = train_rows(settings), list[Span](), list[int]()
    work = RayCrew._work

    def loses_one(self: RayCrew, worker: Any, span: Span) -> Any:
        spans.append(span)
        if span.pooling and not lost:  # the climb is over
            lost.append(cluster.get(worker.process.remote()))
            os.kill(lost[0], signal.SIGKILL)
        return work(self, worker, span)

    monkeypatch.setattr(PassWorker, "process", lambda self: os.getpid(), raising=False)
    monkeypatch.setattr(RayCrew, "_work", loses_one)
    with on_cluster() as crew:
        together = train_rows(settings, crew=crew)
        assert len(crew._workers) == 2
    assert lost
    assert spans[-1].pooling is not None
    assert figures(alone) == pytest.approx(figures(together), abs=1e-6)
    assert cluster.is_initialized()  # it was there before


def test_pairs_pass_the_workers_as_pairs(small_pairs: Path, tmp_path: Path, cluster: Any) -> None:
    """With the types of their tokens, which tell the two texts apart."""
    path = write_csv(tmp_path / "t.csv", pair_rows(120), ("question", "answer", "label"))
    table = read_table(path, TableFormat(text="question", pair="answer"))
    settings = resolve(overrides={**SEVERAL, "model": str(small_pairs.parent / "bert"), "effort": "fast"})
    alone = train(table, settings, notify=silent, progress=silent)
    with on_cluster() as crew:
        together = train(table, settings, notify=silent, progress=silent, crew=crew)
    assert figures(alone) == pytest.approx(figures(together), abs=1e-6)
    texts = [paired(question, answer) for question, answer, _ in pair_rows(8)]
    expected = alone.predictor.logits(texts)
    assert together.predictor.logits(texts) == pytest.approx(expected, abs=1e-5)


def test_other_versions_on_the_cluster_are_refused(
    small_bert: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PassWorker, "versions", lambda self: {"torch": "1.0"})
    settings = resolve(overrides={**SEVERAL, "model": str(small_bert)})
    with (
        on_cluster() as crew,
        pytest.raises(UserError, match=r"a worker of the cluster has torch 1\.0, and this process"),
    ):
        steps.load_network(["ham", "spam"], settings, multi=False, notify=silent, crew=crew)


def test_an_address_that_does_not_answer_is_one_error(
    command: Run, small_bert: Path, small_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        pytest.importorskip("ray", reason="ray is not installed")
        ran = command("train", small_csv, "-o", tmp_path / "out", "--model", small_bert, "--engine", "ray", "-q")
    assert ran.code == 2
    assert ran.err.startswith(f"classtune: RAY_ADDRESS=127.0.0.1:{port}: no Ray cluster answers there (")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_is_refused_before_the_table_is_read(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = command("train", "nothing.csv", "--engine", "rai")
    assert (ran.code, ran.err) == (2, "classtune: --engine rai: is unknown. Did you mean 'ray'?\n")
    for name, value in environment(0, 2, 1).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match="--engine ray: 2 processes were started, which share the pass"):
        check_engine("ray")


def test_a_gpu_is_not_for_the_workers(small_bert: Path) -> None:
    settings = resolve(overrides={"model": str(small_bert), "device": "cuda"})
    with pytest.raises(SettingsError, match="device = cuda: the workers of --engine ray run on processors"):
        steps.load_network(["ham", "spam"], settings, multi=False, notify=silent, crew=RayCrew(None))


def test_a_worker_takes_arrays_that_it_cannot_write_to(small_bert: Path) -> None:
    settings = resolve(overrides={"model": str(small_bert)})
    files = {file.name: file.read_bytes() for file in steps.model_files(small_bert)}
    worker = PassWorker(files, None, ["ham", "spam"], settings)
    values, mask, last = np.array([[2, 9, 3]]), np.array([[True, True, False]]), np.array([1])
    for array in (values, mask, last):
        array.setflags(write=False)
    assert worker.run(Span(None, 2), values, mask, last).shape == (1, 3, 32)
    assert worker.run(Span(None, 2, "mean"), values, None, last).shape == (1, 32)
