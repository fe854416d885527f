"""Parts of a network: a run of blocks with or without the embeddings before it and the norm after it.

A part is a structural copy of the base model: its modules are new, its parameters are the very same tensors. So a part
can lose blocks or have modules replaced by faster ones and the model it came from stays whole.
Knows nothing of texts, heads or training.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from classtune.model.families import Family
from classtune.model.pairs import plain_ids


class _Pass(nn.Module):
    """Stands where embeddings stood: given vectors are already what the first block takes."""

    def forward(self, input_ids: Any = None, inputs_embeds: Any = None, *_: Any, **__: Any) -> Any:
        return inputs_embeds


class _NoPositions(nn.Module):
    """Stands where learned positions stood: stored activations carry them already."""

    def forward(self, position_ids: Tensor) -> Tensor:
        return torch.zeros((), device=position_ids.device)


def clone_structure(module: nn.Module) -> nn.Module:
    """A copy with new modules and the same parameters and buffers."""
    twin = copy.copy(module)
    twin.__dict__["_parameters"] = dict(module._parameters)
    twin.__dict__["_buffers"] = dict(module._buffers)
    twin.__dict__["_modules"] = {
        name: child if child is None else clone_structure(child) for name, child in module._modules.items()
    }
    return twin


def replace(module: nn.Module, path: str, new: nn.Module) -> None:
    """Put ``new`` at a dotted path."""
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent), name, new)


def part(base: Any, family: Family, start: int | None, stop: int, *, norm: bool) -> Any:
    """The blocks ``start`` to ``stop - 1`` of a base model, as a base model.

    start: None takes the embeddings and every block before ``stop``, and is called with ``input_ids``
        (int64, [texts, tokens]); a number leaves the embeddings out, and is called with ``inputs_embeds``
        (float, [texts, tokens, width]).
    norm: whether the final norm is applied.
    """
    twin: Any = clone_structure(base)
    first = start or 0
    twin.config = shorten(base.config, first, stop)
    # Padding on the right of a causal network cannot be seen, so no mask is passed; GPT-2 would warn of it.
    twin.warn_if_padding_and_no_attention_mask = lambda *_: None
    blocks = list(base.get_submodule(family.blocks))
    replace(twin, family.blocks, nn.ModuleList(clone_structure(block) for block in blocks[first:stop]))
    if family.norm and not norm:
        replace(twin, family.norm, nn.Identity())
    if start is not None:
        if family.embeddings:
            replace(twin, family.embeddings, _Pass())
        if family.positions:
            replace(twin, family.positions, _NoPositions())
    return twin


def shorten(config: Any, start: int, stop: int) -> Any:
    """The configuration of a model with the blocks ``start`` to ``stop - 1`` alone."""
    short = copy.deepcopy(config)
    short.num_hidden_layers = stop - start  # transformers maps n_layer and n_layers to this name
    if getattr(short, "layer_types", None):
        short.layer_types = short.layer_types[start:stop]
    if hasattr(short, "max_window_layers"):  # Qwen2: full attention below this block
        short.max_window_layers = max(0, min(short.max_window_layers, stop) - start)
    return short


def states(base_part: Any, values: Tensor, mask: Tensor | None) -> Tensor:
    """Run a part on token ids [texts, tokens], their types in them, or activations [texts, tokens, width].

    mask: True on real tokens.
    """
    if values.is_floating_point():
        return run_part(base_part, "inputs_embeds", values, mask)
    ids, types = plain_ids(values)
    return run_part(base_part, "input_ids", ids, mask, types)


def run_part(base_part: Any, entry: str, values: Tensor, mask: Tensor | None, types: Tensor | None = None) -> Tensor:
    """Run a part on what it takes as ``entry``; types: of the tokens, None where all are 0."""
    options: dict[str, Any] = {entry: values, "attention_mask": mask}
    if types is not None:
        options["token_type_ids"] = types
    if getattr(base_part.config, "use_cache", None) is not None:
        options["use_cache"] = False
    return base_part(**options).last_hidden_state  # type: ignore[no-any-return]
