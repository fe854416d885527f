from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classtune.config import Settings, resolve
from classtune.data.dataset import Material, prepare
from classtune.data.folds import deal
from classtune.data.reading.tables import Table, TableFormat, read_table, table_from_rows
from classtune.data.splits import grouped_split
from classtune.data.versions import RowHashes
from classtune.errors import DataError, SettingsError

WORDS = ["river", "stone", "copper", "violin", "harbour", "lantern", "meadow", "thunder", "velvet", "orchard"]


def sentence(number: int) -> str:
    """A text of its own: no two share four of their words in a row."""
    generator = np.random.default_rng(number)
    return " ".join(generator.choice(WORDS, size=8)) + f" {number}"


def table(labels: list[Any], *, name: str = "rows", first: int = 0, groups: list[str] | None = None) -> Table:
    found = table_from_rows([sentence(first + row) for row in range(len(labels))], labels, name=name)
    return replace(found, groups=groups)


def told(**settings: Any) -> Settings:
    return resolve(overrides=settings)


def texts_of(material: Material, part: str) -> set[str]:
    return {material.texts[row] for row in getattr(material.splits, part)}


SETS = [("joy",), ("anger", "joy"), (), ("anger",)] * 15


def test_one_label_a_row() -> None:
    labels = ["spam", "ham", "ham"] * 20
    material = prepare(table(labels), told())
    assert not material.multi
    assert [material.labels[number] for number in material.truth] == labels
    assert material.truth.dtype == np.int64
    assert material.data.audit.classes == {"ham": 40, "spam": 20}
    assert material.data.audit.rows == 60
    assert {key: material.data.document()[key] for key in ("name", "duplicates", "left_out")} == {
        "name": "rows", "duplicates": 0, "left_out": {},
    }  # fmt: skip


def test_classes_that_a_given_part_lacks_are_said() -> None:
    rows = table(["a", "b", "c"] * 20)
    told_of = prepare(rows, told(), validation=table(["a"] * 8, first=500), test=table(["a", "c"] * 4, first=600)).notes
    validation, test = (next(note for note in told_of if word in note) for word in ("validation row:", "test row"))
    assert validation.startswith("labels without a validation row: 'b', 'c'. Nothing is fitted to them: epoch, cal")
    assert test == "labels without a test row, trained but not judged: 'b'."
    whole = prepare(rows, told(), validation=table(["a", "b", "c"], first=500), test=table(["c", "b", "a"], first=600))
    assert not [note for note in whole.notes if "labels without" in note]
    several = prepare(table(SETS), told(), validation=table([("joy",), ()], first=500))
    assert any(note.startswith("labels without a validation row: 'anger'.") for note in several.notes)


def test_several_labels_a_row() -> None:
    test = table([("joy",), ()], name="given", first=500)
    material = prepare(table(SETS), told(), test=test)
    assert material.multi
    assert material.truth.dtype == np.bool_
    assert material.labels == ["anger", "joy"]
    names = np.array(material.labels)
    assert [tuple(names[row]) for row in material.truth] == [*SETS, ("joy",), ()]
    assert material.data.audit.classes == {"joy": 30, "anger": 30}
    assert material.splits.test.tolist() == [60, 61]
    assert material.splits.sizes()["validation"] == 6


