"""A classifier as a plain Hugging Face folder, where its choices can be said in one; and how transformers reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from classtune.data.reading.cells import as_pair, parts_of
from classtune.errors import SettingsError
from classtune.model.backbone import quiet_transformers
from classtune.model.network import Network


@torch.no_grad()
def as_hugging_face(network: Network) -> tuple[Any, list[str]]:
    """A transformers classifier that scores as the network does, and what is to be known of it.

    A bundle that is one already keeps its weights. The bias of a head goes into the bias of the final norm, where the
    norm has one. The network's own classifier is changed. Raises SettingsError with every choice that has no place in a
    Hugging Face class, and the option of `train` that does without.
    """
    classifier, rules, family = network.classifier, network.encoder.rules, network.family
    problems, notes = [], []
    if family is not None and network.pooling != family.pooling:
        problems.append(
            f"--to hf: {classifier.config.model_type} models of Hugging Face pool {family.pooling!r}, this bundle "
            f"{network.pooling!r}. Train with --hugging-face."
        )
    head, norm = network.own_head, None
    if head is not None and family is not None and head.linear.bias is not None and not problems:
        norm = network.base.get_submodule(family.norm) if family.norm else None
        if getattr(norm, "bias", None) is None:
            problems.append(
                f"--to hf: the head has a bias, and {classifier.config.model_type} models of Hugging Face have none. "
                "Train with --set head_bias=false."
            )
    if family is not None and family.causal and not getattr(network.base.config, "is_causal", True):
        problems.append(
            "--to hf: every token sees all others here, not only those before it. Train with --set causal_mask=true."
        )
    if rules.pad_to and (rules.pool_padding or network.encoder.needs_mask):
        problems.append(
            "--to hf: padding counts as text here, which transformers masks. Train with --set padding=none."
        )
    if problems:
        raise SettingsError(problems)
    if head is not None and isinstance(norm, nn.Module):
        # What is added after the head can be added before it: the smallest vector that the head turns into its bias.
        assert isinstance(norm.bias, torch.Tensor)
        norm.bias += torch.linalg.pinv(head.linear.weight.double()).matmul(head.linear.bias.double()).to(norm.bias)
        classifier.score.weight.copy_(head.linear.weight)
        notes.append("The bias of the head went into the final norm.")
    if rules.windows:
        notes.append(
            f"Texts beyond {rules.limit:,} tokens were read in windows here; transformers cuts or refuses them."
        )
    return classifier, notes


@torch.inference_mode()
def hugging_face_logits(
    folder: Path, texts: Sequence[str], limit: int, *, pairs: bool = False
) -> tuple[list[int], NDArray[np.float64]]:
    """What transformers alone makes of the texts of at most ``limit`` tokens: their rows, and logits [rows, labels].

    pairs: each text is a pair (`as_pair`).
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    with quiet_transformers():
        model = AutoModelForSequenceClassification.from_pretrained(str(folder), local_files_only=True).eval()
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        rows, logits = [], []
        for row, text in enumerate(texts):
            parts = [part for _, part in parts_of(as_pair(text))] if pairs else [text]
            tokens = tokenizer(*parts, return_tensors="pt")
            if tokens["input_ids"].shape[1] <= limit:
                rows.append(row)
                logits.append(model(**tokens).logits[0].double().numpy())
    return rows, np.array(logits).reshape(len(rows), model.config.num_labels)
