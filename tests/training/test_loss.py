"""The losses against torch's, their own formula written out, and what they are for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from classtune.config import resolve
from classtune.config.areas import LossSettings
from classtune.model.network import Network
from classtune.training.loop import Examples, fit, logits_of
from classtune.training.loss import MOST_LABEL_WEIGHT, accuracy, class_weights, classification_loss

LOGITS = 2 * torch.randn(12, 4, generator=torch.Generator().manual_seed(1))
CLASSES = torch.arange(12) % 4
MATRIX = torch.rand(12, 4, generator=torch.Generator().manual_seed(2)) < 0.3
WEIGHTS = torch.tensor([0.5, 1.0, 3.0, 0.7])
TRUTHS = pytest.mark.parametrize("truth", [CLASSES, MATRIX, MATRIX.float()], ids=["classes", "matrix", "floats"])


def focal(gamma: float) -> LossSettings:
    return LossSettings(loss="focal", focal_gamma=gamma)


def plain(truth: Tensor, weights: Tensor | None) -> Tensor:
    if truth.ndim == 1:
        return F.cross_entropy(LOGITS, truth, weights)
    return F.binary_cross_entropy_with_logits(LOGITS, truth.float(), pos_weight=weights)


@TRUTHS
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["even", "weighted"])
def test_the_usual_loss_is_torchs_and_focal_loss_at_gamma_zero_too(truth: Tensor, weights: Tensor | None) -> None:
    expected = plain(truth, weights)
    for usual in ("auto", "cross-entropy"):
        assert classification_loss(LOGITS, truth, weights, resolve(overrides={"loss": usual})) == expected
    torch.testing.assert_close(classification_loss(LOGITS, truth, weights, focal(0.0)), expected)
    assert classification_loss(LOGITS, truth, weights, focal(2.0)) < 0.9 * expected


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_is_its_formula(gamma: float) -> None:
    """-alpha (1 - p)^gamma log p, term by term."""
    total = weight = 0.0
    for row, true in zip(LOGITS.softmax(1).tolist(), CLASSES.tolist(), strict=True):
        p, alpha = row[true], float(WEIGHTS[true])
        total, weight = total - alpha * (1 - p) ** gamma * np.log(p), weight + alpha
    assert float(classification_loss(LOGITS, CLASSES, WEIGHTS, focal(gamma))) == pytest.approx(total / weight)
    total = 0.0
    for row, truths in zip(LOGITS.sigmoid().tolist(), MATRIX.tolist(), strict=True):
        for yes, true, alpha in zip(row, truths, WEIGHTS.tolist(), strict=True):
            p = yes if true else 1 - yes
            total -= (alpha if true else 1.0) * (1 - p) ** gamma * np.log(p)
    assert float(classification_loss(LOGITS, MATRIX, WEIGHTS, focal(gamma))) == pytest.approx(total / 48)


@TRUTHS
@pytest.mark.parametrize("gamma", [0.3, 2.0])
def test_focal_loss_has_finite_gradients_where_all_is_certain(truth: Tensor, gamma: float) -> None:
    towards = F.one_hot(truth, 4) if truth.ndim == 1 else truth.float()
    for sign in (1, -1):  # certainly right, certainly wrong
        logits = (sign * 200 * (2 * towards - 1).float()).requires_grad_()
        loss = classification_loss(logits, truth, None, focal(gamma))
        (gradient,) = torch.autograd.grad(loss, logits)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()


def test_balanced_weights_of_labels_are_rows_without_over_rows_with() -> None:
    truth = np.zeros((100, 4), dtype=bool)
    for label, rows in enumerate((25, 60, 1, 0)):
        truth[:rows, label] = True
    balanced = resolve(overrides={"class_weights": "balanced"})
    weights = class_weights(truth, 4, balanced)
    assert weights is not None
    assert weights.tolist() == [3, 1, MOST_LABEL_WEIGHT, MOST_LABEL_WEIGHT]
    assert class_weights(truth, 4, resolve()) is None


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.9, 0.1], [0.2, 0.3, 0.5]])
def test_class_weights_are_scikit_learns(shares: list[float]) -> None:
    truth = np.random.default_rng(0).choice(len(shares), size=200, p=shares)
    ours = class_weights(truth, len(shares), resolve(overrides={"class_weights": "balanced"}))
    assert ours is not None
    theirs = compute_class_weight("balanced", classes=np.arange(len(shares)), y=truth)
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-6)
    assert class_weights(truth, len(shares), resolve()) is None


def test_a_row_is_right_when_every_label_is() -> None:
    logits = torch.tensor([[1.0, -1.0], [1.0, 1.0], [-1.0, -1.0], [-1.0, 2.0]])
    assert accuracy(logits, torch.tensor([[1, 0], [1, 0], [0, 0], [1, 1]]).bool()) == 0.5
    assert accuracy(logits, torch.tensor([0, 0, 1, 1])) == 0.75


@pytest.mark.parametrize("special", [{}, {"loss": "focal"}, {"class_weights": "balanced"}])
def test_several_labels_a_text_are_learnt(
    make_network: Callable[..., Network], make_examples: Callable[..., Examples], special: dict[str, Any]
) -> None:
    """One label is a text's class, the other whether it was lengthened; some texts have both, some none."""
    settings = resolve(overrides={"epochs": 40, "batch_size": 4, "learning_rate": 1e-2, "patience": 0} | special)
    network = make_network("llama")
    network.freeze(3)
    tail, examples = network.tail(3), make_examples(network, 3)
    examples.truth = np.column_stack([examples.truth == 1, np.arange(20) >= 10])
    rows = np.arange(20)
    history = fit(tail, examples, rows, rows, settings, progress=lambda *_: None)
    logits, truth = logits_of(tail, examples, rows), torch.from_numpy(examples.truth)
    assert accuracy(logits, truth) > 0.9
    best = history.points[history.best_epoch - 1]
    assert best["validation_accuracy"] == pytest.approx(accuracy(logits, truth))
    weights = class_weights(examples.truth, 2, settings)
    assert best["validation_loss"] == pytest.approx(float(classification_loss(logits, truth, weights, settings)))
    assert best["validation_loss"] < history.points[0]["validation_loss"]


def test_focal_loss_trains_a_classifier_of_one_label(
    make_network: Callable[..., Network], make_examples: Callable[..., Examples]
) -> None:
    settings = resolve(overrides={"epochs": 30, "batch_size": 4, "learning_rate": 1e-2, "patience": 0, "loss": "focal"})
    network = make_network("bert")
    network.freeze(3)
    tail, examples = network.tail(3), make_examples(network, 3)
    rows = np.arange(20)
    fit(tail, examples, rows, rows, settings, progress=lambda *_: None)
    assert accuracy(logits_of(tail, examples, rows), torch.from_numpy(examples.truth)) > 0.9


@TRUTHS
@pytest.mark.parametrize("settings", [resolve(), focal(2.0)], ids=["cross-entropy", "focal"])
def test_a_row_of_twice_the_weight_is_a_row_that_stands_there_twice(truth: Tensor, settings: LossSettings) -> None:
    twice = torch.tensor([0, 0, *range(1, 12)])
    expected = classification_loss(LOGITS[twice], truth[twice], None, settings, smoothing=0.1)
    rows = torch.tensor([2.0] + [1.0] * 11) * 12 / 13
    weighted = classification_loss(LOGITS, truth, None, settings, smoothing=0.1, rows=rows)
    torch.testing.assert_close(weighted, expected)
