"""One pretrained network over the rows of a run: where it is cut, its stored states, and the candidates that they give.

The trunk runs once for all of them. A **probe** is the network with the solution of a linear classifier as its head; a
**tail** starts there and is trained. Both cost the same to use, so that of one backbone at most one is kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from classtune.candidates.folds import HeldOut
from classtune.config import Progress, Settings
from classtune.data.dataset import Material
from classtune.model.activations import ActivationStore, Distinct, StoreTooLarge
from classtune.model.adapters import add_lora
from classtune.model.head import has_bias, start_head, takes_linear
from classtune.model.network import Network, Trunk
from classtune.model.tokens import Batch, Pieces
from classtune.stats import Floats
from classtune.training.checkpoint import Checkpoint
from classtune.training.depth import Climbed, DepthChoice, choose_depth
from classtune.training.extensions import NOTHING, Extensions
from classtune.training.loop import Examples, History, Rows, fit, logits_of
from classtune.training.probe import Probe, fit_probe

# Texts whose scores prove a split, and are saved with a bundle and checked when it is loaded. Nobody's data.
GOLDEN_TEXTS = (
    "Thank you, that is very kind of you.",
    "URGENT! Call 0800 123 456 now to claim your prize of 1,000 pounds.",
    "Why was I charged twice for the same order?",
    "ok",
)
# The probe's solution is sure of the rows that it has learned, and a tail that starts so sure has little left to learn:
# its head starts from this share of it (docs/log.md).
HEAD_SHARE = 0.5
# `trainable = auto`: two blocks of a network of at most so many, one of a deeper one, whose blocks are dear.
SMALL_NETWORK = 12
_LEAST_PROBED = 50
_CLIMBED, _KEPT = 0.7, 0.55  # of the blocks, usually
# Multiplications a second of one core with AVX-512, all overhead included (benchmarks/trunk.py), and of one with AVX2.
PRODUCTS_A_CORE, PRODUCTS_A_SMALL_CORE = 60e9, 23e9
_ROWS_A_CLASS = 10  # of the sample that chooses the depth, where there are so many


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


def _by_row(rows: Rows, features: NDArray[np.float32]) -> tuple[Rows, NDArray[np.float32]]:
    """Each row once, with the mean of its pieces' features."""
    distinct, place, count = np.unique(rows, return_inverse=True, return_counts=True)
    total = np.zeros((len(distinct), features.shape[1]), np.float32)
    np.add.at(total, place, features)
    return distinct, np.asarray(total / count[:, None], dtype=np.float32)


