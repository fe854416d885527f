"""The trunk's rate against the best fp32 matrix rate of this machine, measured in turns in one run.

Rate of the trunk: 2 x parameters of the passed blocks x real tokens / seconds of filling the activation store;
attention's own products are not counted. Best matrix rate: the highest median of ``a @ b`` (MKL, or what there is)
and of oneDNN's packed product, over several shapes. Beside it transformers' own forward on the same batches.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from common import Figure, main, note, seconds, silent, sms_spam

from classtune.config import resolve
from classtune.model.activations import ActivationStore, Distinct
from classtune.model.backbone import load_backbone
from classtune.model.batches import length_sorted_batches
from classtune.model.kernels import PackedLinear, available
from classtune.model.network import Network
from classtune.model.trunk import Trunk
from classtune.sources import fetch_model

# a @ b: square matrices. Packed: rows of the input, width in, width out; the last ones are shapes of the default model.
SQUARES = (2048, 4096)
PACKED = [(rows, 2048, 2048) for rows in (512, 1024, 4096)] + [(4096, 4096, 4096), (768, 576, 1536), (768, 1536, 576)]


def matrix_products() -> dict[str, tuple[float, Callable[[], object]]]:
    """Name of a product → its operations and what runs it."""
    products: dict[str, tuple[float, Callable[[], object]]] = {}
    for size in SQUARES:
        a, b = torch.randn(size, size), torch.randn(size, size)
        products[f"a @ b, {size}"] = 2.0 * size**3, partial(torch.matmul, a, b)
    for rows, width, out in PACKED if available(torch.empty(1)) else []:
        layer, x = PackedLinear(torch.randn(out, width), None), torch.randn(rows, width)
        products[f"packed, {rows} x {width} x {out}"] = 2.0 * rows * width * out, partial(layer, x)
    return products


def matrix_rates(products: dict[str, tuple[float, Callable[[], object]]], least_seconds: float) -> dict[str, float]:
    """Operations a second of each product, repeated for at least so long; the first call is not counted."""
    rates = {}
    for name, (operations, product) in products.items():
        product()
        spent, calls = 0.0, 0
        while spent < least_seconds:
            spent, calls = spent + seconds(product), calls + 1
        rates[name] = operations * calls / spent
    return rates


def sampled_texts(network: Network, every: int) -> Distinct:
    """The texts of every n-th length-sorted batch of the distinct messages: alone they fall into the same batches."""
    whole = Distinct.of(network.encoder.encode(sms_spam().texts))
    batches = list(length_sorted_batches([len(item) for item in whole.ids]))[every // 2 :: every]
    return Distinct.of([whole.ids[row] for row in np.concatenate(batches)])


def measure(args: argparse.Namespace) -> list[Figure]:
    settings = resolve(None, {"device": "cpu", "model": "smollm2-135m"})
    network = load_backbone(fetch_model(settings.model, notify=note), ["ham", "spam"], settings)
    network.cut(args.depth)
    network.classifier.eval()
    trunk = Trunk(network, args.depth)
    texts = sampled_texts(network, args.every)
    parameters = sum(parameter.numel() for parameter in network.blocks.parameters())
    operations = 2.0 * parameters * texts.tokens
    order = list(length_sorted_batches([len(item) for item in texts.ids]))
    batches = [network.encoder.batch([texts.ids[row] for row in rows]) for rows in order]
    products = matrix_products()

    def transformers_own() -> None:
        for batch in batches:
            network.base(input_ids=batch.values, attention_mask=batch.mask, use_cache=False)

    rates: dict[str, list[float]] = defaultdict(list)
    passed = 0
    with torch.inference_mode():
        trunk(batches[0])
        for number in range(args.rounds):
            for name, rate in matrix_rates(products, args.matrix_seconds).items():
                rates[name].append(rate)
            store = ActivationStore(network, texts, None)
            store.fill(trunk, silent)
            passed = store.tokens_passed
            rates["trunk"].append(operations / store.seconds)
            rates["transformers"].append(operations / seconds(transformers_own))
            note(f"round {number + 1}: " + ", ".join(f"{n} {r[-1] / 1e9:.0f}" for n, r in rates.items()) + " GFLOP/s")
    medians = {name: statistics.median(found) for name, found in rates.items()}
    best = max(products, key=lambda name: medians[name])
    detail = {
        "GFLOP/s": {name: round(rate / 1e9, 1) for name, rate in medians.items()},
        "best": best,
        "blocks": args.depth,
        "parameters": parameters,
        "texts": len(texts.ids),
        "tokens": texts.tokens,
        "padded_share": 1 - texts.tokens / passed,
        "rounds": args.rounds,
        "transformers_share": 100 * medians["transformers"] / medians[best],
    }
    share = 100 * medians["trunk"] / medians[best]
    return [
        Figure("trunk pass / best fp32 matrix rate", share, "%", 65, 85, detail),
        Figure("trunk pass against transformers' own forward", medians["trunk"] / medians["transformers"], "x"),
    ]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--depth", type=int, default=16, help="blocks that are passed")
    parser.add_argument("--every", type=int, default=6, help="take every n-th batch of the messages")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--matrix-seconds", type=float, default=0.4, help="for each product and round, at least")


if __name__ == "__main__":
    main(__doc__, measure, options)
