"""A bundle as one graph of plain tensor operations, token ids to probabilities, that other runtimes can be given.

Pooling, the head, the calibration and the correction for the shares of the field are inside; thresholds and the
choice not to answer are not, for they give labels and not probabilities. The fast kernels are left out: they cannot be
exported, and a runtime has its own.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from classtune.decisions.decisions import Decisions
from classtune.export.folding import factors
from classtune.model.head import pool
from classtune.model.network import Network
from classtune.model.pairs import plain_ids
from classtune.model.slicing import part, run_part
from classtune.model.tokens import TokenIds
from classtune.stats import ratio


class ClassifierGraph(nn.Module):
    """Token ids and their mask, both int64 [texts, tokens] → logits and probabilities [texts, labels].

    mask: 1 on a text's tokens, 0 on the padding to their right. types: whether the types of the tokens go in too.
    """

    def __init__(self, network: Network, decisions: Decisions) -> None:
        super().__init__()
        self.pooling = network.pooling
        self.sees_padding = network.encoder.needs_mask
        self.pools_padding = network.encoder.rules.pool_padding
        self.pad_id, self.types = network.encoder.pad_id, network.encoder.types
        self.whole: nn.Module | None = network.classifier if network.family is None else None
        if network.family is not None:
            self.base: nn.Module = part(network.base, network.family, None, network.depth, norm=True)
            self.head = network.head
        self.calibrated = Calibrated(decisions, logits=not network.encoder.rules.windows)
        self.eval()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if self.whole is not None:
            typed = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            logits = self.whole(input_ids=input_ids, attention_mask=attention_mask, **typed).logits
        else:
            real = attention_mask.bool()
            seen = real if self.sees_padding else None
            hidden = run_part(self.base, "input_ids", input_ids, seen, token_type_ids)
            logits = self.head(self._pooled(hidden, input_ids, real))
        logits, probabilities = self.calibrated(logits)
        return logits, probabilities

    def _pooled(self, hidden: Tensor, input_ids: Tensor, real: Tensor) -> Tensor:
        """Pooled states; each text's last position is found here."""
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        counted = real if self.pools_padding else real & (input_ids != self.pad_id)
        return pool(hidden, (positions * counted).amax(1), self.pooling)


class Calibrated(nn.Module):
    """Logits → logits that carry the calibration, and probabilities [texts, labels], as `Decisions` has them.

    Softmax (or sigmoids) of these logits are the probabilities, in 32 bits. logits: also where curves calibrate; else
    such logits stay as they are, for the pieces of one text are averaged before its curve is looked up.
    """

    scale: Tensor
    bias: Tensor
    odds: Tensor
    shares: Tensor
    here: Tensor
    elsewhere: Tensor

    def __init__(self, decisions: Decisions, *, logits: bool = True) -> None:
        super().__init__()
        self.logits = logits
        calibration, prior = decisions.calibration, decisions.prior
        self.multi = decisions.multi
        here = elsewhere = np.ones(len(decisions.labels))
        if prior is not None and prior.deployed != prior.trained:
            trained, deployed = np.array(prior.trained), np.array(prior.deployed)
            here, elsewhere = ratio(deployed, trained), ratio(1 - deployed, 1 - trained)
        self.curved = bool(calibration.curves)
        if self.curved:  # as many points a curve: the last is repeated
            most = max(2, *(len(odds) for odds, _ in calibration.curves))
            odds, shares = (
                [[*curve[side], *[curve[side][-1]] * (most - len(curve[side]))] for curve in calibration.curves]
                for side in (0, 1)
            )
            self._keep(odds=odds, shares=shares, here=here, elsewhere=elsewhere)
        else:
            scale, bias = factors(decisions, prior=True)
            self._keep(scale=scale, bias=bias)

    def _keep(self, **numbers: Any) -> None:
        for name, values in numbers.items():
            self.register_buffer(name, torch.tensor(np.asarray(values), dtype=torch.float32))

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        if not self.curved:
            scaled = logits * self.scale + self.bias
            return scaled, scaled.sigmoid() if self.multi else scaled.softmax(1)
        tiny = torch.finfo(torch.float32).tiny
        shares = self._on_curves(logits if self.multi else _log_odds(logits))
        shares = shares if self.multi else shares / shares.sum(1, keepdim=True)
        here = shares * self.here
        others = (1 - shares) * self.elsewhere
        whole = (here + others if self.multi else here.sum(1, keepdim=True)).clamp_min(tiny)
        if self.logits:
            logits = (here / whole).clamp_min(tiny).log()
            if self.multi:
                logits = logits - (others / whole).clamp_min(tiny).log()
        return logits, here / whole

    def _on_curves(self, odds: Tensor) -> Tensor:
        """Each label's curve at its log-odds [texts, labels], straight between points and flat outside: np.interp."""
        right = (odds[:, :, None] >= self.odds).sum(2, keepdim=True).clamp(1, self.odds.shape[1] - 1)

        def ends(values: Tensor) -> tuple[Tensor, Tensor]:
            every = values[None].expand(odds.shape[0], -1, -1)
            return every.gather(2, right - 1)[:, :, 0], every.gather(2, right)[:, :, 0]

        (low, high), (below, above) = ends(self.odds), ends(self.shares)
        way = ((odds - low) / (high - low).clamp_min(torch.finfo(torch.float32).tiny)).clamp(0, 1)
        return below + way * (above - below)


