"""From token states to logits: pooling, then a linear layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

POOLED_PARTS = {"last": 1, "first": 1, "mean": 1, "last+mean": 2}


def pool(states: Tensor, last: Tensor, how: str) -> Tensor:
    """Token states [texts, tokens, width] → pooled [texts, width], or [texts, 2 x width] for ``last+mean``.

    last: index of each text's last pooled position [texts]; ``mean`` averages the positions up to it.
    """
    if how == "first":
        return states[:, 0]
    rows = torch.arange(states.shape[0], device=states.device)
    if how == "last":
        return states[rows, last]
    counted = (torch.arange(states.shape[1], device=states.device) <= last[:, None]).to(states.dtype)
    mean = torch.einsum("btd,bt->bd", states, counted) / counted.sum(1, keepdim=True)
    return mean if how == "mean" else torch.cat([states[rows, last], mean], dim=1)


class LinearHead(nn.Module):
    """The head for choices that the family's own Hugging Face classifier does not have: other poolings, or a bias."""

    def __init__(self, width: int, labels: int, pooling: str, *, bias: bool, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width * POOLED_PARTS[pooling], labels, bias=bias)
        nn.init.normal_(self.linear.weight, std=0.02)
        if bias:
            nn.init.zeros_(self.linear.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.dropout(pooled))
        return logits
