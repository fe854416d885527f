"""Exported bundles in ONNX Runtime and OpenVINO against plain torch (eager, 32 bits) on the same bundle, in turns.

All get the same batches of token ids; tokenising and sorting are shared and not measured. Also how well they agree, and
what the predictor makes of the same torch with its weights laid out for the processor.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Figure, main, note, seconds
from predict import messages
from train_sms import sms_network

from classtune.export.alone import main_network
from classtune.export.check import MOST_CHANGED
from classtune.export.graph import ClassifierGraph
from classtune.export.write import FORMATS, export_bundle
from classtune.inference.predictor import load_predictor
from classtune.inference.runtimes import FILES, start
from classtune.model.batches import length_sorted_batches

Array = np.ndarray[Any, Any]


def measure(args: argparse.Namespace) -> list[Figure]:
    folder = args.bundle or sms_network()
    of = main_network(*load_predictor(folder))  # what is exported of a blend
    predictor, bundle = of.predictor, of.bundle
    graph = ClassifierGraph(bundle.network, bundle.decisions)
    ways: dict[str, Callable[[Array, Array], Array]] = {"eager fp32": lambda ids, mask: _eager(graph, ids, mask)}
    ways["predictor fp32"] = lambda ids, mask: _predicted(predictor, ids, mask)
    with tempfile.TemporaryDirectory() as scratch:
        for runtime in args.runtimes:
            for precision in args.precisions:
                way, output = f"{runtime} {precision}", Path(scratch) / f"{runtime}-{precision}"
                note(f"exporting: {way}")
                export_bundle(folder, runtime, output, int8=precision == "int8", force=True, notify=note)
                run = start(output / FILES[runtime, precision], runtime)
                ways[way] = lambda ids, mask, run=run: run([ids, mask], "probabilities")  # type: ignore[misc]
        batches = _batches(predictor, messages(args.messages))
        times: dict[str, list[float]] = defaultdict(list)
        scores: dict[str, Array] = {}
        for number in range(args.repeats + 1):  # the first round warms up
            for way, run_way in ways.items():

                def work(way: str = way, run_way: Callable[[Array, Array], Array] = run_way) -> None:
                    scores[way] = np.concatenate([run_way(*batch) for batch in batches])

                spent = seconds(work)
                if number:
                    times[way].append(spent)
            if number:
                note(f"round {number}: " + ", ".join(f"{way} {spent[-1]:.2f} s" for way, spent in times.items()))
    medians = {way: statistics.median(spent) for way, spent in times.items()}
    eager = scores["eager fp32"]
    figures = []
    for way in list(ways)[1:]:
        changed = (scores[way].argmax(1) != eager.argmax(1)).mean()
        detail = {
            "messages": args.messages,
            "seconds": medians[way],
            "eager_seconds": medians["eager fp32"],
            "labels_changed": float(changed),
            "let_pass": bool(changed <= MOST_CHANGED[way.rpartition(" ")[2]]),
            "largest_score_difference": float(np.abs(scores[way] - eager).max()),
            "threads": torch.get_num_threads(),
        }
        # OpenVINO keeps its inputs in 32 bits: 8-bit weights save memory there, not time.
        must, strive = (1.8, 3.0) if way == "onnx int8" else (None, None)
        ratio = medians["eager fp32"] / medians[way]
        figures.append(Figure(f"{way} against eager fp32", ratio, "x", must, strive, detail))
    return figures


@torch.inference_mode()
def _eager(graph: ClassifierGraph, ids: Array, mask: Array) -> Array:
    return np.asarray(graph(torch.from_numpy(ids), torch.from_numpy(mask))[1].numpy())


def _predicted(predictor: Any, ids: Array, mask: Array) -> Array:
    logits = predictor.run([row[seen.astype(bool)] for row, seen in zip(ids, mask, strict=True)])
    return np.asarray(predictor.decisions.probabilities(logits))


def _batches(predictor: Any, texts: list[str]) -> list[tuple[Array, Array]]:
    """Token ids and masks in batches as the predictor makes them."""
    encoder = predictor.encoder
    pieces = encoder.pieces(texts).ids
    found = []
    for rows in length_sorted_batches([len(item) for item in pieces]):
        ids = encoder.batch([pieces[row] for row in rows]).values.numpy()
        lengths = np.array([len(pieces[row]) for row in rows])
        found.append((ids, (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)))
    return found


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, help="a bundle of one network; unset: sms_network() of train_sms.py")
    parser.add_argument("--messages", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--runtimes", nargs="+", choices=FORMATS[:2], default=list(FORMATS[:2]))
    parser.add_argument("--precisions", nargs="+", choices=list(MOST_CHANGED), default=["int8"])


if __name__ == "__main__":
    main(__doc__, measure, options)