def _log_odds(logits: Tensor) -> Tensor:
    """Log-odds [texts, labels] of each label against all others; exact where a probability would round to 1."""
    top = torch.arange(logits.shape[1], device=logits.device) == logits.argmax(1, keepdim=True)
    others = logits.masked_fill(top, float("-inf")).logsumexp(1, keepdim=True)
    share = logits - logits.logsumexp(1, keepdim=True)  # logarithm of the probability
    return torch.where(top, logits - others, share - torch.log1p(-torch.exp(share.masked_fill(top, -1.0))))


@torch.inference_mode()
def layers_with_outliers(graph: ClassifierGraph, texts: Sequence[TokenIds], share: float) -> list[str]:
    """Names of the linear layers whose inputs fit worst into 8 bits: the largest value furthest above the usual one.

    A few layers of a language model carry a few values hundreds of times the others (Dettmers, Lewis, Belkada &
    Zettlemoyer 2022), beside which 8 bits round those others to nothing. share: of all weights, at most, in the layers
    that are named. texts: token ids of each.
    """
    layers = {
        name: module
        for name, module in graph.named_modules()
        if getattr(getattr(module, "weight", None), "ndim", 0) == 2 and not isinstance(module, nn.Embedding)
    }
    spread = dict.fromkeys(layers, 0.0)

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def look(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            usual = inputs[0].square().mean().sqrt().clamp_min(1e-12)
            spread[name] = max(spread[name], float(inputs[0].abs().max() / usual))

        return look

    hooks = [module.register_forward_pre_hook(watch(name)) for name, module in layers.items()]
    for ids in texts:
        row, types = plain_ids(torch.from_numpy(ids.astype(np.int64))[None])
        graph(row, torch.ones_like(row), types)
    for hook in hooks:
        hook.remove()
    sizes = {name: sum(value.numel() for value in module.parameters()) for name, module in layers.items()}
    left, chosen = share * sum(sizes.values()), []
    for name in sorted(layers, key=spread.__getitem__, reverse=True):
        if sizes[name] > left:
            break
        left -= sizes[name]
        chosen.append(name)
    return chosen


@torch.no_grad()
def exported(graph: ClassifierGraph) -> torch.export.ExportedProgram:
    """The graph for any number of texts of any length."""
    ids = torch.full((2, 8), graph.pad_id + 1 if graph.pad_id == 0 else 0)
    mask = torch.ones_like(ids)
    mask[0, 5:] = 0  # a mask that is all ones could be traced as none
    inputs = (ids, mask, torch.zeros_like(ids)) if graph.types else (ids, mask)
    any_size = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with quiet_export():
        return torch.export.export(graph, inputs, dynamic_shapes=(any_size,) * len(inputs))


@contextlib.contextmanager
def quiet_export() -> Iterator[None]:
    """The exporters warn of what is expected here: of their own old names, of operators of packages that are absent."""
    noisy = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "nncf", "onnxscript", "root")]
    levels = [logger.level for logger in noisy]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for logger in noisy:
                logger.setLevel(logging.CRITICAL)
            yield
    finally:
        for logger, level in zip(noisy, levels, strict=True):
            logger.setLevel(level)
