"""A backbone with a classification head, and its tail: the part of it that is trained.

Knows nothing of labels' names, tables or training; `backbone.py` makes one, `trunk.py` runs what is frozen, `proof.py`
says whether it may be cut there, `training` trains its tail, `bundle` saves it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from classtune.model import kernels, last_position
from classtune.model.batches import Batch
from classtune.model.families import Family
from classtune.model.head import POOLED_PARTS, LinearHead, pool
from classtune.model.pairs import plain_ids
from classtune.model.parts import Learners
from classtune.model.passes import Engine
from classtune.model.slicing import part, replace, shorten, states
from classtune.model.tokens import TextEncoder


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
    def pooled_width(self) -> int:
        """Numbers that go into the head, a text."""
        return self.width * POOLED_PARTS[self.pooling]

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
