"""The backbones of a run, the smallest first: probe, tail and what else each gives are added to the contest.

A larger one is tried only where the rows could show that it is better, and where this machine can do it in a few
minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classtune.bundle import Member
from classtune.candidates import contrastive
from classtune.candidates.backbone import Backbone, Learned
from classtune.candidates.blend import Weight
from classtune.candidates.cost import duration
from classtune.candidates.folds import HeldOut
from classtune.candidates.probe import learn_probe
from classtune.candidates.sample import BUDGET_SECONDS, weigh_further
from classtune.candidates.tail import learn_tail, learns_again, taught_again
from classtune.candidates.tuning import tune
from classtune.config import Settings, backbone_names, seconds_of
from classtune.config.areas import ModelSettings
from classtune.data.splits import Rows
from classtune.decisions.decisions import Decisions
from classtune.errors import SourceError
from classtune.inference.predictor import Predictor
from classtune.jobs import steps
from classtune.jobs.contest import Contest, no_such
from classtune.jobs.entries import Entry, median_ms
from classtune.judging.answers import right_by_logits
from classtune.judging.comparison import COLUMNS, LEXICAL
from classtune.model.network import Network
from classtune.model.tokens import Pieces
from classtune.sources import fetch_model
from classtune.training.checkpoint import Checkpoint
from classtune.training.extensions import NOTHING, Extensions

# A larger backbone is not tried where the best one so far makes at most so few held-out errors, or so small a share of
# them: no gain could be told from noise (McNemar's exact test needs 6 rows).
FEW_ERRORS, SMALL_ERROR = 5, 0.003
# What candidates are called after the name of their backbone; the others in `_tail_kind`.
_PROBE, _LAST_BLOCK, _CONTRASTIVE = "probe", "tail, last block", "contrastive"


def check_keep(settings: Settings, *, beside: bool) -> None:
    """Raise SettingsError, before anything is trained, for a ``keep`` that no candidate could have as its name.

    beside: whether columns stand beside the texts. A candidate that could be may turn out not to be: `Contest.choose`.
    """
    if settings.keep is None:
        return
    known = [] if settings.hugging_face else [LEXICAL, *([COLUMNS] if beside else [])]
    kinds = [_PROBE, _tail_kind(settings)]
    if settings.trainable == "auto" and settings.effort == "best":
        kinds.append(_LAST_BLOCK)
    if contrastive.may_be(settings) and settings.effort != "fast":
        kinds.append(_CONTRASTIVE)
    known += [f"{Path(name).name} {kind}" for name in backbone_names(settings) for kind in kinds]
    if settings.keep not in known:
        raise no_such(settings.keep, known)


def _tail_kind(settings: ModelSettings) -> str:
    return {"head": "head", "all": "all blocks", "lora": "LoRA"}.get(str(settings.trainable), "tail")


@dataclass
class Backbones:
    """What adds them. checkpoint: where a run that is stopped keeps what it has; None: nowhere."""

    contest: Contest
    checkpoint: Checkpoint | None
    extensions: Extensions = NOTHING

    def add(self) -> None:
        """Every backbone that the settings name, or that can gain: its probe and its tail."""
        problems: list[str] = []
        names = backbone_names(self.contest.settings)
        for number, name in enumerate(names):
            if number and self.contest.settings.model == "auto" and not self._can_gain(Path(name).name):
                continue
            try:
                self._add_backbone(name, further=number > 0)
            except SourceError as error:  # the others may be had
                problems += error.problems
                self.contest.note(f"{name} cannot be had, and the run goes on without it: {error.problems[0]}")
        if problems and not any(entry.backbone for entry in self.contest.entries):
            raise SourceError(problems)

    def _can_gain(self, name: str, judges: Rows | None = None) -> bool:
        """Whether the rows that judge a further candidate (None: every held-out row) could show that it is better."""
        settings = self.contest.settings
        judges = self.contest.held_out.rows if judges is None else judges
        if settings.effort == "best" or self._is_kept(name) or not len(judges):
            return True
        asked = np.isin(self.contest.held_out.rows, judges)
        rivals = [self._errors(entry, asked) for entry in self.contest.entries if entry.ships is not None]
        if not rivals:  # what cannot be shipped makes nothing else needless
            return True
        errors = min(rivals)
        if errors <= max(FEW_ERRORS, SMALL_ERROR * len(judges)):
            self.contest.note(
                f"{name} is not tried: without it {errors} of {len(judges):,} held-out rows went wrong, too few to "
                "show a gain."
            )
            return False
        return True

    def _is_kept(self, name: str) -> bool:
        """Whether the user asked for a candidate, or for one of a backbone, of this name."""
        return self.contest.settings.keep is not None and f"{self.contest.settings.keep} ".startswith(f"{name} ")

    def _errors(self, entry: Entry, rows: NDArray[np.bool_]) -> int:
        return int((~right_by_logits(entry.held_out[rows], self.contest.truth[rows])).sum())

    def _add_backbone(self, name: str, *, further: bool) -> None:
        material, clock, shown = self.contest.material, self.contest.clock, Path(name).name
        settings = self.contest.settings.model_copy(update={"model": name})
        network = self._load(settings)
        with clock.time("tokens"):
            pieces, settings = steps.encode(network, material, settings)
        backbone = self._backbone(network, pieces, settings, shown, self.extensions)
        part = backbone.checkpoint
        automatic = (
            self.contest.settings.model == "auto"
            and self.contest.settings.effort != "best"
            and not self._is_kept(shown)
        )
        seconds = backbone.estimate()
        if further and automatic and seconds.climb > BUDGET_SECONDS:
            needed = duration(seconds.climb + seconds.rest)
            self.contest.note(f"{shown} is not tried: it would take about {needed}. --effort best tries it.")
            return
        started = time.perf_counter()
        with clock.time("depth"):
            backbone.climb()
            if further and automatic and not self._adds(backbone, shown, seconds.rest, part):
                return
        with clock.time("trunk"):
            backbone.prepare()
            backbone.pass_trunk()
        shared = time.perf_counter() - started
        ms = self._network_ms(backbone)
        probed = self.contest.settings.candidates == "all" and backbone.has_probe
        if probed:
            if (taught := len(backbone.taught)) < (train := len(material.splits.train)):
                self.contest.note(f"The probe of {shown} learns from {taught:,} of {train:,} training rows.")
            with clock.time("probe"):
                self._add_learned(backbone, f"{shown} {_PROBE}", "probe", partial(learn_probe, backbone), ms, shared)
        if not (probed and self.contest.settings.effort == "fast") and (
            not probed or self._can_gain(f"{shown} tail", self._tail_rows)
        ):
            if self.contest.settings.tune is not None:
                with clock.time("tuning"):
                    share = seconds_of(self.contest.settings.tune) / len(backbone_names(self.contest.settings))
                    self.contest.note(tune(backbone, shown, share, self.contest.settings.model_fields_set).sentence)
            with clock.time("epochs"):
                name = f"{shown} {_tail_kind(backbone.settings)}"
                learn, again = partial(learn_tail, backbone), partial(taught_again, backbone)
                self._add_learned(backbone, name, "tail", learn, ms, shared, again)
                if backbone.tries_last_block:
                    learn, again = partial(learn, blocks=1), partial(again, blocks=1)
                    self._add_learned(backbone, f"{shown} {_LAST_BLOCK}", "tail", learn, ms, shared, again)
            if probed and contrastive.suits(network, material, self.contest.held_out, self.contest.settings):
                self._add_contrastive(backbone)
        self.contest.notes += network.notes

    def _load(self, settings: Settings) -> Network:
        material = self.contest.material
        with self.contest.clock.time("load"):
            return steps.load_network(
                material.labels,
                settings,
                multi=material.multi,
                pairs=material.pairs,
                notify=self.contest.notify,
                crew=self.contest.crew,
            )

    def _backbone(
        self,
        network: Network,
        pieces: Pieces,
        settings: Settings,
        shown: str,
        extensions: Extensions = NOTHING,
    ) -> Backbone:
        """shown: whose files in the run folder are its own."""
        weights = steps.fingerprint(fetch_model(settings.model, notify=self.contest.notify)) if self.checkpoint else ""
        return Backbone(
            network,
            pieces,
            self.contest.material,
            settings,
            checkpoint=None if self.checkpoint is None else self.checkpoint.part(shown, weights=weights),
            extensions=extensions,
            notify=self.contest.notify,
            progress=self.contest.progress,
        )

    def _add_contrastive(self, first: Backbone) -> None:
        """All blocks of a backbone, trained on pairs of texts, where that takes no longer than it may."""
        shown = f"{Path(first.settings.model).name} {_CONTRASTIVE}"
        needed = contrastive.seconds(first.network, first.pieces, self.contest.held_out)
        if not self._can_gain(shown, self._tail_rows):
            return
        if needed > contrastive.MOST_SECONDS and self.contest.settings.effort != "best" and not self._is_kept(shown):
            self.contest.note(f"{shown} is not tried: it would take about {duration(needed)}. --effort best tries it.")
            return
        settings = contrastive.settings_of(first.settings, first.network.of)
        started = time.perf_counter()
        network = self._load(settings)
        network.encoder.rules = first.network.encoder.rules
        backbone = self._backbone(network, first.pieces, settings, shown.replace(" ", "-"))
        with self.contest.clock.time("trunk"):
            backbone.climb()
            backbone.prepare()
            backbone.pass_trunk()
        shared, ms = time.perf_counter() - started, self._network_ms(backbone)
        with self.contest.clock.time("epochs"):
            learn = partial(contrastive.learn_contrastive, backbone)
            self._add_learned(backbone, shown, "tail", learn, ms, shared)

    def _adds(self, backbone: Backbone, name: str, seconds: float, checkpoint: Checkpoint | None) -> bool:
        """Whether the rows that chose its depth show that a further backbone is worth its seconds; what follows is
        said."""
        weighed = checkpoint.recall("adds") if checkpoint else None
        if weighed is None:
            known = [
                entry.backbone.sample for entry in self.contest.entries if entry.kind == "probe" and entry.backbone
            ]
            samples = [sample for sample in known if sample is not None]
            lexical = self.contest.entry(LEXICAL).ships is not None
            options: dict[str, Any] = {"name": name, "seconds": seconds, "lexical": lexical}
            weighed = weigh_further(self.contest.material, samples, backbone.sample, self.contest.settings, **options)
            if checkpoint:
                checkpoint.remember("adds", weighed)
        goes_on, sentence = weighed
        if not goes_on:
            self.contest.note(sentence)
        elif sentence:
            self.contest.notify(sentence)
        return bool(goes_on)

    def _add_learned(
        self,
        backbone: Backbone,
        name: str,
        kind: str,
        learn: Callable[[HeldOut], Learned],
        ms: float,
        shared: float,
        again: Callable[[HeldOut, Learned], Learned] | None = None,
    ) -> None:
        started = time.perf_counter()
        learned = learn(self.contest.held_out)
        spent = shared + time.perf_counter() - started
        network = backbone.network
        size = 4 * sum(parameter.numel() for parameter in network.classifier.parameters())
        entry = Entry(name, kind, learned.held_out, learned.test, ms, backbone.cost, spent, size, backbone, learned)

        def ships() -> Member:
            assert entry.learned is not None
            return Member(name, backbone.become(entry.learned), Weight(1.0, 1.0), backbone.settings)

        entry.ships = ships
        if again is not None and backbone.start is not None and learns_again(self.contest.held_out):
            entry.again = lambda: again(self.contest.held_out, learned)
        self.contest.entries.append(entry)

    def _network_ms(self, backbone: Backbone) -> float:
        """What a text costs with this network, on the fast layers that answer later."""
        material = self.contest.material
        predictor = Predictor(backbone.network, material.labels, Decisions.plain(material.labels, material.multi))
        return median_ms(lambda rows: predictor.logits([material.texts[row] for row in rows]), material)

    @property
    def _tail_rows(self) -> Rows:
        return np.concatenate([judge for _, judge in self.contest.held_out.tails])
