"""LoRA (peft): low-rank matrices on every linear layer of the blocks, merged into the weights before they are saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from transformers.pytorch_utils import Conv1D

from classtune.errors import require
from classtune.model.network import Network

if TYPE_CHECKING:
    from peft import LoraModel


def require_lora() -> None:
    """Raise UserError where peft is not installed."""
    require("LoRA", "lora", "peft")


def add_lora(network: Network, *, rank: int, alpha: float, dropout: float, start: int = 0) -> LoraModel:
    """Put LoRA on the blocks from ``start`` on; only its matrices and the head are trained.

    Hu et al. 2021, arXiv:2106.09685. Raises UserError where peft is not installed.
    """
    require_lora()
    from peft import LoraConfig, LoraModel

    assert network.family is not None
    linear = {
        f"{network.family.blocks}.{index}.{name}": module
        for index, block in enumerate(network.blocks)
        if index >= start
        for name, module in block.named_modules()
        if type(module) in (nn.Linear, Conv1D)
    }
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=list(linear),
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in linear.values()),  # GPT-2's weights are [in, out]
    )
    adapted = LoraModel(network.base, {"default": config}, "default")
    network.head.requires_grad_(True)
    return adapted
