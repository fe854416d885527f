"""What a new version must pass before `serve --watch` takes it up: a table on which it is as good as the one served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from classtune.data.catalogue import open_data
from classtune.data.reading.columns import TableFormat
from classtune.data.versions import hashes
from classtune.errors import ClasstuneError
from classtune.inference.tables import as_trained, of_bundles
from classtune.jobs.side_by_side import answered, compared, like_with_like
from classtune.server.registry import Gate, LoadedBundle
from classtune.stats import BoolArray


class WorseVersion(ClasstuneError):
    """A version that is not at least as good as the one that answers."""


def gate_of(table: str, folders: list[Path]) -> Gate:
    """A gate by the labelled rows of a table, which is read anew each time: rows may be added while the server runs.

    The gate raises WorseVersion for a version that fails it (see `compared`), and else says how both compare; it raises
    DataError where the table cannot judge both. Here that is found out for the bundles as they are.
    """
    for folder in folders:
        open_data(table, as_trained(TableFormat(), folder))

    def gate(old: LoadedBundle, new: LoadedBundle) -> str:
        rows = open_data(table, of_bundles(TableFormat(), [old.record, new.record]))
        rows = rows.with_known({*old.predictor.labels, *new.predictor.labels})
        decisions = like_with_like([one.predictor.decisions for one in (old, new)], lambda line: None)
        sides = [
            answered(one.version, own, one.predictor.logits(rows.texts, places=rows.places))
            for one, own in zip((old, new), decisions, strict=True)
        ]
        found = compared(sides[0], sides[1], rows, learned=_learned((old, new), rows.texts)).gate
        if not found.passed:
            raise WorseVersion(f"--at-least-as-good {table}: {found.sentence}")
        return found.sentence

    return gate


def _learned(versions: Sequence[LoadedBundle], texts: Sequence[str]) -> dict[str, BoolArray]:
    """Which texts each version learned from [texts], where it knows its rows: they are no test."""
    own = hashes(texts)
    return {one.version: np.isin(own, one.learned) for one in versions if one.learned is not None}
