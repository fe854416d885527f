"""Two ranks of one thread against one process of two threads, in turns: tokens a second through the trunk, and training
batches of a tail.

Both fill an activation store with the same texts in the same batches, in this process; the other rank, which
`classtune train` is when a launcher says so, waits while it is not asked.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from typing import Any

from common import Figure, Skipped, main, note, silent, sms_spam

MODELS = ("minilm-l6", "smollm2-135m")


def measure(args: argparse.Namespace) -> list[Figure]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores < 2:
        raise Skipped("two ranks need two cores")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    told = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    line = [sys.executable, "-m", "classtune", "train", "nothing.csv"]
    other = subprocess.Popen(line, env={**os.environ, **told, "RANK": "1", "LOCAL_RANK": "1", "OMP_NUM_THREADS": "1"})
    os.environ.update({**told, "RANK": "0", "LOCAL_RANK": "0"})
    try:
        return _alternating(args)
    finally:
        other.wait(60)


def _alternating(args: argparse.Namespace) -> list[Figure]:
    import torch

    from classtune.jobs.passes.ranks import joined

    torch.set_num_threads(1)  # of a rank
    with joined() as crew:
        torch.set_num_threads(2)
        assert crew is not None
        trunks = [_figure(name, crew, args) for name in args.models]
        return [*trunks, *(_training(tokens, crew, args) for tokens in args.tokens)]


def _figure(name: str, crew: object, args: argparse.Namespace) -> Figure:
    import numpy as np

    from classtune.config import resolve
    from classtune.jobs.steps import load_network
    from classtune.model.activations import ActivationStore, Distinct
    from classtune.model.batches import length_sorted_batches
    from classtune.model.trunk import Trunk

    settings = resolve(None, {"device": "cpu", "model": name})
    network = load_network(["ham", "spam"], settings, multi=False, notify=note, crew=crew)  # type: ignore[arg-type]
    depth = max(1, network.of * 2 // 3)
    whole = Distinct.of(network.encoder.encode(sms_spam().texts))
    batches = list(length_sorted_batches([len(item) for item in whole.ids]))[:: args.every]
    texts = Distinct.of([whole.ids[row] for row in np.concatenate(batches)])
    engines = {"one process": None, "two ranks": network.engine}
    rates: dict[str, list[float]] = defaultdict(list)
    for number in range(args.rounds + 1):
        for kind, engine in engines.items():
            network.engine = engine
            store = ActivationStore(network, texts, None)
            store.fill(Trunk(network, depth), silent)
            if number:  # the first only makes everything ready
                rates[kind].append(texts.tokens / store.seconds)
        note(f"{name}, round {number}: " + ", ".join(f"{kind} {found[-1]:,.0f}" for kind, found in rates.items()))
    medians = {kind: statistics.median(found) for kind, found in rates.items()}
    detail = {"tokens_per_second": {kind: round(rate) for kind, rate in medians.items()}, "rounds": args.rounds}
    detail |= {"texts": len(texts.ids), "tokens": texts.tokens, "blocks": depth, "batches": len(batches)}
    ratio = medians["two ranks"] / medians["one process"]
    return Figure(f"trunk of {name}: two ranks over two threads", ratio, "x", 1.0, 1.2, detail)


def _training(tokens: int, crew: object, args: argparse.Namespace) -> Figure:
    """Forwards and backwards of 16 texts of so many tokens through the last two blocks of MiniLM."""
    import torch

    from classtune.candidates.cost import tokens_trained
    from classtune.config import resolve
    from classtune.jobs.steps import load_network
    from classtune.model.batches import Batch
    from classtune.model.parts import InParts, TailPlan, trained_names

    settings = resolve(None, {"device": "cpu", "model": "minilm-l6", "pooling": "mean"})
    network = load_network(["ham", "spam"], settings, multi=False, notify=note, crew=crew)  # type: ignore[arg-type]
    assert network.learners is not None
    start = network.depth - 2
    network.freeze(start)
    tail = network.tail(start).train()
    trained = trained_names(tail)
    weights = sum(tail.get_parameter(name).numel() for name in trained)
    states = torch.randn(16, tokens, network.width, generator=torch.Generator().manual_seed(0))
    batch = Batch(states, torch.ones(16, tokens, dtype=torch.bool), torch.full((16,), tokens - 1))
    plan = TailPlan(network.depth, network.pooling, network.one_position, start, trained)
    seconds: dict[str, list[float]] = defaultdict(list)
    with network.learners.learning(plan) as others:
        kinds: dict[str, Any] = {
            "one process": tail,
            "two ranks": InParts(tail, others, 0, network.learners.few_threads),
        }
        for _ in range(4 * args.rounds):
            for kind, run in kinds.items():
                tail.zero_grad()
                started = time.perf_counter()
                run(batch).sum().backward()
                seconds[kind].append(time.perf_counter() - started)
    medians = {kind: statistics.median(found[2:]) for kind, found in seconds.items()}
    note(f"16 x {tokens} tokens: {medians}")
    detail = {"milliseconds": {kind: round(1000 * found, 1) for kind, found in medians.items()}, "weights": weights}
    detail["divided_from_tokens"] = round(tokens_trained(network, network.learners.least_seconds(weights), 2))
    ratio = medians["one process"] / medians["two ranks"]
    return Figure(f"training batch of 16 x {tokens} tokens: two ranks over two threads", ratio, "x", detail=detail)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--every", type=int, default=6, help="take every n-th batch of the messages")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", nargs="*", type=int, default=(30, 100, 300), help="of the training batches")


if __name__ == "__main__":
    main(__doc__, measure, options)
