"""`classtune tutorial`: the rows on shared passes, their tables, and going on after a stop."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from small import Run, one_thread, rows, write_csv

from classtune.candidates import tail
from classtune.config import resolve
from classtune.data.reading.tables import Table, table_from_rows
from classtune.errors import BundleError, Interrupted, SettingsError, SourceError
from classtune.files import Busy, claimed
from classtune.jobs import steps
from classtune.jobs.train import train
from classtune.jobs.tutorial import chosen, job, kept
from classtune.jobs.tutorial.rows import ROWS, Row, parse_rows
from classtune.model.activations import ActivationStore
from classtune.training.loop import fit

pytest_plugins = ["bundle_fixtures", "gpt2_fixture"]

QUICK = {"epochs": 2}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLASSTUNE_OFFLINE", "1")


@pytest.fixture(scope="module")
def table() -> Table:
    texts, labels = zip(*rows(60), strict=True)
    return table_from_rows(texts, labels, name="sms-spam")


def run(table: Table, folder: Path, model: Path, asked: Sequence[int] | None, **told: Any) -> Any:
    said: list[str] = told.pop("said", [])
    notify = told.pop("notify", said.append)
    with one_thread():
        return job.run_tutorial(
            table, folder, rows=asked, model=str(model), told=QUICK, notify=notify, progress=lambda *_: None, **told
        )


def numbers(document: dict[str, Any]) -> dict[int, Any]:
    """What a row found, without its times."""
    return {
        row["row"]: {key: value for key, value in row.items() if not key.endswith("seconds")}
        for row in document["rows"]
    }


@pytest.fixture(scope="module")
def shared(
    table: Table, gpt2: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], int]:
    """Rows of one trunk and one of another, and how often a store was filled."""
    filled = []
    with pytest.MonkeyPatch.context() as patch:
        real = ActivationStore.fill

        def fill(*args: Any, **told: Any) -> None:
            filled.append(1)
            real(*args, **told)

        patch.setattr(ActivationStore, "fill", fill)
        folder = tmp_path_factory.mktemp("out") / "tutorial"
        document = run(table, folder, gpt2("gpt2"), [1, 2, 3, 4, 14, 16, 18, 19])
    return document, len(filled)


def test_rows_with_the_same_trunk_share_its_pass(shared: tuple[dict[str, Any], int]) -> None:
    document, filled = shared
    assert filled == 2
    assert [one["rows"] for one in document["passes"]["of"]] == [[1, 2, 3, 4, 16, 19], [14]]
    assert (document["passes"]["done"], document["passes"]["saved"]) == (2, 5)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 14, 16, 19])
def test_a_row_has_the_numbers_of_train(
    number: int, shared: tuple[dict[str, Any], int], table: Table, gpt2: Callable[[str], Path]
) -> None:
    row = next(row for row in shared[0]["rows"] if row["row"] == number)
    told = {**QUICK, **ROWS[number].settings, "model": str(gpt2("gpt2"))}
    with one_thread():
        alone = train(
            table, resolve("llms-from-scratch", told), notify=lambda _: None, progress=lambda *_: None
        ).result.document()
    for ours, theirs in zip(row["history"], alone["training"]["history"], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert row["test"]["accuracy"] == alone["test"]["accuracy"]
    assert row["test"]["ci95"] == alone["test"]["accuracy_ci95"]


def test_row_18_is_not_trained_again(shared: tuple[dict[str, Any], int]) -> None:
    first, last = (next(row for row in shared[0]["rows"] if row["row"] == number) for number in (1, 18))
    assert (last["train"], last["validation"], last["test"]) == (first["train"], first["validation"], first["test"])
    assert last["own_seconds"] == 0
    assert last["history"] == []


def test_the_tables_stand_beside_what_was_published(shared: tuple[dict[str, Any], int]) -> None:
    document = shared[0]
    folder = Path(document["folder"])
    with (folder / "tutorial.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["row"] for line in lines] == ["1", "2", "3", "4", "14", "16", "18", "19", "", ""]
    assert lines[0]["published train / validation / test %"] == "96.63 / 99.33 / 95.00"
    assert lines[0]["test %"] == f"{100 * document['rows'][0]['test']['accuracy']:.2f}"
    assert lines[-2]["what it changes"] == "TF-IDF + logistic regression"
    text = (folder / "tutorial.md").read_text(encoding="utf-8")
    assert "Rows 1, 2, 3, 4, 16, 19 shared one pass of the trunk in this run" in text
    assert "2 passes of a trunk in place of 7." in text
    assert "Row 18 is row 1." in text
    page = (folder / "tutorial.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 7  # row 18 has no curves of its own
    assert page.count("examples seen") == 2 * 7
    assert not re.search(r'(?:src|href)="(?!#)', page)
    assert json.loads((folder / "tutorial.json").read_text(encoding="utf-8")) == document


def test_a_stopped_run_goes_on_with_the_rows_that_are_left(
    table: Table, gpt2: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(line: str) -> None:
        if line.startswith("row 2,"):
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"1 of 3 rows are in .*--resume to go on"):
        run(table, tmp_path / "out", gpt2("gpt2"), [1, 2, 3], notify=stop)
    trained: list[int] = []
    real = job._train_row

    def train_row(row: Row, *args: Any) -> dict[str, Any]:
        trained.append(row.number)
        return real(row, *args)

    monkeypatch.setattr(job, "_train_row", train_row)
    resumed = run(table, tmp_path / "out", gpt2("gpt2"), [1, 2, 3], resume=True)
    assert trained == [3]  # the second was finished when it was told of
    assert numbers(resumed) == numbers(run(table, tmp_path / "whole", gpt2("gpt2"), [1, 2, 3]))


def test_a_stopped_row_goes_on_with_its_next_epoch(
    table: Table, gpt2: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: Any, **told: Any) -> Any:
        def progress(stage: str, done: int, total: int) -> None:
            if done > total * 3 / 4:
                raise KeyboardInterrupt

        return fit(*args, **{**told, "progress": progress})

    monkeypatch.setattr(tail, "fit", stop)
    with pytest.raises(Interrupted):
        run(table, tmp_path / "out", gpt2("gpt2"), [5])
    monkeypatch.setattr(tail, "fit", fit)
    seen = run(table, tmp_path / "out", gpt2("gpt2"), [5], resume=True)
    assert numbers(seen) == numbers(run(table, tmp_path / "whole", gpt2("gpt2"), [5]))
    assert not list((tmp_path / "out" / "rows").glob("*.run"))


def test_what_was_changed_meanwhile_is_measured_again(
    table: Table, gpt2: Callable[[str], Path], tmp_path: Path
) -> None:
    run(table, tmp_path / "out", gpt2("gpt2"), [1, 3])
    said: list[str] = []
    run(table, tmp_path / "out", gpt2("gpt2-medium"), [1], resume=True, said=said)
    assert "row 1: was measured with other settings, weights; it is measured again" in said
    texts = [*table.texts[:-1], "see you at nine then, mate"]
    other = table_from_rows(texts, table.labels, name="sms-spam")
    said.clear()
    run(other, tmp_path / "out", gpt2("gpt2-medium"), [1], resume=True, said=said)
    assert "row 1: was measured with other data; it is measured again" in said


def test_nothing_is_overwritten_unasked(table: Table, gpt2: Callable[[str], Path], tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    for told in ({}, {"resume": True}, {"force": True}):
        with pytest.raises(BundleError, match="holds something else"):
            run(table, mine, gpt2("gpt2"), [3], **told)
    (mine / "tutorial.json").write_text('{"chapters": 12}')  # of another's tutorial
    with pytest.raises(BundleError, match="holds something else"):
        run(table, mine, gpt2("gpt2"), [3], force=True)
    assert sorted(path.name for path in mine.iterdir()) == ["thesis.txt", "tutorial.json"]
    run(table, tmp_path / "out", gpt2("gpt2"), [3])
    with pytest.raises(BundleError, match="--resume to go on with them, --force to measure them again"):
        run(table, tmp_path / "out", gpt2("gpt2"), [3])
    run(table, tmp_path / "out", gpt2("gpt2"), [2], force=True)
    assert [path.name for path in (tmp_path / "out" / "rows").iterdir()] == ["02.json"]


def test_two_runs_do_not_write_to_one_folder(table: Table, gpt2: Callable[[str], Path], tmp_path: Path) -> None:
    run(table, tmp_path / "out", gpt2("gpt2"), [3])
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    with claimed(tmp_path / "out"), pytest.raises(Busy, match="another run is writing here"):
        run(table, tmp_path / "out", gpt2("gpt2"), [2], force=True)
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}


# -- bad input


def test_rows_that_do_not_exist_are_named_together() -> None:
    assert parse_rows("3, 1,4-6,4") == [1, 3, 4, 5, 6]
    with pytest.raises(SettingsError) as caught:
        parse_rows("0,1,twelve,20,18-25,5-4,-3")
    told = str(caught.value).splitlines()
    assert [re.findall(r"'?(\S+?)'?(?: is no number|\. The)", line)[0] for line in told] == [
        "0", "twelve", "20", "18-25", "5-4", "-3",
    ]  # fmt: skip
    with pytest.raises(SettingsError, match="none was named"):
        parse_rows(" , ")


def test_rows_that_an_architecture_cannot_follow(
    table: Table, backbone_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError) as caught:
        run(table, tmp_path / "out", backbone_folder("bert"), [1, 13, 17])
    problems = caught.value.problems
    assert [line.partition(":")[0] for line in problems[:2]] == ["row 13 (padded to 1,024)", "row 17 (no causal mask)"]
    assert "takes 64 tokens" in problems[0]
    assert "is no decoder" in problems[1]
    assert problems[2].endswith("can follow rows 1, 2, 3, 4, 5, 10, 11, 14, 15, 16, 18, 19.")
    with pytest.raises(SettingsError, match=r"cannot cut the architecture 'opt'\. It can follow no row"):
        run(table, tmp_path / "out", backbone_folder("opt"), None)
    assert not (tmp_path / "out").exists()


def test_an_encoder_runs_what_it_can(table: Table, backbone_folder: Callable[[str], Path], tmp_path: Path) -> None:
    said: list[str] = []
    document = run(table, tmp_path / "out", backbone_folder("bert"), None, said=said)
    assert [row["row"] for row in document["rows"]] == [1, 2, 3, 4, 5, 10, 11, 14, 15, 16, 18, 19]
    reasons = {one["row"]: one["reason"] for one in document["skipped"]}
    assert sorted(reasons) == [6, 7, 8, 9, 12, 13, 17]
    assert reasons[8] == "needs gpt2-xl, which is not in the cache; name the row to fetch it."


def test_a_larger_gpt2_is_taken_where_it_is_at_hand(
    table: Table, gpt2: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is fetched only for a row that was asked for."""
    asked: list[tuple[str, bool | None]] = []
    at_hand = {"gpt2-medium": gpt2("gpt2-medium")}

    def fetch(name: str, *, notify: Any = None, offline: bool | None = None) -> Path:
        asked.append((name, offline))
        if name in at_hand:
            return at_hand[name]
        if Path(name).exists():
            return Path(name)
        raise SourceError(f"{name}: nowhere.")

    monkeypatch.setattr(chosen, "fetch_model", fetch)
    monkeypatch.setattr(kept, "fetch_model", fetch)
    monkeypatch.setattr(steps, "fetch_model", fetch)
    document = run(table, tmp_path / "out", gpt2("gpt2"), [6, 7])
    assert [row["model"] for row in document["rows"]] == ["gpt2-medium"]
    assert document["skipped"] == [{"row": 7, "change": "large", "reason": "needs gpt2-large. gpt2-large: nowhere."}]
    assert ("gpt2-large", None) in asked
    asked.clear()
    with pytest.raises(SourceError, match="row 7: needs gpt2-large"):
        run(table, tmp_path / "none", gpt2("gpt2"), [7])
    assert not (tmp_path / "none").exists()