class Backbone:
    """A network, cut, with what its candidates are made from; `open` makes one ready.

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
        self._features: NDArray[np.float32] | None = None
        self._strength: float | None = None
        self._known: tuple[Rows, NDArray[np.float32]] | None = None  # pieces and what leaves the trunk of them
        self.sample: tuple[Rows, NDArray[np.float32]] | None = (
            None  # rows, and their pooled states, that chose the depth
        )
        self.tail: nn.Module = nn.Identity()  # of the last training

    # --- depth, trunk, store -------------------------------------------------------------------------------------

    def climb(self) -> None:
        """Cut the network where the settings, or the probes, say, and pool as they say."""
        settings, network = self.settings, self.network
        if network.family is not None:
            if isinstance(settings.depth, int):
                network.cut(settings.depth)
                self.choice = DepthChoice(kept=settings.depth, of=network.of, texts=0, tokens=0)
            poolings = self._poolings()
            if settings.depth == "auto" or len(poolings) > 1:
                self.choice = self._chosen(poolings)
                network.cut(self.choice.kept)
                network.pool_by(self.choice.pooling or network.pooling)
        pooled = (
            {}
            if self.choice.pooling is None
            else {"pooling": network.pooling, "head_bias": network.own_head is not None}
        )
        self.settings = settings.model_copy(update={"trainable": self._trainable(network.depth), **pooled})

    def _chosen(self, poolings: list[str]) -> DepthChoice:
        """The depth and the pooling; what the climb computed of the sample goes into the store, and is kept with it, so
        that a resumed run has the same numbers."""
        kept = "" if self.checkpoint is None else self.checkpoint.named("activations-sample.npy")
        sample = self._sample()
        if self.checkpoint and (known := self.checkpoint.recall("depth", file=kept)):
            self._known = sample, np.load(self.checkpoint.folder / kept, allow_pickle=False)
            return DepthChoice(**known)
        texts = self.pieces.of_text[sample]
        trainable = self.settings.trainable
        floor = trainable if isinstance(trainable, int) else 1
        if self.settings.depth != "auto":  # only how to pool is asked
            floor = self.network.depth
        climbed = Climbed()
        ids = [self.pieces.ids[piece] for piece in sample]
        choice = choose_depth(
            self.network,
            ids,
            self.material.truth[texts],
            groups=self.material.groups[texts],
            poolings=poolings,
            floor=floor,
            seed=self.settings.seed,
            progress=self.progress,
            climbed=climbed,
        )
        start = self._tail_start(choice.kept)
        states = None if start is None else climbed.at(start, [len(item) for item in ids])
        if climbed.features is not None:
            self.sample = _by_row(texts, climbed.features)
        if states is not None:
            self._known = sample, states
            if self.checkpoint:
                with self.checkpoint.replacing(kept) as scratch, scratch.open("wb") as file:
                    np.save(file, states, allow_pickle=False)
        if self.checkpoint:
            self.checkpoint.remember("depth", choice.__dict__, file=kept)
        return choice

    def _poolings(self) -> list[str]:
        """What the climb tries."""
        family, settings = self.network.family, self.settings
        if family is None or settings.pooling != "auto" or settings.candidates == "one" or settings.hugging_face:
            return [self.network.pooling]
        if self.network.encoder.rules.pool_padding:
            return [self.network.pooling]
        return ["last", "mean", "last+mean"] if family.causal else ["first", "mean"]

    def _sample(self) -> Rows:
        """Training pieces that choose the depth: so many tokens, and of each class some rows."""
        settings = self.settings
        pieces = np.random.default_rng(settings.seed).permutation(self.pieces.rows(self.material.splits.train))
        tokens = np.cumsum([len(self.pieces.ids[piece]) for piece in pieces])
        least = max(_LEAST_PROBED, _ROWS_A_CLASS * len(self.material.labels))
        return pieces[: max(least, int(np.searchsorted(tokens, settings.probe_tokens)))]

    @property
    def cost(self) -> float:
        """Multiplications that a text of usual length takes, about: the same on every machine and in every run."""
        tokens = np.mean([len(item) for item in self.pieces.ids]) if self.pieces.ids else 0.0
        return float(self._block_weights * len(self.network.blocks) * tokens)

    @property
    def _block_weights(self) -> int:
        parameters = self.network.blocks[0].parameters() if len(self.network.blocks) else ()
        return sum(parameter.numel() for parameter in parameters)

    def estimate(self) -> float:
        """Seconds that this backbone would take here in all: its sample, its trunk, its tail.

        By the kind of processor, not by a clock, so that the same command does the same again.
        """
        tokens = sum(len(item) for item in self.pieces.ids)
        sample = min(self.settings.probe_tokens, tokens)
        blocks, learned = len(self.network.blocks), tokens * len(self.material.splits.train) / len(self.material.texts)
        passes = blocks * (_CLIMBED * sample + _KEPT * (tokens - sample)) + 3 * learned * self.settings.epochs
        wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
        rate = torch.get_num_threads() * (PRODUCTS_A_CORE if wide else PRODUCTS_A_SMALL_CORE)
        return self._block_weights * passes / rate if self.network.device.type == "cpu" else 0.0

    def prepare(self) -> None:
        """Freeze what is not trained, and prove that the network may be split there."""
        network, settings = self.network, self.settings
        self.start = self._tail_start(network.depth)
        if settings.trainable == "lora":
            network.freeze(network.depth)
        else:
            network.freeze(self.start)
        if not network.prove_split(self.start, GOLDEN_TEXTS):
            self.start = None

    def pass_trunk(self) -> None:
        """Run the trunk once over every distinct piece, or take what a stopped run kept."""
        network, settings = self.network, self.settings
        if self.start is None or not settings.cache:
            return
        limit = None if settings.store_limit_mb is None else settings.store_limit_mb * 2**20
        distinct = Distinct.of(self.pieces.ids)
        try:
            self.store = ActivationStore.fitting(network, distinct, limit, precision=settings.store, start=self.start)
        except StoreTooLarge as error:
            self.notify(f"{error} Until then the trunk runs again for each of up to {settings.epochs} epochs.")
            return
        checkpoint, kept = self.checkpoint, "" if self.checkpoint is None else self.checkpoint.named("activations.npy")
        if checkpoint and checkpoint.recall("trunk", file=kept) == self.start:
            self.store.restore(checkpoint.folder / kept)
            return
        if self._known is not None:
            self.store.take(*self._known)
            self._known = None
        self.store.fill(Trunk(network, self.start), self.progress, self.notify)
        if checkpoint and not self.store.on_disk:
            with checkpoint.replacing(kept) as scratch, scratch.open("wb") as file:
                np.save(file, self.store.values, allow_pickle=False)
            checkpoint.remember("trunk", self.start, file=kept)

    def _trainable(self, depth: int) -> int | str:
        """What is trained of a network that is cut there."""
        if self.settings.trainable == "auto":
            return min(depth, 2 if self.network.of <= SMALL_NETWORK else 1)
        return self.settings.trainable

    def _tail_start(self, depth: int) -> int | None:
        """The block that the tail starts from; None: it is the whole network."""
        trainable = self._trainable(depth)
        if isinstance(trainable, int):
            return depth - trainable
        if trainable == "lora" and self.settings.lora_blocks != "all":
            return max(0, depth - self.settings.lora_blocks)
        return depth if trainable == "head" else None

    @property
    def examples(self) -> Examples:
        """What a tail is trained on: stored activations, or what is made anew each time."""
        lengths = np.array([len(item) for item in self.pieces.ids], dtype=np.int64)
        return Examples(self._batch, self.material.truth[self.pieces.of_text], lengths)

    def _batch(self, numbers: Rows) -> Batch:
        if self.store is not None:
            return self.store.batch(numbers).to(self.network.device)
        tokens = self.network.encoder.batch([self.pieces.ids[number] for number in numbers]).to(self.network.device)
        if self.start is None:
            return tokens
        return Batch(Trunk(self.network, self.start)(tokens).clone(), tokens.mask, tokens.last)

    def close(self) -> None:
        """Let the store go: what is chosen is a network alone."""
        self.store = self._features = None

    # --- logits of rows ------------------------------------------------------------------------------------------

    def logits(self, tail: nn.Module, rows: Rows) -> Floats:
        """Logits of some rows [rows, labels]; the pieces of a row are pooled."""
        logits = logits_of(tail, self.examples, self.pieces.rows(rows), self.progress)
        result: Floats = self.pieces.pooled(logits.double(), rows).numpy()
        return result

    def pooled_states(self, rows: Rows) -> NDArray[np.float32]:
        """What goes into the head [rows, width], by the network as it is now; of a row in pieces their mean."""
        tail: Any = self.network.tail(self.start)
        tail.head = nn.Identity()  # of this copy alone
        with torch.inference_mode():
            return self.logits(tail, rows).astype(np.float32)

    def features(self, rows: Rows) -> NDArray[np.float32]:
        """`pooled_states` of the pretrained network, made once for all rows that are used."""
        if self._features is None:
            splits = self.material.splits
            used = np.concatenate([splits.train, splits.validation, splits.test])
            states = self.pooled_states(used)
            self._features = np.zeros((len(self.material.texts), states.shape[1]), dtype=np.float32)
            self._features[used] = states
        return self._features[rows]

    # --- probe ---------------------------------------------------------------------------------------------------

    @property
    def has_probe(self) -> bool:
        """Whether the head can be given a linear classifier."""
        return self.network.family is not None and not self.network.whole and takes_linear(self.network.head)

    def _start_head(self, probe: Probe, share: float = 1.0) -> None:
        """Put a probe, or a share of it, into the head."""
        largest = float(np.abs(self.features(self.material.splits.train)).max())
        start_head(
            self.network.head, torch.from_numpy(share * probe.weight), torch.from_numpy(share * probe.bias), largest
        )

    def fit_probe(self, rows: Rows) -> Probe:
        """A probe that learned from these rows; its strength is chosen once, on the training rows."""
        truth, groups = self.material.truth, self.material.groups
        options: dict[str, Any] = {
            "classes": len(self.material.labels),
            "seed": self.settings.seed,
            "bias": has_bias(self.network.head),
            "balanced": self.settings.class_weights == "balanced",
        }
        if self._strength is None:
            train = self.material.splits.train
            chosen = fit_probe(self.features(train), truth[train], groups=groups[train], **options)
            self._strength = chosen.strength
        return fit_probe(self.features(rows), truth[rows], strength=self._strength, **options)

    def learn_probe(self, held_out: HeldOut) -> Learned:
        """The probe as a candidate: judged on held-out rows, and put into the head."""
        with self._restored():
            logits = held_out.collect(
                lambda learn, judge: self.fit_probe(learn).logits(self.features(judge)),
                len(self.material.labels),
                held_out.folds,
            )
            final = self.fit_probe(held_out.final)
            self._start_head(final)
            return Learned(self._state(), logits, final.logits(self.features(self.material.splits.test)), History())

    # --- tail ----------------------------------------------------------------------------------------------------

    def learn_tail(self, held_out: HeldOut) -> Learned:
        """The fine-tuned tail as a candidate: judged on held-out rows, then trained on all where they learned too."""
        splits, labels = self.material.splits, len(self.material.labels)
        numbers = itertools.count()

        def judge(learn: Rows, judged: Rows) -> Floats:
            with self._restored():
                self.train(learn, judged[:0], f"fold-{next(numbers)}")
                return self.logits(self.tail, judged)

        crossed = held_out.collect(judge, labels, held_out.tails) if held_out.crossed else None
        with self._restored():
            history = self.train(splits.train, splits.validation, "tail")
            logits = crossed
            if logits is None:
                logits = held_out.collect(lambda _, judged: self.logits(self.tail, judged), labels, held_out.tails)
            return Learned(self._state(), logits, self.logits(self.tail, splits.test), history)

    def train(self, learn: Rows, validation: Rows, name: str) -> History:
        """Train the tail on some rows, from the probe of these rows where the settings say so."""
        torch.manual_seed(self.settings.seed)  # as if it were the only candidate
        if self.settings.head_start == "probe" and self.has_probe:
            self._start_head(self.fit_probe(learn), HEAD_SHARE)
        lora = None
        if self.settings.trainable == "lora":
            options = {"rank": self.settings.lora_rank, "alpha": self.settings.lora_alpha}
            lora = add_lora(self.network, **options, dropout=self.settings.dropout, start=self.start or 0)  # type: ignore[arg-type]
        self.tail = self.network.tail(self.start)
        history = fit(
            self.tail,
            self.examples,
            self.pieces.rows(learn),
            self.pieces.rows(validation),
            self.settings,
            checkpoint=None if self.checkpoint is None else self.checkpoint.part(name),
            extensions=self.extensions,
            progress=self.progress,
        )
        if lora is not None:
            lora.merge_and_unload()
            self.tail = self.network.tail(self.start)
        return history

    # --- weights -------------------------------------------------------------------------------------------------

    def _parameters(self) -> dict[str, nn.Parameter]:
        """Every parameter that a candidate may change."""
        modules: dict[str, Any] = {"network": self.network.classifier}
        if self.network.own_head is not None:
            modules["head"] = self.network.own_head
        return {f"{place}.{name}": p for place, module in modules.items() for name, p in module.named_parameters()}

    def _state(self) -> dict[str, Tensor]:
        """The values of what differs from the pretrained network."""
        now = self._parameters()
        return {
            name: value.detach().clone() for name, value in now.items() if not torch.equal(value, self._before[name])
        }

    @contextmanager
    def _restored(self) -> Iterator[None]:
        """Whatever is trained within, the weights, and what is trained, are afterwards as they were."""
        parameters = self._parameters()
        free = {name: p.requires_grad for name, p in parameters.items()}
        trained = {name: p.detach().clone() for name, p in parameters.items() if self._may_change(name, p)}
        self._before = {name: trained.get(name, p.detach()) for name, p in parameters.items()}
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self._parameters().items():
                    if name in trained:
                        parameter.copy_(trained[name])
                    parameter.requires_grad_(free[name])

    def _may_change(self, name: str, parameter: nn.Parameter) -> bool:
        return parameter.requires_grad or name.startswith("head.") or self.settings.trainable in ("lora", "all")

    def become(self, learned: Learned) -> Network:
        """The network as the candidate left it, for good."""
        with torch.no_grad():
            for name, parameter in self._parameters().items():
                if name in learned.state:
                    parameter.copy_(learned.state[name])
        self.network.classifier.requires_grad_(False).eval()
        return self.network
