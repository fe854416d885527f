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
_ROWS_FOR_MEAN = 4096


def takes_linear(head: nn.Module) -> bool:
    """Whether `start_head` can put a linear map into a head."""
    layers = [
        type(module) for module in head.modules() if not isinstance(module, nn.Dropout | nn.Sequential | LinearHead)
    ]
    return layers in ([nn.Linear], [nn.Linear, nn.Tanh, nn.Linear])


def start_head(head: nn.Module, weight: Tensor, bias: Tensor, pooled: Tensor) -> None:
    """Give a head a linear probe: logits = weight @ pooled + bias. weight [labels, width], bias [labels].

    pooled: states that the probe learned from [rows, width]. head: one that `takes_linear`; where it has no bias, the
    probe had none.
    """
    layers = [module for module in head.modules() if isinstance(module, nn.Linear)]
    last = layers[-1]
    with torch.no_grad():
        if len(layers) == 2:
            dense, size = layers[0], _SMALL / max(float(pooled.abs().max()), 1e-6)
            dense.weight.copy_(size * torch.eye(len(dense.weight)))
            dense.bias.zero_()
            dense.requires_grad_(False)  # the smallest step here would be a large one of the logits
            # What tanh takes off is nearly the same of every text: of a state that is always large, it is most of all.
            states = pooled[:_ROWS_FOR_MEAN].double()
            taken_off = (states - torch.tanh(size * states) / size).mean(0)
            bias = bias + (weight.double() @ taken_off).to(bias.dtype)
            weight = weight / size
        last.weight.copy_(weight)
        if last.bias is not None:
            last.bias.copy_(bias)


def logits_of_head(head: nn.Module, pooled: Tensor) -> Tensor:
    """Logits [rows, labels] of pooled states [rows, width]: what ships, to the last digit; without dropout."""
    was_training = head.training
    with torch.inference_mode():
        logits: Tensor = head.eval()(pooled)
    head.train(was_training)
    return logits.double()


def has_bias(head: nn.Module) -> bool:
    """Whether a head's last layer adds anything to its logits."""
    layers = [module for module in head.modules() if isinstance(module, nn.Linear)]
    return bool(layers) and layers[-1].bias is not None
