"""Tiny random models of every family, made offline, and messages to train them on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from classtune.model.network import Network
    from classtune.training.loop import Examples


def pytest_xdist_auto_num_workers() -> int:
    """Three processes for two cores: some tests wait, for a server, a lock or a time to pass."""
    return max(1, (os.cpu_count() or 1) * 3 // 2)


SENTENCES = [
    "win a free prize now call this number today",
    "see you at home later my love",
    "urgent your account has won cash claim it now",
    "ok",
    "are you coming to the party tonight or shall we stay at home and watch a film together",
    "free entry text win to claim your holiday voucher before midnight tonight call now",
    "sorry I was late the bus did not come",
    "cash prize",
    "where are you now",
    "call me when you get there please I want to know that all is well with the family",
]
LABELS = [1, 0, 1, 0, 0, 1, 0, 1, 0, 0]

# Widths and heads that differ from each other, so that mixing two of them up shows.
_SIZES = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
_GROUPED = {"num_key_value_heads": 2}
# Name → (model type, settings of its configuration). A window is shorter than most texts.
_MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {}),
    "llama": ("llama", _GROUPED),
    "mistral": ("mistral", {**_GROUPED, "sliding_window": None}),
    "qwen2": ("qwen2", _GROUPED),
    "qwen3": ("qwen3", {**_GROUPED, "head_dim": 8}),
    "bert": ("bert", {}),
    "roberta": ("roberta", {}),
    "distilbert": ("distilbert", {"hidden_dim": 48}),
    "modernbert": ("modernbert", {"local_attention": 8}),
    "mistral-window": ("mistral", {**_GROUPED, "sliding_window": 4}),
    "qwen2-window": (
        "qwen2",
        {**_GROUPED, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2},
    ),
    "qwen2-window-first": (
        "qwen2",
        {
            **_GROUPED,
            "use_sliding_window": True,
            "sliding_window": 4,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
        },
    ),
    "opt": ("opt", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "electra": ("electra", {"embedding_size": 32}),
}


def _tokenizer(model_type: str) -> Any:
    """Bytes with trained merges; specials and what stands around a text as the family has them."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    if model_type in ("bert", "distilbert", "modernbert", "electra"):
        around, specials = ("[CLS]", "[SEP]"), {"pad_token": "[PAD]", "unk_token": "[UNK]"}
        specials |= {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    elif model_type == "roberta":
        around, specials = ("<s>", "</s>"), {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>"}
        specials |= {"cls_token": "<s>", "sep_token": "</s>"}
    elif model_type in ("llama", "mistral", "opt"):
        around, specials = ("<s>", ""), {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>"}
    else:  # GPT-2 and Qwen: nothing around a text; GPT-2 has no padding token
        around, specials = ("", ""), {"eos_token": "<|endoftext|>"}
        if model_type != "gpt2":
            specials["pad_token"] = "<pad>"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(
        SENTENCES,
        trainers.BpeTrainer(
            vocab_size=_SIZES["vocab_size"],
            special_tokens=list(dict.fromkeys(specials.values())),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    if any(around):
        tokenizer.post_processor = processors.TemplateProcessing(
            single=" ".join(filter(None, [around[0], "$A", around[1]])),
            special_tokens=[(token, tokenizer.token_to_id(token)) for token in around if token],
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **specials)


def _save(name: str, folder: Path) -> Path:
    import torch
    from transformers import AutoConfig, AutoModel

    from classtune.model.backbone import quiet_transformers

    model_type, special = _MODELS[name]
    tokenizer = _tokenizer(model_type)
    ids = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("pad", "bos", "eos")}
    if model_type == "modernbert":
        ids |= {"cls_token_id": tokenizer.cls_token_id, "sep_token_id": tokenizer.sep_token_id}
    config = AutoConfig.for_model(model_type, **{**_SIZES, **special, **ids})
    torch.manual_seed(sum(name.encode()))
    model = AutoModel.from_config(config, dtype=torch.float32)
    with torch.no_grad():  # far from the usual start, so that every norm, bias and attention score counts
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    with quiet_transformers():
        model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The Hugging Face folder of a tiny random model by its name in ``_MODELS``, made when it is first asked for."""
    root = tmp_path_factory.mktemp("backbones")

    def find(name: str) -> Path:
        return root / name if (root / name).exists() else _save(name, root / name)

    return find


@pytest.fixture
def make_network(backbone_folder: Callable[[str], Path]) -> Iterator[Callable[..., Network]]:
    """A new network on a tiny model, with two labels and settings as given; on one thread: two gain nothing here."""
    import torch

    from classtune.config import resolve
    from classtune.model.backbone import load_backbone

    def make(name: str, **settings: Any) -> Network:
        return load_backbone(backbone_folder(name), ["ham", "spam"], resolve(overrides=settings))

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield make
    torch.set_num_threads(threads)


@pytest.fixture
def texts() -> list[str]:
    """Texts of very different lengths, one to some twenty words."""
    return list(SENTENCES)


@pytest.fixture
def truth() -> list[int]:
    """The class of each of ``texts``."""
    return list(LABELS)


@pytest.fixture
def make_examples(texts: list[str], truth: list[int]) -> Callable[..., Examples]:
    """``texts``, each twice with another ending, as a network's tail from ``start`` on takes them: 20 rows.

    cache: stored activations (True) or activations computed anew for each batch.
    """
    import numpy as np

    from classtune.model.activations import ActivationStore, Distinct
    from classtune.model.batches import Batch
    from classtune.model.trunk import Trunk
    from classtune.training.loop import Examples, Rows

    def make(network: Network, start: int | None, *, cache: bool = True) -> Examples:
        ids = network.encoder.encode([*texts, *(f"{text} again" for text in texts)])
        lengths = np.array([len(item) for item in ids], dtype=np.int64)
        classes = np.array([*truth, *truth], dtype=np.int64)

        def tokens(rows: Rows) -> Batch:
            return network.encoder.batch([ids[row] for row in rows])

        if start is None:
            return Examples(tokens, classes, lengths)
        trunk = Trunk(network, start)

        def computed(rows: Rows) -> Batch:
            batch = tokens(rows)
            return Batch(trunk(batch).clone(), batch.mask, batch.last)

        if not cache:
            return Examples(computed, classes, lengths)
        store = ActivationStore(network, Distinct.of(ids), None)
        store.fill(trunk, lambda *_: None)
        return Examples(store.batch, classes, lengths)

    return make
