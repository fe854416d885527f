"""The candidate of few rows: a small encoder, all blocks of it trained on pairs, and a probe that reads it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from classtune.candidates.backbone import Backbone, Learned
from classtune.candidates.cost import seconds_of_training
from classtune.candidates.cut import SMALL_NETWORK
from classtune.candidates.folds import HeldOut
from classtune.config import Settings
from classtune.data.dataset import Material
from classtune.data.splits import Rows
from classtune.model.head import has_bias, start_head
from classtune.model.network import Network
from classtune.model.tokens import Pieces
from classtune.stats import Floats
from classtune.training.contrastive import STEPS, TEXTS, draw_together
from classtune.training.loop import History
from classtune.training.probe import Probe, fit_probe

# What may take longer is not tried unless it is asked for.
MOST_SECONDS = 120.0
# The probe's, of states that were drawn together by the rows that it learns from: no cross-validation could choose it.
_STRENGTH = 0.03


def settings_of(settings: Settings, blocks: int) -> Settings:
    """All blocks are kept and trained, the embeddings are not; pooled by the mean."""
    return settings.model_copy(update={"depth": "all", "trainable": blocks, "pooling": "mean"})


def suits(network: Network, material: Material, held_out: HeldOut, settings: Settings) -> bool:
    """Whether it is worth a try: a small encoder, one label a text, so few rows that cross-validation judges tails, and
    two rows of every class in a batch (77 classes with 10 rows each: nothing gained, 83.6 against 83.9 % right).
    Not where blocks are shared among ranks: all of them would be trained."""
    if (
        material.multi
        or 2 * len(material.labels) > TEXTS
        or not held_out.crossed
        or network.family is None
        or network.family.causal
    ):
        return False
    return may_be(settings) and network.of <= SMALL_NETWORK


def may_be(settings: Settings) -> bool:
    """Whether the settings leave room for it."""
    automatic = {settings.depth, settings.trainable, settings.pooling} == {"auto"}
    return automatic and not settings.hugging_face and not settings.shard


def seconds(network: Network, pieces: Pieces, held_out: HeldOut) -> float:
    """What it takes here, about."""
    texts = STEPS * TEXTS * (len(held_out.tails) + 1)
    return seconds_of_training(network, pieces, texts, network.of)


def learn_contrastive(backbone: Backbone, held_out: HeldOut) -> Learned:
    """Judged by cross-validation on the folds of a tail, then trained on all training rows."""
    material, network, settings = backbone.material, backbone.network, backbone.settings
    splits, weights = material.splits, backbone.weights

    def taught(rows: Rows) -> Probe:
        encoder: Any = network.tail(backbone.start)
        encoder.head = nn.Identity()  # of this copy alone
        draw_together(
            encoder,
            backbone.examples,
            backbone.pieces.rows(rows),
            seed=settings.seed,
            progress=backbone.progress,
        )
        return fit_probe(
            backbone.pooled_states(rows),
            material.truth[rows],
            classes=len(material.labels),
            seed=settings.seed,
            strength=_STRENGTH,
            bias=has_bias(network.head),
            balanced=settings.class_weights == "balanced",
            weights=material.weights_of(rows),
        )

    def judge(learn: Rows, judged: Rows) -> Floats:
        with weights.restored():
            return taught(learn).logits(backbone.pooled_states(judged))

    logits = held_out.collect(judge, len(material.labels), held_out.tails)
    with weights.restored():
        probe = taught(splits.train)
        states = torch.from_numpy(backbone.pooled_states(splits.train))
        start_head(network.head, torch.from_numpy(probe.weight), torch.from_numpy(probe.bias), states)
        test = backbone.of_head(backbone.pooled_states(splits.test))
        return Learned(weights.changed(), logits, test, History())