def test_labels_too_rare_for_a_part_train_and_are_told() -> None:
    material = prepare(table([*SETS, ("grief", "joy"), ("once",)]), told())
    assert {60, 61} <= set(material.splits.train.tolist())
    unheard, unjudged = material.notes
    assert unheard.startswith("labels without a validation row: 'grief', 'once'. ")
    assert unjudged == "labels without a test row, trained but not judged: 'grief', 'once'."


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"balance": "undersample"}, 'balance = "undersample" needs one label a row: rows has several.'),
        ({"split": "llms-from-scratch"}, 'split = "llms-from-scratch" needs one label a row: rows has several.'),
        ({"split_by": "author"}, "split_by = 'author': rows was read without such a column."),
    ],
)
def test_settings_that_do_not_fit_the_table(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        prepare(table(SETS), told(**settings))
    assert [problem[: len(message)] for problem in caught.value.problems] == [message]


def test_unknown_labels_of_given_rows_are_all_listed() -> None:
    given = table([("joy", "angr"), (), ("sad",)], name="given", first=500)
    with pytest.raises(DataError) as caught:
        prepare(table(SETS), told(), validation=given)
    assert caught.value.problems == [
        "given row 1: the label 'angr' is not in rows. Did you mean 'anger'?",
        "given row 3: the label 'sad' is not in rows. Known: anger, joy.",
    ]
    one = table(["ham", "spam"] * 20)
    with pytest.raises(DataError, match="given row 1: 2 labels, and rows of rows have one"):
        prepare(one, told(), test=table([["ham", "spam"], ["ham"]], name="given", first=500))
    assert prepare(one, told(), test=table([["spam"]], name="given", first=500)).truth[-1] == 1


def near_pairs() -> Table:
    """Rows 2n and 2n + 1 differ in their last letter."""
    texts = [f"{sentence(number)}{end}" for number in range(40) for end in "ab"]
    return table_from_rows(texts, ["ham", "ham", "spam", "spam"] * 20, name="rows")


def test_near_copies_never_cross_a_split() -> None:
    material = prepare(near_pairs(), told())
    assert material.splits.sizes() == {"train": 56, "validation": 8, "test": 16}
    for rows in (material.splits.train, material.splits.validation, material.splits.test):
        assert {row // 2 for row in rows} & {row // 2 for row in set(range(80)) - set(rows.tolist())} == set()
    assert material.data.audit.near_duplicates == 40
    exact = prepare(near_pairs(), told(split_by="exact"))
    assert np.unique(exact.groups).size == 80
    labels = near_pairs().labels or []
    by_hand = grouped_split(near_pairs().texts, labels, validation=0.1, test=0.2, seed=123)
    assert exact.splits.test.tolist() == by_hand.test.tolist()


def test_many_copies_among_test_rows_are_said() -> None:
    test = table_from_rows(["a new text", "A new  text", "another one"], ["ham", "ham", "spam"], name="given")
    assert prepare(near_pairs(), told(), test=test).notes[-1].startswith("1 of the 3 test rows are copies of others: ")
    assert not prepare(near_pairs(), told(split_by="exact")).notes


def test_near_copies_of_given_rows_are_not_trained_on() -> None:
    rows = near_pairs()
    test = table_from_rows([rows.texts[0].upper(), sentence(1) + "c"], ["ham", "spam"], name="given")
    near = prepare(rows, told(), test=test)
    assert texts_of(near, "train") | texts_of(near, "validation") == set(rows.texts[4:])
    assert near.notes == [
        "rows of rows that stand in given too or are near copies of rows there are left out of training: 4."
    ]
    exact = prepare(rows, told(split_by="exact"), test=test)
    assert texts_of(exact, "train") | texts_of(exact, "validation") == set(rows.texts[1:])
    assert exact.notes == ["rows of rows that stand in given too are left out of training: 1."]
    kinds = {finding.kind for finding in exact.data.audit.findings}
    assert {"leak", "near-leak"} <= kinds
    with pytest.raises(DataError, match=r"^rows: all of its rows stand in rows too.*: nothing is left to train on"):
        prepare(rows, told(), validation=rows)


def test_a_column_never_crosses_a_split() -> None:
    authors = [f"author {row // 3}" for row in range(90)]
    authors[5] = authors[77] = ""
    rows = table(["ham", "spam"] * 45, groups=authors)
    material = prepare(rows, told(split_by="author"))
    groups = [{authors[row] for row in part} - {""} for part in material.splits.__dict__.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 30
    assert material.notes == ["2 rows with nothing in 'author': each is split by its text alone."]
    assert material.groups[5] != material.groups[77]
    test = table(["ham", "spam"], name="given", first=500, groups=["author 2", ""])
    material = prepare(rows, told(split_by="author"), test=test)
    assert texts_of(material, "train") | texts_of(material, "validation") == set(rows.texts[:6] + rows.texts[9:])
    assert (
        "rows of rows that stand in given too or share their 'author' with rows there are left out of training: 3."
        in material.notes[1]
    )
    with pytest.raises(SettingsError, match="given was read without such a column"):
        prepare(rows, told(split_by="author"), test=replace(test, groups=None))


def test_a_class_that_given_rows_use_up_is_refused() -> None:
    rows = table(["ham", "spam"] * 20 + ["eggs"] * 2)
    given = table_from_rows(rows.texts[-2:], ["eggs", "eggs"], name="given")
    with pytest.raises(DataError, match="rows: no row is left to train these labels: 'eggs'"):
        prepare(rows, told(), test=given)


def test_the_copies_of_the_messages_stay_together(real: Callable[[str], Path]) -> None:
    rows = read_table(real("sms_spam/SMSSpamCollection"), TableFormat(quoting=False))
    material = prepare(rows, told())
    assert material.data.audit.duplicates == 415
    sizes = material.splits.sizes()
    assert [sizes["validation"], sizes["test"]] == [pytest.approx(557, abs=3), pytest.approx(1115, abs=3)]
    train, test = (set(material.groups[part].tolist()) for part in (material.splits.train, material.splits.test))
    assert not train & test


def test_go_emotions_is_split_with_every_label_in_its_share(real: Callable[[str], Path]) -> None:
    rows = read_table(real("goemotions/dev.tsv"), TableFormat(header=False, text="1", label="2", label_separator=","))
    material = prepare(rows, told())
    total, test = material.truth.sum(axis=0), material.truth[material.splits.test].sum(axis=0)
    assert np.abs(test - 0.2 * total).max() <= 0.05 * total.max()
    rare = np.argsort(total)[:8]
    assert np.abs(test[rare] - 0.2 * total[rare]).max() <= 2.5


def test_copies_that_look_the_same_are_in_one_part_and_in_one_fold() -> None:
    """Characters without a width, the forms of Unicode, case and blanks make no other text."""
    shown = [f"the café number {number} opens at {number}" for number in range(60)]
    unseen = [unicodedata.normalize("NFD", text.upper()).replace(" ", "\u200b \xad ") + "\ufeff" for text in shown]
    rows = table_from_rows([*shown, *unseen], ["a", "b"] * 60, name="rows")
    material = prepare(rows, told(split_by="exact", validation=0.2, test=0.3))
    assert material.groups.tolist() == [*range(60)] * 2
    assert material.data.audit.duplicates == 60
    parts = [set((getattr(material.splits, part) % 60).tolist()) for part in ("train", "validation", "test")]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 60
    fold = deal(material.truth, 5, seed=1, groups=material.groups)
    assert fold[:60].tolist() == fold[60:].tolist()
    assert RowHashes.of(shown, np.arange(10)).known(unseen).all()
