"""What a caller brings instead of what the settings name: a loss, an optimizer, metrics, a callback per epoch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn, optim

# logits [rows, labels] and truth (int64 [rows], or float 0/1 [rows, labels]) → the loss, a scalar to be lowered
Loss = Callable[[Tensor, Tensor], Tensor]
# called as optimizer(parameters, lr=learning_rate), so that a class of torch.optim will do
MakeOptimizer = Callable[..., optim.Optimizer]
# truth (class numbers [rows], or bool [rows, labels]) and probabilities [rows, labels] → a figure
Metric = Callable[[NDArray[Any], NDArray[np.float64]], float]
# the epoch's point of the history → True to stop training after this epoch
OnEpoch = Callable[[dict[str, Any]], object]


@dataclass(frozen=True)
class Extensions:
    """Callables in place of settings; None or empty where the settings decide.

    loss: replaces ``settings.loss``; class weights are then the caller's business.
    optimizer: replaces AdamW. The schedule and the gradient clip of the settings still apply; weight decay does not.
    metrics: figures of validation and test rows by name, of calibrated probabilities; they are kept in the result.
    on_epoch: called after each epoch with training (which of the run's: ``minilm-l6 tail``), epoch, step, examples,
        train_loss, validation_loss and the accuracies.
    """

    loss: Loss | None = None
    optimizer: MakeOptimizer | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    on_epoch: OnEpoch | None = None

    def within(self, part: str, log: Callable[[dict[str, Any]], None] | None = None) -> Extensions:
        """The same for a part of a run, which ``training`` names first. log: hears of every epoch too, before."""
        heard = self.on_epoch
        if heard is None and log is None:
            return self

        def on_epoch(point: dict[str, Any]) -> object:
            point = {**point, "training": f"{part} {point.get('training', '')}".rstrip()}
            if log is not None:
                log(point)
            return None if heard is None else heard(point)

        return replace(self, on_epoch=on_epoch)

    def names(self) -> dict[str, str]:
        """What replaces a setting, by name: kept in the result, and compared where a stopped run is resumed."""
        replaced = {"loss": self.loss, "optimizer": self.optimizer}
        return {key: _name(value) for key, value in replaced.items() if value is not None}

    def loss_of(self, usual: Loss) -> Loss:
        """The caller's loss, given float32 logits and a truth that torch's own losses take; else ``usual``."""
        loss = self.loss
        if loss is None:
            return usual
        return lambda logits, truth: loss(logits.float(), truth if truth.ndim == 1 else truth.float())

    def optimizer_of(self, parameters: Iterable[nn.Parameter], lr: float) -> optim.Optimizer | None:
        """The caller's optimizer over ``parameters``; None where the settings decide."""
        return None if self.optimizer is None else self.optimizer(list(parameters), lr=lr)

    def figures(self, truth: NDArray[Any], probabilities: NDArray[np.float64]) -> dict[str, float | None]:
        """Every metric by name. One that fails is None, with a warning: it must not cost a finished training."""
        result: dict[str, float | None] = {}
        for name, metric in self.metrics.items():
            try:
                result[name] = float(metric(truth, probabilities)) if len(truth) else None
            except Exception as error:
                result[name] = None
                warnings.warn(f"The metric {name!r} failed: {type(error).__name__}: {error}", stacklevel=2)
        return result


NOTHING = Extensions()


def _name(value: object) -> str:
    """``torch.optim.sgd.SGD`` of a class or function; of another object that of its class."""
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"
