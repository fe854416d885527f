"""A run that was stopped and goes on ends in the same bytes as one that was left alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from classtune.config import resolve
from classtune.errors import BundleError
from classtune.model.adapters import add_lora
from classtune.model.network import Network
from classtune.training.checkpoint import Checkpoint
from classtune.training.loop import Examples, History, fit

ROWS = np.arange(20)
IDENTITY = {"settings": {"seed": 1}, "data": "abc", "torch": torch.__version__}


@pytest.fixture
def train(make_network: Callable[..., Network], make_examples: Callable[..., Examples]) -> Callable[..., Any]:
    """Train as the workflow does; the progress callback stops it after ``stop_at`` training rows, as Ctrl-C does."""

    def run(
        folder: Path | None, special: dict[str, Any], stop_at: int | None = None
    ) -> tuple[History, dict[str, Tensor]]:
        usual = {"epochs": 5, "batch_size": 4, "patience": 0, "learning_rate": 3e-3, "dropout": 0.1}
        settings = resolve(overrides=usual | special)
        network = make_network("gpt2", dropout=settings.dropout)
        start: int | None = 3
        network.freeze(start)
        if settings.trainable == "lora":
            network.freeze(network.depth)
            add_lora(network, rank=2, alpha=4.0, dropout=settings.dropout)
            start = None
        tail, examples = network.tail(start), make_examples(network, start)
        examples.truth[10:] = 1 - examples.truth[10:]  # validation gets worse sooner or later

        def progress(_: str, done: int, __: int) -> None:
            if stop_at is not None and done >= stop_at:
                raise KeyboardInterrupt

        checkpoint = Checkpoint(folder, IDENTITY) if folder else None
        history = fit(tail, examples, ROWS[:16], ROWS[16:], settings, checkpoint=checkpoint, progress=progress)
        return history, {name: p.detach().clone() for name, p in tail.named_parameters()}

    return run


@pytest.mark.parametrize("special", [{}, {"accumulate": 3, "keep_best": False}, {"trainable": "lora"}])
def test_resumed_equals_uninterrupted(train: Callable[..., Any], tmp_path: Path, special: dict[str, Any]) -> None:
    history, weights = train(None, special)
    for rows in (16 + 8, 3 * 16 + 4):  # in the second epoch, then in the fourth
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, special, stop_at=rows)
    resumed_history, resumed = train(tmp_path, special)
    assert asdict(resumed_history) == asdict(history)
    assert weights.keys() == resumed.keys()
    assert all(torch.equal(value, resumed[name]) for name, value in weights.items())


def test_a_run_that_was_stopped_before_an_epoch_was_done_starts_anew(train: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, {}, stop_at=8)
    assert not Checkpoint(tmp_path, IDENTITY).exists()
    assert asdict(train(tmp_path, {})[0]) == asdict(train(None, {})[0])


def test_a_finished_run_is_not_trained_further(train: Callable[..., Any], tmp_path: Path) -> None:
    """Stopped after the training, say while the bundle was written: early stopping or the last epoch stays the end."""
    for number, special in enumerate(({"patience": 1, "learning_rate": 0.03, "average": False}, {})):
        folder = tmp_path / str(number)
        history, weights = train(folder, special)
        assert (history.epochs < 5) == bool(special)
        again, same = train(folder, special, stop_at=0)
        assert asdict(again) == asdict(history)
        assert all(torch.equal(value, same[name]) for name, value in weights.items())


def test_a_checkpoint_is_safetensors_alone_and_can_be_discarded(train: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "model.run"
    train(folder, {})
    checkpoint = Checkpoint(folder, IDENTITY)
    checkpoint.remember("depth", {"kept": 3})
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint.safetensors",
        "classtune-run.json",
        "depth.step.json",
    ]
    checkpoint.discard()
    assert not folder.exists()
    checkpoint.discard()


def test_a_checkpoint_of_another_run_is_refused_by_what_differs(train: Callable[..., Any], tmp_path: Path) -> None:
    train(tmp_path, {})
    Checkpoint(tmp_path, IDENTITY).begin(resume=True)
    other = Checkpoint(tmp_path, IDENTITY | {"settings": {"seed": 2}, "data": "abd"})
    with pytest.raises(
        BundleError, match=r"the interrupted run had other settings \(seed\), data\. .* leave --resume out"
    ):
        other.begin(resume=True)
    assert other.recall("depth") is None


def test_steps_are_remembered_for_the_same_run_alone(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "new", IDENTITY)
    assert checkpoint.recall("depth") is None
    checkpoint.remember("depth", {"kept": 3})
    assert Checkpoint(tmp_path / "new", IDENTITY).recall("depth") == {"kept": 3}
    assert Checkpoint(tmp_path / "new", IDENTITY | {"data": "abd"}).recall("depth") is None


@pytest.mark.parametrize("tear", ["cut", "zeros", "one byte", "nothing", "a pipe"])
def test_a_torn_file_is_noticed_and_made_again(tear: str, train: Callable[..., Any], tmp_path: Path) -> None:
    """As a power failure leaves it: cut, of the right length and empty, or with one byte another."""
    history, weights = train(None, {})
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, {}, stop_at=3 * 16 + 4)
    told = list[str]()
    checkpoint = Checkpoint(tmp_path, IDENTITY, told.append)
    checkpoint.remember("depth", {"kept": 3})
    for path in tmp_path.iterdir():
        whole = path.read_bytes()
        torn = {"cut": whole[: len(whole) // 2], "zeros": bytes(len(whole)), "nothing": b""}
        if tear == "a pipe":
            path.unlink()
            os.mkfifo(path)
            continue
        path.write_bytes(torn.get(tear, whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]))
    if tear != "one byte":  # of JSON it may well be a good one
        checkpoint.begin(resume=True)
        assert checkpoint.recall("depth") is None
        assert len(told) == 2
    resumed_history, resumed = train(tmp_path, {})
    assert asdict(resumed_history) == asdict(history)
    assert all(torch.equal(value, resumed[name]) for name, value in weights.items())


def test_a_step_whose_file_was_changed_is_not_recalled(tmp_path: Path) -> None:
    told = list[str]()
    checkpoint = Checkpoint(tmp_path / "new", IDENTITY, told.append)
    checkpoint.remember("trunk", 3, file="activations.npy", write=lambda scratch: scratch.write_bytes(b"numbers"))
    assert checkpoint.recall("trunk", file="activations.npy") == 3
    (tmp_path / "new" / "activations.npy").write_bytes(b"numbert")
    assert checkpoint.recall("trunk", file="activations.npy") is None
    assert told == [f"{tmp_path / 'new' / 'activations.npy'}: is damaged and is made again."]


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_that_is_not_a_run_is_left_alone(resume: bool, tmp_path: Path) -> None:
    folder = tmp_path / "thesis.run"
    folder.mkdir()
    (folder / "checkpoint.safetensors").write_bytes(b"mine")
    with pytest.raises(BundleError, match="holds what this classtune did not write"):
        Checkpoint(folder, IDENTITY).begin(resume=resume)
    Checkpoint(folder, IDENTITY).discard()
    assert (folder / "checkpoint.safetensors").read_bytes() == b"mine"


def test_only_what_a_run_wrote_is_removed(train: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "model.run"
    train(folder, {})
    (folder / "notes.json").write_text("mine", encoding="utf-8")
    (folder / "kept").mkdir()
    Checkpoint(folder, IDENTITY).begin(resume=False)
    assert sorted(path.name for path in folder.iterdir()) == ["kept", "notes.json"]
