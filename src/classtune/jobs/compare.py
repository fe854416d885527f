"""The ladder: from the majority class to fine-tuning, each rung trained on the same rows and judged on the same test.

The trunk runs once for all rungs: the store is filled below the last two blocks, which LoRA and the fine-tuning of two
blocks train on; then it is moved up a block at a time, for the last block alone and for the probe.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from classtune.config import Progress, Settings
from classtune.data.dataset import prepare
from classtune.data.reading.tables import Table
from classtune.decisions.decide import Decisions
from classtune.errors import SettingsError, missing_extra, writing
from classtune.inference.predictor import Predictor
from classtune.jobs import steps
from classtune.jobs.rungs import TIMED_TEXTS, Rungs, as_logits
from classtune.jobs.steps import Clock, Notify, Scores
from classtune.model.network import Network, Trunk
from classtune.model.tokens import Pieces
from classtune.report.curves import accuracy_over_cost
from classtune.report.page import write_report
from classtune.training.loop import Examples, fit

TRAINED_BLOCKS = 2  # of the rungs "last two blocks" and "LoRA"
# The tutorial's; a network that is trained as a whole forgets at the rate that suits its last block.
FULL_LEARNING_RATE = 5e-5
PROBE_STRENGTH = 0.01  # inverse regularisation of the probe, on standardised states


def compare(
    table: Table,
    settings: Settings,
    *,
    validation: Table | None = None,
    test: Table | None = None,
    full: bool = False,
    notify: Notify,
    progress: Progress,
) -> dict[str, Any]:
    """Every rung on the same rows, its cost beside it, and which one to take.

    full: also fine-tune every block. Seconds of training are what the rung would take alone, so that those of the
    language model all hold the choice of depth and the trunk. Raises DataError, SettingsError or SourceError.
    """
    clock = Clock()
    material = prepare(table, settings, validation=validation, test=test, progress=progress)
    for note in material.notes:
        notify(note)
    if not len(material.splits.test):
        raise SettingsError("test = 0: the ladder is judged on test rows. Leave them a share, or pass --test FILE.")
    ladder = Rungs(material, settings)
    with clock.time("cheap rungs"):
        ladder.add_cheap()
    with clock.time("load"):
        network = steps.load_network(material.labels, settings, multi=material.multi, notify=notify)
        pieces, settings = steps.encode(network, material, settings)
    _add_language_model(ladder, network, pieces, settings, clock, full=full, notify=notify, progress=progress)
    return {
        **ladder.climbed(),
        "data": material.data,
        "splits": material.splits.sizes(),
        "depth": {"kept": network.depth, "of": network.of},
        "settings": settings.model_dump(),
        "timing": clock.read(),
    }


def write_comparison(path: Path, ladder: dict[str, Any]) -> None:
    """The ladder as an HTML page like a bundle's report. Raises BundleError where it cannot be written."""
    parts = ("data", "splits", "depth", "settings", "timing")
    write_report(path, {"ladder": ladder, **{part: ladder[part] for part in parts}})


def write_picture(path: Path, ladder: dict[str, Any]) -> None:
    """Accuracy over cost as an SVG file. Raises BundleError where it cannot be written."""
    with writing(path):
        path.write_text(accuracy_over_cost(ladder["rungs"], ladder["recommended"]), encoding="utf-8")


