"""What classtune must know about an architecture to cut it: one row of this table a family.

The forward code stays transformers' own. A family only says what its parts are called, so that `slicing.py` can build a
shallow copy with fewer blocks, without embeddings, or without the final norm. A family is added by one row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn


@dataclass(frozen=True)
class Family:
    """The names of the parts of one architecture.

    blocks: path of the list of blocks in the base model (``"encoder.layer"``).
    norm: path of the norm after the last block, where there is one.
    embeddings: path of the module that turns token ids *or* given vectors into the first block's input; the tail
        replaces it, so that stored activations pass untouched. None: given vectors enter the first block as they are.
    positions: path of learned positions that are added even to given vectors (GPT-2).
    pooling: what the Hugging Face sequence classifier of the family pools.
    head: the layers of that classifier from the pooled vector to the logits, taken from the classifier.
    reserved_positions: positions of the configuration that no token can take (RoBERTa counts from 2).
    causal: a token sees only what stands before it, so padding on the right changes nothing to its left.
    """

    blocks: str
    pooling: Literal["last", "first", "mean"]
    head: Callable[[Any], nn.Module]
    norm: str | None = None
    embeddings: str | None = None
    positions: str | None = None
    causal: bool = False
    reserved_positions: int = 0


def _score(classifier: Any) -> nn.Module:
    return classifier.score  # type: ignore[no-any-return]


def _bert_head(classifier: Any) -> nn.Module:
    pooler = classifier.base_model.pooler
    return nn.Sequential(pooler.dense, pooler.activation, classifier.dropout, classifier.classifier)


def _roberta_head(classifier: Any) -> nn.Module:
    head = classifier.classifier
    return nn.Sequential(head.dropout, head.dense, nn.Tanh(), head.dropout, head.out_proj)


def _distilbert_head(classifier: Any) -> nn.Module:
    return nn.Sequential(classifier.pre_classifier, nn.ReLU(), classifier.dropout, classifier.classifier)


def _modernbert_head(classifier: Any) -> nn.Module:
    return nn.Sequential(classifier.head, classifier.drop, classifier.classifier)


_LLAMA = Family(blocks="layers", norm="norm", pooling="last", head=_score, causal=True)

FAMILIES: dict[str, Family] = {
    "gpt2": Family(blocks="h", norm="ln_f", positions="wpe", pooling="last", head=_score, causal=True),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "bert": Family(blocks="encoder.layer", embeddings="embeddings", pooling="first", head=_bert_head),
    "roberta": Family(
        blocks="encoder.layer", embeddings="embeddings", pooling="first", head=_roberta_head, reserved_positions=2
    ),
    "distilbert": Family(blocks="transformer.layer", embeddings="embeddings", pooling="first", head=_distilbert_head),
    "modernbert": Family(
        blocks="layers", norm="final_norm", embeddings="embeddings", pooling="first", head=_modernbert_head
    ),
}


def family_of(config: Any) -> Family | None:
    """The family of a transformers configuration, or None for one that classtune cannot cut."""
    family = FAMILIES.get(config.model_type)
    if family and config.model_type == "modernbert" and config.classifier_pooling == "mean":
        return Family(**{**family.__dict__, "pooling": "mean"})
    return family
