"""Which backbone and which rows are run, with which settings, and in which order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from classtune.config import Settings, resolve
from classtune.errors import SettingsError, SourceError, counted
from classtune.jobs.steps import Notify
from classtune.jobs.tutorial.rows import RECIPE, ROWS, Row
from classtune.model.backbone import load_facts
from classtune.sources import fetch_model

FIRST_CHOICE, SECOND_CHOICE = "gpt2", "smollm2-135m"


def choose_model(model: str | None, notify: Notify) -> tuple[str, str]:
    """The backbone's name, and why it is that one."""
    if model is not None:
        fetch_model(model, notify=notify)
        return model, ""
    try:
        fetch_model(FIRST_CHOICE, offline=True)
        return FIRST_CHOICE, " (in the cache)"
    except SourceError:
        pass
    try:
        fetch_model(FIRST_CHOICE, notify=notify)
        return FIRST_CHOICE, " (from the hub)"
    except SourceError:
        return SECOND_CHOICE, f" ({FIRST_CHOICE} is not in the cache, and no hub gives it)"


def choose_rows(asked: Sequence[int] | None, model: str, notify: Notify) -> tuple[list[Row], dict[int, str]]:
    """The rows to run, and why the others are not. Raises SettingsError for asked rows that cannot be followed."""
    facts = load_facts(fetch_model(model))
    reasons = {number: _obstacle(row, model, facts) for number, row in ROWS.items()}
    can = [number for number, reason in reasons.items() if not (reason or ROWS[number].model)]
    if not can:
        raise SettingsError(f"model = {model!r}: {reasons[1]} It can follow no row.")
    if asked is not None and (wrong := [number for number in asked if reasons[number]]):
        problems = [f"row {number} ({ROWS[number].change}): {reasons[number]}" for number in wrong]
        raise SettingsError([*problems, f"{model} can follow rows {', '.join(map(str, can))}."])
    chosen, skipped = [], {}
    for number in asked or ROWS:
        reason = reasons[number] or _missing(ROWS[number], wanted=asked is not None, notify=notify)
        if reason:
            skipped[number] = reason
        else:
            chosen.append(ROWS[number])
    if not chosen:
        raise SourceError([f"row {number}: {reason}" for number, reason in skipped.items()])
    return chosen, skipped


def _obstacle(row: Row, model: str, facts: Any) -> str:
    """Why a row cannot be followed on the architecture of the run's model, or nothing."""
    if row.model is not None:
        return ""
    if facts.family is None:
        return f"classtune cannot cut the architecture {facts.architecture!r}."
    if not row.settings.get("causal_mask", True) and not facts.family.causal:
        return f"{model} is no decoder, so there is no causal mask to take away."
    length = row.settings.get("padding")
    if isinstance(length, int) and length > facts.limit:
        return f"{model} takes {facts.limit:,} tokens."
    blocks = row.settings.get("trainable")
    if isinstance(blocks, int) and blocks > facts.blocks:
        return f"{model} has {counted(facts.blocks, 'block')}."
    return ""


def _missing(row: Row, *, wanted: bool, notify: Notify) -> str:
    """Why a row's own model is not at hand, or nothing. It is fetched only where the row was asked for."""
    if row.model is None:
        return ""
    try:
        fetch_model(row.model, notify=notify, offline=None if wanted else True)
    except SourceError as error:
        if wanted:
            return f"needs {row.model}. {error.problems[-1]}"
        return f"needs {row.model}, which is not in the cache; name the row to fetch it."
    return ""


def settings_of(row: Row, told: dict[str, Any]) -> Settings:
    """The recipe's, with what was told, what the row changes and its own model."""
    own = {"model": row.model} if row.model else {}
    return resolve(RECIPE, {**told, **row.settings, **own})


def trunk_of(settings: Settings) -> str:
    """Equal for rows whose frozen blocks see the same tokens in the same way."""
    return json.dumps([settings.model, settings.weights, settings.padding, settings.causal_mask])


def in_order(rows: Sequence[Row], settings: dict[int, Settings]) -> list[Row]:
    """Rows with the same trunk together, those that start from the lowest block first; whole networks last."""

    def start(row: Row) -> int:
        trained = settings[row.number].trainable
        return -trained if isinstance(trained, int) else 0

    whole = {row.number for row in rows if settings[row.number].trainable in ("all", "lora")}
    first = {
        trunk: number for number, trunk in reversed([(row.number, trunk_of(settings[row.number])) for row in rows])
    }
    return sorted(
        rows,
        key=lambda row: (row.number in whole, first[trunk_of(settings[row.number])], start(row), row.number),
    )
