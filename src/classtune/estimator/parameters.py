"""The parameters of `TextClassifier`: every setting, and what else it takes, as a signature that scikit-learn reads.

get_params, set_params, clone, grids and repr follow the signature of ``__init__``. It is made of the settings, so that
a new setting is a parameter without another line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from pathlib import PurePath
from typing import Any

from classtune.config import Settings, resolve
from classtune.errors import SettingsError
from classtune.training.extensions import Extensions

_OWN = ("recipe", "settings", "optimizer", "metrics", "on_epoch", "text", "columns", "pair")
# Each with its default.
PARAMETERS: dict[str, Any] = {
    "model": None,
    **dict.fromkeys(_OWN),
    **dict.fromkeys(name for name in Settings.model_fields if name != "model"),
    "verbose": False,
}
SIGNATURE = Signature(
    [
        Parameter("self", Parameter.POSITIONAL_OR_KEYWORD),
        Parameter("model", Parameter.POSITIONAL_OR_KEYWORD, default=None),
        *(
            Parameter(name, Parameter.KEYWORD_ONLY, default=default)
            for name, default in PARAMETERS.items()
            if name != "model"
        ),
    ]
)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(values: Any) -> bool:
    return isinstance(values, str) or (isinstance(values, list | tuple) and all(map(_is_text, values)))


def _is_by_name(values: Any) -> bool:
    return isinstance(values, Mapping) and all(map(_is_text, values))


# What the settings' own check does not see: whether a value fits, and what is wanted.
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "recipe": (lambda value: isinstance(value, str | PurePath), "a recipe's name or the path of a TOML file"),
    "settings": (_is_by_name, "a mapping by name, such as {'epochs': 3}"),
    "metrics": (_is_by_name, "a mapping by name, such as {'mine': a callable}"),
    "text": (_is_text, "the name of a column"),
    "columns": (_are_texts, "names of columns, such as ['price', 'country']"),
    "pair": (_is_text, "the name of a column"),
}


def settings_of(values: Mapping[str, Any]) -> tuple[Settings, Extensions]:
    """Settings and callables in force, of the values of all PARAMETERS. Raises SettingsError."""
    problems = [
        f"{name} = {values[name]!r}: give {wanted}."
        for name, (fits, wanted) in _KINDS.items()
        if values[name] is not None and not fits(values[name])
    ]
    if problems:
        raise SettingsError(problems)
    told = {name: values[name] for name in Settings.model_fields}
    told = {
        name: str(value) if isinstance(value, PurePath) else value
        for name, value in told.items()
        if value is not None and not callable(value)
    }
    metrics = dict(values["metrics"] or {})
    own = {"optimizer": values["optimizer"], "on_epoch": values["on_epoch"], **metrics}
    wrong = [name for name, value in own.items() if value is not None and not callable(value)]
    if wrong:
        raise SettingsError([f"{name} = {own[name]!r}: give a callable." for name in wrong])
    loss = values["loss"] if callable(values["loss"]) else None
    extensions = Extensions(loss, values["optimizer"], metrics, values["on_epoch"])
    recipe = None if values["recipe"] is None else str(values["recipe"])
    return resolve(recipe, {"test": 0.0, **(values["settings"] or {}), **told}), extensions