def _add_language_model(
    ladder: Rungs,
    network: Network,
    pieces: Pieces,
    settings: Settings,
    clock: Clock,
    *,
    full: bool,
    notify: Notify,
    progress: Progress,
) -> None:
    """The rungs that are trained on the backbone, from the probe to all blocks."""
    material, splits = ladder.material, ladder.material.splits
    if network.family is None:
        raise SettingsError(f"model = {settings.model!r}: classtune cannot cut it, so it has no ladder. Use `train`.")
    with clock.time("depth"):
        chosen = settings if settings.depth != "auto" else settings.model_copy(update={"trainable": TRAINED_BLOCKS})
        steps.choose(network, pieces, material, chosen, None, progress)
    blocks = min(TRAINED_BLOCKS, network.depth)
    start = network.depth - blocks
    if not network.prove_split(start, steps.GOLDEN_TEXTS):
        raise SettingsError(
            [f"model = {settings.model!r}: cannot be run in parts, so it has no ladder.", *network.notes]
        )
    for parameter in network.classifier.parameters():
        parameter.requires_grad_(False)
    with clock.time("trunk"):
        store = steps.fill_store(network, pieces, start, settings, None, progress)
    examples = steps.stored(store, pieces, material)
    test_texts = [material.texts[row] for row in splits.test[:TIMED_TEXTS]]
    shared = clock.seconds["load"] + clock.seconds["depth"] + clock.seconds["trunk"]
    size = 4 * sum(parameter.numel() for parameter in network.classifier.parameters())
    found: dict[str, tuple[Decisions, Scores, float]] = {}

    def trained(name: str, told: dict[str, Any], given: Examples, *, from_block: int | None) -> None:
        rung = settings.model_copy(update=told)
        with _restored(network), clock.time(name):
            torch.manual_seed(rung.seed)  # as if it were the only rung
            lora = steps.unfreeze(network, rung, from_block)
            tail = network.tail(from_block)
            fit(
                tail,
                given,
                pieces.rows(splits.train),
                pieces.rows(splits.validation),
                rung,
                checkpoint=None,
                progress=progress,
            )
            held_out = steps.logits_of_rows(tail, given, pieces, splits.validation)
            calibrated = ladder.calibrated(held_out, steps.logits_of_rows(tail, given, pieces, splits.test))
            if lora is not None:
                lora.unload()
        found[name] = *calibrated, shared + clock.seconds[name]

    several = {1: "last block", 2: "last two blocks"}[blocks]
    if absent := missing_extra("LoRA is left out", "lora", "peft"):
        notify(absent)
    else:
        trained(f"LoRA on the {several}", {"trainable": "lora", "lora_blocks": blocks}, examples, from_block=start)
    if blocks > 1:
        trained(several, {"trainable": blocks}, examples, from_block=start)
        store.advance(Trunk(network, network.depth - 1, start=start))
    trained("last block", {"trainable": 1}, examples, from_block=network.depth - 1)
    with clock.time("frozen probe"):
        store.advance(Trunk(network, network.depth, start=network.depth - 1))
        probe = _probe(ladder, network, examples, pieces)
    found["frozen probe"] = *probe, shared + clock.seconds["frozen probe"]
    del store, examples
    if full:
        rate = min(settings.learning_rate, FULL_LEARNING_RATE)
        everything = steps.computed(network, pieces, material, None)
        trained("all blocks", {"trainable": "all", "learning_rate": rate}, everything, from_block=None)
    predictor = Predictor(network, material.labels, Decisions.plain(material.labels, material.multi))
    cost = steps.seconds(lambda: predictor.probabilities(test_texts)) / len(test_texts)
    order = ("frozen probe", "last block", several, f"LoRA on the {several}", "all blocks")  # cheapest first
    for name in dict.fromkeys(order):
        if name in found:
            decisions, scores, spent = found[name]
            costs = {"train_seconds": spent, "ms_per_text": 1e3 * cost}
            ladder.add(name, scores, **costs, size=size, decisions=decisions)


def _probe(ladder: Rungs, network: Network, examples: Examples, pieces: Pieces) -> tuple[Decisions, Scores]:
    """Decisions and probabilities of the test rows by a linear probe on the pooled states of the frozen network."""
    splits = ladder.material.splits
    tail: Any = network.tail(network.depth)
    tail.head = nn.Identity()  # of this copy alone

    def pooled(rows: Any) -> Scores:
        return steps.logits_of_rows(tail, examples, pieces, rows)

    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(C=PROBE_STRENGTH, max_iter=300, tol=1e-3, random_state=ladder.settings.seed)
    probe = make_pipeline(
        StandardScaler(), OneVsRestClassifier(regression) if ladder.material.multi else regression
    ).fit(pooled(splits.train).astype(np.float32), ladder.material.truth[splits.train])

    def logits(rows: Any) -> Scores:
        return as_logits(probe.predict_proba(pooled(rows).astype(np.float32)), multi=ladder.material.multi)

    return ladder.calibrated(logits(splits.validation), logits(splits.test))


@contextmanager
def _restored(network: Network) -> Iterator[None]:
    """Whatever is trained within, the network's weights are afterwards what they were."""
    modules: list[Any] = [network.classifier, *([network.own_head] if network.own_head is not None else [])]
    parameters = [parameter for module in modules for parameter in module.parameters()]
    kept = [parameter.detach().clone() for parameter in parameters]
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, kept, strict=True):
                parameter.copy_(value)
                parameter.requires_grad_(False)
