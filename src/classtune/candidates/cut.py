"""Where a backbone is cut and how it is pooled, as the settings or the probes of a sample of the training rows say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classtune.candidates.sample import Sample
from classtune.config import Progress, Settings
from classtune.data.dataset import Material
from classtune.model.network import Network
from classtune.model.tokens import Pieces
from classtune.training.checkpoint import Checkpoint
from classtune.training.depth import Climbed, DepthChoice, choose_depth
from classtune.training.loop import Rows

# `trainable = auto`: two blocks of a network of at most so many, one of a deeper one, whose blocks are dear unless
# `effort = best`.
SMALL_NETWORK = 12
_LEAST_PROBED = 50
_ROWS_A_CLASS = 10  # of the sample, where there are so many


@dataclass
class Cut:
    """choice: the depth. known: pieces, and what leaves the trunk of them [their tokens, width], that the climb
    computed. sample: rows, and their pooled states, that chose the depth. None where nothing climbed, or kept it.
    """

    choice: DepthChoice
    known: tuple[Rows, NDArray[np.float32]] | None = None
    sample: Sample | None = None


def cut_network(
    network: Network,
    pieces: Pieces,
    material: Material,
    settings: Settings,
    *,
    checkpoint: Checkpoint | None,
    progress: Progress,
) -> Cut:
    """Cut the network where the settings, or the probes, say, and pool as they say."""
    found = Cut(DepthChoice(kept=network.depth, of=network.of, texts=0, tokens=0))
    if network.family is None:
        return found
    if isinstance(settings.depth, int):
        network.cut(settings.depth)
        found.choice = DepthChoice(kept=settings.depth, of=network.of, texts=0, tokens=0)
    poolings = _poolings(network, settings)
    if settings.depth == "auto" or len(poolings) > 1:
        sample = _sample(pieces, material, settings)
        recalled = _recalled(checkpoint, sample)
        found = recalled or _climbed(network, pieces, material, settings, sample, poolings, progress)
        if checkpoint and recalled is None:
            _remember(checkpoint, found)
        network.cut(found.choice.kept)
        network.pool_by(found.choice.pooling or network.pooling)
    return found


def trained_blocks(network: Network, settings: Settings, depth: int) -> int | str:
    """What is trained of a network that is cut there: so many last blocks, or what `trainable` names."""
    if settings.trainable == "auto":
        return min(depth, 2 if network.of <= SMALL_NETWORK or settings.effort == "best" else 1)
    return settings.trainable


def tail_start(network: Network, settings: Settings, depth: int) -> int | None:
    """The block that the tail starts from; None: it is the whole network."""
    trainable = trained_blocks(network, settings, depth)
    if isinstance(trainable, int):
        return depth - trainable
    if trainable == "lora" and settings.lora_blocks != "all":
        return max(0, depth - settings.lora_blocks)
    return depth if trainable == "head" else None


def _climbed(
    network: Network,
    pieces: Pieces,
    material: Material,
    settings: Settings,
    sample: Rows,
    poolings: list[str],
    progress: Progress,
) -> Cut:
    rows, ids, climbed = pieces.of_text[sample], [pieces.ids[piece] for piece in sample], Climbed()
    floor = settings.trainable if isinstance(settings.trainable, int) else 1
    if settings.depth != "auto":  # only how to pool is asked
        floor = network.depth
    choice = choose_depth(
        network,
        ids,
        material.truth[rows],
        groups=material.groups[rows],
        poolings=poolings,
        floor=floor,
        seed=settings.seed,
        progress=progress,
        climbed=climbed,
    )
    start = tail_start(network, settings, choice.kept)
    states = None if start is None else climbed.at(start, [len(item) for item in ids])
    return Cut(
        choice,
        None if states is None else (sample, states),
        None if climbed.features is None else _by_row(rows, climbed.features),
    )


def _poolings(network: Network, settings: Settings) -> list[str]:
    """What the climb tries."""
    family = network.family
    if family is None or settings.pooling != "auto" or settings.candidates == "one" or settings.hugging_face:
        return [network.pooling]
    if network.encoder.rules.pool_padding:
        return [network.pooling]
    return ["last", "mean", "last+mean"] if family.causal else ["first", "mean"]


def _sample(pieces: Pieces, material: Material, settings: Settings) -> Rows:
    """Training pieces that choose the depth: so many tokens, and of each class some rows."""
    chosen = np.random.default_rng(settings.seed).permutation(pieces.rows(material.splits.train))
    tokens = np.cumsum([len(pieces.ids[piece]) for piece in chosen])
    least = max(_LEAST_PROBED, _ROWS_A_CLASS * len(material.labels))
    return chosen[: max(least, int(np.searchsorted(tokens, settings.probe_tokens)))]


def _by_row(rows: Rows, features: NDArray[np.float32]) -> Sample:
    """Each row once, with the mean of its pieces' features."""
    distinct, place, count = np.unique(rows, return_inverse=True, return_counts=True)
    total = np.zeros((len(distinct), features.shape[1]), np.float32)
    np.add.at(total, place, features)
    return distinct, np.asarray(total / count[:, None], dtype=np.float32)


# --- of a stopped run ------------------------------------------------------------------------------------------------

_STEP, _FILE = "depth", "activations-sample.safetensors"


def _remember(checkpoint: Checkpoint, found: Cut) -> None:
    """Keep what was computed with the depth, so that a resumed run has the same numbers."""
    from safetensors.numpy import save_file

    arrays: dict[str, NDArray[Any]] = {}
    if found.known is not None:
        arrays["states"] = found.known[1]
    if found.sample is not None:
        arrays |= {"rows": found.sample[0], "features": found.sample[1]}
    checkpoint.remember(_STEP, vars(found.choice), file=_FILE, write=lambda scratch: save_file(arrays, str(scratch)))


def _recalled(checkpoint: Checkpoint | None, sample: Rows) -> Cut | None:
    from safetensors.numpy import load_file

    if checkpoint is None or (choice := checkpoint.recall(_STEP, file=_FILE)) is None:
        return None
    arrays = load_file(str(checkpoint.place(_FILE)))
    known = (sample, arrays["states"]) if "states" in arrays else None
    rows = (arrays["rows"], arrays["features"]) if "rows" in arrays else None
    return Cut(DepthChoice(**choice), known, rows)
