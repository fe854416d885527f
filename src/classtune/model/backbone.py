"""Load a backbone from a folder or a GGUF file and put a classification head on it."""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from classtune.config.areas import NetworkSettings, TextSettings
from classtune.errors import BundleError, SettingsError, SourceError, counted, reading
from classtune.files import check_regular
from classtune.model.blanks import fold_blanks
from classtune.model.families import Family, family_of
from classtune.model.gguf import converted
from classtune.model.head import LinearHead
from classtune.model.network import Network
from classtune.model.pairs import PairForm, encoder_of
from classtune.model.tokens import TokenRules

_NO_LIMIT = 1_000_000  # transformers writes 1e30 for "the tokenizer knows no limit"


def load_backbone(
    path: Path, labels: list[str], settings: NetworkSettings, *, multi: bool = False, pairs: bool = False
) -> Network:
    """A network with the folder's backbone and a new head for ``labels``.

    path: a Hugging Face folder, a folder with one ``.gguf`` file, or that file.
    multi: a text may have several labels, or none: transformers then applies a sigmoid a label, not a softmax.
    pairs: texts are pairs; a tokenizer that has nothing to part them with reads them joined, which is noted.
    Raises SourceError for a folder that holds no readable model, SettingsError for settings that it cannot follow.
    """
    torch.manual_seed(settings.seed)
    folder, config, tokenizer = _read_folder(path)
    if settings.blanks == "fold":
        tokenizer = fold_blanks(tokenizer)
    of = int(config.num_hidden_layers)
    _set_labels(config, labels, multi=multi)
    _set_dropout(config, settings.dropout)
    _set_padding(config, tokenizer)
    if isinstance(settings.depth, int) and settings.depth > of:
        raise SettingsError(f"depth = {settings.depth}: {settings.model} has {counted(of, 'block')}. Choose 1 to {of}.")
    trainable = settings.trainable
    if isinstance(trainable, int) and trainable > of:
        raise SettingsError(
            f"trainable = {trainable}: {settings.model} has {counted(of, 'block')}. Choose 1 to {of}, or `all`."
        )
    with quiet_transformers(), _readable(path):
        if settings.weights == "random":
            classifier = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
        else:
            classifier = AutoModelForSequenceClassification.from_pretrained(
                folder, config=config, dtype=torch.float32, ignore_mismatched_sizes=True, use_safetensors=True
            )
    own_memory(classifier)
    grown = _grow_embedding(classifier, tokenizer)
    torch.manual_seed(settings.seed)  # an own head starts the same, whatever was drawn before it
    parts = pairs and PairForm.of(tokenizer, types=False) is not None
    network = assemble(classifier, tokenizer, settings, of=of, source=settings.model, pairs=parts)
    if pairs and not parts:
        network.notes.append(
            f"{settings.model} has no token that parts two texts: it reads a pair as one text, joined by a blank line."
        )
    if grown:
        network.notes.append(
            f"The tokenizer of {settings.model} has {grown:,} tokens that its embedding lacks: it was grown, and each "
            "of them starts as the mean of all others."
        )
    return network


def _grow_embedding(classifier: Any, tokenizer: Any) -> int:
    """How many rows the embedding lacked for the tokenizer's tokens; they are added."""
    embedding = classifier.get_input_embeddings()
    rows, needed = embedding.num_embeddings, 1 + max(tokenizer.get_vocab().values())
    if needed <= rows:
        return 0
    mean = embedding.weight.detach().mean(0)
    classifier.resize_token_embeddings(needed, mean_resizing=False)
    with torch.no_grad():
        classifier.get_input_embeddings().weight[rows:] = mean
    return int(needed - rows)


def own_memory(module: torch.nn.Module) -> None:
    """Weights as copies: as they are read they are views of the file, which may be overwritten or cut under way."""
    for tensor in [*module.parameters(), *module.buffers()]:
        tensor.data = tensor.data.clone()


def load_tokenizer(path: Path) -> tuple[Any, int]:
    """The tokenizer of a model, and the longest text that the model takes in tokens. Raises SourceError."""
    _, config, tokenizer = _read_folder(path)
    return tokenizer, text_limit(config, tokenizer, family_of(config))


@dataclass(frozen=True)
class Facts:
    """What a model's configuration says: its architecture's name, blocks, and longest text in tokens."""

    architecture: str
    family: Family | None
    blocks: int
    limit: int


def load_facts(path: Path) -> Facts:
    """What is known of a model without its weights. Raises SourceError."""
    _, config, tokenizer = _read_folder(path)
    family = family_of(config)
    return Facts(config.model_type, family, int(config.num_hidden_layers), text_limit(config, tokenizer, family))


