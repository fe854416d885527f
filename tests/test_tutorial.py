"""Each of the tutorial's nineteen rows (docs/tutorial.md) runs, with the change that it names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small import rows

from classtune.config import parse_assignments, parse_value, resolve

ROWS = 19
DOCUMENT = Path(__file__).parents[1] / "docs" / "tutorial.md"
# Sizes that differ as the four sizes of GPT-2 do.
BLOCKS = {"gpt2": 2, "gpt2-medium": 3, "gpt2-large": 4, "gpt2-xl": 5}


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


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Random GPT-2 folders of Hugging Face's format, by the names of the four real ones."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2Model, PreTrainedTokenizerFast

    root = tmp_path_factory.mktemp("gpt2")
    letters = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<|endoftext|>"]
    for name, blocks in BLOCKS.items():
        torch.manual_seed(blocks)
        config = GPT2Config(
            vocab_size=len(letters), n_embd=16, n_layer=blocks, n_head=2, n_positions=1024, eos_token_id=256
        )
        GPT2Model(config).save_pretrained(str(root / name))
        tokenizer = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(letters)}, merges=[]))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>", model_max_length=1024)
        fast.save_pretrained(str(root / name))
    return lambda name: root / name


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


def test_every_row_has_its_options() -> None:
    assert sorted(documented_options()) == list(range(1, ROWS + 1))


@pytest.mark.parametrize("row", [row for row in range(2, ROWS + 1) if row != 18])
def test_row_runs_and_differs_from_the_first(row: int, gpt2: Callable[[str], Path], first_row: Any) -> None:
    trained = run(gpt2, row)
    assert trained.result["splits"] == {"train": 42, "validation": 6, "test": 12}
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
    assert first_row.result["training"]["history"][-1]["step"] == 42 // 8
