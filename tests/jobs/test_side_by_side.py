"""Two bundles on the same rows: what is compared, what changed, and when the gate opens."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import QUICK, Run, rows, train_small, write_csv

from classtune.bundle import learned_rows
from classtune.config import resolve
from classtune.config.areas import DecisionSettings
from classtune.data.reading.tables import table_from_rows
from classtune.decisions.decide import decide
from classtune.errors import DataError, SettingsError
from classtune.inference.predictor import answer_of
from classtune.inference.tables import predict_table
from classtune.jobs.side_by_side import evaluate_two, like_with_like
from classtune.jobs.train import train

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture(scope="module")
def poor(small_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that learned nothing: its answers differ from the other's."""
    folder = tmp_path_factory.mktemp("poor") / "poor"
    train_small(small_llama, folder, learning_rate=1e-9, epochs=1, seed=5, label_smoothing=0.0)
    return folder


# Rows that no bundle here learned from.
NEW = [(f"{text}.", label) for text, label in rows(60)]


def quiet(*_: object) -> None:
    """Nobody asked."""


def compared(old: Path, new: Path, lines: list[tuple[str, str]], **told: Any) -> dict[str, Any]:
    texts, labels = zip(*lines, strict=True)
    table = table_from_rows(texts, labels, name="later")
    return evaluate_two(old, new, table, {}, **{"notify": quiet, "progress": quiet, **told}).document()


def test_changes_and_counts_are_those_of_the_answers(small_bundle: Path, poor: Path) -> None:
    lines = rows(40)
    document = compared(poor, small_bundle, lines)
    texts, labels = zip(*lines, strict=True)
    answers = []
    for folder in (poor, small_bundle):
        ranked = predict_table(folder, table_from_rows(texts, name="t"), {}, notify=quiet, progress=quiet)
        answers.append([one[0]["label"] for one in ranked])
    old, new = (np.array(one) == np.array(labels) for one in answers)
    paired = document["paired"]
    assert (paired["gained"], paired["lost"]) == (int((new & ~old).sum()), int((old & ~new).sum()))
    assert paired["gained"] > 0
    differ = [row for row in range(40) if answers[0][row] != answers[1][row]]
    assert sorted(change["line"] - 1 for change in document["changed"]) == differ
    for change in document["changed"]:
        row = change["line"] - 1
        assert (change["old"], change["new"], change["label"]) == (answers[0][row], answers[1][row], labels[row])
    assert [test["accuracy"] for test in document["test"].values()] == [old.mean(), new.mean()]


def test_the_gate_is_shut_for_what_is_worse_and_open_the_other_way(small_bundle: Path, poor: Path) -> None:
    assert compared(poor, small_bundle, NEW)["gate"]["passed"]
    shut = compared(small_bundle, poor, NEW)["gate"]
    assert not shut["passed"]
    assert "worse than the old one, beyond noise" in shut["sentence"]


def test_rows_that_one_learned_from_open_no_gate(small_bundle: Path, poor: Path) -> None:
    """They show how well it remembers. The gate looks at the others, and is shut where there are none."""
    learned = [
        row for row, known in zip(rows(60), learned_rows(small_bundle, [t for t, _ in rows(60)]), strict=True) if known
    ]
    said: list[str] = []
    seen = compared(poor, small_bundle, learned, notify=said.append)
    assert seen["gate"]["sentence"] == "failed: one of the two learned from each of these rows: give rows new to both."
    assert f"{small_bundle} learned from each of the {len(learned)} rows" in said[-1]
    assert seen["paired_new"] is None
    wrong = [(text, {"spam": "ham", "ham": "spam"}[label]) for text, label in NEW]
    mixed = compared(poor, small_bundle, [*learned, *wrong])
    assert not mixed["gate"]["passed"]
    assert mixed["paired"]["rows"] == len(learned) + len(NEW)
    assert mixed["paired_new"]["rows"] == len(NEW)
    assert mixed["learned"][str(small_bundle)] == len(learned)


def test_bundles_that_were_told_different_things_are_compared_by_plain_answers(
    small_bundle: Path, small_llama: Path, tmp_path: Path
) -> None:
    """The same weights: by its costs the second calls all spam, which says nothing of how well it tells them apart."""
    costly = tmp_path / "costly"
    train_small(small_llama, costly, cost="spam:fn=1000000,fp=0.000001")
    said: list[str] = []
    document = compared(small_bundle, costly, NEW, notify=said.append)
    assert (document["paired"]["gained"], document["paired"]["lost"], document["changed"]) == (0, 0, [])
    one, other = document["test"].values()
    assert one["log_loss"] == pytest.approx(other["log_loss"], abs=1e-6)
    assert any("compared are their plain calibrated answers" in line for line in said)
    said.clear()
    compared(small_bundle, Path(shutil.copytree(small_bundle, tmp_path / "copy")), NEW, notify=said.append)
    assert not any("plain calibrated" in line for line in said)