def assemble(
    classifier: Any,
    tokenizer: Any,
    settings: NetworkSettings,
    *,
    of: int,
    source: str,
    rules: TokenRules | None = None,
    pairs: bool = False,
) -> Network:
    """A network around a classifier and its tokenizer, with pooling, head and masks as the settings say.

    rules: how texts become tokens, for a saved classifier; None: as the settings, the model and ``pairs`` say.
    """
    config = classifier.config
    family = family_of(config)
    pooling = settings.pooling
    if family is None:
        _refuse_unknown(config.model_type, settings)
    elif pooling == "auto":
        pooling = family.pooling
    if not settings.causal_mask:
        if family is None or not family.causal:
            raise SettingsError(f"causal_mask = false: {config.model_type!r} is not a causal decoder.")
        config.is_causal = classifier.base_model.config.is_causal = False
        for module in classifier.modules():
            if hasattr(module, "is_causal"):
                module.is_causal = False
    own_head = None
    if family and (pooling != family.pooling or (settings.head_bias and family.pooling == "last")):
        own_head = LinearHead(
            config.hidden_size, config.num_labels, pooling, bias=settings.head_bias, dropout=settings.dropout
        )
    special = tokenizer.num_special_tokens_to_add(pair=pairs)
    for name, length in (("max_tokens", settings.max_tokens), ("padding", settings.padding)):
        if isinstance(length, int) and length <= special:
            raise SettingsError(f"{name} = {length}: {special} special tokens leave no room for text. Choose more.")
    rules = rules or _token_rules(settings, text_limit(config, tokenizer, family), source, pairs=pairs)
    needs_mask = family is None or not family.causal or not settings.causal_mask
    encoder = encoder_of(tokenizer, rules, needs_mask=needs_mask, types=_reads_types(classifier))
    return Network(classifier, family, encoder, pooling=pooling, own_head=own_head, of=of, source=source)


def _reads_types(classifier: Any) -> bool:
    """Whether a model has an embedding for the type of a token, as BERT has for the first and the second text."""
    more_than_one = int(getattr(classifier.config, "type_vocab_size", 0)) > 1
    return more_than_one and "token_type_ids" in inspect.signature(classifier.forward).parameters


def _refuse_unknown(model_type: str, settings: NetworkSettings) -> None:
    """What cannot be had for an architecture that is not in families.py."""
    asked = [
        name
        for name, usual in (("pooling", "auto"), ("head_bias", False), ("pool_padding", False), ("shard", False))
        if getattr(settings, name) != usual
    ]
    if isinstance(settings.depth, int):
        asked.append("depth")
    if settings.trainable == "lora":
        asked.append('trainable = "lora"')
    if asked:
        raise SettingsError(
            [
                f"{name}: not available for the architecture {model_type!r}, which classtune cannot cut."
                for name in asked
            ]
        )


def _token_rules(settings: TextSettings, limit: int, source: str, *, pairs: bool) -> TokenRules:
    """How texts become tokens, for a model ``source`` that takes ``limit`` of them. Padding to a length cuts to it too.

    With windows no text is too long: what reads one text as one piece (`TextEncoder.encode`) cuts it.
    """
    if pairs and settings.long_texts == "windows":
        raise SettingsError('long_texts = "windows": a window would hold a part of a pair (--pair). Leave it out.')
    length = settings.padding if isinstance(settings.padding, int) else None
    if length and length > limit:
        raise SettingsError(f"padding = {length}: {source} takes {limit:,} tokens. Choose at most that.")
    windows = settings.long_texts == "windows"
    shorter = [wanted for wanted in (settings.max_tokens, length) if wanted is not None]
    return TokenRules(
        limit=min([limit, *shorter]),
        cut=bool(shorter) or windows or pairs,
        pad_to=length,
        pool_padding=settings.pool_padding,
        truncate=settings.truncate,
        windows=windows,
        overlap=settings.window_overlap,
        pairs=pairs,
    )


def text_limit(config: Any, tokenizer: Any, family: Family | None) -> int:
    """Longest text that the model takes, in tokens, special tokens included."""
    positions = int(getattr(config, "max_position_embeddings", 0) or _NO_LIMIT)
    known = int(min(tokenizer.model_max_length, _NO_LIMIT))
    return min(positions - (family.reserved_positions if family else 0), known)


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """transformers reports missing heads and shows bars of its own; both are expected here."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever transformers raises for files that are damaged, or that it cannot make a classifier of."""
    try:
        with reading(path):
            yield
    except BundleError as error:
        cause = error.__cause__ or error
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        raise SourceError(f"{path}: no model can be read from it ({reason}).") from cause


def _read_folder(path: Path) -> tuple[str, Any, Any]:
    """The Hugging Face folder of a model, its configuration and its tokenizer."""
    with quiet_transformers(), _readable(path):
        folder = str(_folder(path))
        for file in Path(folder).iterdir():
            if file.suffix in (".json", ".safetensors", ".jinja", ".model", ".txt"):
                check_regular(file)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        _ = config.num_hidden_layers  # a folder without it is no language model's
    return folder, config, tokenizer


def _folder(path: Path) -> Path:
    """The Hugging Face folder to load from."""
    if path.suffix == ".gguf":
        return converted(path)
    files = sorted(path.glob("*.gguf"))
    if (path / "config.json").exists() or not files:
        return path
    if len(files) > 1:
        raise SourceError(
            f"{path}: holds {len(files)} GGUF files; name one of them: {', '.join(f.name for f in files)}."
        )
    return converted(files[0])


def _set_labels(config: Any, labels: list[str], *, multi: bool) -> None:
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    config.problem_type = "multi_label_classification" if multi else "single_label_classification"


def _set_dropout(config: Any, dropout: float) -> None:
    """Every dropout that the configuration has, under whichever name."""
    for name in list(config.to_dict()):
        if ("dropout" in name or name.endswith("_pdrop")) and not isinstance(getattr(config, name), bool):
            setattr(config, name, dropout)


def _set_padding(config: Any, tokenizer: Any) -> None:
    """A padding token for tokenizers without one (GPT-2), known to the model too: else batches over 1 are refused."""
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    tokenizer.padding_side = "right"
    config.pad_token_id = tokenizer.pad_token_id
