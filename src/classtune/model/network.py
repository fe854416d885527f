"""A backbone with a classification head, and the cut that divides it into a frozen trunk and a trained tail.

Knows nothing of labels' names, tables or training; `backbone.py` makes one, `training` trains its tail, `bundle`
saves it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from classtune.model import kernels, last_position
from classtune.model.batches import Batch
from classtune.model.families import Family
from classtune.model.head import LinearHead, pool
from classtune.model.pairs import plain_ids
from classtune.model.parts import Learners
from classtune.model.passes import Engine, Span, alone
from classtune.model.slicing import part, replace, shorten, states
from classtune.model.tokens import TextEncoder

# A split is used when it changes no logit by more than this share of the largest.
SPLIT_TOLERANCE = 1e-4


class Frozen(nn.Module):
    """Blocks that stay as they are; a batch in, what leaves them out."""

    def __init__(self, network: Network, span: Span) -> None:
        super().__init__()
        self.span, self.device, self.engine = span, network.device, network.engine

    def over(self, batches: Iterable[Batch]) -> Iterator[tuple[int, Tensor]]:
        """The number of each batch and what leaves the blocks of it, in any order, wherever the network's engine runs
        them. Raises ClasstuneError where the engine fails."""
        if self.engine is None:
            return alone(self._run, batches)
        return self.engine(self.span, self._run, batches)

    def _run(self, batch: Batch) -> Tensor:
        result: Tensor = self(batch.to(self.device))
        return result


class Trunk(Frozen):
    """Embeddings and frozen blocks below ``stop``: token ids → activations [texts, tokens, width].

    start: leave out the embeddings and the blocks below it; the trunk then takes activations.
    """

    def __init__(self, network: Network, stop: int, *, start: int | None = None) -> None:
        super().__init__(network, Span(start, stop))
        assert network.family is not None
        self.base = part(network.base, network.family, start, stop, norm=False)
        kernels.accelerate(self.base, frozen=True)
        self.eval()

    @torch.inference_mode()
    def forward(self, batch: Batch) -> Tensor:
        return states(self.base, batch.values, batch.mask)


class Vectors(Frozen):
    """A whole network up to its head, as it is now: token ids → pooled states, float32 [texts, width]."""

    def __init__(self, network: Network) -> None:
        super().__init__(network, Span(None, network.depth, network.pooling, network.one_position))
        self.tail: Any = network.tail(None, frozen=True).eval()
        self.tail.head = nn.Identity()  # of this copy alone

    @torch.inference_mode()
    def forward(self, batch: Batch) -> Tensor:
        pooled: Tensor = self.tail(batch)
        return pooled.float()


def frozen(network: Network, span: Span) -> Frozen:
    """A span of another copy of a network; pooled, the network loses the blocks above it."""
    if span.pooling is None:
        return Trunk(network, span.stop, start=span.start)
    network.cut(span.stop)
    network.pool_by(span.pooling)
    network.one_position = span.one_position
    return Vectors(network)


class Tail(nn.Module):
    """Blocks from ``start`` on, final norm and head: activations (or token ids, from None on) → logits [texts, labels].

    one_position: run the last block for the pooled position alone, where the block allows it.
    frozen: the weights will not change, so that fast layers may copy them.
    """

    def __init__(self, network: Network, start: int | None, *, one_position: bool = True, frozen: bool = False) -> None:
        super().__init__()
        family, depth = network.family, network.depth
        assert family is not None
        self.head, self.pooling = network.head, network.pooling
        blocks = network.base.get_submodule(family.blocks)
        trained = depth - (start or 0)
        self.last_block: nn.Module | None = None
        if one_position and network.pooling == "last" and trained and last_position.supports(network.base, blocks[-1]):
            self.last_block = part(network.base, family, depth - 1, depth, norm=True)
            self.norm: nn.Module = self.last_block.get_submodule(family.norm) if family.norm else nn.Identity()
            block = self._block(family)
            kernels.accelerate(block, frozen=frozen and not last_position.needs_weights(block))
            depth -= 1
        self.base = part(network.base, family, start, depth, norm=self.last_block is None)
        self.family = family
        kernels.accelerate(self.base, frozen=frozen)

    def _block(self, family: Family) -> nn.Module:
        assert self.last_block is not None
        block: nn.Module = self.last_block.get_submodule(family.blocks)[0]  # type: ignore[index]
        return block

    def forward(self, batch: Batch) -> Tensor:
        hidden = states(self.base, batch.values, batch.mask)
        if self.last_block is None:
            pooled = pool(hidden, batch.last, self.pooling)
        else:
            block = self._block(self.family)
            pooled = self.norm(last_position.run_block(self.last_block, block, hidden, batch.last))
        logits: Tensor = self.head(pooled)
        return logits


class Whole(nn.Module):
    """The classifier as transformers runs it: token ids → logits [texts, labels]."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.classifier = network.classifier

    def forward(self, batch: Batch) -> Tensor:
        # transformers warns where it is given no mask, though padding on the right of a decoder's text cannot be seen.
        mask = torch.ones_like(batch.values) if batch.mask is None else batch.mask
        ids, types = plain_ids(batch.values)
        typed = {} if types is None else {"token_type_ids": types}
        logits: Tensor = self.classifier(input_ids=ids, attention_mask=mask, **typed).logits
        return logits


