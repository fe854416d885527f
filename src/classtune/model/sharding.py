"""A backbone whose blocks no device holds whole: each rank keeps a share of every weight of them (FSDP2).

While a block runs, its weights are gathered from all ranks, and let go when it has run. So all ranks must run it at the
same time, each on a batch of its own. The blocks stay as they are: nothing is trained here.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from classtune.model.network import Network
from classtune.model.slicing import clone_structure, replace


class SharedBlock(nn.Module):
    """Stands where a block stood. The block is not within it, so that whatever copies modules or replaces layers leaves
    it alone: it is known to the other ranks as this one."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.__dict__["block"] = block

    def forward(self, *values: Any, **told: Any) -> Any:
        return self.__dict__["block"](*values, **told)

    def __getattr__(self, name: str) -> Any:
        """What a model asks of its blocks, such as ModernBERT their kind of attention."""
        return getattr(self.__dict__["block"], name)


def sharded(network: Network, device: torch.device) -> Network:
    """A network that passes what ``network`` passes, with this rank's share of the blocks on ``device`` and all else of
    it whole. ``network`` stays as it is. All ranks call it at the same time."""
    assert network.family is not None
    if device.index is not None:
        torch.accelerator.set_device_index(device.index)  # FSDP takes the current one
    group = dist.new_group(backend=dist.get_default_backend_for_device(device))
    mesh = DeviceMesh.from_group(group, device.type)
    twin = copy.copy(network)
    twin.classifier = clone_structure(network.classifier)
    replace(twin.base, network.family.blocks, nn.ModuleList())
    twin.classifier, twin.own_head = copy.deepcopy((twin.classifier, network.own_head))
    twin.to(device)
    shares = nn.ModuleList()
    for block in network.blocks:  # one after the other: the device has room for one of them
        whole = copy.deepcopy(block).requires_grad_(False).eval()
        fully_shard(whole, mesh=mesh, reshard_after_forward=True)
        shares.append(SharedBlock(whole))
    replace(twin.base, network.family.blocks, shares)
    return twin
