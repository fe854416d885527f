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


# A frozen tanh layer in front of a linear one (BERT's and RoBERTa's heads) lets states pass unchanged when they enter
# it this small: tanh(x) = x to within x^3 / 3.
_SMALL = 0.01


def takes_linear(head: nn.Module) -> bool:
    """Whether `start_head` can put a linear map into a head."""
    layers = [
        type(module) for module in head.modules() if not isinstance(module, nn.Dropout | nn.Sequential | LinearHead)
    ]
    return layers in ([nn.Linear], [nn.Linear, nn.Tanh, nn.Linear])


def start_head(head: nn.Module, weight: Tensor, bias: Tensor, largest: float) -> None:
    """Give a head a linear probe: logits = weight @ pooled + bias. weight [labels, width], bias [labels].

    largest: size of the largest pooled value. head: one that `takes_linear`; where it has no bias, the probe had none.
    """
    layers = [module for module in head.modules() if isinstance(module, nn.Linear)]
    last = layers[-1]
    with torch.no_grad():
        if len(layers) == 2:
            dense, size = layers[0], _SMALL / max(largest, 1e-6)
            dense.weight.copy_(size * torch.eye(len(dense.weight)))
            dense.bias.zero_()
            dense.requires_grad_(False)  # the smallest step here would be a large one of the logits
            weight = weight / size
        last.weight.copy_(weight)
        if last.bias is not None:
            last.bias.copy_(bias)


def has_bias(head: nn.Module) -> bool:
    """Whether a head's last layer adds anything to its logits."""
    layers = [module for module in head.modules() if isinstance(module, nn.Linear)]
    return bool(layers) and layers[-1].bias is not None
