from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import TypedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classtune.data.reading.cells import without_unseen
from classtune.data.reading.tables import TableFormat, read_table
from classtune.data.splits import (
    Splits,
    fold,
    grouped_split,
    joined_groups,
    rarest_labels,
    rows_without_leaks,
    tutorial_split,
    undersample,
)
from classtune.errors import DataError, SettingsError


class Shares(TypedDict):
    validation: float
    test: float


SHARES: Shares = {"validation": 0.1, "test": 0.2}
VARIANTS: list[Callable[[str], str]] = [
    str,
    str.upper,
    lambda text: f"  {text}\n",
    lambda text: text.replace("i", "ｉ"),
    lambda text: "\ufeff" + text.replace("in", "i\u200b\xadn\ufe0f"),
]
# Few bodies in many guises, so that most tables hold copies; a body stands under several labels.
random_rows = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from(VARIANTS), st.sampled_from("abc")), min_size=1, max_size=150
)


def parts(splits: Splits) -> list[list[int]]:
    return [splits.train.tolist(), splits.validation.tolist(), splits.test.tolist()]


@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


def test_folding_sees_through_case_width_and_white_space() -> None:
    assert fold(" STRASSE\u00a0\tﬁn ") == fold("straße fin")
    assert fold("résumé") != fold("resume")
    assert fold("a\u2800b") == fold("a b") != fold("ab")  # a blank of braille parts words


@pytest.mark.parametrize("unseen", ["\u200b", "\ufeff", "\xad", "\ufe0f", "\u2060", "\u202e", "\U000e0101", "\x07"])
def test_folding_sees_through_what_nobody_sees_and_through_the_forms_of_unicode(unseen: str) -> None:
    assert fold(f"{unseen}Ca{unseen}fe{unseen}\u0301 crème") == fold("CAF\xc9 cre\u0300me")


def test_no_fold_leaves_what_folding_takes_away() -> None:
    every = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    assert [character for character in every if without_unseen(fold(character)) != fold(character)] == []


@given(random_rows, st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.1, 0.3]), st.sampled_from([0.0, 0.2, 0.4]))
def test_no_text_crosses_a_split_and_every_row_is_used_once(
    rows: list[tuple[int, Callable[[str], str], str]], seed: int, validation: float, test: float
) -> None:
    # three texts of each label's own make every table splittable
    texts = [variant(f"win {body}") for body, variant, _ in rows] + [f"{label}{n}" for label in "abc" for n in range(3)]
    labels = [label for _, _, label in rows] + [label for label in "abc" for _ in range(3)]
    splits = grouped_split(texts, labels, validation=validation, test=test, seed=seed)
    assert sorted(chain.from_iterable(parts(splits))) == list(range(len(texts)))
    train, held, tested = ({fold(texts[row]) for row in part} for part in parts(splits))
    assert len(train | held | tested) == len(train) + len(held) + len(tested)
    for part, share in zip(parts(splits), (1, validation, test), strict=True):
        assert {labels[row] for row in part} >= set("abc") if share else not part


@given(st.lists(st.integers(1, 12), min_size=3, max_size=60), st.integers(0, 99))
def test_shares_of_each_class_are_kept_to_within_a_group(copies: list[int], seed: int) -> None:
    texts = [f"{label} {n}" for label in "ab" for n, count in enumerate(copies) for _ in range(count)]
    labels = [text[0] for text in texts]
    splits = grouped_split(texts, labels, **SHARES, seed=seed)
    for label in "ab":
        for rows, share in ((splits.validation, 0.1), (splits.test, 0.2)):
            size = sum(labels[row] == label for row in rows)
            assert abs(size - share * sum(copies)) <= max(copies) + 1


def test_many_small_classes_do_not_add_up_to_wrong_sizes() -> None:
    labels = [
        f"class {n % 100}" for n in range(700)
    ]  # 0.7 and 1.4 rows of each would be rounded the same way 100 times
    splits = grouped_split([str(n) for n in range(700)], labels, **SHARES, seed=1)
    assert splits.sizes() == {"train": 460, "validation": 100, "test": 140}


def test_a_group_of_two_labels_counts_for_the_most_common() -> None:
    texts = ["same"] * 3 + [f"a{n}" for n in range(3)] + [f"b{n}" for n in range(3)]
    labels = ["b", "a", "a", *"aaa", *"bbb"]
    with pytest.raises(DataError, match="label 'b': 2 distinct texts in 3 rows"):
        grouped_split(texts[:-1], labels[:-1], **SHARES, seed=0)
    assert grouped_split(texts, labels, **SHARES, seed=0).sizes()["test"] >= 2


