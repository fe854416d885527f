"""Tokens a second through the trunk: two ranks of one thread against one process of two threads, in turns.

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
from collections import defaultdict

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
        return [_figure(name, crew, args) for name in args.models]


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


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--every", type=int, default=6, help="take every n-th batch of the messages")
    parser.add_argument("--rounds", type=int, default=7)


if __name__ == "__main__":
    main(__doc__, measure, options)
