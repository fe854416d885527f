"""Settings and recipes: what a training run can be told, and every problem of a setting reported at once.

`classtune.config.areas` declares the settings, area by area.
In force: flags and ``--set`` over a recipe file over a named recipe over the defaults here.
Knows nothing of models or data.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError, model_validator

from classtune.config.areas import (
    BatchSettings,
    ChoiceSettings,
    DecisionSettings,
    EvaluationSettings,
    LossSettings,
    ModelSettings,
    NetworkSettings,
    OptimizerSettings,
    RowSettings,
    RunSettings,
    SplitSettings,
    TextSettings,
    TrainingSettings,
    TrunkSettings,
)
from classtune.errors import SettingsError, did_you_mean

# Told of long work: what is being done, how much of it is done, how much there is.
Progress = Callable[[str, int, int], None]


# What settings are called by scikit-learn, transformers and sentence-transformers, whose names are not alike enough.
_ELSEWHERE = {
    "lr": "learning_rate",
    "max_length": "max_tokens",
    "max_seq_length": "max_tokens",
    "model_max_length": "max_tokens",
    "truncation": "truncate",
    "n_epochs": "epochs",
    "num_epochs": "epochs",
    "num_train_epochs": "epochs",
    "max_steps": "least_steps",
    "per_device_train_batch_size": "batch_size",
    "gradient_accumulation_steps": "accumulate",
    "warmup_ratio": "warmup",
    "lr_scheduler_type": "schedule",
    "max_grad_norm": "clip",
    "early_stopping_patience": "patience",
    "load_best_model_at_end": "keep_best",
    "class_weight": "class_weights",
    "random_state": "seed",
    "test_size": "test",
    "validation_split": "validation",
    "model_name_or_path": "model",
}
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"\d+(\.\d+)?[smh]")


# Fields are listed from the last base to the first: the order of docs/settings.md and of every written record.
class Settings(
    NetworkSettings,
    SplitSettings,
    TrainingSettings,
    RunSettings,
    DecisionSettings,
    TrunkSettings,
    EvaluationSettings,
    OptimizerSettings,
    BatchSettings,
    LossSettings,
    RowSettings,
    TextSettings,
    ModelSettings,
    ChoiceSettings,
):
    """Everything a training run can be told: every area, in one flat list."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problems = []
        if self.validation + self.test >= 1:
            problems.append(f"validation ({self.validation}) and test ({self.test}) leave no rows to train on.")
        if isinstance(self.depth, int) and isinstance(self.trainable, int) and self.trainable > self.depth:
            problems.append(f"trainable = {self.trainable} is more than the depth = {self.depth} blocks that are kept.")
        if self.pool_padding and self.padding == "none":
            problems.append('pool_padding counts padding, and padding = "none": set padding = "longest" or a length.')
        if self.candidates == "one" and "," in self.model:
            problems.append(f'model = {self.model!r} names several backbones, and candidates = "one" trains one.')
        if self.keep is not None and self.candidates == "one":
            problems.append('keep chooses among candidates, and candidates = "one" trains one: leave keep out.')
        if self.weights == "random" and self.depth == "auto":
            problems.append('weights = "random" has no best depth to find: set depth to "all" or a number.')
        if self.tune is not None and _DURATION.fullmatch(self.tune) is None:
            problems.append(f"tune = {self.tune!r} is no time. Write it as 90s, 10m or 1h.")
        if self.tune is not None and self.effort == "fast":
            problems.append('tune searches settings of fine-tuning, and effort = "fast" has none: leave one out.')
        everything = self.trainable == "all" or (self.trainable == "lora" and self.lora_blocks == "all")
        if self.shard and everything:
            problems.append(
                f'shard = true shares frozen blocks, and trainable = "{self.trainable}" trains all of them: train the '
                'last one (trainable = 1, or "lora" with lora_blocks = 1), or leave shard out.'
            )
        if self.shard and not self.cache:
            problems.append("shard = true shares the pass that is stored, and cache = false keeps none: leave one out.")
        if problems:
            raise ValueError("\n".join(problems))
        return self


