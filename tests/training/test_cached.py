"""Training on stored activations gives the losses of training on the whole network, for every family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from classtune.config import resolve
from classtune.model.families import FAMILIES
from classtune.model.network import Network
from classtune.training.loop import Examples, fit

ROWS = np.arange(20)
LOSSES = ("train_loss", "validation_loss")


def losses(history: Any) -> list[float]:
    return [point[name] for point in history.points for name in LOSSES]


@pytest.mark.parametrize("start", [4, 2])
@pytest.mark.parametrize("name", [*FAMILIES, "mistral-window", "qwen2-window-first"])
def test_cached_equals_uncached_equals_whole(
    make_network: Callable[..., Network], make_examples: Callable[..., Examples], name: str, start: int
) -> None:
    settings = resolve(overrides={"epochs": 2, "batch_size": 4, "patience": 0, "learning_rate": 1e-3, "least_steps": 0})
    found = {}
    for way in ("cached", "computed", "whole"):
        network = make_network(name)
        network.freeze(start)
        begin = None if way == "whole" else start
        examples = make_examples(network, begin, cache=way == "cached")
        history = fit(network.tail(begin), examples, ROWS[:16], ROWS[16:], settings, progress=lambda *_: None)
        found[way] = losses(history)
    assert abs(found["whole"][0] - found["whole"][-2]) > 1e-3  # something was learnt
    np.testing.assert_allclose(found["cached"], found["computed"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["cached"], found["whole"], rtol=1e-5, atol=1e-5)