def test_few_rows_open_no_gate(small_bundle: Path, tmp_path: Path) -> None:
    """Equal answers on 4 texts prove nothing."""
    copy = shutil.copytree(small_bundle, tmp_path / "copy")
    gate = compared(small_bundle, copy, NEW[:4])["gate"]
    assert not gate["passed"]
    assert "do not exclude" in gate["sentence"]
    assert compared(small_bundle, copy, NEW[:4], margin=60)["gate"]["passed"]


def test_a_label_of_one_only_counts_as_wrong_for_the_other(
    small_bundle: Path, small_llama: Path, tmp_path: Path
) -> None:
    new = [*rows(60), *((f"weather of day {i}", "news") for i in range(20))]
    table = table_from_rows(*zip(*new, strict=True), name="t")
    settings = resolve(overrides={**QUICK, "model": str(small_llama)})
    train(table, settings, notify=quiet, progress=quiet).save(tmp_path / "three")
    document = compared(small_bundle, tmp_path / "three", [*rows(40), ("weather of day 99", "news")])
    assert document["shared_rows"] == 40
    assert document["labels_of_one_only"] == {str(small_bundle): [], str(tmp_path / "three"): ["news"]}
    assert all(test["rows"] == 40 for test in document["test"].values())
    assert document["paired_all"]["rows"] == 41
    assert document["paired_all"]["right"][0] == document["paired"]["right"][0]
    with pytest.raises(DataError, match="no row has a label that both"):
        compared(small_bundle, tmp_path / "three", [("weather", "news")])


def test_labels_of_neither_and_a_bundle_twice_are_refused(small_bundle: Path, poor: Path) -> None:
    with pytest.raises(DataError, match="'egg' is one of neither bundle"):
        compared(poor, small_bundle, [("text", "egg")])
    with pytest.raises(SettingsError, match="given twice"):
        compared(poor, poor, rows(4))


def test_the_command_prints_both_and_its_code_is_the_gate(
    small_bundle: Path, poor: Path, tmp_path: Path, command: Run
) -> None:
    later = write_csv(tmp_path / "later.csv", NEW)
    ran = command("evaluate", small_bundle, poor, later, "--at-least-as-good")
    assert ran.code == 1
    assert "failed: the new bundle is worse" in ran.out
    assert "broken" in ran.out
    plain = command("evaluate", small_bundle, poor, later)
    assert plain.code == 0
    assert "failed" not in plain.out
    assert command("evaluate", poor, small_bundle, later, "--at-least-as-good", "--json").document["gate"]["passed"]
    assert command("evaluate", small_bundle, later, "--json").document["test"]["rows"] == 60
    for words, message in (
        ([small_bundle, later, "--at-least-as-good"], "as good as what"),
        ([small_bundle, poor, small_bundle, later], "3 bundles"),
    ):
        refused = command("evaluate", *words)
        assert refused.code == 2
        assert message in refused.err


def test_costs_of_several_labels_a_text_are_something_that_a_classifier_was_told() -> None:
    """They move the threshold of each label, as thresholds that rows chose do: plain is 0.5 for both."""
    drawn = np.random.default_rng(0)
    truth = drawn.random((300, 2)) < 0.3
    logits = drawn.normal(size=(300, 2)) + 2 * truth
    sides = [
        decide(logits, truth, ["a", "b"], DecisionSettings(cost=cost), trained_prior=np.full(2, 0.3), multi=True)
        for cost in (None, "fn=9,fp=1", "fn=9,fp=1")
    ]
    said: list[str] = []
    compared_by = like_with_like(sides[:2], said.append)
    assert "plain calibrated answers" in said[0]
    probabilities = drawn.random((50, 2))
    for one in compared_by:
        np.testing.assert_array_equal(one.answers(probabilities), probabilities >= 0.5)
    assert like_with_like(sides[1:], said.append) == sides[1:]
    assert len(said) == 1


def test_what_a_text_costs_stands_beside_the_figures_of_both(small_bundle: Path, poor: Path, tmp_path: Path) -> None:
    texts, labels = zip(*NEW, strict=True)
    table = table_from_rows(texts, labels, name="later")
    told: Any = {"cost": "spam:fn=10,fp=1"}
    document = evaluate_two(poor, small_bundle, table, told, notify=quiet, progress=quiet).document()
    for folder in (poor, small_bundle):
        ranked = predict_table(folder, table_from_rows(texts, name="t"), told, notify=quiet, progress=quiet)
        given = [answer_of(one)[0] for one in ranked]
        costs = {("spam", "ham"): 10, ("ham", "spam"): 1}
        expected = np.mean([costs.get(pair, 0) for pair in zip(labels, given, strict=True)])
        found = document["under_wishes"]["classifiers"][str(folder)]
        assert found["expected_cost"] == pytest.approx(expected)
    assert compared(poor, small_bundle, NEW)["under_wishes"] is None