def backbone_names(settings: ChoiceSettings) -> list[str]:
    """The backbones that a run may use, the smallest first: what ``model`` names, or what ``auto`` stands for.

    Raises SettingsError where it names none.
    """
    if settings.model == "auto":
        return ["minilm-l6"] if settings.effort == "fast" else ["minilm-l6", "smollm2-135m"]
    names = [name.strip() for name in settings.model.split(",") if name.strip()]
    if not names:
        raise SettingsError(
            f"model = {settings.model!r}: names no model. Leave it out, or name one of `classtune models`."
        )
    return names


def seconds_of(duration: str) -> float:
    """``"10m"`` → 600."""
    number, unit = duration[:-1], duration[-1]
    return float(number) * _SECONDS[unit]


def recipes() -> dict[str, dict[str, Any]]:
    """The named recipes that come with classtune, by name."""
    folder = resources.files("classtune") / "recipes"
    known = {}
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if entry.name.endswith(".toml"):
            known[entry.name.removesuffix(".toml")] = tomllib.loads(entry.read_text(encoding="utf-8"))
    return known


def resolve(recipe: str | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings in force: ``overrides`` over the recipe (a name or a TOML file) over the defaults.

    A recipe file may name the recipe it starts from: ``recipe = "llms-from-scratch"``.
    Raises SettingsError with every problem found.
    """
    values = {**(_recipe_values(recipe) if recipe else {}), **(overrides or {})}
    problems = []
    for name in [name for name in values if name not in Settings.model_fields]:
        problems.append(f"setting {name!r} is unknown. {meant(name, Settings.model_fields)}")
        del values[name]
    try:
        settings = Settings(**values)
    except ValidationError as error:
        problems += _explain(error)
    if problems:
        raise SettingsError(problems)
    return settings


def meant(name: str, known: Iterable[str]) -> str:
    """`did_you_mean` of a setting's name: what it is called here, or the nearest of the known names."""
    here = _ELSEWHERE.get(name)
    return did_you_mean(name, known) if here is None else f"Did you mean {here!r}?"


def setting_meant(name: str) -> str | None:
    """The setting of this name, of this name elsewhere, or of one that is nearly so; None where there is none."""
    near = difflib.get_close_matches(name, [*Settings.model_fields, *_ELSEWHERE], n=1, cutoff=0.8)
    return _ELSEWHERE.get(near[0], near[0]) if near else None


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """``["epochs=3", "depth=auto"]`` → values. A value is read as TOML; what is not TOML is text.

    Raises SettingsError for an item without ``=``.
    """
    wrong = [f"--set {item!r}: write key=value." for item in assignments if "=" not in item]
    if wrong:
        raise SettingsError(wrong)
    values: dict[str, Any] = {}
    for key, _, value in (item.partition("=") for item in assignments):
        values[key.strip()] = parse_value(value.strip())
    return values


def parse_value(text: str) -> Any:
    """``"3"`` → 3, ``"true"`` → True, ``"auto"`` → ``"auto"``."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _recipe_values(recipe: str) -> dict[str, Any]:
    known = recipes()
    for values in known.values():
        del values["description"]
    if recipe in known:
        return known[recipe]
    path = Path(recipe)
    if path.suffix != ".toml":
        raise SettingsError(f"recipe {recipe!r} is unknown. {did_you_mean(recipe, known)} A file must end in .toml.")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid TOML: {error}.") from None
    values.pop("description", None)
    base = values.pop("recipe", None)
    if base is None:
        return values
    if base not in known:
        raise SettingsError(f"{path}: recipe = {base!r} is unknown. {did_you_mean(str(base), known)}")
    return {**known[base], **values}


def _explain(error: ValidationError) -> list[str]:
    """pydantic's problems in our words, one a setting: of a choice of types, each says what it would take."""
    faults: dict[str, list[str]] = {}
    lines = []
    for problem in error.errors():
        if problem["loc"]:
            fault = problem["msg"].lower().removeprefix("input ").partition(", unable")[0]
            faults.setdefault(f"{problem['loc'][0]} = {problem['input']!r}", []).append(fault)
        else:
            lines += problem["msg"].removeprefix("Value error, ").split("\n")
    for setting, wanted in faults.items():
        description = Settings.model_fields[setting.partition(" = ")[0]].description
        lines.append(f"{setting}: {', or '.join(dict.fromkeys(wanted))}. {description}")
    return lines
