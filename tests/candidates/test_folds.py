"""Which rows judge the candidates, and what ships of those that were judged."""

from __future__ import annotations

import numpy as np
import pytest

from classtune.candidates import folds, lexical
from classtune.candidates.folds import HeldOut
from classtune.config import resolve
from classtune.data.dataset import Material, prepare
from classtune.data.reading.tables import table_from_rows
from classtune.data.splits import Rows
from classtune.jobs import entries
from classtune.jobs.entries import cheap_entries
from classtune.stats import Floats


@pytest.fixture
def material() -> Material:
    words = ("free prize", "see you", "when is it")
    texts = [f"{words[row % 3]} {row} {row * 7}" for row in range(300)]
    labels = [words[row % 3] for row in range(300)]
    return prepare(table_from_rows(texts, labels, name="rows"), resolve(overrides={"split_by": "exact"}))


def test_of_many_rows_what_was_judged_ships_and_is_trained_once(
    material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = resolve(overrides={"split_by": "exact"})
    monkeypatch.setattr(folds, "ENOUGH_ROWS", 10)
    few = HeldOut.of(material, settings)
    assert not few.final_is_judged
    assert len(few.final) == 240
    monkeypatch.setattr(folds, "MANY_ROWS", 200)
    many = HeldOut.of(material, settings)
    assert many.final_is_judged
    assert many.final is material.splits.train
    learned: list[Rows] = []
    fit = "classtune.jobs.entries.fit_tfidf"
    from classtune.candidates.lexical import fit_tfidf

    def counted(texts: list[str], *args: object, **told: object) -> object:
        learned.append(np.array(len(texts)))
        return fit_tfidf(texts, *args, **told)  # type: ignore[arg-type]

    monkeypatch.setattr(fit, counted)
    cheap_entries(material, settings, few)
    assert learned == [210, 240]
    learned.clear()
    found, _ = cheap_entries(material, settings, many)
    assert learned == [210]
    held_out: Floats = found[-1].held_out
    assert not np.isnan(held_out).any()


def test_what_takes_long_is_announced_and_what_is_left_out_is_noted(
    material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = resolve(overrides={"split_by": "exact"})
    monkeypatch.setattr(lexical, "MANY_ROWS", 100)
    monkeypatch.setattr(lexical, "MOST_CHARACTERS", 2200)
    monkeypatch.setattr(entries, "LONG_SECONDS", 0.0)
    monkeypatch.setattr(folds, "MANY_ROWS", 200)
    monkeypatch.setattr(folds, "ENOUGH_ROWS", 10)
    notes: list[str] = []
    ahead: list[str] = []
    shown: list[tuple[str, int, int]] = []
    cheap_entries(
        material,
        settings,
        HeldOut.of(material, settings),
        note=notes.append,
        notify=ahead.append,
        progress=lambda *told: shown.append(told),
    )
    (note,) = notes
    assert note.startswith("TF-IDF learns from 1")
    assert " of 210 training rows" in note
    assert ahead == ["TF-IDF: about 1 min for 210 texts."]
    assert shown[0][0] == "words"
    assert shown[-1] == ("words", 210, 210)
