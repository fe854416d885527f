"""Whether an export answers as its bundle does, text by text, and what happens where it does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from classtune.bundle import Bundle, read_held_out
from classtune.data.reading.tables import Table
from classtune.errors import ClasstuneError, counted
from classtune.explain.neighbours import Neighbours
from classtune.stats import BoolArray, Floats

# Share of the labels that an export may change.
MOST_CHANGED = {"fp32": 0.0, "int8": 0.005}
CHECKED_TEXTS = 1000


def texts_to_check(bundle: Bundle, data: Table | None) -> tuple[list[str], str]:
    """At most CHECKED_TEXTS different texts, evenly from all, and what they are."""
    if data is not None:
        candidates, texts_are = list(data.texts), data.name
    elif held_out := read_held_out(bundle.folder):
        candidates, texts_are = held_out, "held-out texts of the bundle"
    elif neighbours := Neighbours.load(bundle.folder):  # of an earlier classtune
        candidates, texts_are = neighbours.texts, "training texts of the bundle"
    else:
        candidates, texts_are = [entry["text"] for entry in bundle.record["golden"]], "golden texts of the bundle"
    candidates = list(dict.fromkeys(candidates))
    count = min(len(candidates), CHECKED_TEXTS)
    return [candidates[place * len(candidates) // count] for place in range(count)], texts_are


def compare(expected: Floats, scores: Floats, answers: Callable[[Floats], BoolArray]) -> dict[str, Any]:
    """How two tables of scores [texts, labels] agree. A score that is no number counts as another label."""
    broken = ~np.isfinite(scores).all(axis=1)
    changed = (answers(expected) != answers(np.nan_to_num(scores))).any(axis=1) | broken
    return {
        "texts": len(expected),
        "changed_labels": int(changed.sum()),
        "changed_share": float(changed.mean()) if len(expected) else 0.0,
        "largest_difference": float(np.abs(expected - scores).max()) if len(expected) else 0.0,
    }


def let_pass(
    check: dict[str, Any], output: Path, of: str, precision: str, *, force: bool, notify: Callable[[str], None]
) -> None:
    """Say how an export agrees with ``of``, what it was made of. Raises ClasstuneError where it changes more labels
    than MOST_CHANGED, unless it is written by ``force``."""
    notify(
        f"compared with {of} on {counted(check['texts'], 'text')} ({check['texts_are']}): "
        f"{counted(check['changed_labels'], 'other label')}, scores differ by at most {check['largest_difference']:.2g}"
    )
    if check["changed_share"] <= MOST_CHANGED[precision]:
        return
    changed = (
        f"{output}: the {precision} export changes the label of {check['changed_labels']:,} of {check['texts']:,} "
        f"texts ({100 * check['changed_share']:.1f} %; at most {100 * MOST_CHANGED[precision]:g} % are let pass)."
    )
    if not force:
        way = "Export without --int8" if precision == "int8" else "Report it"
        raise ClasstuneError(f"{changed} {way}, or pass --force to write it all the same.")
    notify(f"{changed} Written all the same.")
