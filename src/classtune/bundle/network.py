"""A network of a bundle as Hugging Face keeps it, with its tokenizer and, where it has one, a head of our own.

Every weight that is read is there, is a number and is ours alone, and no configuration chooses code to run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from classtune.bundle.record import CONFIG
from classtune.config import Settings
from classtune.errors import BundleError, reading
from classtune.files import RECORD, check_regular
from classtune.model.backbone import assemble, own_memory, quiet_transformers
from classtune.model.network import Network
from classtune.model.tokens import TokenRules

WEIGHTS = "model.safetensors"
HEAD = "head.safetensors"
# Keys of config.json by which transformers chooses code to run, or fetches it.
_CHOOSE_CODE = {"attn_implementation", "_attn_implementation", "experts_implementation", "quantization_config"}
_CONFIG_BYTES = 1 << 24


def write_model(folder: Path, network: Network) -> None:
    """The network as Hugging Face keeps it, with its tokenizer, and a head of our own beside them."""
    model = network.classifier if network.own_head is None else network.base
    with quiet_transformers():
        model.save_pretrained(str(folder))
        network.encoder.tokenizer.save_pretrained(str(folder))
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if _code_chosen(config):
        kept = {key: value for key, value in config.items() if key not in _CHOOSE_CODE}
        (folder / CONFIG).write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    if network.own_head is not None:
        state = {name: value.cpu().contiguous() for name, value in network.own_head.state_dict().items()}
        save_file(state, str(folder / HEAD))


def read_network(
    folder: Path,
    labels: list[str],
    settings: Settings,
    rules: TokenRules,
    *,
    of: int,
    hugging_face: bool,
    device: str | torch.device,
) -> Network:
    """The network of a checked folder, ready to predict. of: blocks of the whole backbone.

    hugging_face: whether the head is one of Hugging Face's, so that its weights must be there too.
    Raises BundleError with what is wrong.
    """
    classifier, tokenizer = _read_classifier(folder, len(labels), hugging_face=hugging_face)
    with reading(folder, "the model"):
        network = assemble(classifier, tokenizer, settings, of=of, source=settings.model, rules=rules)
    if network.own_head is not None:
        with reading(folder / HEAD, "the head"):
            network.own_head.load_state_dict(load_file(str(folder / HEAD)))
            _check_finite(network.own_head)
    with reading(folder, "the model"):
        network.to(device)
        classifier.eval()
    names = list(classifier.config.id2label.values())
    if names != labels:  # whoever reads the folder, a score must mean the same
        raise BundleError(f"{folder}: config.json says {names}, {RECORD} says {labels}. Train it again.")
    return network


def _read_classifier(folder: Path, labels: int, *, hugging_face: bool) -> tuple[Any, Any]:
    """The classifier and the tokenizer of a checked folder; every weight is there, is a number, and is ours alone."""
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with reading(folder / CONFIG, "the configuration"):
        check_regular(folder / CONFIG, _CONFIG_BYTES)
        if chosen := _code_chosen(json.loads((folder / CONFIG).read_text(encoding="utf-8"))):
            raise ValueError(f"it names code to run: {', '.join(chosen)}")
    with reading(folder / WEIGHTS, "the model"), safe_open(str(folder / WEIGHTS), "pt") as file:
        tensors = len(list(file.keys()))
    with reading(folder / CONFIG, "the configuration"):
        layers = AutoConfig.from_pretrained(str(folder), **options).num_hidden_layers
        if layers > tensors:  # they would all be made before one is missed
            raise ValueError(f"it names {layers:,} blocks, and {WEIGHTS} holds {tensors:,} tensors")
    with quiet_transformers(), reading(folder, "the tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(str(folder), **options)
    with quiet_transformers(), reading(folder / WEIGHTS, "the model"), torch.random.fork_rng(devices=[]):
        options |= {"dtype": torch.float32, "num_labels": labels, "use_safetensors": True}
        classifier, loading = AutoModelForSequenceClassification.from_pretrained(
            str(folder), output_loading_info=True, **options
        )
        base = f"{classifier.base_model_prefix}."
        missing = [key for key in loading["missing_keys"] if hugging_face or key.startswith(base)]
        if wrong := [*missing, *(str(key) for key in loading["mismatched_keys"])]:
            raise ValueError(f"weights are missing or of another shape: {', '.join(wrong[:3])}")
        own_memory(classifier)
        _check_finite(classifier)
        rows, known = classifier.get_input_embeddings().num_embeddings, 1 + max(tokenizer.get_vocab().values())
        if known > rows:
            raise ValueError(f"the tokenizer has {known - rows:,} tokens that the model has no embedding for")
    return classifier, tokenizer


def _check_finite(module: torch.nn.Module) -> None:
    broken = [name for name, value in module.state_dict().items() if not torch.isfinite(value).all()]
    if broken:
        raise ValueError(f"weights are no numbers: {', '.join(broken[:3])}")


def _code_chosen(config: Any) -> list[str]:
    """Which keys of a configuration, at any depth, choose code to run."""
    if not isinstance(config, dict):
        return []
    inner = [key for value in config.values() for key in _code_chosen(value)]
    return [key for key in config if key in _CHOOSE_CODE and config[key] is not None] + inner
