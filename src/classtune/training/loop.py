"""The one training loop. Everything it needs comes in as arguments; nothing in it knows of files, labels or tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from classtune.config import Progress
from classtune.config.areas import BatchSettings, EvaluationSettings, TrainingSettings
from classtune.errors import ClasstuneError, counted
from classtune.model.batches import Batch, length_sorted_batches
from classtune.stats import best_scale
from classtune.training.averaging import RunningMean
from classtune.training.checkpoint import Checkpoint
from classtune.training.extensions import NOTHING, Extensions
from classtune.training.loss import accuracy, class_weights, classification_loss
from classtune.training.optimizer import build_optimizer, learning_rate

Rows = NDArray[np.int64]
# Loss of some rows, the same at its best temperature, and accuracy; None for no rows.
Judge = Callable[[Rows], tuple[float | None, float | None, float | None]]

# Batches whose texts are sorted together by length before they are shuffled: little padding, still random batches.
_SORTED_TOGETHER = 50
# Passes over a few rows, at most: beyond, they are learned by heart.
MOST_EPOCHS = 30


@dataclass
class Examples:
    """What a network is trained on: ``batch(rows)`` is its input, ``lengths`` its tokens [rows].

    truth: class numbers, int64 [rows], or, where a text may have several labels, a bool matrix [rows, labels].
    weights: how often each row counts in what is lowered, float32 [rows], 1 on average; None: all alike.
    """

    batch: Callable[[Rows], Batch]
    truth: NDArray[Any]
    lengths: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None


@dataclass
class History:
    """How a training went.

    points: one entry an evaluation: epoch (may be a fraction), step, examples seen, losses and accuracies (None where
        not asked for). With several labels a text, accuracy is the share of texts with every label right at 0.5.
    best_epoch, best_loss: the lowest validation loss once a temperature is fitted to it, for one follows in any case;
        without validation rows the last epoch.
    averaged: whether the best weights are the running mean.
    judged: how many sets of weights validation rows chose among.
    """

    points: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = math.inf
    averaged: bool = False
    epochs: int = 0
    judged: int = 0
    stopped: str = "all epochs"


def fit(
    network: nn.Module,
    examples: Examples,
    train: Rows,
    validation: Rows,
    settings: TrainingSettings,
    *,
    forward: Callable[[Batch], Tensor] | None = None,
    like: History | None = None,
    checkpoint: Checkpoint | None = None,
    extensions: Extensions = NOTHING,
    progress: Progress,
) -> History:
    """Train the parameters of ``network`` that ask for gradients; leaves it with the best (or last) weights.

    forward: what runs a training batch; None: the network, here.
    like: without validation rows, the training whose best epoch is the last one here, its mean where it was the mean's.
    extensions: callables in place of the settings' loss and optimizer, and one that is called after each epoch.
    Raises ClasstuneError when the loss is no longer a number.
    """
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    optimizer = extensions.optimizer_of(trained.values(), settings.learning_rate)
    optimizer = optimizer or build_optimizer(trained.values(), settings)
    classes = examples.truth.shape[1] if examples.truth.ndim == 2 else int(examples.truth.max()) + 1
    weights = class_weights(examples.truth[train], classes, settings)
    loss_of = extensions.loss_of(partial(classification_loss, weights=weights, settings=settings))
    lowered = _lowered(examples, weights, settings, extensions)
    judge = partial(_judge, network, examples, loss_of)
    examples_per_epoch = len(train) - len(train) % settings.batch_size if settings.drop_last else len(train)
    per_epoch = math.ceil(examples_per_epoch / settings.batch_size)
    if per_epoch == 0:
        raise ClasstuneError(
            f"{len(train)} training rows do not fill one batch of {settings.batch_size}: lower batch_size."
        )
    steps_per_epoch = math.ceil(per_epoch / settings.accumulate)
    epochs = epochs_of(settings, steps_per_epoch)
    steps = steps_per_epoch * epochs
    history, best = History(), {name: p.detach().clone() for name, p in trained.items()}
    last = epochs if like is None else min(like.best_epoch, epochs)
    averages = bool(len(validation)) if like is None else like.averaged
    mean = RunningMean(trained) if settings.average and settings.keep_best and averages else None
    kept = best if mean is None else best | {f"mean/{name}": value for name, value in mean.values.items()}
    if checkpoint and (state := checkpoint.load(trained, kept, optimizer)):
        history = History(**state)
    for epoch in range(history.epochs, last):
        if settings.patience and epoch - history.best_epoch >= settings.patience:
            history.stopped = f"{counted(settings.patience, 'epoch')} without a better validation loss"
            break
        # One generator an epoch, so that a resumed run draws what an uninterrupted one draws.
        torch.manual_seed(settings.seed + epoch)
        batches = shuffled_batches(examples.lengths, train, settings, epoch)
        step, before = epoch * steps_per_epoch, epoch * examples_per_epoch
        loss_sum, seen = 0.0, 0
        network.train()
        for index, rows in enumerate(batches):
            logits = (forward or network)(examples.batch(rows))
            loss = lowered(logits, rows)
            # The last group of an epoch may hold fewer batches than the others.
            group = min(settings.accumulate, per_epoch - index // settings.accumulate * settings.accumulate)
            (loss / group).backward()  # type: ignore[no-untyped-call]
            loss_sum, seen = loss_sum + loss.item() * len(rows), seen + len(rows)
            if not math.isfinite(loss_sum):
                raise ClasstuneError(
                    f"The loss is not a number at step {step + 1}. Lower learning_rate, or set clip = 1."
                )
            if (index + 1) % settings.accumulate == 0 or index + 1 == per_epoch:
                if settings.clip:
                    nn.utils.clip_grad_norm_(trained.values(), settings.clip)
                for group_settings in optimizer.param_groups:
                    group_settings["lr"] = learning_rate(settings, step, steps)
                optimizer.step()
                optimizer.zero_grad()
                step += 1
                if mean:
                    mean.add(step)
                if settings.evaluate_every and step % settings.evaluate_every == 0:
                    point = _within_epoch(judge, train, validation, settings)
                    done = epoch + (index + 1) / per_epoch
                    history.points.append({"epoch": done, "step": step, "examples": before + seen, **point})
                    network.train()
            progress("epochs", before + seen, last * examples_per_epoch)
        point = _after_epoch(judge, train, validation, settings, loss_sum / seen)
        history.points.append({"epoch": epoch + 1, "step": step, "examples": before + seen, **point})
        history.epochs = epoch + 1
        loss_now, averaged = point["calibrated_loss"], like is not None and like.averaged
        if mean and loss_now is not None:
            with mean.in_place():
                loss_of_mean = history.points[-1]["averaged_loss"] = judge(validation)[1]
            if averaged := loss_of_mean is not None and loss_of_mean < loss_now:
                loss_now = loss_of_mean
        winner = mean.values if mean and averaged else _values(trained)
        if loss_now is not None and settings.keep_best:
            history.judged += 1 if mean is None else 2
        better = loss_now is None or loss_now < history.best_loss
        if better:
            history.best_epoch = epoch + 1
            history.best_loss = math.inf if loss_now is None else loss_now
            history.averaged = averaged
        if better or not settings.keep_best:
            for name, value in winner.items():
                best[name].copy_(value)
        if checkpoint:
            checkpoint.save(trained, kept, optimizer, asdict(history))
        if extensions.on_epoch and extensions.on_epoch(dict(history.points[-1])) is True:
            history.stopped = "stopped by on_epoch"
            break
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(best[name])
    return history


@torch.inference_mode()
def logits_of(network: nn.Module, examples: Examples, rows: Rows, progress: Progress | None = None) -> Tensor:
    """Logits [rows, labels] of one row at least, in length-sorted batches, on the CPU."""
    network.eval()
    result, done = torch.empty(0), 0
    for places in length_sorted_batches(examples.lengths[rows].tolist()):
        logits = network(examples.batch(rows[places])).float().cpu()
        if not done:
            result = torch.empty(len(rows), logits.shape[1])
        result[torch.from_numpy(places)] = logits
        done += len(places)
        if progress:
            progress("test", done, len(rows))
    return result


def shuffled_batches(lengths: NDArray[np.int64], rows: Rows, settings: TrainingSettings, epoch: int) -> list[Rows]:
    """The batches of an epoch, in order: random, with texts of like length together so that little is padded."""
    rng = np.random.default_rng([settings.seed, epoch])
    size = settings.batch_size
    shuffled = rng.permutation(rows)
    if settings.drop_last:
        shuffled = shuffled[: len(rows) // size * size]
    window = size * _SORTED_TOGETHER
    batches: list[Rows] = []
    for start in range(0, len(shuffled), window):
        together = shuffled[start : start + window]
        together = together[np.argsort(lengths[together], kind="stable")]
        batches += [together[place : place + size] for place in range(0, len(together), size)]
    return [batches[index] for index in rng.permutation(len(batches))]


def epochs_of(settings: BatchSettings, steps_per_epoch: int) -> int:
    """How often the rows are passed: ``epochs``, or as often as ``least_steps`` takes, MOST_EPOCHS at most."""
    needed = math.ceil(settings.least_steps / steps_per_epoch)
    return max(settings.epochs, min(needed, MOST_EPOCHS))


def _lowered(
    examples: Examples, weights: Tensor | None, settings: TrainingSettings, extensions: Extensions
) -> Callable[[Tensor, Rows], Tensor]:
    """The loss that training lowers, of the logits of some rows; the caller's own weighs no rows."""
    smoothed = partial(classification_loss, weights=weights, settings=settings, smoothing=settings.label_smoothing)
    alike = extensions.loss_of(smoothed)

    def loss(logits: Tensor, rows: Rows) -> Tensor:
        truth = torch.from_numpy(examples.truth[rows]).to(logits.device)
        if examples.weights is None or extensions.loss is not None:
            return alike(logits, truth)
        return smoothed(logits, truth, rows=torch.from_numpy(examples.weights[rows]).to(logits.device))

    return loss


