"""GPT-2-small's shapes with random weights and its real tokenizer, the tutorial's data, and classtune's run on both.

Shared by tutorial.py and trainer.py; measures nothing by itself.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from common import CACHE, Skipped, needs, note, silent, sms_spam
from plain import SEED

from classtune.data.reading.tables import Table
from classtune.data.splits import Splits, tutorial_split

FOLDER = CACHE / "gpt2-small-random"
END_OF_TEXT = 50256
LONGEST = 120  # tokens of the longest training text


def gpt2_folder() -> Path:
    """A Hugging Face folder (0.5 GB), made once."""
    if FOLDER.exists():
        return FOLDER
    import torch
    from transformers import GPT2Config, GPT2Model

    from classtune.model.backbone import quiet_transformers

    merges = needs("gpt2_tokenizer/vocab.bpe") / "gpt2_tokenizer" / "vocab.bpe"
    scratch = FOLDER.with_suffix(".part")
    shutil.rmtree(scratch, ignore_errors=True)
    note(f"making {FOLDER.name}")
    torch.manual_seed(SEED)
    # The tutorial sets dropout to 0 for classification.
    config = GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    with quiet_transformers():
        GPT2Model(config).save_pretrained(str(scratch))
        gpt2_tokenizer(merges).save_pretrained(str(scratch))
    return scratch.rename(FOLDER)


def gpt2_tokenizer(merges_file: Path) -> Any:
    """GPT-2's byte-level BPE. Its ids are the 256 bytes (printable ones first), the merges in order, end of text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPT2TokenizerFast

    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = [chr(byte) for byte in printable] + [chr(256 + place) for place in range(256 - len(printable))]
    lines = merges_file.read_text(encoding="utf-8").split("\n")
    merges = [(first, second) for first, _, second in (line.partition(" ") for line in lines[1:] if line)]
    words = [*letters, *("".join(merge) for merge in merges), "<|endoftext|>"]
    tokenizer = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    wrapped = GPT2TokenizerFast(tokenizer_object=tokenizer, model_max_length=1024)
    assert wrapped("Hello world, I am")["input_ids"] == [15496, 995, 11, 314, 716]
    assert wrapped.eos_token_id == END_OF_TEXT == len(words) - 1
    return wrapped


def tutorial_rows() -> tuple[Table, Splits]:
    """The tutorial's table and split: 1,045 / 149 / 300 rows."""
    table = sms_spam(quoting=True)
    assert table.labels is not None
    splits = tutorial_split(table.texts, table.labels, seed=SEED)
    if tuple(splits.sizes().values()) != (1045, 149, 300):
        raise Skipped(f"{table.name} is not the original file: the tutorial's split of it has {splits.sizes()}")
    return table, splits


def token_ids(tokenizer: Any, table: Table) -> list[list[int]]:
    """Token ids of every row, not padded."""
    ids: list[list[int]] = tokenizer(table.texts)["input_ids"]
    return ids


def classtune_run(table: Table, folder: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """classtune's result document by the tutorial's recipe with a few settings changed."""
    from classtune.config import resolve
    from classtune.jobs.train import train

    settings = resolve("llms-from-scratch", {"model": str(folder), "device": "cpu", **changes})
    return train(table, settings, notify=silent, progress=silent).result.document()


def comparable_seconds(timing: dict[str, float]) -> float:
    """classtune's seconds for what the other side is timed for as well: all but loading the model and the baseline."""
    return timing["total"] - timing["load"] - timing["baseline"]
