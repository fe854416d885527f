"""One pretrained network over the rows of a run: where it is cut, and its stored states.

The trunk runs once for all candidates that it gives. A **probe** (probe.py) is the network with the solution of a
linear classifier as its head; a **tail** (tail.py) starts there and is trained. Both cost the same to use, so that of
one backbone at most one is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from classtune.candidates.cost import Seconds, estimated_seconds, multiplications
from classtune.candidates.cut import cut_network, tail_start, trained_blocks
from classtune.candidates.sample import Sample
from classtune.candidates.weights import Weights
from classtune.config import Progress, Settings
from classtune.data.dataset import Material
from classtune.data.folds import part_of_each
from classtune.model.activations import ActivationStore, Distinct, StoreTooLarge, TrunkFacts
from classtune.model.batches import Batch
from classtune.model.head import logits_of_head, takes_linear
from classtune.model.network import Network
from classtune.model.pooled import PooledStates
from classtune.model.proof import prove_split
from classtune.model.tokens import Pieces
from classtune.model.trunk import Trunk
from classtune.stats import Floats
from classtune.training.checkpoint import Checkpoint
from classtune.training.depth import DepthChoice
from classtune.training.extensions import NOTHING, Extensions
from classtune.training.loop import Examples, History, Rows, logits_of

# Texts whose scores prove a split, and are saved with a bundle and checked when it is loaded. Nobody's data.
GOLDEN_TEXTS = (
    "Thank you, that is very kind of you.",
    "URGENT! Call 0800 123 456 now to claim your prize of 1,000 pounds.",
    "Why was I charged twice for the same order?",
    "ok",
)
# A probe learns from about so many training rows, at most: what more of them add is in the learning curve.
MOST_PROBED = 50_000


@dataclass
class Learned:
    """What a candidate of a backbone became: the values of the parameters that differ from the pretrained ones.

    held_out: logits [held-out rows, labels] by networks that did not learn from them, NaN where none judged; test: of
    the test rows by the final one. history: of its training.
    """

    state: dict[str, Tensor]
    held_out: Floats
    test: Floats
    history: History


class Backbone:
    """A network, cut, with what its candidates are made from; `climb`, `prepare` and `pass_trunk` make it ready.

    settings: those of this backbone alone (model, pooling and blocks are resolved). choice: the depth.
    """

    def __init__(
        self,
        network: Network,
        pieces: Pieces,
        material: Material,
        settings: Settings,
        *,
        checkpoint: Checkpoint | None = None,
        extensions: Extensions = NOTHING,
        notify: Callable[[str], None] = lambda line: None,
        progress: Progress,
    ) -> None:
        self.network = network
        self.pieces = pieces
        self.material = material
        self.settings = settings
        self.checkpoint = checkpoint
        self.extensions = extensions
        self.notify = notify
        self.progress = progress
        self.choice = DepthChoice(kept=network.depth, of=network.of, texts=0, tokens=0)
        self.start: int | None = None
        self.store: ActivationStore | None = None
        self._pooled: PooledStates | None = None  # in the place of the store, where nothing but a probe is wanted
        self._features: NDArray[np.float32] | None = None
        self.strength: float | None = None  # of the probe's regularisation, once it is chosen
        self._known: tuple[Rows, NDArray[np.float32]] | None = None  # pieces and what leaves the trunk of them
        self.sample: Sample | None = None  # rows, and their pooled states, that chose the depth
        self.tail: nn.Module = nn.Identity()  # of the last training
        self.tries_last_block = False  # a second tail, of the same states, trains it alone

    # --- depth, trunk, store -------------------------------------------------------------------------------------

    def climb(self) -> None:
        """Cut the network where the settings, or the probes, say, and pool as they say."""
        network, settings = self.network, self.settings
        found = cut_network(
            network, self.pieces, self.material, settings, checkpoint=self.checkpoint, progress=self.progress
        )
        self.choice, self.sample, self._known = found.choice, found.sample, found.known
        pooled = (
            {}
            if self.choice.pooling is None
            else {"pooling": network.pooling, "head_bias": network.own_head is not None}
        )
        trainable = trained_blocks(network, settings, network.depth)
        self.settings = settings.model_copy(update={"trainable": trainable, **pooled})
        self.tries_last_block = (
            settings.candidates == "all"
            and settings.trainable == "auto"
            and settings.effort == "best"
            and trainable == 2
        )

    @property
    def cost(self) -> float:
        """Multiplications that a text of usual length takes, about."""
        return multiplications(self.network, self.pieces)

    def estimate(self) -> Seconds:
        """What this backbone would take here."""
        learned = len(self.material.splits.train) / len(self.material.texts)
        return estimated_seconds(self.network, self.pieces, self.settings, learned=learned)

    def prepare(self) -> None:
        """Freeze what is not trained, and prove that the network may be split there."""
        network, settings = self.network, self.settings
        self.start = tail_start(network, settings, network.depth)
        if settings.trainable == "lora":
            network.freeze(network.depth)
        else:
            network.freeze(self.start)
        if not prove_split(network, self.start, GOLDEN_TEXTS):
            self.start = None

    def pass_trunk(self) -> None:
        """Run the trunk once over every distinct piece, or take what a stopped run kept."""
        network, settings = self.network, self.settings
        if self.start is None or not settings.cache:
            return
        if self.probe_alone:
            self._pool()
            return
        limit = None if settings.store_limit_mb is None else settings.store_limit_mb * 2**20
        distinct = Distinct.of(self.pieces.ids)
        try:
            self.store = ActivationStore.fitting(network, distinct, limit, precision=settings.store, start=self.start)
        except StoreTooLarge as error:
            self.notify(f"{error} Until then the trunk runs again for each of up to {settings.epochs} epochs.")
            return
        checkpoint, file = self.checkpoint, "activations.npy"
        if checkpoint and checkpoint.recall("trunk", file=file) == self.start:
            self.store.restore(checkpoint.place(file))
            return
        if self._known is not None:
            self.store.take(*self._known)
            self._known = None
        self.store.fill(Trunk(network, self.start), self.progress, self.notify)
        if checkpoint and not self.store.on_disk:
            checkpoint.remember("trunk", self.start, file=file, write=self.store.save)

    def _pool(self) -> None:
        """Run the whole network once over what a probe needs, or take what a stopped run kept."""
        self._pooled = PooledStates(self.network, self.pieces, self.progress)
        checkpoint, file = self.checkpoint, "activations-pooled.safetensors"
        if checkpoint and checkpoint.recall("pooled", file=file):
            self._pooled.restore(checkpoint.place(file))
            return
        if self.sample is not None:
            self._pooled.take(*self.sample)
        splits = self.material.splits
        self._pooled.of(np.concatenate([self.taught, splits.validation, splits.test]), self.notify)
        if checkpoint:
            checkpoint.remember("pooled", True, file=file, write=self._pooled.save)

    @property
    def passed(self) -> TrunkFacts | None:
        """What passed the trunk; None where nothing of it was kept."""
        store = self._pooled or self.store
        return None if store is None else store.facts()

    @property
    def examples(self) -> Examples:
        """What a tail is trained on: stored activations, or what is made anew each time."""
        lengths = np.array([len(item) for item in self.pieces.ids], dtype=np.int64)
        of_text = self.pieces.of_text
        return Examples(self._batch, self.material.truth[of_text], lengths, self.material.weights_of(of_text))

    def _batch(self, numbers: Rows) -> Batch:
        if self.store is not None:
            return self.store.batch(numbers).to(self.network.device)
        tokens = self.network.encoder.batch([self.pieces.ids[number] for number in numbers]).to(self.network.device)
        if self.start is None:
            return tokens
        return Batch(Trunk(self.network, self.start)(tokens).clone(), tokens.mask, tokens.last)

    def close(self) -> None:
        """Let the store go: what is chosen is a network alone."""
        self.store = self._pooled = self._features = None

    # --- logits of rows ------------------------------------------------------------------------------------------

    def logits(self, tail: nn.Module, rows: Rows) -> Floats:
        """Logits of some rows [rows, labels]; the pieces of a row are pooled."""
        if not len(rows):
            return np.zeros((0, len(self.material.labels)))
        logits = logits_of(tail, self.examples, self.pieces.rows(rows), self.progress)
        result: Floats = self.pieces.pooled(logits.double(), rows).numpy()
        return result

    def pooled_states(self, rows: Rows) -> NDArray[np.float32]:
        """What goes into the head [rows, width], by the network as it is now; of a row in pieces their mean."""
        if self._pooled is not None:
            return self._pooled.of(rows)
        if not len(rows):
            return np.zeros((0, self.network.width), dtype=np.float32)
        tail: Any = self.network.tail(self.start)
        tail.head = nn.Identity()  # of this copy alone
        with torch.inference_mode():
            return self.logits(tail, rows).astype(np.float32)

    def features(self, rows: Rows) -> NDArray[np.float32]:
        """`pooled_states` of the pretrained network, made once for all rows that are used."""
        if self._pooled is not None:
            return self._pooled.of(rows)
        if self._features is None:
            splits = self.material.splits
            used = np.concatenate([splits.train, splits.validation, splits.test])
            states = self.pooled_states(used)
            self._features = np.zeros((len(self.material.texts), states.shape[1]), dtype=np.float32)
            self._features[used] = states
        return self._features[rows]

    # --- what candidates are made from ---------------------------------------------------------------------------

    @property
    def has_probe(self) -> bool:
        """Whether the head can be given a linear classifier."""
        return self.network.family is not None and not self.network.whole and takes_linear(self.network.head)

    @property
    def probe_alone(self) -> bool:
        """Whether a probe is all that is made of it: then no states of single tokens are kept."""
        return self.settings.effort == "fast" and self.settings.candidates == "all" and self.has_probe

    @cached_property
    def taught(self) -> Rows:
        """The training rows that a probe learns from: of many more than MOST_PROBED some, of each class its share."""
        train = self.material.splits.train
        if len(train) <= MOST_PROBED:
            return train
        truth, groups = self.material.truth[train], self.material.groups[train]
        return train[part_of_each(truth, MOST_PROBED / len(train), seed=self.settings.seed, groups=groups)]

    def taught_of(self, rows: Rows) -> Rows:
        """Those of some rows that a probe learns from; rows that are no training rows are."""
        train = self.material.splits.train
        return rows if self.taught is train else rows[~np.isin(rows, train) | np.isin(rows, self.taught)]

    def of_head(self, states: NDArray[np.float32]) -> Floats:
        """What the head, as it is now and ships, makes of pooled states [rows, width]: logits [rows, labels]."""
        on_device = torch.from_numpy(states).to(self.network.device)
        found: Floats = logits_of_head(self.network.head, on_device).cpu().numpy()
        return found

    def become(self, learned: Learned) -> Network:
        """The network as the candidate left it, for good."""
        self.weights.take(learned.state)
        self.network.classifier.requires_grad_(False).eval()
        return self.network

    @property
    def weights(self) -> Weights:
        return Weights(self.network, everything=self.settings.trainable in ("lora", "all"))
