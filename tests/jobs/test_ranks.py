"""Several ranks train what one process trains; what keeps them from it is said once, by rank 0."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from ranked import Start, figures, silent, train_rows
from small import QUICK, SEVERAL

from classtune.candidates.backbone import Backbone
from classtune.config import resolve
from classtune.errors import ClasstuneError, UserError
from classtune.jobs import steps
from classtune.jobs.passes import other_rank
from classtune.jobs.passes.ranks import RankLearner, Ranks, joined
from classtune.jobs.steps import load_network
from classtune.model import parts
from classtune.model.passes import Run, Span
from classtune.model.trunk import Trunk

pytest_plugins = ["bundle_fixtures", "ranks_fixture"]
pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.mark.parametrize("told", [{"effort": "best"}, {"effort": "fast", "store": "float32"}], ids=["tail", "probe"])
def test_three_ranks_train_what_one_process_trains(
    told: dict[str, Any], small_bert: Path, start_others: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = resolve(overrides={**SEVERAL, "model": str(small_bert), "depth": "auto", "probe_tokens": 2000, **told})
    kept = {"keep": f"{small_bert.name} {'tail' if told['effort'] == 'best' else 'probe'}"}
    settings = settings.model_copy(update=kept)
    alone = train_rows(settings)
    done: Counter[tuple[int, Span]] = Counter()
    worker = Ranks._worker

    def counted(self: Ranks, rank: int, span: Span) -> Run:
        work = worker(self, rank, span)

        def passes(batch: Any) -> Any:
            done[rank, span] += 1
            return work(batch)

        return passes

    monkeypatch.setattr(Ranks, "_worker", counted)
    processes = start_others(3)
    with joined() as crew:
        together = train_rows(settings, crew=crew)
    assert {rank for rank, _ in done} == {1, 2}
    assert len({span for _, span in done}) > 2  # the climb, block by block, and the pass
    weights = [trained.network.classifier.state_dict() for trained in (alone, together)]
    assert weights[0].keys() == weights[1].keys()
    assert max(float((weights[0][name] - weights[1][name]).abs().max()) for name in weights[0]) < 1e-5
    assert figures(alone) == pytest.approx(figures(together), abs=1e-6)
    passed = [replace(trained.result.trunk, seconds=0.0) for trained in (alone, together) if trained.result.trunk]
    assert passed[0] == passed[1]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]


SHARED = {
    "tail": {"trainable": 2},
    "last block": {"trainable": 1, "pooling": "mean", "accumulate": 2},
    "all blocks": {"trainable": "all"},
    "LoRA": {"trainable": "lora"},
}


@pytest.mark.parametrize("told", SHARED.values(), ids=list(SHARED))
def test_three_ranks_train_on_parts_of_a_batch(
    told: dict[str, Any], small_llama: Path, start_others: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    if told["trainable"] == "lora":
        pytest.importorskip("peft", reason="peft is not installed")
    settings = resolve(overrides={**QUICK, "model": str(small_llama), "batch_size": 5, "candidates": "one", **told})
    alone = train_rows(settings)
    monkeypatch.setattr(parts, "BYTES_A_SECOND", float("inf"))  # it pays for any batch
    forward, sizes = RankLearner.forward, Counter[int]()

    def counted(self: RankLearner, batch: Any, weights: Any) -> Any:
        sizes[len(batch.last)] += 1
        return forward(self, batch, weights)

    monkeypatch.setattr(RankLearner, "forward", counted)
    start_others(3)
    with joined() as crew:
        together = train_rows(settings, crew=crew)
    assert set(sizes) >= {1, 2}  # of five texts 2, 2 and 1; the last batch may be smaller
    weights = [trained.network.classifier.state_dict() for trained in (alone, together)]
    assert max(float((weights[0][name] - weights[1][name]).abs().max()) for name in weights[0]) < 1e-5
    assert figures(alone) == pytest.approx(figures(together), abs=1e-5)
    histories = [trained.result.training for trained in (alone, together)]
    losses = [[point["train_loss"] for point in found.history] for found in histories if found is not None]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_a_rank_that_dies_while_it_trains_ends_the_run(
    small_llama: Path, start_others: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = resolve(overrides={**QUICK, "model": str(small_llama), "candidates": "one"})
    monkeypatch.setattr(parts, "BYTES_A_SECOND", float("inf"))
    processes, backward = start_others(2), RankLearner.backward

    def loses_a_rank(self: RankLearner, gradient: Any) -> Any:
        processes[0].kill()
        return backward(self, gradient)

    monkeypatch.setattr(RankLearner, "backward", loses_a_rank)
    with pytest.raises(ClasstuneError, match=r"rank 1 is lost \(.*--resume"), joined() as crew:
        train_rows(settings, crew=crew)


def test_any_number_of_batches_is_shared_and_a_rank_may_have_none(small_llama: Path, start_others: Start) -> None:
    settings = resolve(overrides={**QUICK, "model": str(small_llama)})
    start_others(3)
    with joined() as crew:
        network = load_network(["ham", "spam"], settings, multi=False, notify=silent, crew=crew)
        encoder = network.encoder
        trunk = Trunk(network, 2)
        for count in (0, 1, 2, 7):  # of one text, of two, …
            batches = [
                encoder.batch(encoder.encode(["a b c", "win", "see you"][: number % 3 + 1])) for number in range(count)
            ]
            found = dict(trunk.over(batches))
            assert sorted(found) == list(range(count))
            for number, states in found.items():
                assert torch.allclose(states, trunk(batches[number]), atol=1e-6)


def other_versions() -> None:
    versions = steps.versions
    steps.versions = lambda: {**versions(), "torch": "1.0", "peft": "none"}


def test_other_versions_are_refused_before_anything_is_done(start_others: Start) -> None:
    start_others(3, other_versions)
    with pytest.raises(UserError) as caught, joined():
        pytest.fail("it goes on")
    told = [problem for problem in caught.value.problems if "torch 1.0" in problem]
    assert [problem.split(" ")[1] for problem in told] == ["1", "2"]
    assert f"has torch 1.0, and this process {steps.versions()['torch']}. Install the same versions" in told[0]


def other_files() -> None:
    steps.fingerprint = lambda model: "0123456789abcdef"


def without_files() -> None:
    def missing(*_: Any, **__: Any) -> Path:
        raise ClasstuneError("there is no such model here.")

    other_rank.fetch_model = missing  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (other_files, r"rank 1 \(.*\): the files of .*llama differ from those of rank 0 \(sha256 0123456789ab and "),
        (without_files, r"rank 1 \(.*\): there is no such model here\."),
    ],
)
def test_other_files_are_refused_before_a_block_is_run(
    change: Callable[[], None], told: str, small_llama: Path, start_others: Start
) -> None:
    start_others(2, change)
    with joined() as crew, pytest.raises(UserError, match=told):
        train_rows(resolve(overrides={**QUICK, "model": str(small_llama)}), crew=crew)


def test_a_rank_that_dies_ends_the_run_which_goes_on_with_resume(
    small_bert: Path, start_others: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"model": str(small_bert), "depth": "auto", "probe_tokens": 2000, "effort": "fast"}
    settings, folder = resolve(overrides={**SEVERAL, **told}), tmp_path / "run"
    alone = train_rows(settings)
    processes, passes = start_others(2), Backbone.pass_trunk

    def loses_a_rank(backbone: Backbone) -> None:
        processes[0].kill()
        passes(backbone)

    def with_a_loss() -> None:
        with monkeypatch.context() as patch, joined() as crew:
            patch.setattr(Backbone, "pass_trunk", loses_a_rank)
            train_rows(settings, crew=crew, run_folder=folder)

    with pytest.raises(ClasstuneError, match=r"rank 1 is lost \(.*\)\. What was finished is kept.*--resume"):
        with_a_loss()
    assert list(folder.glob("depth*.step.json"))
    start_others(2)
    with joined() as crew:
        together = train_rows(settings, crew=crew, run_folder=folder, resume=True)
    assert figures(alone) == pytest.approx(figures(together), abs=1e-6)


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "classtune"]
    one_core = partial(os.sched_setaffinity, 0, {0})  # so that rank 0 has one thread: see small.one_thread
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300, preexec_fn=one_core
    )


def test_torchrun_starts_train_which_prints_one_document(small_llama: Path, small_csv: Path, tmp_path: Path) -> None:
    told = ["train", small_csv, "-o", tmp_path / "bundle", "--model", small_llama, "--depth", "1", "--epochs", "1"]
    ran = torchrun(*told, "--split-by", "exact", "--json", "-q")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["bundle"] == str(tmp_path / "bundle")
    assert "Traceback" not in ran.stderr


def test_torchrun_starts_nothing_else(tmp_path: Path) -> None:
    ran = torchrun("info", tmp_path)
    assert ran.returncode != 0
    assert ran.stderr.count("classtune: 2 processes were started: only `classtune train` takes several.") == 1
