"""Faster layers for the CPU, with the same results to rounding.

oneDNN's fp32 matrix product reaches 1.0 (Intel) to 2.3 (AMD) times the rate of the one that `nn.Linear` calls;
benchmarks/trunk.py measures it on the machine at hand. Frozen layers have their weights laid out for it once; trained
layers call it forward and backward. Elsewhere (GPU, other float types, builds without oneDNN) nothing is replaced.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import NewGELUActivation
from transformers.pytorch_utils import Conv1D

# Rows for which oneDNN lays the weights out; other row counts work as well.
_USUAL_ROWS = 512
# Below so many rows the weights' way into oneDNN's layout costs more than the product.
_LEAST_ROWS = 64


def available(sample: Tensor) -> bool:
    """Whether this build and this tensor can take the fast layers."""
    return (
        sample.device.type == "cpu"
        and sample.dtype == torch.float32
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, after: str = "none") -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, after, [], "")  # type: ignore[no-any-return]


class PackedLinear(nn.Module):
    """A frozen linear layer; ``weight`` is [out, in]."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), _USUAL_ROWS)
        self.bias = None if bias is None else bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        return _linear(x, self.packed, self.bias)


class PackedGatedMLP(nn.Module):
    """Llama's MLP, ``down(silu(gate(x)) * up(x))``, with both element-wise steps inside the matrix products."""

    def __init__(self, mlp: Any) -> None:
        super().__init__()
        self.gate, self.up, self.down = (pack(layer) for layer in (mlp.gate_proj, mlp.up_proj, mlp.down_proj))

    def forward(self, x: Tensor) -> Tensor:
        gate = _linear(x, self.gate.packed, self.gate.bias, "swish")
        return self.down(  # type: ignore[no-any-return]
            torch.ops.mkldnn._linear_pointwise.binary(x, gate, self.up.packed, self.up.bias, "mul")
        )


class _LinearFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        rows = gradient.reshape(-1, gradient.shape[-1])
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x = _linear(rows.contiguous(), weight.t().contiguous(), None).view(x.shape)
        if ctx.needs_input_grad[1]:
            to_weight = _linear(rows.t().contiguous(), x.reshape(-1, x.shape[-1]).t().contiguous(), None)
        if ctx.needs_input_grad[2]:
            to_bias = rows.sum(0)
        return to_x, to_weight, to_bias


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`torch.nn.functional.linear`, its three matrix products through oneDNN where that is available and worth it."""
    if not available(x) or x.numel() // x.shape[-1] < _LEAST_ROWS:
        return F.linear(x, weight, bias)
    if not (weight.is_contiguous() or weight.t().is_contiguous()):
        weight = weight.contiguous()  # for a slice oneDNN has its reference code alone, a thousand times slower
    result: Tensor = _LinearFunction.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return result


class TrainedLinear(nn.Linear):
    """`nn.Linear` through `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class TrainedConv1D(Conv1D):  # type: ignore[misc]
    """GPT-2's linear layer (its weight is [in, out]) through `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight.t(), self.bias)


def pack(layer: Any) -> PackedLinear:
    """The frozen fast form of a linear layer or of GPT-2's Conv1D."""
    weight = layer.weight.t() if isinstance(layer, Conv1D) else layer.weight
    return PackedLinear(weight, layer.bias)


def accelerate(module: nn.Module, *, frozen: bool) -> None:
    """Replace, in place, the layers of a part by their fast forms. Does nothing where they are not available."""
    sample = next(module.parameters(), None)
    if sample is None or not available(sample):
        return
    for name, child in list(module.named_children()):
        if isinstance(child, NewGELUActivation):
            setattr(module, name, nn.GELU(approximate="tanh"))
        elif frozen and _is_gated_mlp(child):
            setattr(module, name, PackedGatedMLP(child))
        elif type(child) in (nn.Linear, Conv1D):
            if frozen:
                setattr(module, name, pack(child))
            else:
                child.__class__ = TrainedLinear if isinstance(child, nn.Linear) else TrainedConv1D
        else:
            accelerate(child, frozen=frozen)


def _is_gated_mlp(module: Any) -> bool:
    layers = [getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj")]
    activation = getattr(module, "act_fn", None)
    return all(type(layer) is nn.Linear for layer in layers) and type(activation).__name__ in ("SiLU", "SiLUActivation")
