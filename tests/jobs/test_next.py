"""Which texts are chosen to be labelled: doubtful, spread, never labelled already; and the files that people get."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import Run, rows, write_csv

from classtune.bundle import load_bundle, read_rows
from classtune.config import resolve
from classtune.data.reading.columns import TableFormat
from classtune.data.reading.tables import read_table, table_from_rows
from classtune.data.versions import hashes, with_added
from classtune.errors import DataError, SettingsError
from classtune.inference.tables import as_trained
from classtune.inference.vectors import bundle_vectors
from classtune.jobs.next import DOUBTFUL, choose_texts, doubts, label_next
from classtune.jobs.to_label import AT_RANDOM
from classtune.jobs.train import train

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")


def quiet(*_: object) -> None:
    """Nobody asked."""


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """60 texts that the small bundle learned from, 60 new ones, and two copies of a new one."""
    new = [(text.replace("then", "there").replace("call", "ring"), "") for text, _ in rows(60)]
    return write_csv(
        tmp_path / "pool.csv", [*((text, "") for text, _ in rows(60)), *new, (f" {new[0][0].upper()}", "")]
    )


def test_doubt_is_the_margin_of_the_two_likeliest() -> None:
    probabilities = np.array([[0.5, 0.5, 0.0], [0.7, 0.2, 0.1], [0.4, 0.3, 0.3]])
    assert doubts(probabilities).tolist() == pytest.approx([1.0, 0.5, 0.9])
    several = np.array([[0.9, 0.45], [0.99, 0.01]])
    assert doubts(several, multi=True).tolist() == pytest.approx([0.9, 0.02])


def test_doubtful_texts_come_from_every_corner_and_some_at_random() -> None:
    """1,000 texts of ten kinds; all of the most doubtful are of one kind, and yet each kind is met."""
    generator = np.random.default_rng(3)
    kinds = np.repeat(np.arange(10), 100)
    vectors = np.eye(10, dtype=np.float32)[kinds] + generator.normal(0, 0.01, (1000, 10)).astype(np.float32)
    doubt = np.where(np.arange(1000) % 100 < 10, 0.8, 0.1) + 0.1 * (kinds == 0)
    chosen = choose_texts(doubt, vectors.__getitem__, 10, 0, seed=1)
    assert sorted(kinds[row] for row, _ in chosen) == list(range(10))
    assert all(doubt[row] >= 0.8 for row, _ in chosen)
    mixed = choose_texts(doubt, vectors.__getitem__, 20, 5, seed=1)
    assert mixed == choose_texts(doubt, vectors.__getitem__, 20, 5, seed=1)
    assert sorted(why for _, why in mixed) == [AT_RANDOM] * 5 + [DOUBTFUL] * 15
    assert len({row for row, _ in mixed}) == 20
    drawn = [row for seed in range(200) for row, why in choose_texts(doubt, vectors.__getitem__, 5, 5, seed=seed)]
    assert abs(np.mean(doubt[drawn]) - doubt.mean()) < 0.03  # whatever their doubt
    assert len(choose_texts(doubt[:3], vectors.__getitem__, 50, 5, seed=1)) == 3


def test_nothing_that_is_labelled_is_chosen(small_bundle: Path, pool: Path, tmp_path: Path) -> None:
    table = read_table(pool, labelled=False)
    since = table_from_rows([table.texts[60], table.texts[70]], name="since")
    document = label_next(small_bundle, table, 200, labelled=[since], notify=quiet, progress=quiet)
    lines = sorted(one["line"] for one in document["chosen"])
    assert lines == [line for line in range(62, 122) if line not in (62, 72)]
    assert (document["labelled_already"], document["copies"], document["rows"]) == (63, 0, 121)
    with pytest.raises(DataError, match="labelled already"):
        label_next(small_bundle, table_from_rows([text for text, _ in rows(9)]), 5, notify=quiet, progress=quiet)


@pytest.mark.parametrize("kind", ["network", "lexical", "blend"])
def test_every_kind_of_bundle_can_choose(
    kind: str, small_bundle: Path, small_blend: tuple[Any, Path], small_bert: Path, pool: Path, tmp_path: Path
) -> None:
    folder = {"network": small_bundle, "blend": small_blend[1]}.get(kind, tmp_path / "lexical")
    if kind == "lexical":
        told = {"keep": "tf-idf", "effort": "fast", "split_by": "exact", "depth": "all", "model": str(small_bert)}
        texts, labels = zip(*rows(80), strict=True)
        table = table_from_rows(texts, labels, name="rows")
        train(table, resolve(overrides=told), notify=quiet, progress=quiet).save(folder)
    bundle = load_bundle(folder)
    assert (bundle.main is None) == (kind == "lexical")
    vectors = bundle_vectors(bundle, ["win a prize", "win a prize", "see you then"], quiet)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert (
        vectors[0] @ vectors[1] == pytest.approx(1, abs=1e-5) != pytest.approx(float(vectors[0] @ vectors[2]), abs=1e-5)
    )
    document = label_next(folder, read_table(pool, labelled=False), 12, notify=quiet, progress=quiet)
    texts_chosen = [one["text"] for one in document["chosen"]]
    assert len(set(texts_chosen)) == 12
    rows_known = read_rows(folder)
    assert not np.isin(hashes(texts_chosen), [*rows_known.learned, *rows_known.test]).any()


def test_a_classifier_of_columns_alone_spreads_by_them(small_bert: Path, tmp_path: Path) -> None:
    lines = [(text, ("red", "blue", "green")[n % 3], label) for n, (text, label) in enumerate(rows(60))]
    data = write_csv(tmp_path / "t.csv", lines, ("text", "colour", "label"))
    cheap = {"keep": "columns", "effort": "fast", "split_by": "exact", "model": str(small_bert)}
    table = read_table(data, TableFormat(beside=("colour",)))
    train(table, resolve(overrides=cheap), notify=quiet, progress=quiet).save(tmp_path / "b")
    new = [(f"new {n}", colour) for n, (_, colour, _) in enumerate(lines[:24])]
    path = write_csv(tmp_path / "p.csv", new, ("text", "colour"))
    pool = read_table(path, as_trained(TableFormat(), tmp_path / "b"), labelled=False)
    chosen = label_next(tmp_path / "b", pool, 3, at_random=0, notify=quiet, progress=quiet)["chosen"]
    assert {dict(new)[one["text"]] for one in chosen} == {"red", "blue", "green"}


def label_in_studio(tasks: Any) -> Any:
    for task in tasks:
        task["annotations"] = [{"result": task["predictions"][0]["result"]}]
    return tasks


def label_in_argilla(records: Any) -> Any:
    for record in records:
        value = record["suggestions"]["label"]["value"]
        record["responses"] = {"label": [{"value": value, "user_id": "1", "status": "submitted"}]}
    return records


@pytest.mark.parametrize(
    ("form", "name", "work"),
    [
        ("label-studio", "t.json", label_in_studio),
        ("argilla", "t.json", label_in_argilla),
        ("doccano", "t.jsonl", None),
    ],
)
def test_what_a_tool_was_given_comes_back_labelled(
    form: str, name: str, work: Callable[[Any], Any], small_bundle: Path, pool: Path, tmp_path: Path, command: Run
) -> None:
    path = tmp_path / name
    ran = command("next", small_bundle, pool, "-n", 10, "-o", path, "--form", form)
    assert ": 10 texts to label, " in ran.out
    text = path.read_text(encoding="utf-8")
    if work is not None:
        path.write_text(json.dumps(work(json.loads(text))), encoding="utf-8")
    else:
        lines = [json.loads(line) for line in text.splitlines()]
        assert all(line["label"] == [] for line in lines)
        filled = [json.dumps({**line, "label": [line["suggested"]]}) + "\n" for line in lines]
        path.write_text("".join(filled), encoding="utf-8")
    back = read_table(path)
    assert len(back.texts) == 10
    assert set(back.labels or []) <= {"ham", "spam"}
    assert set(back.texts) <= set(read_table(pool, labelled=False).texts)


@pytest.mark.parametrize("name", ["to-label.csv", "to-label.jsonl"])
def test_a_filled_in_table_is_added_to_the_next_version(
    name: str, small_bundle: Path, tmp_path: Path, command: Run
) -> None:
    pool = tmp_path / "pool.csv"
    with pool.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "text", "label"), *((n, f"=new, text\n{n}", "old") for n in range(30))])
    path = tmp_path / name
    assert command("next", small_bundle, pool, "-n", 10, "-o", path, "--at-random", 0.3).code == 0
    kept = read_table(path, TableFormat(text="text", label="suggested"))
    assert len(kept.texts) == 10
    assert all(text.startswith("=new, text\n") for text in kept.texts)
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
        assert list(lines[0]) == ["id", "text", "given:label", "label", "suggested", "score", "chosen"]
        assert sum(line["chosen"] == AT_RANDOM for line in lines) == 3
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(lines[0]))
            writer.writeheader()
            writer.writerows({**line, "label": "ham"} for line in lines)
    else:
        given = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        path.write_text("".join(json.dumps({**line, "label": "ham"}) + "\n" for line in given), encoding="utf-8")
    back = read_table(path, TableFormat(preferred_text="text", preferred_label="label"))
    assert back.labels == ["ham"] * 10


@pytest.mark.parametrize("told", [{"label_separator": "|"}, {"label_columns": ("late", "urgent")}])
@pytest.mark.parametrize("name", ["to-label.csv", "to-label.jsonl"])
def test_several_labels_are_filled_in_as_the_bundle_read_them(
    name: str, told: dict[str, Any], small_bert: Path, pool: Path, tmp_path: Path
) -> None:
    """What is suggested, written as the label, is what the next version learns; also of a pool with old labels."""
    lines = [(text, *[("late|urgent", "1", "1"), ("late", "1", "0")][label == "ham"]) for text, label in rows(40)]
    header = ("text", "topic", "late", "urgent")
    column = None if "label_columns" in told else "topic"
    table = read_table(write_csv(tmp_path / "t.csv", lines, header), TableFormat(**told, label=column, text="text"))
    cheap = {"keep": "tf-idf", "effort": "fast", "split_by": "exact", "model": str(small_bert)}
    train(table, resolve(overrides=cheap), notify=quiet, progress=quiet).save(tmp_path / "b")
    old = [(text, "old", "0", "1") for text in read_table(pool, labelled=False).texts]
    found = read_table(write_csv(pool, old, header), labelled=False)
    path = tmp_path / name
    chosen = label_next(tmp_path / "b", found, 8, path, notify=quiet, progress=quiet)["chosen"]
    lists = path.suffix == ".jsonl"
    text = path.read_text(encoding="utf-8")
    filled = [json.loads(line) for line in text.splitlines()] if lists else list(csv.DictReader(text.splitlines()))
    for line, one in zip(filled, chosen, strict=True):
        line.update(dict.fromkeys(one["suggested"], 1) if "label_columns" in told else {"label": line["suggested"]})
    if lists:
        path.write_text("".join(json.dumps(line) + "\n" for line in filled), encoding="utf-8")
    else:
        write_csv(path, [list(line.values()) for line in filled], list(filled[0]))
    back = read_table(path, as_trained(TableFormat(), tmp_path / "b"))
    assert back.label_sets == [tuple(sorted(one["suggested"])) for one in chosen]
    assert max(map(len, back.label_sets)) == 2
    assert {label for labels in with_added(table, [back]).table.label_sets or () for label in labels} == {
        "late",
        "urgent",
    }


def test_no_column_of_the_pool_is_lost(small_bundle: Path, tmp_path: Path, command: Run) -> None:
    """Columns that are called as those that are added, and those that such a one would be called; no header."""
    path, out = tmp_path / "pool.csv", tmp_path / "out.csv"
    write_csv(path, [(f"new {n}", "a", "b", "c") for n in range(9)], ("text", "given:label", "label", "chosen"))
    assert command("next", small_bundle, path, "-n", 3, "-o", out).code == 0
    with out.open(encoding="utf-8", newline="") as file:
        line = next(csv.DictReader(file))
    assert [line["given:label"], line["given:given:label"], line["given:chosen"], line["label"]] == ["a", "b", "c", ""]
    write_csv(path, [("7", f"new {n}") for n in range(9)], ("7", "new 9"))
    assert command("next", small_bundle, path, "--no-header", "--text", 2, "-n", 3, "-o", out, "--force").code == 0
    assert out.read_text(encoding="utf-8").startswith("1,text,label,suggested,")


def test_a_wrong_form_is_refused_before_any_work(small_bundle: Path, pool: Path, tmp_path: Path, command: Run) -> None:
    for words, message in (
        (["-o", tmp_path / "a.json"], "table is written as .csv or .jsonl"),
        (["-o", tmp_path / "a.csv", "--form", "label-studio"], "label-studio is written as .json"),
        (["-o", tmp_path / "a.csv", "--form", "labelstudio"], "Did you mean 'label-studio'"),
        (["--form", "labelstudio"], "Did you mean 'label-studio'"),
        (["-n", 0], "a number above 0"),
    ):
        ran = command("next", small_bundle, pool, *words)
        assert ran.code == 2
        assert message in ran.err
    with pytest.raises(SettingsError):
        label_next(small_bundle, read_table(pool, labelled=False), 5, at_random=2, notify=quiet, progress=quiet)