def test_the_default_model_is_gpt2_where_it_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    places: dict[bool, bool] = {}

    def fetch(name: str, *, notify: Any = None, offline: bool | None = None) -> Path:
        if places[bool(offline)]:
            return Path(name)
        raise SourceError("nowhere")

    monkeypatch.setattr(chosen, "fetch_model", fetch)
    for cached, hub, expected in (
        (True, False, "gpt2 (in the cache)"),
        (False, True, "gpt2 (from the hub)"),
        (False, False, "smollm2-135m (gpt2 is not in the cache, and no hub gives it)"),
    ):
        places.update({True: cached, False: hub})
        assert "".join(chosen.choose_model(None, lambda _: None)) == expected


def test_the_command(command: Run, gpt2: Callable[[str], Path], tmp_path: Path) -> None:
    data = write_csv(tmp_path / "messages.csv", rows(60))
    told = ("tutorial", data, "--model", gpt2("gpt2"), "--rows", "1,18", "-o", tmp_path / "out")
    done = command(*told, "--json")
    assert [row["row"] for row in done.document["rows"]] == [1, 18]
    assert done.document["rows"][0]["published"] is None  # it is of other texts
    shown = command(*told, "--resume")
    assert shown.code == 0
    assert "TF-IDF + logistic regression" in shown.out
    assert shown.out.startswith(f"model: {gpt2('gpt2')}\n")
    assert f"model: {gpt2('gpt2')}" in shown.err
    wrong = command("tutorial", "--rows", "20", "-o", tmp_path / "other")
    assert wrong.code == 2
    assert "there is no row 20" in wrong.err


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (['{"text": "a", "label": "x"}', '{"text": "b", "label": "y"}', '{"text": "c", "label": "z"}'], "3 classes"),
        (['{"text": "a", "label": "x"}', '{"text": "b", "label": "x"}'], "1 class."),
        (['{"text": "a", "label": ["x"]}', '{"text": "b", "label": ["x", "y"]}'], "rows of several labels"),
    ],
)
def test_a_table_that_is_not_the_tutorials_is_refused_with_what_the_command_can_do(
    lines: list[str], found: str, command: Run, tmp_path: Path
) -> None:
    (tmp_path / "t.jsonl").write_text("\n".join(lines), encoding="utf-8")
    ran = command("tutorial", tmp_path / "t.jsonl", "-o", tmp_path / "out")
    assert ran.code == 2
    assert f"one label a text: got {found}" in ran.err
    assert "grouped" not in ran.err
    assert not (tmp_path / "out").exists()
