"""The candidates of a run side by side: each learns from the same rows, is judged on the same held-out rows, and one
classifier is chosen. `train` ships it, `compare` shows all.

The cheap ones are added first, then the backbones (`backbones`), the smallest first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from classtune.bundle import Member
from classtune.candidates.backbone import Backbone
from classtune.candidates.blend import Choice, Option, Weight, blended, choose
from classtune.candidates.folds import HeldOut, judged_by_all
from classtune.config import Progress, Settings
from classtune.data.dataset import Material
from classtune.errors import SettingsError, did_you_mean
from classtune.jobs import steps
from classtune.jobs.entries import Entry, cheap_entries
from classtune.jobs.steps import Clock, Crew, Notify, Scores

# Multiplications a text (about 5 ms of one core) that a member of a blend need not earn in full.
SMALL_COST = 3e8


def no_such(keep: str, known: Sequence[str]) -> SettingsError:
    """The error for a ``keep`` that is none of the known candidates."""
    return SettingsError(f"keep = {keep!r}: no such candidate ships. {did_you_mean(keep, known)}")


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
        told: dict[str, Any] = {"note": self.note, "notify": self.notify, "progress": self.progress}
        entries, self.rule = cheap_entries(self.material, self.settings, self.held_out, **told)
        self.entries += entries

    @property
    def truth(self) -> NDArray[Any]:
        """Of the held-out rows."""
        return self.material.truth[self.held_out.rows]

    def note(self, line: str) -> None:
        """Say a line now, and in the result."""
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
                raise no_such(keep, [entry.name for entry in shipping])
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

    def teach_again(self, choice: Choice) -> None:
        """Let what is chosen learn from the validation rows too, which have done their work."""
        for name in choice.members:
            entry = self.entry(name)
            if entry.again is not None:
                self.notify(f"{name} is chosen, and is trained once more, with the validation rows.")
                started = time.perf_counter()
                entry.learned = entry.again()
                entry.test = entry.learned.test
                entry.train_seconds += time.perf_counter() - started

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
