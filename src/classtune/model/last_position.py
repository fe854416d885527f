"""The last block of a decoder for one position a text: keys and values of every token, the rest for the pooled one.

With last-token pooling nothing else of the last block is looked at, so its queries, its attention output and its MLP
are needed for one position a text. This is the one place where classtune has forward code of its own; `proof.py`
proves it against the full block whenever it is used.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.gpt2.modeling_gpt2 import GPT2Block
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, rotate_half
from transformers.models.mistral.modeling_mistral import MistralDecoderLayer
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer
from transformers.pytorch_utils import Conv1D

from classtune.model import kernels

_LLAMA_LIKE = (LlamaDecoderLayer, MistralDecoderLayer, Qwen2DecoderLayer, Qwen3DecoderLayer)


def supports(base_part: Any, block: Any) -> bool:
    """Whether the block can be run for one position: a known causal block without a sliding window."""
    if getattr(base_part.config, "is_causal", True) is False:
        return False
    if isinstance(block, GPT2Block):
        scaled = base_part.config.scale_attn_by_inverse_layer_idx or base_part.config.reorder_and_upcast_attn
        plain = isinstance(block.attn.c_attn, Conv1D)  # LoRA wraps it
        return plain and not scaled and not hasattr(block, "crossattention")
    if not isinstance(block, _LLAMA_LIKE):
        return False
    window = getattr(block.self_attn, "sliding_window", None)  # Qwen: the block knows; Mistral: one for all blocks
    return not (base_part.config.sliding_window if isinstance(block, MistralDecoderLayer) else window)


def needs_weights(block: Any) -> bool:
    """Whether `run_block` reads weight matrices, so that its layers must not be packed."""
    return isinstance(block, GPT2Block)


def run_block(base_part: Any, block: Any, states: Tensor, last: Tensor) -> Tensor:
    """States entering the block [texts, tokens, width] → states leaving it at ``last`` [texts, width]."""
    seen = (torch.arange(states.shape[1], device=states.device) <= last[:, None])[:, None, None, :]
    if isinstance(block, GPT2Block):
        return _gpt2(block, states, last, seen)
    return _llama(base_part, block, states, last, seen)


def _at(values: Tensor, last: Tensor) -> Tensor:
    """[texts, tokens, width] → [texts, 1, width] at each text's last position."""
    return values[torch.arange(len(values), device=values.device), last].unsqueeze(1)


def _heads(values: Tensor, size: int) -> Tensor:
    """[texts, tokens, heads x size] → [texts, heads, tokens, size]."""
    return values.unflatten(-1, (-1, size)).transpose(1, 2)  # type: ignore[no-any-return, no-untyped-call]


def _llama(base_part: Any, block: Any, states: Tensor, last: Tensor, seen: Tensor) -> Tensor:
    attention = block.self_attn
    size = attention.head_dim
    normed = block.input_layernorm(states)
    here = _at(states, last)
    query = attention.q_proj(_at(normed, last)).unflatten(-1, (-1, size))
    key = attention.k_proj(normed).unflatten(-1, (-1, size))
    if hasattr(attention, "q_norm"):  # Qwen3
        query, key = attention.q_norm(query), attention.k_norm(key)
    query, key = query.transpose(1, 2), key.transpose(1, 2)
    value = _heads(attention.v_proj(normed), size)
    positions = torch.arange(states.shape[1], device=states.device).unsqueeze(0)
    cos, sin = base_part.rotary_emb(states, position_ids=positions)  # [1, tokens, size]
    cos_here, sin_here = cos[0, last][:, None, None], sin[0, last][:, None, None]
    query = query * cos_here + rotate_half(query) * sin_here
    key = key * cos.unsqueeze(1) + rotate_half(key) * sin.unsqueeze(1)
    drop = attention.attention_dropout if block.training else 0.0
    mixed = F.scaled_dot_product_attention(
        query, key, value, seen, drop, scale=attention.scaling, enable_gqa=key.shape[1] != query.shape[1]
    )
    here = here + attention.o_proj(mixed.transpose(1, 2).flatten(2))
    here = here + block.mlp(block.post_attention_layernorm(here))
    result: Tensor = here[:, 0]
    return result


def _gpt2(block: Any, states: Tensor, last: Tensor, seen: Tensor) -> Tensor:
    attention = block.attn
    size, width = attention.head_dim, attention.split_size
    normed = block.ln_1(states)
    here = _at(states, last)
    weight, bias = attention.c_attn.weight, attention.c_attn.bias  # Conv1D: [in, 3 x width]
    query = _heads(kernels.linear(_at(normed, last), weight[:, :width].t(), bias[:width]), size)
    keys_values = kernels.linear(normed, weight[:, width:].t(), bias[width:])
    key, value = (_heads(part, size) for part in keys_values.chunk(2, -1))
    drop = attention.attn_dropout.p if block.training else 0.0
    mixed = F.scaled_dot_product_attention(query, key, value, seen, drop, scale=attention.scaling)
    here = here + attention.resid_dropout(attention.c_proj(mixed.transpose(1, 2).flatten(2)))
    here = here + block.mlp(block.ln_2(here))
    result: Tensor = here[:, 0]
    return result
