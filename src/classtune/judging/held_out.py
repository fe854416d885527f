"""What held-out rows say in sentences: why this classifier was chosen, and what to know before it is trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from classtune.errors import counted
from classtune.judging.comparison import LEXICAL, LEXICAL_IN_WORDS, in_words
from classtune.stats import BoolArray, Truth

FEW_ROWS = 20  # training rows a label


def said_of_choice(
    name: str, members: Sequence[str], loss: float, losses: Mapping[str, float], *, rows: int | None
) -> str:
    """What was chosen, and why, in two or three sentences.

    loss, losses: held-out log loss (nats) of the chosen one, and of each candidate. rows: how many judged; None: every
    one, by cross-validation.
    """
    rivals = {one: each for one, each in losses.items() if [one] != list(members)}
    if len(losses) < 2:
        return f"The classifier is {in_words(name)}: nothing else was compared."
    how = "by cross-validation" if rows is None else f"on {rows:,} held-out rows"
    next_best = min(rivals, key=rivals.__getitem__)
    why = "has the lowest log loss" if loss <= rivals[next_best] else "is as good as any within noise, and costs less"
    among = f"of {len(losses)} candidates and their blends"
    sentences = [
        f"The classifier is {in_words(name)}: {among} it {why} {how} ({loss:.3f}).",
        f"Next comes {in_words(next_best)} alone ({rivals[next_best]:.3f}).",
    ]
    if LEXICAL in rivals and next_best != LEXICAL:
        sentences.append(f"{LEXICAL_IN_WORDS} alone has {rivals[LEXICAL]:.3f}.")
    return " ".join(sentences)


def on_labels(answered: BoolArray, truth: Truth, labels: Sequence[str], taught: BoolArray) -> Iterator[str]:
    """Labels that are never answered, and labels that no held-out row has.

    truth of at least one held-out row: class numbers [rows] or booleans [rows, labels]. answered, taught [labels]:
    whether such a row is answered with it, and whether a training row has it.
    """
    present = have(truth, len(labels))
    if never := [labels[i] for i in np.flatnonzero(taught & present & ~answered).tolist()]:
        yield f"Never answered on {len(truth):,} held-out rows, though taught: {_listed(never)}."
    if missing := [labels[i] for i in np.flatnonzero(taught & ~present).tolist()]:
        yield (
            f"No held-out row has {_listed(missing)}: how well they are told apart is unknown, and calibration and "
            "choice were made without them."
        )


def have(truth: Truth, labels: int) -> BoolArray:
    """Whether a row has each label (labels,); truth: class numbers [rows] or booleans [rows, labels]."""
    return np.asarray(truth.any(0) if truth.ndim == 2 else np.bincount(truth, minlength=labels) > 0)


def on_tail(name: str, right: BoolArray, probe_right: BoolArray) -> Iterator[str]:
    """That a tail is right on fewer held-out rows than the probe that it started from."""
    tail, probe = int(right.sum()), int(probe_right.sum())
    if tail < probe:
        yield f"{name} is right on {counted(tail, 'held-out row')}, its own probe on {probe:,}."


def on_rows(rows: int, labels: int) -> Iterator[str]:
    """That the training rows are few."""
    if rows < FEW_ROWS * labels:
        yield (
            f"{rows:,} training rows for {labels} labels are few: more labelled rows will help more than any setting."
        )


def _listed(labels: Sequence[str], most: int = 5) -> str:
    names = ", ".join(map(repr, labels[:most]))
    return names + (f" and {len(labels) - most:,} more" if len(labels) > most else "")
