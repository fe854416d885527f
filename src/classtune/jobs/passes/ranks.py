"""Processes that torchrun or accelerate started: rank 0 does the whole job, the others pass batches that it sends.

So rank 0 alone reads, decides, draws, writes and prints, as one process does. A rank beyond loads the same backbones,
is sent batches of token ids (or activations) one by one, and sends back what leaves the frozen blocks. What is sent
goes through the hosts' memory (gloo), where the activation store is, also when the blocks run on GPUs.

A message is a safetensors document: no rank can make another run anything but the three orders in `serve`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load, save
from torch import Tensor

from classtune.config import Settings
from classtune.errors import ClasstuneError, Interrupted, UserError
from classtune.jobs import steps
from classtune.jobs.passes.place import Place
from classtune.model.network import Frozen, Network, frozen
from classtune.model.passes import Engine, Run, Span, shared
from classtune.model.tokens import Batch
from classtune.sources import fetch_model

# For all ranks to meet, and for one batch. A process that ends is noticed at once, a machine that vanishes after this.
PATIENCE = timedelta(minutes=30)
_WAIT_FOR_WORK = timedelta(days=365)


class Ranks:
    """The other ranks, as rank 0 sees them; see `joined`."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.others = range(1, place.of)
        self.threads = torch.get_num_threads()  # of a rank
        self._busy: set[int] = set()  # are doing, or never finished, what they were told

    def check_versions(self) -> None:
        """Raises UserError with every rank whose versions differ from those here."""
        here, problems = steps.versions(), list[str]()
        for rank in self.others:
            told, _ = self._answer(rank)
            problems += steps.differences(told["versions"], here, f"rank {rank} ({told['host']})")
        if problems:
            raise UserError(problems)

    @contextlib.contextmanager
    def loading(self, path: Path, labels: list[str], settings: Settings, *, multi: bool) -> Iterator[Engine]:
        """While this process loads a backbone, the others load theirs; the engine then passes blocks of it.

        Raises UserError with every rank that has other files, or has none.
        """
        weights = steps.fingerprint(path)
        told = {"labels": labels, "settings": settings.model_dump(mode="json"), "multi": multi}
        for rank in self.others:
            self._tell(rank, {"do": "load", **told})
        try:
            yield self._run
        finally:
            answers = {rank: self._answer(rank)[0] for rank in self.others}
        problems = []
        for rank, answer in answers.items():
            if "error" in answer:
                problems.append(f"rank {rank} ({answer['host']}): {answer['error']}")
            elif answer["weights"] != weights:
                problems.append(
                    f"rank {rank} ({answer['host']}): the files of {settings.model} differ from those of rank 0 "
                    f"(sha256 {answer['weights'][:12]} and {weights[:12]}). Give every machine the same files."
                )
        if problems:
            raise UserError(problems)

    def _run(self, span: Span, own: Run, batches: Iterable[Batch]) -> Iterator[tuple[int, Tensor]]:
        everything = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield from shared(own, [self._worker(rank, span) for rank in self.others], batches)
        finally:
            torch.set_num_threads(everything)

    def leave(self) -> None:
        """Let the other ranks end; those that are lost, or in the middle of something, torchrun ends."""
        for rank in self.others:
            if rank not in self._busy:
                with contextlib.suppress(ClasstuneError):
                    self._tell(rank, {"do": "leave"})

    def _worker(self, rank: int, span: Span) -> Run:
        def run(batch: Batch) -> Tensor:
            tensors = {"values": batch.values, "last": batch.last}
            if batch.mask is not None:
                tensors["mask"] = batch.mask
            self._tell(rank, {"do": "pass", "span": asdict(span)}, tensors)
            told, answer = self._answer(rank)
            if "error" in told:
                raise ClasstuneError(f"rank {rank} ({told['host']}): {told['error']}")
            return answer["states"]

        return run

    def _tell(self, rank: int, told: dict[str, Any], tensors: dict[str, Tensor] | None = None) -> None:
        self._busy.add(rank)
        with _talking_to(rank):
            _send(rank, told, tensors or {})

    def _answer(self, rank: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
        self._busy.add(rank)
        with _talking_to(rank):
            answer = _receive(rank, PATIENCE)
        self._busy.discard(rank)
        return answer


@contextlib.contextmanager
def joined() -> Iterator[Ranks | None]:
    """Rank 0's: the other ranks, which end with this; None where there are none. Outside of a pass they wait, and this
    process has the threads of all that share its machine.

    Raises ClasstuneError where they do not meet, UserError where their versions differ. A signal to end (torchrun's,
    when a rank was lost) is as Ctrl-C.
    """
    place = Place.found()
    if place.of == 1:
        yield None
        return
    _meet(place)
    ranks, signalled = Ranks(place), []

    def stop(number: int, frame: FrameType | None) -> None:
        signalled.append(number)
        raise KeyboardInterrupt

    usual = signal.signal(signal.SIGTERM, stop)
    try:
        ranks.check_versions()
        torch.set_num_threads(max(ranks.threads, min(ranks.threads * place.here, _cores())))
        yield ranks
    except BaseException as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, while what went wrong is said
        if signalled and isinstance(error, Interrupted):
            raise ClasstuneError(["Rank 0 was told to end, as all are when one is lost.", *error.problems]) from None
        raise
    finally:
        ranks.leave()
        torch.set_num_threads(ranks.threads)
        dist.destroy_process_group()
    signal.signal(signal.SIGTERM, usual)


def serve() -> None:
    """The life of a rank beyond 0: do what rank 0 says, until it says that all is done. Raises ClasstuneError where
    rank 0 is lost."""
    place = Place.found()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # rank 0 says when to stop
    _meet(place)
    here = {"host": socket.gethostname()}
    network: Network | None = None
    module: Frozen | None = None
    with _talking_to(0):
        _send(0, {**here, "versions": steps.versions()}, {})
        while True:
            told, tensors = _receive(0, _WAIT_FOR_WORK)
            answer: dict[str, Tensor] = {}
            try:
                if told["do"] == "leave":
                    break
                if told["do"] == "load":
                    settings = _for_here(Settings(**told["settings"]), place)
                    network = module = None  # room for the next
                    network, weights = _loaded(told["labels"], settings, multi=told["multi"])
                    said = {**here, "weights": weights}
                else:
                    assert network is not None
                    span = Span(**told["span"])
                    if module is None or module.span != span:
                        module = frozen(network, span)
                    batch = Batch(tensors["values"], tensors.get("mask"), tensors["last"]).to(network.device)
                    answer, said = {"states": module(batch)}, here
            except Exception as error:  # rank 0 tells the user
                said = {**here, "error": str(error) or type(error).__name__}
            _send(0, said, answer)
    dist.destroy_process_group()


def _loaded(labels: list[str], settings: Settings, *, multi: bool) -> tuple[Network, str]:
    """The backbone, and the fingerprint of its files."""
    weights = steps.fingerprint(fetch_model(settings.model, notify=_silent))
    return steps.load_network(labels, settings, multi=multi, notify=_silent), weights


def _silent(line: str) -> None:
    """Rank 0 tells the user."""


def _for_here(settings: Settings, place: Place) -> Settings:
    """Each rank of a machine has a GPU of its own, where there are GPUs."""
    if settings.device in ("auto", "cuda") and torch.cuda.is_available():
        return settings.model_copy(update={"device": f"cuda:{place.number % torch.cuda.device_count()}"})
    return settings


def _meet(place: Place) -> None:
    try:
        dist.init_process_group("gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0][:300]
        raise ClasstuneError(f"rank {place.rank}: the {place.of} ranks did not meet ({reason}).") from error


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _talking_to(rank: int) -> Iterator[None]:
    """Whatever the connection raises as one error that says who is lost and how to go on."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0][:200]
        kept = "What was finished is kept: give the same command with --resume to go on."
        raise ClasstuneError(f"rank {rank} is lost ({reason}). {kept}") from error


def _send(rank: int, told: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    words = torch.frombuffer(bytearray(json.dumps(told).encode()), dtype=torch.uint8)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = torch.frombuffer(bytearray(save({"told": words, **tensors})), dtype=torch.uint8)
    dist.send(torch.tensor([len(content)]), rank)
    dist.send(content, rank)


def _receive(rank: int, patience: timedelta) -> tuple[dict[str, Any], dict[str, Tensor]]:
    size = torch.empty(1, dtype=torch.int64)
    dist.irecv(size, rank).wait(patience)  # type: ignore[union-attr]
    content = torch.empty(int(size), dtype=torch.uint8)
    dist.irecv(content, rank).wait(PATIENCE)  # type: ignore[union-attr]
    tensors = load(content.numpy().tobytes())
    return json.loads(tensors.pop("told").numpy().tobytes()), tensors
