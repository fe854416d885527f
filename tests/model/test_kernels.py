"""The fast layers give torch's values and gradients, on the very parameters that they stand for."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from transformers.activations import NewGELUActivation
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP
from transformers.pytorch_utils import Conv1D

from classtune.model import kernels
from classtune.model.slicing import clone_structure

if not kernels.available(torch.zeros(1)):
    pytest.skip("this build of torch has no oneDNN", allow_module_level=True)

FEW, MANY = 8, 200  # rows below and above those from which the fast product is worth it


def llama(**special: bool) -> LlamaConfig:
    return LlamaConfig(hidden_size=24, intermediate_size=40, num_attention_heads=4, **special)


def layers() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    made = {
        "linear": nn.Linear(24, 40),
        "linear without bias": nn.Linear(24, 40, bias=False),
        "Conv1D": Conv1D(40, 24),
        "gated MLP": LlamaMLP(llama(mlp_bias=False)),
        "gated MLP with biases": LlamaMLP(llama(mlp_bias=True)),
        "GELU": NewGELUActivation(),
    }
    for module in made.values():
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.3)
    return made


def fast_form(module: nn.Module, *, frozen: bool) -> nn.Module:
    """What accelerate makes of the module, which stays as it was."""
    holder = nn.ModuleDict({"only": clone_structure(module), "sample": nn.Linear(1, 1)})
    kernels.accelerate(holder, frozen=frozen)
    return holder["only"]


def close(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [FEW, MANY])
@pytest.mark.parametrize("name", list(layers()))
def test_frozen_layers_give_the_same_values(name: str, rows: int) -> None:
    module = layers()[name]
    fast = fast_form(module, frozen=True)
    assert type(fast) is not type(module)
    x = torch.randn(2, rows // 2, 24)
    with torch.inference_mode():
        close(fast(x), module(x))


@pytest.mark.parametrize("rows", [FEW, MANY])
@pytest.mark.parametrize("name", list(layers()))
def test_trained_layers_give_the_same_values_and_gradients(name: str, rows: int) -> None:
    module = layers()[name]
    fast = fast_form(module, frozen=False)
    assert {type(part) for part in fast.modules()} & {kernels.TrainedLinear, kernels.TrainedConv1D, nn.GELU}
    assert [id(p) for p in fast.parameters()] == [id(p) for p in module.parameters()]
    start = torch.randn(2, rows // 2, 24)
    results: list[list[Tensor | None]] = []
    for form in (fast, module):
        x = start.clone().requires_grad_()
        module.zero_grad()
        y = form(x)
        (y * torch.arange(y.shape[-1])).sum().backward()
        results.append([y.detach(), x.grad, *(p.grad for p in module.parameters())])
    for ours, theirs in zip(*results, strict=True):
        assert ours is not None
        assert theirs is not None
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))


def test_rows_that_are_not_contiguous() -> None:
    """As they come out of a transpose or a slice."""
    module = cast(nn.Linear, layers()["linear"])
    x = torch.randn(2, 24, MANY).transpose(1, 2)
    close(kernels.linear(x, module.weight, module.bias), module(x))
    close(fast_form(module, frozen=True)(x[:, ::2]), module(x[:, ::2]))


def test_only_what_asks_for_gradients_gets_them() -> None:
    module = cast(nn.Linear, layers()["linear"])
    module.weight.requires_grad_(False)
    fast_form(module, frozen=False)(torch.randn(MANY, 24)).sum().backward()
    assert module.weight.grad is None
    assert module.bias.grad is not None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_float_types_are_left_alone(dtype: torch.dtype) -> None:
    module = cast(nn.Linear, copy.deepcopy(layers()["linear"])).to(dtype)
    holder = nn.Sequential(module)
    kernels.accelerate(holder, frozen=True)
    assert holder[0] is module
    x = torch.randn(MANY, 24, dtype=dtype)
    close(kernels.linear(x, module.weight, module.bias), module(x))


def test_a_slice_of_a_matrix_never_reaches_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """For such strides oneDNN has its reference code alone, a thousand times slower: GPT-2's keys and values."""
    seen: list[Tensor] = []
    inner = kernels._linear

    def watch(x: Tensor, weight: Tensor, *rest: Any) -> Tensor:
        seen.append(weight)
        return inner(x, weight, *rest)

    monkeypatch.setattr(kernels, "_linear", watch)
    matrix, x = torch.randn(16, 48), torch.randn(128, 16)
    result = kernels.linear(x, matrix[:, 16:].t(), None)
    torch.testing.assert_close(result, x @ matrix[:, 16:])
    assert seen
    assert all(weight.is_contiguous() or weight.t().is_contiguous() for weight in seen)