class Network:
    """A Hugging Face sequence classifier (``classifier``) with what is needed to cut it.

    family: None for an architecture that classtune cannot cut.
    of: how many blocks the backbone came with; ``depth`` how many are kept.
    own_head: a head that the Hugging Face class does not have (other poolings, a bias); None: the class's own.
    in_parts: whether blocks and gradients are at hand, and not only what comes out in the end.
    """

    in_parts = True

    def __init__(
        self,
        classifier: Any,
        family: Family | None,
        encoder: TextEncoder,
        *,
        pooling: str,
        own_head: LinearHead | None,
        of: int,
        source: str,
    ) -> None:
        self.classifier = classifier
        self.family = family
        self.encoder = encoder
        self.pooling = pooling
        self.own_head = own_head
        self.of = of
        self.source = source
        self.notes: list[str] = []
        self.one_position = True
        self.engine: Engine | None = None  # what runs its frozen blocks over many batches; None: this process alone
        self.learners: Learners | None = None  # who can train its tails with this process
        self.whole = family is None  # whether the network is run as transformers runs it
        if family is None:
            name = classifier.config.model_type
            self.notes.append(
                f"classtune cannot cut the architecture {name!r}: every text passes the whole network each time."
            )

    @property
    def base(self) -> Any:
        return self.classifier.base_model

    @property
    def head(self) -> nn.Module:
        if self.own_head is not None:
            return self.own_head
        assert self.family is not None
        return self.family.head(self.classifier)

    @property
    def blocks(self) -> nn.ModuleList:
        if self.family is None:
            return nn.ModuleList()
        return self.base.get_submodule(self.family.blocks)  # type: ignore[no-any-return]

    @property
    def depth(self) -> int:
        return len(self.blocks) if self.family else int(self.classifier.config.num_hidden_layers)

    @property
    def width(self) -> int:
        return int(self.classifier.config.hidden_size)

    @property
    def final_norm(self) -> nn.Module:
        """The norm between the last block and the pooling; of a family without one the identity."""
        if self.family is None or not self.family.norm:
            return nn.Identity()
        return self.base.get_submodule(self.family.norm)  # type: ignore[no-any-return]

    @property
    def labels(self) -> int:
        return int(self.classifier.config.num_labels)

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.classifier.parameters()).device
        return device

    @property
    def is_hugging_face(self) -> bool:
        """Whether `transformers.pipeline` would give the same scores (rule 5)."""
        causal = self.family is None or not self.family.causal or getattr(self.base.config, "is_causal", True)
        rules = self.encoder.rules
        plain = not rules.pool_padding and not rules.windows and not (rules.pad_to and self.encoder.needs_mask)
        return self.own_head is None and causal and plain

    def to(self, device: torch.device | str) -> None:
        """Move every part, an own head too."""
        self.classifier.to(device)
        if self.own_head is not None:
            self.own_head.to(device)

    def pool_by(self, pooling: str) -> None:
        """Pool so from now on: with the Hugging Face class's own head where it pools so, else with a linear head."""
        if self.family is None or pooling == self.pooling:
            return
        self.pooling = pooling
        if pooling == self.family.pooling:
            self.own_head = None
        else:
            self.own_head = LinearHead(self.width, self.labels, pooling, bias=True, dropout=0.0).to(self.device)

    def cut(self, depth: int) -> None:
        """Throw away the blocks above ``depth``."""
        if self.family is None or depth == self.depth:
            return
        kept = nn.ModuleList(list(self.blocks)[:depth])
        config = shorten(self.classifier.config, 0, depth)
        replace(self.base, self.family.blocks, kept)
        self.classifier.config = self.base.config = config

    def freeze(self, start: int | None) -> None:
        """Train what stands from block ``start`` on, the final norm and the head; None: everything.

        Of an architecture that cannot be cut all blocks are trained, or, with ``start`` at the depth, none.
        """
        self.classifier.requires_grad_(start is None or self.family is None)
        if self.family is None:
            self.base.requires_grad_(start is None or start < self.depth)
            if start is not None and start < self.depth:
                self.notes.append(f"All {self.depth} blocks are trained, not the last {self.depth - start} alone.")
        elif start is not None:
            trained = list(self.blocks[start:])
            if trained and self.family.norm:
                trained.append(self.base.get_submodule(self.family.norm))
            for module in [*trained, self.head]:
                module.requires_grad_(True)
        elif self.own_head is not None:
            self.own_head.requires_grad_(True)

    def tail(self, start: int | None, *, frozen: bool = False) -> nn.Module:
        """The trained part from block ``start`` on; from None on, the whole network."""
        if self.whole:
            return Whole(self)
        return Tail(self, start, one_position=self.one_position, frozen=frozen)

    @torch.inference_mode()
    def prove_split(self, start: int | None, texts: Sequence[str]) -> bool:
        """Whether trunk then tail equals the whole network on a few texts; a failure is noted.

        From then on the full last block, or where that is not it, the whole network is run.
        """
        if self.family is None:
            return False
        batch = self.encoder.batch(self.encoder.encode(texts)).to(self.device)
        self.classifier.eval()
        if self.is_hugging_face:
            whole = Whole(self)(batch)
        else:
            hidden = states(self.base, batch.values, batch.mask)
            whole = self.head.eval()(pool(hidden, batch.last, self.pooling))
        error = self._difference(whole, start, batch)
        if error <= SPLIT_TOLERANCE:
            return True
        self.one_position = False
        if self._difference(whole, start, batch) <= SPLIT_TOLERANCE:
            self.notes.append(f"The one-position form of the last block differs by {error:.1e}: the full block is run.")
            return True
        self.notes.append(f"Trunk and tail differ from the whole network by {error:.1e}: the whole network is run.")
        self.whole = self.is_hugging_face
        return False

    def _difference(self, whole: Tensor, start: int | None, batch: Batch) -> float:
        """Largest difference in a logit as a share of the largest logit."""
        try:
            values = batch if start is None else Batch(Trunk(self, start)(batch), batch.mask, batch.last)
            split = self.tail(start).eval()(values)
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError):  # a row that does not fit the model
            return math.inf
        error = float((split - whole).abs().max() / whole.abs().max().clamp_min(1e-6))
        return math.inf if math.isnan(error) else error
