"""A caller's own loss, optimizer, metrics and callback take the place of what the settings name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small import QUICK, rows
from torch import Tensor, nn

from classtune.config import resolve
from classtune.data.reading.tables import table_from_rows
from classtune.errors import BundleError, Interrupted
from classtune.jobs.train import Trained, train
from classtune.training.extensions import Extensions

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")

SEVERAL = [["win", "call"] if index % 2 else ["call"] if index % 3 else [] for index in range(60)]


def run(model: Path, extensions: Extensions, *, labels: Any = None, folder: Path | None = None, **told: Any) -> Trained:
    texts, own = zip(*rows(), strict=True)
    settings = resolve(overrides={**QUICK, "model": str(model), **told})
    table = table_from_rows(texts, own if labels is None else labels, name="rows")
    return train(
        table,
        settings,
        run_folder=folder,
        resume=folder is not None,
        extensions=extensions,
        notify=lambda _: None,
        progress=lambda *_: None,
    )


def weights(trained: Trained) -> dict[str, Tensor]:
    return dict(trained.network.classifier.named_parameters())


def same(one: Trained, other: Trained) -> bool:
    return all(torch.equal(value, weights(other)[name]) for name, value in weights(one).items())


@pytest.mark.parametrize("labels", [None, SEVERAL], ids=["one label", "several"])
def test_a_loss_of_the_callers_is_what_training_lowers(small_llama: Path, labels: Any) -> None:
    """torch's own loss gives the same weights as ours, which is the same loss; twice that loss others."""
    own = nn.CrossEntropyLoss() if labels is None else nn.BCEWithLogitsLoss()
    usual = run(small_llama, Extensions(), labels=labels)
    assert same(usual, run(small_llama, Extensions(loss=own), labels=labels))
    other = run(small_llama, Extensions(loss=lambda logits, truth: 1 + own(logits, truth) ** 2), labels=labels)
    assert not same(usual, other)
    assert other.result.document()["training"]["history"][-1]["validation_loss"] > 1


def test_an_optimizer_gets_parameters_and_the_learning_rate(small_llama: Path) -> None:
    met: list[float] = []

    def sgd(parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        met.append(lr)
        return torch.optim.SGD(parameters, lr=lr, momentum=0.9)

    one = run(small_llama, Extensions(optimizer=sgd), learning_rate=0.01)
    assert met == [0.01]
    assert not same(one, run(small_llama, Extensions(optimizer=torch.optim.Adagrad), learning_rate=0.01))
    assert one.result.document()["extensions"]["optimizer"].endswith("sgd")


def test_a_metric_is_judged_on_validation_and_test_rows(small_llama: Path) -> None:
    def brier(truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
        return float(((np.eye(2)[truth] - probabilities) ** 2).sum(1).mean())

    result = run(
        small_llama, Extensions(metrics={"brier": brier, "rows": lambda truth, _: len(truth)})
    ).result.document()
    assert result["metrics"]["test"]["rows"] == result["splits"]["test"] == 12
    assert result["metrics"]["validation"]["rows"] == result["splits"]["validation"]
    assert 0 <= result["metrics"]["test"]["brier"] <= 2


def test_a_metric_that_fails_costs_no_training(small_llama: Path) -> None:
    def broken(truth: Any, probabilities: Any) -> float:
        raise KeyError("no")

    with pytest.warns(UserWarning, match="The metric 'broken' failed: KeyError"):
        result = run(small_llama, Extensions(metrics={"broken": broken})).result.document()
    assert result["metrics"]["test"] == {"broken": None}


def test_a_callback_sees_each_epoch_and_can_stop(small_llama: Path) -> None:
    seen: list[dict[str, Any]] = []
    run(small_llama, Extensions(on_epoch=seen.append), epochs=3, patience=0)
    assert [point["epoch"] for point in seen] == [1, 2, 3]
    assert all(point["validation_loss"] > 0 for point in seen)
    result = run(
        small_llama, Extensions(on_epoch=lambda point: point["epoch"] == 2), epochs=3, patience=0
    ).result.document()
    assert result["training"]["epochs"] == 2
    assert result["training"]["stopped"] == "stopped by on_epoch"


def test_a_stopped_run_resumes_with_the_same_extensions_only(small_llama: Path, tmp_path: Path) -> None:
    def sgd(parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=lr, momentum=0.9)

    def interrupt(point: dict[str, Any]) -> None:
        if point["epoch"] == 1:
            raise KeyboardInterrupt

    whole = run(small_llama, Extensions(optimizer=sgd))
    with pytest.raises(Interrupted):
        run(small_llama, Extensions(optimizer=sgd, on_epoch=interrupt), folder=tmp_path / "run")
    with pytest.raises(BundleError, match="had other extensions"):
        run(small_llama, Extensions(optimizer=torch.optim.SGD), folder=tmp_path / "run")
    assert same(whole, run(small_llama, Extensions(optimizer=sgd), folder=tmp_path / "run"))
