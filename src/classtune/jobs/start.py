"""The first texts to label, where there is no label yet: those that are most like the names of the labels.

An encoder that was trained on nothing of this task puts texts and names side by side. That is a guess and no
classifier; it finds a few texts of each label, also of rare ones, and `classtune next` goes on from there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from classtune.config import Progress
from classtune.data.reading.cells import is_blank
from classtune.data.reading.tables import Table
from classtune.data.splits import Rows
from classtune.errors import DataError, SettingsError, counted
from classtune.inference.vectors import Vectors, model_vectors
from classtune.jobs.next import SHARE_AT_RANDOM, cells_of, spread_out, unlabelled_rows
from classtune.jobs.steps import Notify
from classtune.jobs.to_label import AT_RANDOM, LabelCells, ToLabel, check_form, write_to_label

ENCODER = "minilm-l6"
LIKE_ITS_NAME = "like the label's name"
# Texts of a pool that are looked at; of more, a random part.
MOST_TEXTS = 20_000
# Texts of a label that are clustered for each one that is wanted.
_CLUSTERED = 5


def read_labels(told: Sequence[str]) -> dict[str, str]:
    """Label → its description, or "". Each is ``a,b,c``, or ``a: what it means``, or a file with such lines.

    Raises SettingsError for fewer than two labels, for one that is named twice, and for a file that cannot be read.
    """
    items: list[str] = []
    for value in told:
        if _names_file(value):
            try:
                lines = Path(value).read_text(encoding="utf-8-sig").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"--labels {value}: cannot be read ({error}). Name a file of lines.") from None
            items += [line for line in lines if line.strip()]
        else:
            items += [value] if ":" in value else value.split(",")
    pairs = [(name.strip(), meaning.strip()) for name, _, meaning in (item.partition(":") for item in items)]
    names = [name for name, _ in pairs if name]
    problems = [f"--labels: {name!r} is named twice." for name in dict.fromkeys(names) if names.count(name) > 1]
    if len(set(names)) < 2:
        problems.append(
            f"--labels: {counted(len(set(names)), 'label')}. Name two or more: --labels billing,shipping,login."
        )
    if problems:
        raise SettingsError(problems)
    return {name: meaning for name, meaning in pairs if name}


def _names_file(value: str) -> bool:
    """Whether labels are told by a file: one that is there, or a name that ends as one and says no meaning."""
    try:
        return Path(value).is_file() or (value.endswith((".txt", ".md")) and not re.search("[:,]", value))
    except (OSError, ValueError):  # too long for a path: it is a meaning
        return False


def label_first(
    pool: Table,
    labels: dict[str, str],
    count: int,
    output: Path | None = None,
    *,
    form: str = "table",
    force: bool = False,
    escape_formulas: bool = False,
    at_random: float = SHARE_AT_RANDOM,
    model: str = ENCODER,
    seed: int = 123,
    notify: Notify,
    progress: Progress,
) -> dict[str, Any]:
    """Choose ``count`` texts of a pool to label first, as many of each label by guess, and write them.

    labels: see `read_labels`. form, force, escape_formulas, at_random: see `label_next`. model: the encoder.
    Raises SettingsError, SourceError, BundleError where the file cannot be written, DataError where the pool is empty.
    """
    if count < len(labels) or not 0 <= at_random <= 1:
        raise SettingsError(
            f"-n {count}, --at-random {at_random:g}: a text or more for each of {len(labels)} labels, and a share from "
            "0 to 1."
        )
    check_form(output, form, [pool], force=force)
    rows, copies = unlabelled_rows(pool, np.zeros(len(pool.texts), dtype=np.bool_))
    generator = np.random.default_rng(seed)
    if len(rows) > MOST_TEXTS:
        notify(f"{pool.name}: of {len(rows):,} texts a random {MOST_TEXTS:,} are looked at.")
        rows = np.sort(generator.permutation(rows)[:MOST_TEXTS])
    texts = [pool.texts[row] for row in rows.tolist()]
    if blank := [pool.places[row] for row in rows.tolist() if is_blank(pool.texts[row])]:
        raise DataError([f"{place}: the text is empty. Fill it in, or pass --drop-empty." for place in blank])
    meanings = [
        f"{name.replace('_', ' ')}: {meaning}" if meaning else name.replace("_", " ")
        for name, meaning in labels.items()
    ]
    vectors = model_vectors(model, [*texts, *meanings], notify=notify, progress=progress)
    alike = vectors[: len(texts)] @ vectors[len(texts) :].T
    chosen = _choose(alike, vectors[: len(texts)], count, round(at_random * count), seed=seed)
    names = list(labels)
    found = [
        ToLabel(
            texts[row],
            pool.lines[rows[row]],
            cells_of(pool, int(rows[row]), LabelCells().added),
            [names[int(alike[row].argmax())]],
            float(alike[row].max()),
            why,
        )
        for row, why in chosen
    ]
    if output is not None:
        write_to_label(output, found, form, labels=LabelCells(), force=force, escape_formulas=escape_formulas)
    return {
        "pool": pool.name,
        "rows": len(pool.texts),
        "copies": copies,
        "labels": labels,
        "model": model,
        "chosen": [one.document() for one in found],
        "output": None if output is None else str(output),
    }


def _choose(alike: Vectors, vectors: Vectors, count: int, at_random: int, *, seed: int) -> list[tuple[int, str]]:
    """(text, why) in a random order. alike [texts, labels]: cosines of texts and names.

    A text goes to the label that it is most like. Of each label those are taken that are like it and like no other,
    spread; where a label has too few, the others give more.
    """
    generator = np.random.default_rng([seed, 1])
    drawn = generator.permutation(len(alike))[: min(at_random, count)]
    free = np.setdiff1d(np.arange(len(alike)), drawn)
    nearest = alike.argmax(axis=1)
    two = np.sort(alike, axis=1)[:, -2:]
    strength = 2 * two[:, 1] - two[:, 0]
    wanted = min(count - len(drawn), len(free))
    found: list[int] = []
    labels = np.argsort([np.count_nonzero(nearest[free] == label) for label in range(alike.shape[1])], kind="stable")
    for place, label in enumerate(labels.tolist()):  # the rarest first, so that what it lacks is shared out
        quota = -(-(wanted - len(found)) // (len(labels) - place))
        own = free[nearest[free] == label]
        found += _best(own, strength, vectors, quota, seed).tolist()
    chosen = [(int(row), AT_RANDOM) for row in drawn] + [(row, LIKE_ITS_NAME) for row in found]
    return [chosen[place] for place in generator.permutation(len(chosen))]


def _best(own: Rows, strength: Vectors, vectors: Vectors, count: int, seed: int) -> Rows:
    likely = own[np.argsort(-strength[own], kind="stable")][: _CLUSTERED * count]
    if len(likely) <= count:
        return likely
    return likely[spread_out(vectors[likely], count, np.ones(len(likely)), seed=seed)]
