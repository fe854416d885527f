"""Training of all blocks on few rows: texts of one class are drawn together, texts of two are pushed apart.

The loss of SetFit (Tunstall et al. 2022, "Efficient Few-Shot Learning Without Prompts") with all pairs of a batch at
once: 48 texts give 1,128 pairs for one pass of the network, where pairs read two by two give 24.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from classtune.config import Progress
from classtune.config.areas import OptimizerSettings
from classtune.stats import IntArray
from classtune.training.loop import Examples, Rows
from classtune.training.optimizer import build_optimizer, learning_rate

STEPS, TEXTS = 30, 48  # steps, and texts of each
_OPTIMIZER = OptimizerSettings(learning_rate=1e-4, weight_decay=0.01, warmup=0.1, schedule="linear")


def draw_together(encoder: nn.Module, examples: Examples, rows: Rows, *, seed: int, progress: Progress) -> None:
    """Train the parameters of ``encoder`` that ask for gradients. It gives pooled states [texts, width].

    rows: of ``examples`` with one class each, two classes at least.
    """
    trained = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    optimizer = build_optimizer(trained, _OPTIMIZER)
    torch.manual_seed(seed)
    encoder.train()
    for step, batch in enumerate(_batches(rows, examples.truth[rows], seed)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(_OPTIMIZER, step, STEPS)
        loss = pair_loss(encoder(examples.batch(batch)), torch.from_numpy(examples.truth[batch]))
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        progress("epochs", step + 1, STEPS)
    encoder.eval()


def pair_loss(states: Tensor, truth: Tensor) -> Tensor:
    """How far the cosine of two texts is from 1 within a class and from 0 between two, squared; both kinds weigh alike.

    states [texts, width], truth [texts].
    """
    unit = F.normalize(states, dim=1)
    same = truth[:, None] == truth[None, :]
    wrong = (unit @ unit.T - same.to(unit.dtype)).square()
    pairs = ~torch.eye(len(truth), dtype=torch.bool, device=wrong.device)
    within, between = wrong[same.to(wrong.device) & pairs], wrong[~same.to(wrong.device)]
    return sum((kind.mean() for kind in (within, between) if len(kind)), torch.zeros((), device=wrong.device))


def _batches(rows: Rows, truth: IntArray, seed: int) -> Iterator[Rows]:
    """STEPS times about TEXTS rows, equally many of as many classes as have room for two each."""
    rng = np.random.default_rng(seed)
    of_class = [rows[truth == number] for number in np.unique(truth)]
    each = max(2, TEXTS // len(of_class))
    for _ in range(STEPS):
        chosen = rng.permutation(len(of_class))[: max(2, TEXTS // each)]
        yield np.concatenate([rng.permutation(of_class[number])[:each] for number in chosen])
