"""The tail as a candidate: the last blocks of a backbone and its head, trained from the probe's solution on."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from classtune.candidates.backbone import Backbone, Learned
from classtune.candidates.cost import tokens_trained
from classtune.candidates.folds import HeldOut
from classtune.candidates.probe import probe_of, start_from
from classtune.model.adapters import add_lora
from classtune.model.parts import InParts, TailPlan, trained_names
from classtune.stats import Floats
from classtune.training.loop import History, Rows, fit

# The probe's solution is sure of the rows that it has learned, and a tail that starts so sure has little left to learn:
# its head starts from this share of it (docs/log.md).
HEAD_SHARE = 0.5
# Beyond so many training rows, the validation rows would teach little, and a second training is long.
MOST_AGAIN = 20_000


def learn_tail(backbone: Backbone, held_out: HeldOut, blocks: int | None = None) -> Learned:
    """Judge it on held-out rows, then train it on all where they learned too.

    blocks: so many of its last are trained; None: all of it.
    """
    splits, labels = backbone.material.splits, len(backbone.material.labels)
    numbers, weights = itertools.count(), backbone.weights
    suffix = "" if blocks is None else f"-{blocks}"

    def judge(learn: Rows, judged: Rows) -> Floats:
        with weights.restored():
            _train_last(backbone, blocks)
            train_tail(backbone, learn, judged[:0], f"fold{suffix}-{next(numbers)}")
            return backbone.logits(backbone.tail, judged)

    crossed = held_out.collect(judge, labels, held_out.tails) if held_out.crossed else None
    with weights.restored():
        _train_last(backbone, blocks)
        history = train_tail(backbone, splits.train, splits.validation, f"tail{suffix}")
        logits = crossed
        if logits is None:
            logits = held_out.collect(lambda _, judged: backbone.logits(backbone.tail, judged), labels, held_out.tails)
        return Learned(weights.changed(), logits, backbone.logits(backbone.tail, splits.test), history)


def learns_again(held_out: HeldOut) -> bool:
    """Whether the rows that judged a tail should teach it too, once it is chosen. They do where cross-validation judged
    it, and never where the user gave them."""
    learned = sum(len(learn) for learn, _ in held_out.tails)
    return not held_out.crossed and learned < len(held_out.final) <= MOST_AGAIN


def taught_again(backbone: Backbone, held_out: HeldOut, learned: Learned, blocks: int | None = None) -> Learned:
    """The same tail, trained once more with the validation rows that judged it, for as many epochs as they chose; the
    mean of both trainings' weights (Wortsman et al. 2022, "Model soups"), since each alone varies (docs/log.md).
    """
    with (weights := backbone.weights).restored():
        _train_last(backbone, blocks)
        name = f"again{'' if blocks is None else f'-{blocks}'}"
        train_tail(backbone, held_out.final, held_out.final[:0], name, like=learned.history)
        weights.take(weights.halfway(learned.state))
        test = backbone.logits(backbone.tail, backbone.material.splits.test)
        return replace(learned, state=weights.changed(), test=test)


def tried(backbone: Backbone, learn: Rows, judged: Rows, values: Mapping[str, Any]) -> Floats:
    """Logits of some rows by a tail that learned from others under other settings; nothing of it stays."""
    kept = backbone.settings, backbone.checkpoint, backbone.extensions
    backbone.settings, backbone.checkpoint = backbone.settings.model_copy(update=values), None
    backbone.extensions = replace(backbone.extensions, on_epoch=None)
    try:
        with backbone.weights.restored():
            train_tail(backbone, learn, judged[:0], "trial")
            return backbone.logits(backbone.tail, judged)
    finally:
        backbone.settings, backbone.checkpoint, backbone.extensions = kept


def _train_last(backbone: Backbone, blocks: int | None) -> None:
    """From now on, train the last blocks of the tail alone; None: all of it."""
    if blocks is not None:
        backbone.network.freeze(backbone.network.depth - blocks)


def train_tail(backbone: Backbone, learn: Rows, validation: Rows, name: str, *, like: History | None = None) -> History:
    """Train the tail on some rows, from the probe of these rows where the settings say so. like: see `fit`."""
    torch.manual_seed(backbone.settings.seed)  # as if it were the only candidate
    if backbone.settings.head_start == "probe" and backbone.has_probe:
        start_from(backbone, probe_of(backbone, learn), HEAD_SHARE)
    lora = None
    if backbone.settings.trainable == "lora":
        options = {"rank": backbone.settings.lora_rank, "alpha": backbone.settings.lora_alpha}
        lora = add_lora(backbone.network, **options, dropout=backbone.settings.dropout, start=backbone.start or 0)  # type: ignore[arg-type]
    backbone.tail = backbone.network.tail(backbone.start)
    log = None if backbone.checkpoint is None else backbone.checkpoint.log
    with _shared(backbone) as forward:
        history = fit(
            backbone.tail,
            backbone.examples,
            backbone.pieces.rows(learn),
            backbone.pieces.rows(validation),
            backbone.settings,
            forward=forward,
            like=like,
            checkpoint=None if backbone.checkpoint is None else backbone.checkpoint.part(name),
            extensions=backbone.extensions.within(f"{Path(backbone.settings.model).name} {name}", log),
            progress=backbone.progress,
        )
    if lora is not None:
        lora.merge_and_unload()
        backbone.tail = backbone.network.tail(backbone.start)
    return history


@contextlib.contextmanager
def _shared(backbone: Backbone) -> Iterator[InParts | None]:
    """What runs training batches together with other processes, where there are any and large batches pay."""
    network, settings, learners = backbone.network, backbone.settings, backbone.network.learners
    drops = settings.dropout > 0  # what one process would drop, several cannot know
    if learners is None or network.family is None or network.device.type != "cpu" or drops:
        yield None
        return
    trained, blocks = trained_names(backbone.tail), network.depth - (backbone.start or 0)
    weights = sum(backbone.tail.get_parameter(name).numel() for name in trained)
    least_tokens = tokens_trained(network, learners.least_seconds(weights), blocks)
    lora = (settings.lora_rank, settings.lora_alpha) if settings.trainable == "lora" else None
    plan = TailPlan(network.depth, network.pooling, network.one_position, backbone.start, trained, lora)
    with learners.learning(plan) as others:
        yield InParts(backbone.tail, others, least_tokens, learners.few_threads)
