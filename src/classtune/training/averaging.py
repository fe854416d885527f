"""Weights averaged over the last steps of a training: less of the noise of single batches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

# About the last 1 / (_ETA + 1) of the steps so far count.
_ETA = 9


class RunningMean:
    """The mean of weights over about the last tenth of the steps so far.

    Polynomial-decay averaging (Shamir and Zhang 2013, Stochastic Gradient Descent for Non-smooth Optimization, section
    4), which needs no number of steps to be known. values: by the weights' names.
    """

    def __init__(self, trained: Mapping[str, nn.Parameter]) -> None:
        self._trained = list(trained.values())
        self.values: dict[str, Tensor] = {name: p.detach().clone() for name, p in trained.items()}

    @torch.no_grad()
    def add(self, step: int) -> None:
        """Take in the weights after a step, counted from 1."""
        share = (_ETA + 1) / (step + _ETA)
        for mean, parameter in zip(self.values.values(), self._trained, strict=True):
            mean.lerp_(parameter, share)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, the network has the mean, and ``values`` are its own weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for mean, parameter in zip(self.values.values(), self._trained, strict=True):
            own = parameter.clone()
            parameter.copy_(mean)
            mean.copy_(own)
