"""Pooling against plain loops, and against the position that Hugging Face's classifiers pool."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from classtune.model.families import FAMILIES
from classtune.model.head import logits_of_head, pool, start_head
from classtune.model.network import Network, Whole

STATES = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(1))
LAST = torch.tensor([0, 5, 2, 3])


def slowly(text: int, how: str) -> Tensor:
    states, last = STATES[text], int(LAST[text])
    if how == "first":
        return states[0]
    if how == "last":
        return states[last]
    total = torch.zeros(3)
    for position in range(last + 1):
        total += states[position]
    mean = total / (last + 1)
    return mean if how == "mean" else torch.cat([states[last], mean])


@pytest.mark.parametrize("how", ["last", "first", "mean", "last+mean"])
def test_pooling_equals_a_loop(how: str) -> None:
    expected = torch.stack([slowly(text, how) for text in range(4)])
    torch.testing.assert_close(pool(STATES, LAST, how), expected, rtol=1e-6, atol=1e-6)


def test_what_stands_behind_the_last_position_is_not_looked_at() -> None:
    spoilt = STATES.clone()
    for text, last in enumerate(LAST):
        spoilt[text, last + 1 :] = 1e9
    for how in ("last", "first", "mean", "last+mean"):
        torch.testing.assert_close(pool(spoilt, LAST, how), pool(STATES, LAST, how))


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.causal])
def test_texts_that_hold_the_padding_token_pool_as_in_hugging_face(
    make_network: Callable[..., Network], name: str
) -> None:
    """Within a text, at its end, and as all of it."""
    network = make_network(name)
    pad = network.encoder.tokenizer.pad_token
    texts = [f"win {pad} cash", f"win cash {pad}{pad}", f"{pad}win", pad * 3, "win a free prize now"]
    batch = network.encoder.batch(network.encoder.encode(texts))
    assert (batch.values[:4] == network.encoder.pad_id).sum() > 7
    with torch.no_grad():
        theirs = Whole(network).eval()(batch)
        torch.testing.assert_close(network.tail(None).eval()(batch), theirs, rtol=1e-5, atol=1e-5)


def test_a_probe_keeps_its_logits_behind_a_tanh() -> None:
    """Also where a state is large in every text, as in encoders: what tanh takes off it would move every logit."""
    draw = torch.Generator().manual_seed(0)
    pooled = torch.randn(200, 16, generator=draw)
    pooled[:, 3] = 40 + 0.1 * pooled[:, 3]
    weight, bias = 30 * torch.randn(3, 16, generator=draw), torch.randn(3, generator=draw)
    wanted = (pooled.double() @ weight.double().T + bias).double()
    head = nn.Sequential(nn.Dropout(0.5), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))
    start_head(head, weight, bias, pooled)
    found = logits_of_head(head, pooled)
    assert head.training
    assert (found - wanted).abs().max() < 2e-3  # of logits up to a thousand; 0.03 without the mean
