"""What training lowers: (binary) cross-entropy or focal loss, each with weights for rare labels.

``truth`` is class numbers, int64 [rows], under one softmax, or a 0/1 matrix [rows, labels] under a sigmoid a label.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from classtune.config.areas import LossSettings

# A label that one row in a hundred has weighs this much, not 99 times: beyond it, single rows steer the training.
MOST_LABEL_WEIGHT = 20.0
# The gradient of (1 - p) ** gamma with gamma < 1 has no bound where p reaches 1.
_LEAST_DOUBT = 1e-6


def classification_loss(
    logits: Tensor,
    truth: Tensor,
    weights: Tensor | None,
    settings: LossSettings,
    smoothing: float = 0.0,
    rows: Tensor | None = None,
) -> Tensor:
    """The mean loss (nats) of logits [rows, labels], as the settings ask for.

    One label a row: cross-entropy, the mean weighted by ``weights`` of the classes [labels], as torch has it. A matrix:
    binary cross-entropy, the mean over rows and labels; where a label is true it counts ``weights`` [labels] times.
    ``focal`` multiplies each term by (1 - p)^gamma, p the probability of what is true, so that what is already sure
    counts little; the weights are its alpha (Lin et al. 2017, arXiv:1708.02002, equation 5).
    smoothing: share of a row's one label that is spread over all labels, in cross-entropy (Szegedy et al. 2016).
    rows: how often each row counts [rows], 1 on average over all rows of the training.
    """
    logits = logits.float()
    weights = None if weights is None else weights.to(logits.device)
    focal = settings.loss == "focal"
    if truth.ndim == 1:
        if not focal and rows is None:
            return F.cross_entropy(logits, truth, weights, label_smoothing=smoothing)
        weight = torch.ones_like(logits[:, 0]) if weights is None else weights[truth]
        if focal:
            surprise = F.cross_entropy(logits, truth, reduction="none")
            losses = weight * _focus(surprise, settings.focal_gamma) * surprise
        else:
            losses = F.cross_entropy(logits, truth, weights, label_smoothing=smoothing, reduction="none")
        return (losses if rows is None else rows * losses).sum() / weight.sum()
    truth = truth.float()
    terms = F.binary_cross_entropy_with_logits(logits, truth, pos_weight=weights, reduction="none")
    if focal:
        surprise = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        terms = terms * _focus(surprise, settings.focal_gamma)
    return (terms if rows is None else rows[:, None] * terms).mean()


def _focus(surprise: Tensor, gamma: float) -> Tensor:
    """(1 - p)^gamma, where ``surprise`` is -log p."""
    return (-torch.expm1(-surprise)).clamp_min(_LEAST_DOUBT) ** gamma


def class_weights(truth: NDArray[Any], classes: int, settings: LossSettings) -> Tensor | None:
    """Weights [classes] of ``balanced``, from the truth of the training rows; None for equal weights.

    Class numbers: rows / (classes met x rows of the class), as scikit-learn weighs them. A matrix: rows without the
    label / rows with it, from 1 (a label that most rows have weighs no less) to ``MOST_LABEL_WEIGHT``.
    """
    if settings.class_weights == "none":
        return None
    if truth.ndim == 2:
        having = truth.astype(bool).sum(0)
        ratio = (len(truth) - having) / np.maximum(having, 1)
        return torch.tensor(ratio.clip(1.0, MOST_LABEL_WEIGHT), dtype=torch.float32)
    counts = np.bincount(truth, minlength=classes)
    return torch.tensor(len(truth) / (np.count_nonzero(counts) * np.maximum(counts, 1)), dtype=torch.float32)


def accuracy(logits: Tensor, truth: Tensor) -> float:
    """Share of rows that are wholly right: the class of the highest logit or, for a matrix, every label at 0.5."""
    if truth.ndim == 1:
        return float((logits.argmax(1) == truth).float().mean())
    return float(((logits >= 0) == truth.bool()).all(1).float().mean())
