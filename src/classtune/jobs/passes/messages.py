"""What ranks say to each other, over gloo: a message is a safetensors document of words (JSON) and tensors, so that no
rank can make another run anything but the orders in `other_rank`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load, save
from torch import Tensor

from classtune.errors import ClasstuneError
from classtune.jobs.passes.place import Place

# For all ranks to meet, and for one batch. A process that ends is noticed at once, a machine that vanishes after this.
PATIENCE = timedelta(minutes=30)


def meet(place: Place) -> None:
    try:
        dist.init_process_group("gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0][:300]
        raise ClasstuneError(f"rank {place.rank}: the {place.of} ranks did not meet ({reason}).") from error


@contextlib.contextmanager
def failing(problem: str) -> Iterator[None]:
    """Whatever the connection raises as one error that says what is wrong and how to go on."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0][:200]
        kept = "What was finished is kept: give the same command with --resume to go on."
        raise ClasstuneError(f"{problem} ({reason}). {kept}") from error


def talking_to(rank: int) -> contextlib.AbstractContextManager[None]:
    return failing(f"rank {rank} is lost")


def send(rank: int, told: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    words = torch.frombuffer(bytearray(json.dumps(told).encode()), dtype=torch.uint8)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = torch.frombuffer(bytearray(save({"told": words, **tensors})), dtype=torch.uint8)
    dist.send(torch.tensor([len(content)]), rank)
    dist.send(content, rank)


def receive(rank: int, patience: timedelta) -> tuple[dict[str, Any], dict[str, Tensor]]:
    size = torch.empty(1, dtype=torch.int64)
    dist.irecv(size, rank).wait(patience)  # type: ignore[union-attr]
    content = torch.empty(int(size), dtype=torch.uint8)
    dist.irecv(content, rank).wait(PATIENCE)  # type: ignore[union-attr]
    tensors = load(content.numpy().tobytes())
    return json.loads(tensors.pop("told").numpy().tobytes()), tensors
