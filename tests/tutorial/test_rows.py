"""Each of the tutorial's nineteen rows (docs/tutorial.md) runs, with the change that it names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gpt2_folders import BLOCKS
from small import rows

from classtune.config import parse_assignments, parse_value, resolve
from classtune.jobs.tutorial.rows import ROWS

pytest_plugins = ["gpt2_fixture"]

DOCUMENT = Path(__file__).parents[2] / "docs" / "tutorial.md"


def documented_options() -> dict[int, str]:
    """Row → the options that docs/tutorial.md gives for it."""
    commands, _, _ = DOCUMENT.read_text(encoding="utf-8").partition("## Measured")
    found = re.findall(r"^\| (\d+) \|[^|]*\| ?(.*?) ?\|$", commands, re.MULTILINE)
    return {int(row): options.strip("`") if options.startswith("`") else "" for row, options in found}


def as_settings(options: str) -> dict[str, Any]:
    """What the command line makes of options."""
    words = shlex.split(options)
    told: dict[str, Any] = {}
    for flag, value in zip(words[::2], words[1::2], strict=True):
        told |= parse_assignments([value]) if flag == "--set" else {flag.removeprefix("--"): parse_value(value)}
    return told


def run(gpt2: Callable[[str], Path], row: int) -> Any:
    from classtune.data.reading.tables import table_from_rows
    from classtune.jobs.train import train

    told = as_settings(documented_options()[row])
    told["model"] = str(gpt2(told.get("model", "gpt2")))
    texts, labels = zip(*rows(60), strict=True)
    return train(
        table_from_rows(texts, labels, name="messages"),
        resolve("llms-from-scratch", {**told, "epochs": 1}),
        notify=lambda line: None,
        progress=lambda stage, done, total: None,
    )


@pytest.fixture(scope="module")
def first_row(gpt2: Callable[[str], Path]) -> Any:
    return run(gpt2, 1)


def test_every_row_has_its_options_and_they_are_what_the_command_runs() -> None:
    told = {row: as_settings(options) for row, options in documented_options().items()}
    assert told == {
        number: {**row.settings, **({"model": row.model} if row.model else {})} for number, row in ROWS.items()
    }


@pytest.mark.parametrize("row", [number for number in ROWS if number not in (1, 18)])
def test_row_runs_and_differs_from_the_first(row: int, gpt2: Callable[[str], Path], first_row: Any) -> None:
    trained = run(gpt2, row)
    assert trained.result.document()["splits"] == {"train": 42, "validation": 6, "test": 12}
    golden = ["win a prize, call now", "see you at home"]
    ours, first = trained.predictor.probabilities(golden), first_row.predictor.probabilities(golden)
    assert abs(ours - first).max() > 1e-7
    model = as_settings(documented_options()[row]).get("model", "gpt2")
    assert trained.network.depth == BLOCKS[model]


def test_the_first_row_pads_to_the_longest_training_text_and_pools_the_last_position(first_row: Any) -> None:
    rules = first_row.network.encoder.rules
    train = [text for text, _ in rows(60)]
    assert rules.pad_to in {len(text) for text in train}
    assert rules.pool_padding
    assert first_row.network.encoder.batch(first_row.network.encoder.encode(["ok"])).last.tolist() == [rules.pad_to - 1]


def test_the_tutorial_takes_its_own_number_of_steps(first_row: Any) -> None:
    assert first_row.result.document()["training"]["history"][-1]["step"] == 42 // 8