@settings(deadline=None)  # the first joining of groups imports scipy
@given(random_rows, st.data())
def test_rows_of_a_group_and_copies_of_their_texts_stay_together(
    rows: list[tuple[int, Callable[[str], str], str]], data: st.DataObject
) -> None:
    texts = [variant(f"win {body}") for body, variant, _ in rows] + [f"{label}{n}" for label in "abc" for n in range(3)]
    labels = [label for _, _, label in rows] + [label for label in "abc" for _ in range(3)]
    some = data.draw(st.lists(st.sampled_from("pqrst"), min_size=len(rows), max_size=len(rows)))
    groups = [*some, *(f"{n}" for n in range(9))]
    splits = grouped_split(texts, labels, **SHARES, seed=data.draw(st.integers(0, 99)), groups=groups)
    assert sorted(chain.from_iterable(parts(splits))) == list(range(len(texts)))
    for shared in (list(map(fold, texts)), groups):
        train, held, tested = ({shared[row] for row in part} for part in parts(splits))
        assert len(train | held | tested) == len(train) + len(held) + len(tested)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=60))
def test_joined_groups_are_what_chains_of_equals_link(rows: list[tuple[int, int]]) -> None:
    found = joined_groups([f"text {text}" for text, _ in rows], [group for _, group in rows]).tolist()
    expected = list(range(len(rows)))
    for _ in rows:  # the lowest row reached spreads until it stands still
        for one, (text, group) in enumerate(rows):
            near = [other for other, row in enumerate(rows) if row[0] == text or row[1] == group]
            expected[one] = min(expected[other] for other in near)
    assert found == [sorted(set(expected)).index(first) for first in expected]


def test_a_group_for_each_row_changes_nothing() -> None:
    texts = [f"t{n % 70}" for n in range(200)]
    labels = ["ab"[n % 70 % 2] for n in range(200)]
    one, other = (grouped_split(texts, labels, **SHARES, seed=3, groups=groups) for groups in (None, range(200)))
    assert parts(one) == parts(other)


def test_a_giant_group_trains_and_the_shares_are_kept() -> None:
    labels = ["a"] * 90 + ["b"] * 30
    groups = ["thread" if n < 30 else str(n) for n in range(120)]
    for seed in range(200):
        splits = grouped_split([f"t{n}" for n in range(120)], labels, **SHARES, seed=seed, groups=groups)
        assert set(range(30)) <= set(splits.train.tolist())
        assert splits.sizes() == {"train": 84, "validation": 12, "test": 24}


def test_a_class_in_too_few_groups_is_told_the_way_out() -> None:
    labels, groups = ["a"] * 6 + ["b"] * 6, [0] * 5 + [1] + list(range(2, 8))
    with pytest.raises(DataError) as caught:
        grouped_split([f"t{n}" for n in range(12)], labels, **SHARES, seed=0, groups=groups)
    assert caught.value.problems == [
        "label 'a': 2 groups of rows that stay together in 6 rows, and the split needs 3. Add texts, merge it with "
        "another label, or leave it out. Or keep fewer rows together: --split-by exact."
    ]
    with pytest.raises(DataError, match="12 texts and 3 groups"):
        grouped_split([f"t{n}" for n in range(12)], labels, **SHARES, seed=0, groups=[1, 2, 3])


def test_rows_of_several_labels_are_stratified_by_their_rarest() -> None:
    sets: list[tuple[str, ...]] = [("joy",), ("joy",), ("anger", "joy"), ("grief", "joy"), ("anger", "grief"), ()]
    assert rarest_labels(sets) == ["joy", "joy", "anger", "grief", "anger", ""]  # of equals, by name
    sets = [*[("joy",)] * 300, *[("grief", "joy")] * 30, *[()] * 100, ("joy", "once")]
    splits = grouped_split([str(n) for n in range(431)], rarest_labels(sets), **SHARES, seed=0, rare="train")
    for part, grief, none in ((splits.test, 6, 20), (splits.validation, 3, 10)):
        assert sum("grief" in sets[row] for row in part) == grief
        assert sum(not sets[row] for row in part) == none
    assert 430 in splits.train  # a label of one row can only train
    with pytest.raises(DataError, match="label 'once': 1 distinct text in 1 row, "):
        grouped_split([str(n) for n in range(431)], rarest_labels(sets), **SHARES, seed=0)
    with pytest.raises(DataError, match="no row has a label"):
        grouped_split(["a", "b"], ["", ""], **SHARES, seed=0, rare="train")


def test_texts_that_stand_under_two_labels_are_told_and_splitting_less_strictly_is_no_way_out() -> None:
    texts = [f"t{n % 10}" for n in range(40)]  # each three times a and once b
    labels = ["b" if n < 10 else "a" for n in range(40)]
    said = "10 of its texts stand under other labels too, and count there. Add texts, merge it with another label, or "
    for groups, kind in ((None, "distinct texts"), (list(range(40)), "groups of rows that stay together")):
        with pytest.raises(DataError) as caught:
            grouped_split(texts, labels, **SHARES, seed=0, groups=groups)
        told = f"label 'b': 0 {kind} in 10 rows, and the split needs 3. {said}leave it out."
        assert caught.value.problems == [told]


