"""The weights of a network that several candidates train in turn: each leaves them as it found them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from classtune.model.network import Network


class Weights:
    """Parameters by name, of the network and of a head of its own. everything: any of them may be trained."""

    def __init__(self, network: Network, *, everything: bool) -> None:
        self.network = network
        self.everything = everything

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Whatever is trained within, the weights, and what is trained, are afterwards as they were."""
        parameters = self._now()
        free = {name: p.requires_grad for name, p in parameters.items()}
        trained = {name: p.detach().clone() for name, p in parameters.items() if self._may_change(name, p)}
        self._before = {name: trained.get(name, p.detach()) for name, p in parameters.items()}
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self._now().items():
                    if name in trained:
                        parameter.copy_(trained[name])
                    parameter.requires_grad_(free[name])

    def changed(self) -> dict[str, Tensor]:
        """Within `restored`: the values of what differs from what was there before."""
        return {
            name: value.detach().clone()
            for name, value in self._now().items()
            if not torch.equal(value, self._before[name])
        }

    def halfway(self, changed: dict[str, Tensor]) -> dict[str, Tensor]:
        """Within `restored`: the mean of the weights as they are now and of those that `changed` gave elsewhere."""
        now = self.changed()
        before = {name: self._before[name] for name in now | changed}
        return {name: (now.get(name, value) + changed.get(name, value)) / 2 for name, value in before.items()}

    def take(self, changed: dict[str, Tensor]) -> None:
        """Put in what `changed` gave, for good."""
        with torch.no_grad():
            for name, parameter in self._now().items():
                if name in changed:
                    parameter.copy_(changed[name])

    def _now(self) -> dict[str, nn.Parameter]:
        modules: dict[str, Any] = {"network": self.network.classifier}
        if self.network.own_head is not None:
            modules["head"] = self.network.own_head
        return {f"{place}.{name}": p for place, module in modules.items() for name, p in module.named_parameters()}

    def _may_change(self, name: str, parameter: nn.Parameter) -> bool:
        return parameter.requires_grad or name.startswith("head.") or self.everything