def _values(trained: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Weights without what the optimizer needs of them."""
    return {name: parameter.detach() for name, parameter in trained.items()}


def _judge(
    network: nn.Module, examples: Examples, loss_of: Callable[[Tensor, Tensor], Tensor], rows: Rows
) -> tuple[float | None, float | None, float | None]:
    """Loss, calibrated loss and accuracy of some rows; None for none."""
    if len(rows) == 0:
        return None, None, None
    logits, truth = logits_of(network, examples, rows), torch.from_numpy(examples.truth[rows])
    calibrated = logits * best_scale(logits.numpy(), examples.truth[rows])
    return float(loss_of(logits, truth)), float(loss_of(calibrated, truth)), accuracy(logits, truth)


def _within_epoch(judge: Judge, train: Rows, validation: Rows, settings: TrainingSettings) -> dict[str, float | None]:
    """The tutorial's rhythm: the loss on the first batches of both splits."""
    first = settings.evaluate_batches * settings.batch_size
    return {
        "train_loss": judge(train[:first])[0],
        "validation_loss": judge(validation[:first])[0],
        "calibrated_loss": None,
        "train_accuracy": None,
        "validation_accuracy": None,
    }


def _after_epoch(
    judge: Judge, train: Rows, validation: Rows, settings: EvaluationSettings, train_loss: float
) -> dict[str, float | None]:
    """Training loss as it was on the way, validation loss and accuracy; training accuracy where it is asked for."""
    validation_loss, calibrated_loss, validation_accuracy = judge(validation)
    return {
        "train_loss": train_loss,
        "validation_loss": validation_loss,
        "calibrated_loss": calibrated_loss,
        "train_accuracy": judge(train)[2] if settings.epoch_metrics == "accuracy" else None,
        "validation_accuracy": validation_accuracy,
    }
