"""Settings of a tail searched within a time budget (``--tune``), on the stored activations, among training rows alone.

The training rows are parted: most are learned from, some choose (the search sees their loss), some control (it never
does). What the best settings gain on the rows that chose them is partly selection: the best of many tries is lucky.
What they gain on the control rows is not, and they are used only where that is above nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from classtune.candidates.backbone import Backbone
from classtune.candidates.tail import tried
from classtune.data.folds import deal
from classtune.errors import ClasstuneError, UserError
from classtune.stats import Floats, best_scale, row_losses

LEAST_ROWS = 200
PART_ROWS = 1000  # of a part, about: a trial on more takes longer and says hardly more
PARTS, MOST_LEARNED = 5, 4

# What is tried, where nobody has told it; what the stored activations do not depend on.
_SPACE: dict[str, Callable[[Any], Any]] = {
    "learning_rate": lambda trial: trial.suggest_float("learning_rate", 3e-5, 3e-3, log=True),
    "weight_decay": lambda trial: trial.suggest_float("weight_decay", 1e-3, 0.5, log=True),
    "label_smoothing": lambda trial: trial.suggest_categorical("label_smoothing", [0.0, 0.05, 0.1]),
    "batch_size": lambda trial: trial.suggest_categorical("batch_size", [8, 16, 32]),
    "epochs": lambda trial: trial.suggest_int("epochs", 2, 10),
    "least_steps": lambda trial: trial.suggest_categorical("least_steps", [100, 300, 600]),
}


@dataclass(frozen=True)
class Trial:
    """Settings and what they come to: log loss of each row that chose, and of each that controls."""

    values: dict[str, Any]
    chose: Floats
    controls: Floats


@dataclass(frozen=True)
class Tuned:
    """values: the settings to use, {} for those there were. sentence: what was found."""

    values: dict[str, Any]
    sentence: str


def tune(backbone: Backbone, name: str, seconds: float, told: Collection[str]) -> Tuned:
    """Search settings of the tail of a backbone whose trunk has passed, and put them in force where they gain.

    told: settings that are the user's own, and stay. The first trial is of the settings as they are; none begins that
    would not be done in time. A stopped run that goes on takes what it found before.
    """
    checkpoint = backbone.checkpoint
    kept = None if checkpoint is None else checkpoint.recall("tuned")
    found = Tuned(**kept) if kept is not None else _search(backbone, name, seconds, told)
    if checkpoint is not None and kept is None:
        checkpoint.remember("tuned", vars(found))
    backbone.settings = backbone.settings.model_copy(update=found.values)
    return found


def _search(backbone: Backbone, name: str, seconds: float, told: Collection[str]) -> Tuned:
    import optuna

    material, seed = backbone.material, backbone.settings.seed
    train, space = material.splits.train, {key: ask for key, ask in _SPACE.items() if key not in told}
    if len(train) < LEAST_ROWS or not space:
        why = f"{len(train)} training rows are too few" if space else "every setting that it would try is told"
        return Tuned({}, f"--tune: nothing is searched for {name}: {why}.")
    parts = max(PARTS, len(train) // PART_ROWS)
    fold = deal(material.truth[train], parts, seed=seed, groups=material.groups[train])
    chooses, controls, learns = train[fold == 0], train[fold == 1], train[(fold > 1) & (fold < 2 + MOST_LEARNED)]
    judged = np.concatenate([chooses, controls])
    trials: list[Trial] = []

    def objective(trial: Any) -> float:
        values = {key: ask(trial) for key, ask in space.items()} if trial.number else {}
        try:
            logits = tried(backbone, learns, judged, values)
        except ClasstuneError as error:  # the loss is no longer a number
            if isinstance(error, UserError) or not trials:
                raise
            raise optuna.TrialPruned from None
        mine, others = logits[: len(chooses)], logits[len(chooses) :]
        scale = best_scale(mine, material.truth[chooses])
        losses = row_losses(scale * mine, material.truth[chooses]), row_losses(scale * others, material.truth[controls])
        trials.append(Trial(values, *losses))
        return float(losses[0].mean())

    started = time.perf_counter()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))

    def stop_in_time(study: Any, trial: Any) -> None:
        spent = time.perf_counter() - started
        if spent * (1 + 1 / (trial.number + 1)) > seconds:
            study.stop()

    study.optimize(objective, callbacks=[stop_in_time])
    spent = time.perf_counter() - started
    if len(trials) < 2:
        return Tuned({}, f"--tune: nothing is searched for {name}: one trial takes {spent:.0f} s, a few are needed.")
    return judge(trials, f"{name}, {spent:.0f} s")


def judge(trials: list[Trial], where: str) -> Tuned:
    """What to use of the trials, the first of which is of the settings as they were, and how much is selection."""
    first, best = trials[0], min(trials, key=lambda trial: float(trial.chose.mean()))
    told = f"--tune: {len(trials)} settings of the tail of {where}."
    if best is first:
        return Tuned({}, f"{told} None has a lower log loss than the settings as they were, which are used.")
    gain = float((first.chose - best.chose).mean())
    paired = first.controls - best.controls
    holds, error = float(paired.mean()), float(paired.std(ddof=1) / np.sqrt(len(paired)))
    selection = 100 * float(np.clip(1 - holds / gain, 0, 1))
    shown = ", ".join(
        f"{key} = {value:.2g}" if isinstance(value, float) else f"{key} = {value}" for key, value in best.values.items()
    )
    sentence = (
        f"{told} The best ({shown}) lowers the log loss of the {len(first.chose):,} rows that chose it by {gain:.3f}, "
        f"from {first.chose.mean():.3f}, and of {len(paired):,} rows that the search never saw by {holds:.3f} "
        f"(± {1.96 * error:.3f}): {selection:.0f} % of the gain is selection. "
    )
    if holds > 0:
        return Tuned(best.values, f"{sentence}It is used.")
    return Tuned({}, f"{sentence}The settings stay as they were.")
