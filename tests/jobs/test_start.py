"""The first texts to label: as many of each label as can be guessed, and no more said than is known."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from small import Run, write_csv

from classtune.data.reading.tables import table_from_rows
from classtune.errors import DataError, SettingsError
from classtune.jobs.start import LIKE_ITS_NAME, _choose, label_first, read_labels
from classtune.jobs.to_label import AT_RANDOM

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")


def quiet(*_: object) -> None:
    """Nobody asked."""


def test_labels_are_names_or_names_with_a_meaning_or_lines_of_a_file(tmp_path: Path) -> None:
    assert read_labels(["billing, shipping", "login"]) == {"billing": "", "shipping": "", "login": ""}
    told = ["billing: invoices, refunds", "login"]
    assert read_labels(told) == {"billing": "invoices, refunds", "login": ""}
    path = tmp_path / "labels.txt"
    path.write_text("billing: invoices, refunds\n\nlogin\n", encoding="utf-8")
    assert read_labels([str(path)]) == read_labels(told)
    with pytest.raises(SettingsError) as error:
        read_labels(["a,a"])
    assert len(error.value.problems) == 2
    with pytest.raises(SettingsError, match="cannot be read"):
        read_labels(["missing.txt"])
    path.write_text("\ufeffbilling\nlogin\n", encoding="utf-8")
    assert [*read_labels([str(path)])] == ["billing", "login"]
    long = "charges, " * 60
    told = [f"billing: {long}", "docs: whatever is in README.md"]
    assert read_labels(told) == {"billing": long.strip(), "docs": "whatever is in README.md"}


def test_each_label_gets_its_share_and_what_a_rare_one_lacks_goes_to_the_others() -> None:
    generator = np.random.default_rng(1)
    nearest = np.array([0] * 300 + [1] * 100 + [2] * 3)
    alike = np.eye(3, dtype=np.float32)[nearest] + generator.random((403, 3)).astype(np.float32) / 2
    vectors = generator.normal(size=(403, 8)).astype(np.float32)
    chosen = _choose(alike, vectors, 30, 3, seed=1)
    assert len({row for row, _ in chosen}) == 30
    assert Counter(why for _, why in chosen) == {AT_RANDOM: 3, LIKE_ITS_NAME: 27}
    counts = Counter(int(nearest[row]) for row, why in chosen if why == LIKE_ITS_NAME)
    assert counts[2] <= 3
    assert abs(counts[0] - counts[1]) <= 1
    assert chosen == _choose(alike, vectors, 30, 3, seed=1)


def test_the_command_says_that_this_is_no_classifier(small_bert: Path, tmp_path: Path, command: Run) -> None:
    pool = write_csv(tmp_path / "pool.csv", [(f"{kind} {n}", "") for n in range(20) for kind in ("bill", "password")])
    out = tmp_path / "first.csv"
    told = ["--labels", "billing: bills", "--labels", "login", "-n", 10, "--model", small_bert]
    ran = command("start", pool, *told, "-o", out)
    assert ran.code == 0, ran.err
    assert "This is no classifier yet" in ran.out
    assert f"classtune train {out} -o first" in ran.out
    with out.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 10
    assert {line["suggested"] for line in lines} <= {"billing", "login"}
    assert {line["label"] for line in lines} == {""}
    refused = command("start", pool, "--labels", "a,b", "-n", 1, "--model", small_bert)
    assert (refused.code, "for each of 2 labels" in refused.err) == (2, True)
    refused = command("start", pool, "--labels", "a,b", "--form", "bogus", "--model", small_bert)
    assert (refused.code, "--form 'bogus' is unknown" in refused.err) == (2, True)


def test_an_empty_text_is_named(small_bert: Path) -> None:
    table = table_from_rows(["one", " ", "two"], name="pool", blanks=True)
    with pytest.raises(DataError, match="pool row 2: the text is empty"):
        label_first(table, {"a": "", "b": ""}, 2, model=str(small_bert), notify=quiet, progress=quiet)


def test_the_default_encoder_finds_what_the_names_mean() -> None:
    said = {
        "billing": ["I was charged twice", "refund my payment", "the invoice is wrong", "my card was declined"],
        "weather": ["it rains all day", "snow is expected tonight", "a sunny afternoon", "strong wind from the north"],
    }
    table = table_from_rows([text for texts in said.values() for text in texts], name="pool")
    document = label_first(table, {"billing": "money and invoices", "weather": ""}, 8, notify=quiet, progress=quiet)
    right = sum(one["text"] in said[one["suggested"][0]] for one in document["chosen"])
    assert right >= 7
