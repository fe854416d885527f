"""Figures by cross-validation: every row is judged once, by what did not learn from it; all rows train in the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import QUICK, Run, rows, write_csv

from classtune.config import resolve
from classtune.data.dataset import prepare
from classtune.data.reading.tables import Table, TableFormat, read_table, table_from_rows
from classtune.errors import DataError, SettingsError
from classtune.jobs import crossed
from classtune.jobs.crossed import train_crossed
from classtune.jobs.train import Trained, train
from classtune.stats import wilson

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")


def quiet(*_: object) -> None:
    """Nobody asked."""


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Table, Table | None, Trained]]:
    """What was trained on, what was held out, and what came of it."""
    found: list[tuple[Table, Table | None, Trained]] = []

    def watched(table: Table, *told: Any, test: Table | None = None, **more: Any) -> Trained:
        found.append((table, test, train(table, *told, test=test, **more)))
        return found[-1][2]

    monkeypatch.setattr(crossed, "train", watched)
    return found


def test_every_row_is_judged_once_by_what_did_not_learn_from_it(
    small_llama: Path, runs: list[tuple[Table, Table | None, Trained]]
) -> None:
    lines = [*rows(58), ("WIN a prize, call now 0 today", "spam"), ("win a prize,  call now 0 today", "spam")]
    texts, labels = zip(*lines, strict=True)
    table = table_from_rows(texts, labels, name="t")
    trained = train_crossed(
        table, resolve(overrides={**QUICK, "model": str(small_llama)}), 3, notify=quiet, progress=quiet
    )
    assert len(runs) == 4
    held = [test.texts for _, test, _ in runs[:3] if test is not None]
    assert sorted(text for part in held for text in part) == sorted(texts)
    right = 0
    for learned, test, one in runs[:3]:
        assert test is not None
        assert not {" ".join(t.lower().split()) for t in learned.texts} & {
            " ".join(t.lower().split()) for t in test.texts
        }
        answers = one.predictor.probabilities(test.texts).argmax(axis=1)
        right += sum(one.labels[answer] == label for answer, label in zip(answers, test.labels or [], strict=True))
    found = trained.result.cross_validation
    assert found is not None
    assert (found.figures.rows, found.figures.accuracy) == (60, right / 60)
    assert found.figures.accuracy_ci95 == pytest.approx(wilson(right, 60))
    assert np.mean(found.accuracies) == pytest.approx(right / 60, abs=0.03)
    assert runs[3][0].texts == list(texts)
    assert trained.result.splits["test"] == 0
    assert trained.result.test is None


def test_the_command_says_and_keeps_the_figures(small_llama: Path, tmp_path: Path, command: Run) -> None:
    data = write_csv(tmp_path / "rows.csv", rows(40))
    quick = [word for key, value in QUICK.items() for word in ("--set", f"{key}={value}".lower())]
    ran = command("train", data, "--cv", 2, "-o", tmp_path / "b", "--model", small_llama, *quick)
    assert ran.code == 0, ran.err
    assert "cross-validation: " in ran.out
    assert "fold 2 of 2: " in ran.err
    record = command("info", tmp_path / "b", "--json").document
    assert record["cross_validation"]["figures"]["rows"] == 40
    for words, message in ((["--cv", 1], "two folds or more"), (["--cv", 2, "--test", data], "leave --test out")):
        refused = command("train", data, *words, "-o", tmp_path / "c", "--model", small_llama, *quick)
        assert refused.code == 2
        assert message in refused.err
    both = command("train", data, "--cv", 2, "--from", tmp_path / "b", "-o", tmp_path / "c", *quick)
    assert "--cv with --from" in both.err


def test_what_belongs_together_is_in_one_fold(small_llama: Path, tmp_path: Path, runs: list[Any]) -> None:
    path = tmp_path / "t.csv"
    lines = [f'"{text}",{label},{number // 3}' for number, (text, label) in enumerate(rows(40))]
    path.write_text("text,label,person\n" + "\n".join(lines) + "\n", encoding="utf-8")
    table = read_table(path, TableFormat(group="person"))
    settings = resolve(overrides={**QUICK, "model": str(small_llama), "split_by": "person"})
    train_crossed(table, settings, 2, notify=quiet, progress=quiet)
    for learned, test, _ in runs[:2]:
        assert not set(learned.groups) & set(test.groups)
    assert len(prepare(table, settings.model_copy(update={"test": 0.0, "validation": 0.0})).splits.train) == 40


def test_a_label_that_a_fold_would_lose_is_named(small_llama: Path) -> None:
    texts, labels = zip(*rows(20), ("lonely", "rare"), strict=True)
    settings = resolve(overrides={**QUICK, "model": str(small_llama)})
    with pytest.raises((DataError, SettingsError), match="all rows of the label 'rare' are in one of the folds"):
        train_crossed(table_from_rows(texts, labels, name="t"), settings, 2, notify=quiet, progress=quiet)


def test_more_folds_than_texts_are_refused(small_llama: Path) -> None:
    texts, labels = zip(*rows(6), rows(6)[0], strict=True)
    settings = resolve(overrides={**QUICK, "model": str(small_llama)})
    with pytest.raises(
        DataError, match=r"^t: 6 texts that are no copies of each other do not fill --cv 7\. Give fewer"
    ):
        train_crossed(table_from_rows(texts, labels, name="t"), settings, 7, notify=quiet, progress=quiet)


def test_costs_do_not_change_what_is_called_accuracy(small_llama: Path) -> None:
    """By these costs all is spam, and half of the rows would be wrong."""
    texts, labels = zip(*rows(60), strict=True)
    table, said = table_from_rows(texts, labels, name="t"), []
    for told in ({}, {"cost": "spam:fn=1000000,fp=0.000001"}):
        settings = resolve(overrides={**QUICK, "epochs": 4, "model": str(small_llama), **told})
        found = train_crossed(table, settings, 2, notify=quiet, progress=quiet).result.cross_validation
        assert found is not None
        said.append(found)
    assert said[0].accuracies == said[1].accuracies
    assert said[0].figures.accuracy == said[1].figures.accuracy > 0.7
    by_what = " by plain calibrated answers, without your costs and wishes"
    assert said[1].sentence == said[0].sentence.replace("rows right", f"rows right{by_what}")


def test_costs_and_class_prior_have_their_table_over_all_folds(small_llama: Path, tmp_path: Path, command: Run) -> None:
    """All is spam by these costs: half of the texts cost 2 each. In the field nearly all is spam."""
    data, folder = write_csv(tmp_path / "rows.csv", rows(40)), tmp_path / "b"
    quick = [word for key, value in QUICK.items() for word in ("--set", f"{key}={value}".lower())]
    told = ["--cost", "spam:fn=1000000,fp=2", "--deploy-prior", "spam=0.5"]
    ran = command("train", data, "--cv", 2, "-o", folder, "--model", small_llama, *quick, *told)
    assert ran.code == 0, ran.err
    after = ran.out.partition("cross-validation: ")[2]
    assert "under your costs and class prior, 40 rows" in after
    under = command("info", folder, "--json").document["cross_validation"]["under_wishes"]
    assert (under["rows"], list(under["classifiers"])) == (40, ["the classifier", "TF-IDF + logistic regression"])
    assert under["classifiers"]["the classifier"]["expected_cost"] == pytest.approx(1.0)
    assert "expected cost of a text" in (folder / "README.md").read_text(encoding="utf-8")
    assert "expected cost of a text" in (folder / "texts" / "report.html").read_text(encoding="utf-8")