def test_every_class_with_too_few_texts_is_listed() -> None:
    texts = ["x", "X ", "x", "y", "z", *(f"t{n}" for n in range(9))]
    labels = ["rare", "rare", "rare", "two", "two", *["fine"] * 9]
    with pytest.raises(DataError) as caught:
        grouped_split(texts, labels, **SHARES, seed=0)
    advice = "and the split needs 3. Add texts, merge it with another label, or leave it out."
    assert caught.value.problems == [
        f"label 'rare': 1 distinct text in 3 rows, {advice}",
        f"label 'two': 2 distinct texts in 2 rows, {advice}",
    ]
    splits = grouped_split(texts[3:], labels[3:], validation=0, test=0.2, seed=0)  # two texts are enough for two parts
    assert splits.sizes()["validation"] == 0
    assert {labels[3:][row] for row in splits.test} == {"two", "fine"}


def test_one_class_only() -> None:
    with pytest.raises(DataError, match=r"every row has the label 'spam' \(2\): a classifier needs two"):
        grouped_split(["a", "b"], ["spam", "spam"], **SHARES, seed=0)
    with pytest.raises(DataError, match="two classes: got 1"):
        tutorial_split(["a", "b"], ["spam", "spam"])


def test_impossible_shares() -> None:
    with pytest.raises(SettingsError, match="leave training rows"):
        grouped_split(["a", "b"], ["x", "y"], validation=0.5, test=0.5, seed=0)


def test_the_split_depends_on_the_seed_alone() -> None:
    program = """if True:
        import sys
        from classtune.data.splits import grouped_split
        texts, labels = [f"t{n % 90}" for n in range(99)], ["ab"[n % 90 % 2] for n in range(99)]
        splits = grouped_split(texts, labels, validation=0.1, test=0.2, seed=int(sys.argv[1]))
        print(splits.test.tolist(), splits.validation.tolist())
    """

    def printed(seed: int, hash_seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", program, str(seed)]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    assert printed(1, "1") == printed(1, "2") != printed(2, "1")


def test_the_tutorials_rows(real: Callable[[str], Path]) -> None:
    table = read_table(real("sms_spam/SMSSpamCollection"), TableFormat(quoting=True))
    assert table.labels is not None
    assert Counter(table.labels) == {"ham": 4825, "spam": 747}
    splits = tutorial_split(table.texts, table.labels)
    assert splits.sizes() == {"train": 1045, "validation": 149, "test": 300}
    hashes = [
        hashlib.sha256("\n".join(f"{table.labels[row]}\t{table.texts[row]}" for row in part).encode()).hexdigest()
        for part in parts(splits)
    ]
    assert hashes == [
        "8a066fcb76c3d41668e83c5da80fb5968f053b1eef42eea2f875cae5fe44a423",
        "88ba1d478c04b4698721c60b7ef26cdf5630f8bb9ae231a4b0b95be951f46be7",
        "14bfb3d256e166ea179210b8617d1332af94ad5122d0439bf6ae1b65f41d1a8e",
    ]


def test_a_leak_free_split_of_the_messages(real: Callable[[str], Path]) -> None:
    table = read_table(real("sms_spam/SMSSpamCollection"))
    assert table.labels is not None
    splits = grouped_split(table.texts, table.labels, **SHARES, seed=123)
    assert [splits.sizes()[part] for part in ("validation", "test")] == [
        pytest.approx(557, abs=2),
        pytest.approx(1115, abs=2),
    ]
    train, test = ([table.texts[row] for row in rows] for rows in (splits.train, splits.test))
    assert len(rows_without_leaks(train, test)) == len(train)
    assert np.mean([table.labels[row] == "spam" for row in splits.test]) == pytest.approx(747 / 5574, abs=0.002)


def test_undersampling_leaves_as_many_of_each() -> None:
    labels = ["a"] * 10 + ["b"] * 3 + ["c"] * 5
    rows = undersample(labels, range(1, 18), seed=5)
    assert Counter(labels[row] for row in rows) == {"a": 3, "b": 3, "c": 3}
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert 0 not in rows
    assert (
        undersample(labels, range(1, 18), seed=5).tolist()
        == rows.tolist()
        != undersample(labels, range(1, 18), 6).tolist()
    )


def test_leaks_between_given_files() -> None:
    train, test = ["Hello", "one", "hello ", "two"], ["three", " HELLO", "TWO"]
    assert rows_without_leaks(train, test).tolist() == [1]
    assert rows_without_leaks(test, train).tolist() == [0]
