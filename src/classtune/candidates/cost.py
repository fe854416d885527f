"""What a backbone costs: a text in multiplications, a run in seconds, both without a clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from classtune.config import Settings
from classtune.model.network import Network
from classtune.model.tokens import Pieces

_CLIMBED, _KEPT = 0.7, 0.55  # of the blocks, usually
# Multiplications a second of one core with AVX-512, all overhead included (benchmarks/trunk.py), and of one with AVX2.
PRODUCTS_A_CORE, PRODUCTS_A_SMALL_CORE = 60e9, 23e9


def multiplications(network: Network, pieces: Pieces) -> float:
    """Of a text of usual length, about: the same on every machine and in every run."""
    tokens = np.mean([len(item) for item in pieces.ids]) if pieces.ids else 0.0
    return float(_block_weights(network) * len(network.blocks) * tokens)


@dataclass(frozen=True)
class Seconds:
    """What a backbone would take here, about: climb, to choose its depth by a sample; rest, its trunk and its tail."""

    climb: float
    rest: float


def estimated_seconds(network: Network, pieces: Pieces, settings: Settings, *, learned: float) -> Seconds:
    """By the kind of processor, not by a clock, so that the same command does the same again; 0 on a GPU.

    learned: the share of the rows that train.
    """
    tokens = sum(len(item) for item in pieces.ids)
    sample = min(settings.probe_tokens, tokens)
    a_token, blocks = _seconds_a_token(network), len(network.blocks)
    return Seconds(
        climb=a_token * blocks * _CLIMBED * sample,
        rest=a_token * (blocks * _KEPT * (tokens - sample) + 3 * learned * tokens * settings.epochs),
    )


def seconds_of_training(network: Network, pieces: Pieces, texts: int, blocks: int) -> float:
    """Of so many blocks on so many texts of usual length, forwards and backwards; counted as in `estimated_seconds`."""
    tokens = float(np.mean([len(item) for item in pieces.ids])) if pieces.ids else 0.0
    return 3 * _seconds_a_token(network) * blocks * texts * tokens


def tokens_trained(network: Network, seconds: float, blocks: int) -> float:
    """On how many tokens so many blocks are trained in so long, on a processor."""
    return seconds / (3 * _seconds_a_token(network) * max(1, blocks))


def duration(seconds: float) -> str:
    """In words: seconds, or minutes where there are many."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _seconds_a_token(network: Network) -> float:
    """Of one block, forwards."""
    if network.device.type != "cpu":
        return 0.0
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    rate = torch.get_num_threads() * (PRODUCTS_A_CORE if wide else PRODUCTS_A_SMALL_CORE)
    return _block_weights(network) / rate


def _block_weights(network: Network) -> int:
    parameters = network.blocks[0].parameters() if len(network.blocks) else ()
    return sum(parameter.numel() for parameter in parameters)
