"""Small things to test the whole of classtune with: tiny random models of two families and a small labelled table.

The fixtures made of them are in bundle_fixtures.py.
"""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHARACTERS = 256  # a token each: every text can be written, and a length is easily foreseen
LIMIT = 160  # tokens that the small models take

# Settings that make a run short: no probes, two epochs. The rows are near copies of each other.
# One network and nothing else, as most tests want it; what several candidates do is tested where they are.
ONE = {"candidates": "one", "head_start": "random", "label_smoothing": 0.0, "least_steps": 0}
QUICK = {
    **ONE,
    "split_by": "exact",
    "depth": "all",
    "trainable": 1,
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 1e-3,
}

# Settings of a short run of several candidates.
SEVERAL: dict[str, Any] = {
    **{"effort": "best", "split_by": "exact", "depth": "all"},
    **{"epochs": 1, "least_steps": 10, "batch_size": 8},
}


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What it printed, which must be exactly one JSON document."""
        assert self.code == 0, self.err
        return json.loads(self.out)


Run = Callable[..., Ran]


def rows(count: int = 60) -> list[tuple[str, str]]:
    """(text, label): two classes, told apart by their words, every text once."""
    kinds = (("win a prize, call now {} today", "spam"), ("see you at {} then, mate", "ham"))
    return [(kinds[i % 2][0].format(i), kinds[i % 2][1]) for i in range(count)]


def pair_rows(count: int = 60) -> list[list[str]]:
    """(question, answer, label): whether the answer is to the question."""
    kinds = (("what is the price of {}", "it costs {} euros"), ("when does room {} open", "it opens at {}"))
    return [
        [kinds[n % 2][0].format(n), kinds[(n + n // 2) % 2][1].format(n), ("fits", "other")[n // 2 % 2]]
        for n in range(count)
    ]


def write_csv(path: Path, lines: Sequence[Sequence[str]], header: Sequence[str] = ("text", "label")) -> Path:
    """A table with these columns."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *lines])
    return path


def save_model(folder: Path, family: str) -> Path:
    """A random model of ``family`` (llama or bert), three blocks of width 32, with a tokenizer of characters."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*special, *letters])}
    tokenizer: Any = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    names: dict[str, Any] = {"pad_token": "[PAD]", "unk_token": "[UNK]", "model_max_length": LIMIT}
    sizes = {
        "vocab_size": len(vocabulary),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": LIMIT,
        "initializer_range": 0.2,  # of so few numbers; with the usual 0.02 all texts look alike to an untrained encoder
    }
    torch.manual_seed(7)
    if family == "bert":
        tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        names |= {"cls_token": "[CLS]", "sep_token": "[SEP]"}
        model: Any = BertModel(BertConfig(**sizes, pad_token_id=0))
    else:
        model = LlamaModel(LlamaConfig(**sizes, num_key_value_heads=2, pad_token_id=0, bos_token_id=2, eos_token_id=3))
    model.save_pretrained(str(folder))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(str(folder))
    return folder


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Threads gain nothing on models this small, and cost much on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def train_small(model: Path, folder: Path, **told: Any) -> Any:
    """A finished run (`jobs.Trained`) on 60 rows, its bundle written to ``folder``."""
    from classtune.config import resolve
    from classtune.data.reading.tables import table_from_rows
    from classtune.jobs.train import train

    settings = resolve(overrides={**QUICK, "model": str(model), **told})
    texts, labels = zip(*rows(), strict=True)
    with one_thread():
        trained = train(table_from_rows(texts, labels, name="messages"), settings, notify=_silent, progress=_silent)
        trained.save(folder)
    return trained


def _silent(*_: object) -> None:
    """Nobody asked."""


def all_of_them(options: Sequence[Any], truth: Any, **_: Any) -> Any:
    """In the place of `choose`: a blend of all, whatever the rows would choose."""
    from classtune.candidates.blend import Choice, Weight, choose

    found = choose(options, truth)
    members = {option.name: Weight(1 / len(options), found.scales[option.name]) for option in options}
    return Choice(members, found.scales, found.losses, found.loss, found.rows)
