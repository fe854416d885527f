"""A rank beyond 0: it loads the backbones that rank 0 loads, passes batches through their frozen blocks, and trains on
the parts of batches that it is sent."""

from __future__ import annotations

import signal
import socket
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from classtune.config import Settings
from classtune.errors import ClasstuneError
from classtune.jobs import steps
from classtune.jobs.passes.messages import meet, receive, send, talking_to
from classtune.jobs.passes.place import Place
from classtune.model.adapters import add_lora
from classtune.model.batches import Batch
from classtune.model.device import device_of
from classtune.model.network import Network
from classtune.model.parts import TailPlan
from classtune.model.passes import Span
from classtune.model.sharding import sharded
from classtune.model.trunk import Passes
from classtune.sources import fetch_model

_WAIT_FOR_WORK = timedelta(days=365)


def serve() -> None:
    """Do what rank 0 says, until it says that all is done. Raises ClasstuneError where rank 0 is lost."""
    place = Place.found()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # rank 0 says when to stop
    meet(place)
    here, rank = {"host": socket.gethostname()}, OtherRank(place)
    with talking_to(0):
        send(0, {**here, "versions": steps.versions()}, {})
        while True:
            told, tensors = receive(0, _WAIT_FOR_WORK)
            if told["do"] == "leave":
                break
            answer: dict[str, Tensor] = {}
            try:
                said, answer = rank.do(told, tensors)
            except Exception as error:  # rank 0 tells the user
                if rank.shares and told["do"] == "pass":
                    # Rank 0 does not listen: it waits within a block, and this one's end ends that.
                    raise ClasstuneError(f"rank {place.rank} ({here['host']}): {error}") from error
                said = {"error": str(error) or type(error).__name__}
            send(0, {**here, **said}, answer)
    dist.destroy_process_group()


class OtherRank:
    """What it has: a backbone, what passes frozen blocks of it, and a tail while it trains.

    shares: whether all ranks have a share of the blocks, which they pass together.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.shares = False
        self._device = torch.device("cpu")
        self._network: Network | None = None
        self._passes: Passes | None = None
        self._learner: TailLearner | None = None

    def do(self, told: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What it has to say of an order of rank 0, and the tensors that were asked for."""
        order, said, answer = told["do"], dict[str, Any](), dict[str, Tensor]()
        if order == "load":
            said["weights"] = self._load(told)
        elif order == "shard":
            assert self._network is not None
            self._use(sharded(self._network, self._device), shares=True)
        elif order == "pass":
            assert self._passes is not None
            answer["states"] = self._passes(Span(**told["span"]), _batch(tensors))
        elif order == "learn":
            assert self._network is not None
            self._use(self._network)  # what passes has the untrained weights
            self._learner = TailLearner(self._network, TailPlan(**told["plan"]))
        else:
            assert self._learner is not None
            if order == "forward":
                weights = [tensors[f"weight-{number}"] for number in range(told["weights"])]
                answer["logits"] = self._learner.forward(_batch(tensors), weights)
            elif order == "backward":
                gradients = self._learner.backward(tensors["gradient"])
                answer = {str(place): gradient for place, gradient in gradients.items()}
            else:
                self._learner.close()
                self._learner = None
        return said, answer

    def _load(self, told: dict[str, Any]) -> str:
        """Load the backbone; the fingerprint of its files."""
        settings = self._for_here(Settings(**told["settings"]))
        self._network = self._passes = None  # room for the next
        weights = steps.fingerprint(fetch_model(settings.model, notify=_silent))
        self._device = device_of(settings.device)
        self._use(steps.load_network(told["labels"], settings, multi=told["multi"], notify=_silent))
        return weights

    def _use(self, network: Network, *, shares: bool = False) -> None:
        self._network, self._passes, self.shares = network, Passes(network), shares

    def _for_here(self, settings: Settings) -> Settings:
        """Each rank of a machine has a GPU of its own, where there are GPUs."""
        if settings.device in ("auto", "cuda") and torch.cuda.is_available():
            return settings.model_copy(update={"device": f"cuda:{self.place.number % torch.cuda.device_count()}"})
        return settings


class TailLearner:
    """The tail of a plan, which trains until `close`; then the network is as it was."""

    def __init__(self, network: Network, plan: TailPlan) -> None:
        network.cut(plan.depth)
        network.pool_by(plan.pooling)
        network.one_position = plan.one_position
        self._lora = None
        if plan.lora is not None:
            rank, alpha = plan.lora
            self._lora = add_lora(network, rank=rank, alpha=alpha, dropout=0.0, start=plan.start or 0)
        self._tail = network.tail(plan.start).train()
        for name, parameter in self._tail.named_parameters():
            parameter.requires_grad_(name in plan.trained)
        self._trained = [parameter for parameter in self._tail.parameters() if parameter.requires_grad]
        self._before = [parameter.detach().clone() for parameter in self._trained]
        self._logits = torch.empty(0)

    def forward(self, batch: Batch, weights: Sequence[Tensor]) -> Tensor:
        """See `Learner`."""
        self._take(weights)
        self._logits = self._tail(batch)
        return self._logits.detach()

    def backward(self, gradient: Tensor) -> dict[int, Tensor]:
        """See `Learner`."""
        found = torch.autograd.grad(self._logits, self._trained, gradient, allow_unused=True)
        return {place: one for place, one in enumerate(found) if one is not None}

    def close(self) -> None:
        """Put back what was there before."""
        self._take(self._before)
        if self._lora is not None:
            self._lora.unload()

    @torch.no_grad()
    def _take(self, weights: Sequence[Tensor]) -> None:
        if [weight.shape for weight in weights] != [parameter.shape for parameter in self._trained]:
            raise ClasstuneError("what is trained here is not what rank 0 trains.")
        for parameter, weight in zip(self._trained, weights, strict=True):
            parameter.copy_(weight)


def _batch(tensors: dict[str, Tensor]) -> Batch:
    return Batch(tensors["values"], tensors.get("mask"), tensors["last"])


def _silent(line: str) -> None:
    """Rank 0 tells the user."""
