"""A recipe's optimizer and learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from classtune.config.areas import OptimizerSettings


def build_optimizer(parameters: Iterable[nn.Parameter], settings: OptimizerSettings) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) over every trained parameter, as the tutorial has it."""
    parameters = list(parameters)
    fused = parameters[0].device.type in ("cpu", "cuda")  # one pass over the weights: half the time of a step
    return torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=fused)


def learning_rate(settings: OptimizerSettings, step: int, steps: int) -> float:
    """The learning rate of a step, counted from 0: a linear rise, then constant, linear or cosine to zero."""
    rise = round(settings.warmup * steps)
    if step < rise:
        return settings.learning_rate * (step + 1) / rise
    if settings.schedule == "constant":
        return settings.learning_rate
    done = (step - rise) / max(1, steps - rise)
    share = 1 - done if settings.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return settings.learning_rate * share
