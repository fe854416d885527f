"""The candidates of a run side by side: each learns from the same rows, is judged on the same held-out rows, and one
classifier is chosen. `train` ships it, `compare` shows all.

The cheap ones come first, then the backbones, the smallest first; a larger one is tried only where the rows could show
that it is better, and where this machine can do it in a few minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classtune.bundle import Member
from classtune.candidates import contrastive
from classtune.candidates.backbone import Backbone, Learned
from classtune.candidates.blend import Choice, Option, Weight, blended, choose
from classtune.candidates.cost import duration
from classtune.candidates.folds import HeldOut, judged_by_all
from classtune.candidates.sample import BUDGET_SECONDS, weigh_further
from classtune.config import Progress, Settings, backbone_names
from classtune.data.dataset import Material
from classtune.data.splits import Rows
from classtune.decisions.decide import Decisions
from classtune.errors import SettingsError, SourceError, did_you_mean
from classtune.inference.predictor import Predictor
from classtune.jobs import steps
from classtune.jobs.entries import Entry, cheap_entries, median_ms, timed_rows
from classtune.jobs.steps import Clock, Crew, Notify, Scores
from classtune.judging.answers import right_by_logits
from classtune.judging.comparison import LEXICAL
from classtune.model.network import Network
from classtune.model.tokens import Pieces
from classtune.sources import fetch_model
from classtune.training.checkpoint import Checkpoint
from classtune.training.extensions import NOTHING, Extensions

# A larger backbone is not tried where the best one so far makes at most so few held-out errors, or so small a share of
# them: no gain could be told from noise (McNemar's exact test needs 6 rows).
FEW_ERRORS, SMALL_ERROR = 5, 0.003
# Multiplications a text (about 5 ms of one core) that a member of a blend need not earn in full.
SMALL_COST = 3e8


@dataclass
class Contest:
    """The entries so far, cheapest first, and what they are judged on."""

    material: Material
    settings: Settings
    held_out: HeldOut
    clock: Clock
    notify: Notify
    progress: Progress
    crew: Crew | None = None
    entries: list[Entry] = field(default_factory=list)
    rule: str | None = None
    notes: list[str] = field(default_factory=list)

    def add_cheap(self) -> None:
        """Majority class, one-line rule, TF-IDF + logistic regression."""
        told: dict[str, Any] = {"note": self._note, "notify": self.notify, "progress": self.progress}
        entries, self.rule = cheap_entries(self.material, self.settings, self.held_out, **told)
        self.entries += entries

    @property
    def _tail_rows(self) -> Rows:
        return np.concatenate([judge for _, judge in self.held_out.tails])

    # --- the backbones -------------------------------------------------------------------------------------------

    def add_backbones(self, checkpoint: Checkpoint | None, extensions: Extensions = NOTHING) -> None:
        """Every backbone that the settings name, or that can gain: its probe and its tail."""
        problems: list[str] = []
        names = backbone_names(self.settings)
        for number, name in enumerate(names):
            if number and self.settings.model == "auto" and not self._can_gain(Path(name).name):
                continue
            try:
                self._add_backbone(name, checkpoint, extensions, further=number > 0)
            except SourceError as error:  # the others may be had
                problems += error.problems
                self._note(f"{name} cannot be had, and the run goes on without it: {error.problems[0]}")
        if problems and not any(entry.backbone for entry in self.entries):
            raise SourceError(problems)

    def _can_gain(self, name: str, judges: Rows | None = None) -> bool:
        """Whether the rows that judge a further candidate (None: every held-out row) could show that it is better."""
        settings = self.settings
        judges = self.held_out.rows if judges is None else judges
        if settings.effort == "best" or self._is_kept(name) or not len(judges):
            return True
        asked = np.isin(self.held_out.rows, judges)
        rivals = [self._errors(entry, asked) for entry in self.entries if entry.ships is not None]
        if not rivals:  # what cannot be shipped makes nothing else needless
            return True
        errors = min(rivals)
        if errors <= max(FEW_ERRORS, SMALL_ERROR * len(judges)):
            self._note(
                f"{name} is not tried: {errors} of {len(judges):,} held-out rows are wrong without it, too few to show "
                "a gain."
            )
            return False
        return True

    def _is_kept(self, name: str) -> bool:
        """Whether the user asked for a candidate, or for one of a backbone, of this name."""
        return self.settings.keep is not None and f"{self.settings.keep} ".startswith(f"{name} ")

    def _errors(self, entry: Entry, rows: NDArray[np.bool_]) -> int:
        return int((~right_by_logits(entry.held_out[rows], self.truth[rows])).sum())

    @property
    def truth(self) -> NDArray[Any]:
        """Of the held-out rows."""
        return self.material.truth[self.held_out.rows]

    def _add_backbone(self, name: str, checkpoint: Checkpoint | None, extensions: Extensions, *, further: bool) -> None:
        material, clock, shown = self.material, self.clock, Path(name).name
        settings = self.settings.model_copy(update={"model": name})
        network = self._load(settings)
        with clock.time("tokens"):
            pieces, settings = steps.encode(network, material, settings)
        backbone = self._backbone(network, pieces, settings, shown, checkpoint, extensions)
        part = backbone.checkpoint
        automatic = self.settings.model == "auto" and self.settings.effort != "best" and not self._is_kept(shown)
        seconds = backbone.estimate()
        if further and automatic and seconds.climb > BUDGET_SECONDS:
            needed = duration(seconds.climb + seconds.rest)
            self._note(f"{shown} is not tried: it would take about {needed}. --effort best tries it.")
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
        probed = self.settings.candidates == "all" and backbone.has_probe
        if probed:
            if (taught := len(backbone.taught)) < (train := len(material.splits.train)):
                self._note(f"The probe of {shown} learns from {taught:,} of {train:,} training rows.")
            with clock.time("probe"):
                self._add_learned(backbone, f"{shown} probe", "probe", backbone.learn_probe, ms, shared)
        if not (probed and self.settings.effort == "fast") and (
            not probed or self._can_gain(f"{shown} tail", self._tail_rows)
        ):
            with clock.time("epochs"):
                kind = {"head": "head", "all": "all blocks", "lora": "LoRA"}.get(
                    str(backbone.settings.trainable), "tail"
                )
                self._add_learned(backbone, f"{shown} {kind}", "tail", backbone.learn_tail, ms, shared)
                if backbone.tries_last_block:
                    learn = partial(backbone.learn_tail, blocks=1)
                    self._add_learned(backbone, f"{shown} tail, last block", "tail", learn, ms, shared)
            if probed and contrastive.suits(network, material, self.held_out, self.settings):
                self._add_contrastive(backbone, checkpoint)
        self.notes += network.notes

    def _load(self, settings: Settings) -> Network:
        labels, multi = self.material.labels, self.material.multi
        with self.clock.time("load"):
            return steps.load_network(labels, settings, multi=multi, notify=self.notify, crew=self.crew)

    def _backbone(
        self,
        network: Network,
        pieces: Pieces,
        settings: Settings,
        shown: str,
        checkpoint: Checkpoint | None,
        extensions: Extensions = NOTHING,
    ) -> Backbone:
        """shown: whose files in the run folder are its own."""
        weights = steps.fingerprint(fetch_model(settings.model, notify=self.notify)) if checkpoint else ""
        return Backbone(
            network,
            pieces,
            self.material,
            settings,
            checkpoint=None if checkpoint is None else checkpoint.part(shown, weights=weights),
            extensions=extensions,
            notify=self.notify,
            progress=self.progress,
        )

    def _add_contrastive(self, first: Backbone, checkpoint: Checkpoint | None) -> None:
        """All blocks of a backbone, trained on pairs of texts, where that takes no longer than it may."""
        shown = f"{Path(first.settings.model).name} contrastive"
        needed = contrastive.seconds(first.network, first.pieces, self.held_out)
        if not self._can_gain(shown, self._tail_rows):
            return
        if needed > contrastive.MOST_SECONDS and self.settings.effort != "best" and not self._is_kept(shown):
            self._note(f"{shown} is not tried: it would take about {duration(needed)}. --effort best tries it.")
            return
        settings = contrastive.settings_of(first.settings, first.network.of)
        started = time.perf_counter()
        network = self._load(settings)
        network.encoder.rules = first.network.encoder.rules
        backbone = self._backbone(network, first.pieces, settings, shown.replace(" ", "-"), checkpoint)
        with self.clock.time("trunk"):
            backbone.climb()
            backbone.prepare()
            backbone.pass_trunk()
        shared, ms = time.perf_counter() - started, self._network_ms(backbone)
        with self.clock.time("epochs"):
            learn = partial(contrastive.learn_contrastive, backbone)
            self._add_learned(backbone, shown, "tail", learn, ms, shared)

    def _adds(self, backbone: Backbone, name: str, seconds: float, checkpoint: Checkpoint | None) -> bool:
        """Whether the rows that chose its depth show that a further backbone is worth its seconds; what follows is
        said."""
        weighed = checkpoint.recall("adds") if checkpoint else None
        if weighed is None:
            known = [entry.backbone.sample for entry in self.entries if entry.kind == "probe" and entry.backbone]
            samples = [sample for sample in known if sample is not None]
            lexical = self.entry(LEXICAL).ships is not None
            options: dict[str, Any] = {"name": name, "seconds": seconds, "lexical": lexical}
            weighed = weigh_further(self.material, samples, backbone.sample, self.settings, **options)
            if checkpoint:
                checkpoint.remember("adds", weighed)
        goes_on, sentence = weighed
        if not goes_on:
            self._note(sentence)
        elif sentence:
            self.notify(sentence)
        return bool(goes_on)

    def _add_learned(
        self,
        backbone: Backbone,
        name: str,
        kind: str,
        learn: Callable[[HeldOut], Learned],
        ms: float,
        shared: float,
    ) -> None:
        started = time.perf_counter()
        learned = learn(self.held_out)
        spent = shared + time.perf_counter() - started
        network = backbone.network
        size = 4 * sum(parameter.numel() for parameter in network.classifier.parameters())

        def ships() -> Member:
            return Member(name, backbone.become(learned), Weight(1.0, 1.0), backbone.settings)

        self.entries.append(
            Entry(name, kind, learned.held_out, learned.test, ms, backbone.cost, spent, size, backbone, learned, ships)
        )

    def _network_ms(self, backbone: Backbone) -> float:
        """What a text costs with this network, on the fast layers that answer later."""
        predictor = Predictor(
            backbone.network, self.material.labels, Decisions.plain(self.material.labels, self.material.multi)
        )
        texts = [self.material.texts[row] for row in timed_rows(self.material)]
        return median_ms(lambda: predictor.logits(texts), len(texts))

    def _note(self, line: str) -> None:
        self.notes.append(line)
        self.notify(line)

    # --- the choice ----------------------------------------------------------------------------------------------

    def entry(self, name: str) -> Entry:
        return next(entry for entry in self.entries if entry.name == name)

    def choose(self) -> Choice:
        """The classifier to ship: what the settings name, or what held-out rows choose.

        Raises SettingsError for a name that no candidate has, and for a time that none keeps.
        """
        shipping = [entry for entry in self.entries if entry.ships is not None]
        if (keep := self.settings.keep) is not None:
            named = [entry for entry in shipping if entry.name == keep]
            if not named:
                known = [entry.name for entry in shipping]
                raise SettingsError(f"keep = {keep!r}: no such candidate ships. {did_you_mean(keep, known)}")
            shipping = named
        elif (most := self.settings.max_ms) is not None:
            fastest = min(shipping, key=lambda entry: entry.ms_per_text)
            if fastest.ms_per_text > most:
                raise SettingsError(
                    f"max_ms = {most:g}: the fastest candidate, {fastest.name}, takes {fastest.ms_per_text:.2g} ms a "
                    "text on this machine. Allow at least that."
                )
            shipping = [entry for entry in shipping if entry.ms_per_text <= most]
        if not len(self.held_out.rows):  # nothing judges: what was trained last is what was asked for
            last = shipping[-1]
            return Choice({last.name: Weight(1.0, 1.0)}, {last.name: 1.0}, {}, float("nan"), 0)
        options = [Option(e.name, e.held_out, e.cost, e.ms_per_text) for e in self._one_a_backbone(shipping)]
        single = self.settings.hugging_face or self.settings.candidates == "one"
        most_ms = self.settings.max_ms if self.settings.keep is None else None
        return choose(options, self.truth, single=single, most_ms=most_ms, small_cost=SMALL_COST)

    def _one_a_backbone(self, entries: list[Entry]) -> list[Entry]:
        """Of the candidates of a backbone, which cost the same to use, the one of least calibrated held-out loss."""
        judged = judged_by_all(entry.held_out for entry in entries)
        best: dict[int, tuple[float, Entry]] = {}
        for entry in entries:
            loss = steps.calibrated_loss(entry.held_out[judged], self.truth[judged])
            key = id(entry.backbone) if entry.backbone else id(entry)
            if key not in best or loss < best[key][0]:
                best[key] = (loss, entry)
        return [entry for _, entry in best.values()]

    def members(self, choice: Choice) -> list[Member]:
        """What a bundle of the choice holds."""
        members = []
        for name, weight in choice.members.items():
            ships = self.entry(name).ships
            assert ships is not None
            member = ships()
            member.weight = weight
            members.append(member)
        return members

    @property
    def compared(self) -> int:
        """How many classifiers the held-out rows compared: candidates, and epochs where they chose among those."""
        shipping = [entry for entry in self.entries if entry.ships is not None]
        judged = [0 if entry.learned is None else entry.learned.history.judged for entry in shipping]
        return max(1, len(shipping) if self.held_out.crossed else sum(max(1, count) for count in judged))

    def main(self, choice: Choice) -> Backbone | None:
        """The backbone of the main network; None for a classifier without one."""
        return next((entry.backbone for name in choice.members if (entry := self.entry(name)).backbone), None)

    def close(self) -> None:
        """Let the stores go: what was chosen needs none."""
        for entry in self.entries:
            if entry.backbone is not None:
                entry.backbone.close()

    def logits(self, choice: Choice) -> tuple[Scores, Scores]:
        """Logits of the choice for the held-out rows, NaN where they did not judge a member, and for the test rows."""
        entries, weights = [self.entry(name) for name in choice.members], list(choice.members.values())
        multi = self.material.multi
        held_out = blended([entry.held_out for entry in entries], weights, multi=multi)
        return held_out, blended([entry.test for entry in entries], weights, multi=multi)
