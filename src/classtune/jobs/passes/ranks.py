"""Processes that torchrun or accelerate started: rank 0 does the whole job, and the others compute what it sends them.

So rank 0 alone reads, decides, draws, writes and prints, as one process does. A rank beyond (`other_rank`) loads the
same backbones, is sent batches of token ids (or activations) one by one, and sends back what leaves the frozen blocks.
Large training batches are divided: each rank sends back the gradients of its part. What is sent goes through the hosts'
memory (gloo), where the activation store is, also when the blocks run on GPUs. Where a backbone fits no device, the
ranks share the weights of its blocks and pass them together, a batch each.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from classtune.config import Settings
from classtune.errors import ClasstuneError, Interrupted, UserError
from classtune.jobs import steps
from classtune.jobs.passes.messages import PATIENCE, failing, meet, receive, send, talking_to
from classtune.jobs.passes.place import Place
from classtune.model.batches import Batch
from classtune.model.device import device_of
from classtune.model.network import Network
from classtune.model.parts import Learner, Learners, TailPlan
from classtune.model.passes import Engine, Run, Span, shared
from classtune.model.trunk import Passes


class Ranks:
    """The other ranks, as rank 0 sees them; see `joined`."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.others = range(1, place.of)
        self.threads = torch.get_num_threads()  # of a rank
        self._passes: Passes | None = None  # with this rank's share, where the blocks of a backbone are shared
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
    def loading(
        self, path: Path, labels: list[str], settings: Settings, *, multi: bool
    ) -> Iterator[Callable[[Network], Engine]]:
        """While this process loads a backbone, the others load theirs; the engine of what was loaded then passes blocks
        of it.

        Raises UserError with every rank that has other files, or has none.
        """
        weights = steps.fingerprint(path)
        told = {"labels": labels, "settings": settings.model_dump(mode="json"), "multi": multi}
        self._passes = None  # room for the next
        for rank in self.others:
            self._tell(rank, {"do": "load", **told})
        try:
            yield partial(self._sharded, settings) if settings.shard else lambda network: self._run
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

    @property
    def learners(self) -> Learners:
        """The other ranks, as what can train with this one."""
        machines = -(-self.place.of // self.place.here)
        return Learners(len(self.others), machines, self._learning, self._few_threads)

    def _run(self, span: Span, own: Run, batches: Iterable[Batch]) -> Iterator[tuple[int, Tensor]]:
        with self._few_threads():
            yield from shared(own, [self._worker(rank, span) for rank in self.others], batches)

    def _sharded(self, settings: Settings, network: Network) -> Engine:
        """Every rank keeps a share of the blocks on its device, and all pass them together."""
        from classtune.model.sharding import sharded

        device = device_of(settings.device)
        for rank in self.others:
            self._tell(rank, {"do": "shard"})
        self._passes = Passes(sharded(network, device))
        for rank in self.others:
            self._heard(rank)
        return self._run_together

    def _run_together(self, span: Span, own: Run, batches: Iterable[Batch]) -> Iterator[tuple[int, Tensor]]:
        """In rounds of a batch each. A rank that would have none in the last round is given one again, for its share is
        needed."""
        order, numbered = {"do": "pass", "span": asdict(span)}, enumerate(batches)
        assert self._passes is not None
        with self._few_threads():
            while taken := list(itertools.islice(numbered, self.place.of)):
                given = [batch for _, batch in taken]
                given += [given[-1]] * (self.place.of - len(given))
                for rank in self.others:
                    self._tell(rank, order, _tensors(given[rank]))
                with failing("the ranks cannot pass the blocks that they share"):
                    states = [self._passes(span, given[0])]
                states += [self._heard(rank)["states"] for rank in self.others]
                yield from ((number, found) for (number, _), found in zip(taken, states, strict=False))

    @contextlib.contextmanager
    def _few_threads(self) -> Iterator[None]:
        """Those of one rank, for others of this machine are at work."""
        everything = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(everything)

    @contextlib.contextmanager
    def _learning(self, plan: TailPlan) -> Iterator[Sequence[Learner]]:
        for rank in self.others:
            self.ask(rank, {"do": "learn", "plan": asdict(plan)})
        yield [RankLearner(self, rank) for rank in self.others]
        for rank in self.others:
            self.ask(rank, {"do": "learned"})

    def leave(self) -> None:
        """Let the other ranks end; those that are lost, or in the middle of something, torchrun ends."""
        for rank in self.others:
            if rank not in self._busy:
                with contextlib.suppress(ClasstuneError):
                    self._tell(rank, {"do": "leave"})

    def _worker(self, rank: int, span: Span) -> Run:
        def run(batch: Batch) -> Tensor:
            return self.ask(rank, {"do": "pass", "span": asdict(span)}, _tensors(batch))["states"]

        return run

    def ask(self, rank: int, told: dict[str, Any], tensors: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        """What a rank sends back. Raises ClasstuneError where it cannot, or is lost."""
        self._tell(rank, told, tensors)
        return self._heard(rank)

    def _heard(self, rank: int) -> dict[str, Tensor]:
        """What it sends back of what it was told."""
        said, answer = self._answer(rank)
        if "error" in said:
            raise ClasstuneError(f"rank {rank} ({said['host']}): {said['error']}")
        return answer

    def _tell(self, rank: int, told: dict[str, Any], tensors: dict[str, Tensor] | None = None) -> None:
        self._busy.add(rank)
        with talking_to(rank):
            send(rank, told, tensors or {})

    def _answer(self, rank: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
        self._busy.add(rank)
        with talking_to(rank):
            answer = receive(rank, PATIENCE)
        self._busy.discard(rank)
        return answer


class RankLearner:
    """A rank that has a tail; see `Learner`."""

    def __init__(self, ranks: Ranks, rank: int) -> None:
        self._ranks, self._rank = ranks, rank

    def forward(self, batch: Batch, weights: Sequence[Tensor]) -> Tensor:
        tensors = {f"weight-{number}": weight for number, weight in enumerate(weights)}
        told = {"do": "forward", "weights": len(weights)}
        return self._ranks.ask(self._rank, told, _tensors(batch) | tensors)["logits"]

    def backward(self, gradient: Tensor) -> dict[int, Tensor]:
        answer = self._ranks.ask(self._rank, {"do": "backward"}, {"gradient": gradient})
        return {int(place): found for place, found in answer.items()}


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
    meet(place)
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


def _tensors(batch: Batch) -> dict[str, Tensor]:
    tensors = {"values": batch.values, "last": batch.last}
    return tensors if batch.mask is None else {**tensors, "mask": batch.mask}


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
