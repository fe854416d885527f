"""Test rows stay test rows, learned rows never become any, and what was added holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classtune.config import resolve
from classtune.data.dataset import prepare
from classtune.data.reading.cells import RowText, cells_beside
from classtune.data.reading.tables import Table, table_from_rows
from classtune.data.splits import grouped_split, joined_groups
from classtune.data.versions import Earlier, RowHashes, hashes, with_added
from classtune.errors import DataError

SHARES: Any = {"validation": 0.1, "test": 0.2}


def topics(count: int, start: int = 0) -> tuple[list[str], list[str]]:
    return [f"text {n}" for n in range(start, start + count)], [("a", "b", "c")[n % 3] for n in range(count)]


def earlier_of(texts: list[str], test: np.ndarray, trains: int = 0, rows: int = 0) -> Earlier:
    marks = np.arange(rows) >= rows - trains
    return Earlier(RowHashes.of(texts, test), marks)


def test_a_copy_has_the_hash_of_its_text() -> None:
    one, copy, other = hashes(["Win  a PRIZE", "win a prize", "win a price"])
    assert one == copy != other


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 99),
    groups=st.lists(st.integers(0, 60), min_size=150, max_size=150),
    added=st.integers(0, 40),
)
def test_old_rows_keep_their_side_and_groups_are_not_divided(seed: int, groups: list[int], added: int) -> None:
    texts, labels = topics(150)
    old = grouped_split(texts[:100], labels[:100], **SHARES, seed=seed)
    earlier = earlier_of(texts[:100], old.test, added, 150)
    notes: list[str] = []
    # The old version knew no groups: new rows may link its test rows with others.
    parts = earlier.split(texts, labels, np.array(groups), **SHARES, seed=seed, notes=notes)
    test, rest = set(parts.test.tolist()), set(parts.train.tolist()) | set(parts.validation.tolist())
    assert set(old.test.tolist()) <= test
    assert set(range(100)) - set(old.test.tolist()) <= rest
    assert not test & rest
    together = joined_groups(texts, groups)
    new_tests = {row for row in test if row >= 100}
    assert not {together[row] for row in new_tests} & {together[row] for row in rest}
    of_old_tests = {together[row] for row in old.test}
    for row in range(150 - added, 150):  # what was added tests only as the like of what tested before
        assert row in rest or together[row] in of_old_tests
    assert not {together[row] for row in rest if row >= 100} & of_old_tests


def test_a_share_of_the_new_rows_tests_and_new_labels_with_them() -> None:
    texts, labels = topics(100)
    old = grouped_split(texts, labels, **SHARES, seed=1)
    more = [f"something else {n}" for n in range(50)]
    earlier = earlier_of(texts, old.test, rows=150)
    parts = earlier.split([*texts, *more], [*labels, *["new"] * 50], None, **SHARES, seed=1, notes=[])
    assert sum(row >= 100 for row in parts.test) == 10
    assert abs(len(parts.validation) - 15) <= 2


def table(lines: dict[str, str], name: str = "table") -> Table:
    return table_from_rows(list(lines), list(lines.values()), name=name)


def test_added_labels_hold_and_the_last_of_them() -> None:
    old = table({"one": "a", "Two": "a", "three": "b"})
    first, second = table({"two": "b", "four": "b"}, "first"), table({"FOUR": "c", "one": "a"}, "second")
    merged = with_added(old, [first, second])
    assert merged.table.texts == ["one", "Two", "three", "FOUR"]
    assert merged.table.labels == ["a", "b", "b", "c"]
    assert merged.added.tolist() == [False, False, False, True]
    assert merged.notes == ["first and second: 1 new text; 2 of table, which gets another label in 1 row."]
    assert merged.table.places[3] == "table and first and second row 4"


def test_several_labels_are_added_to_several_only() -> None:
    several = table_from_rows(["one", "two"], [["a", "b"], []], name="several")
    more = table_from_rows(["two", "three"], [["a"], ["b"]], name="more")
    merged = with_added(several, [more]).table
    assert merged.label_sets == [("a", "b"), ("a",), ("b",)]
    assert merged.labels == ["a, b", "a", "b"]
    with pytest.raises(DataError, match="one: one label a row, and several has several labels"):
        with_added(several, [table({"x": "a"}, "one")])


def test_labels_that_are_several_in_one_are_refused_and_rows_without_a_label_are_told() -> None:
    """As where a suggestion, or an answer of `predict`, was taken over with another separator than the table's."""
    table = replace(table_from_rows(["a", "b"], [["x"], ["y", "x, y, z"]], name="t.csv"), label_separator="|")
    wrong = table_from_rows(["c", "d", "e"], [["x, y"], ["y/x"], ["x, y"]], name="u.csv")
    with pytest.raises(DataError) as refused:
        with_added(table, [wrong])
    assert refused.value.problems == [
        "u.csv rows 1, 3: 'x, y' is several labels of t.csv in one. Write them apart, with '|' between them.",
        "u.csv row 2: 'y/x' is several labels of t.csv in one. Write them apart, with '|' between them.",
    ]
    right = table_from_rows(["c", "d", "e"], [["x, y, z"], ["x/new"], []], name="u.csv")
    merged = with_added(table, [right])
    assert (merged.table.label_sets or [])[2:] == [("x, y, z",), ("x/new",), ()]
    assert merged.notes[-1].startswith("u.csv: 1 row without a label, to teach that none holds.")


def test_a_test_file_comes_before_the_earlier_test_rows() -> None:
    texts, labels = topics(90)
    held = table_from_rows(*topics(30, start=500), name="held")
    material = prepare(
        table_from_rows(texts, labels, name="t"),
        resolve(overrides={"split_by": "exact"}),
        test=held,
        earlier=earlier_of(texts, np.arange(10), rows=90),
    )
    assert [material.texts[row] for row in material.splits.test] == held.texts


def test_an_added_label_holds_for_the_text_with_its_cells() -> None:
    def rows(name: str, *lines: tuple[str, str, str]) -> Table:
        texts = [RowText(text, {"product": product}) if product else text for text, product, _ in lines]
        return replace(table_from_rows(texts, [label for *_, label in lines], name=name), beside=("product",))

    old = rows("old", ("help", "card", "a"), ("help", "app", "a"), ("why", "card", "a"), ("why", "app", "a"))
    merged = with_added(old, [rows("more", ("Help", "app", "b"), ("why", "", "c"), ("help", "web", "d"))]).table
    assert merged.labels == ["a", "b", "c", "c", "d"]
    assert dict(cells_beside(merged.texts[4])) == {"product": "web"}
