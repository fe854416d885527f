"""Bulk answers: all rows once, in order, whatever happens on the way."""

from __future__ import annotations

import csv
import datetime
import errno
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from small import LIMIT, rows

from classtune.data.reading.columns import TableFormat
from classtune.errors import BundleError, DataError, Interrupted, SettingsError
from classtune.inference.bulk import job as bulk
from classtune.inference.bulk.job import predict_bulk
from classtune.inference.bulk.scorer import Scorer, cores
from classtune.inference.bulk.shards import ShardFolder
from classtune.inference.predictor import load_predictor

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")

Bulk = Callable[..., dict[str, Any]]
TEXTS = [text for text, _ in rows(23)]


@pytest.fixture
def run(small_bundle: Path, notes: list[str]) -> Bulk:
    """`predict_bulk` with the small bundle, ten rows a shard."""

    def predict(inputs: Path | str | list[Path], output: Path, **told: Any) -> dict[str, Any]:
        given = [str(entry) for entry in (inputs if isinstance(inputs, list) else [inputs])]
        options = {"format": TableFormat(), "wishes": {}, "shard_rows": 10, **told}
        return predict_bulk(small_bundle, given, output, notify=notes.append, progress=lambda *_: None, **options)

    return predict


@pytest.fixture
def notes() -> list[str]:
    return []


def write_table(path: Path, columns: dict[str, list[Any]]) -> Path:
    """The columns as a file of the kind that its suffix says."""
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=7)
    elif path.suffix == ".jsonl":
        lines = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writerows([columns, *zip(*columns.values(), strict=True)])
    return path


def read_rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        found: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
        return found
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return list(csv.DictReader(text.splitlines(keepends=True), delimiter="\t" if path.suffix == ".tsv" else ","))


def all_rows(output: Path, result: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for name in result["files"] for row in read_rows(output / name)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_columns_are_kept_and_every_row_is_answered_in_order(
    kind: str, run: Bulk, small_bundle: Path, tmp_path: Path
) -> None:
    columns = {
        "id": [f"{number:03d}" for number in range(23)],
        "text": [*TEXTS[:22], TEXTS[0]],
        "note": ['a "b", c'] * 23,
    }
    table = write_table(tmp_path / f"big.{kind}", columns)
    result = run(table, tmp_path / "out")
    assert result["files"] == [f"big-{number:05d}.{kind}" for number in range(3)]
    assert (result["rows"], result["problems"], result["resumed"]) == (23, 0, 0)
    found = all_rows(tmp_path / "out", result)
    assert {name: [row[name] for row in found] for name in columns} == columns
    assert list(found[0]) == [*columns, "label", "score", "score:ham", "score:spam"]
    predicted = load_predictor(small_bundle)[0].predict(columns["text"])
    assert [row["label"] for row in found] == [ranked[0]["label"] for ranked in predicted]
    for row, ranked in zip(found, predicted, strict=True):
        assert float(row["score"]) == pytest.approx(ranked[0]["score"], abs=1e-6)
        assert float(row[f"score:{ranked[1]['label']}"]) == pytest.approx(ranked[1]["score"], abs=1e-6)


def test_json_lines_keep_their_numbers_byte_for_byte(run: Bulk, tmp_path: Path) -> None:
    line = '{"n": 1.50, "big": 12345678901234567890123, "text": "see you", "deep": {"a": [1e5]}}'
    (tmp_path / "a.jsonl").write_text(line + "\n", encoding="utf-8")
    run(tmp_path / "a.jsonl", tmp_path / "out")
    written = (tmp_path / "out" / "a-00000.jsonl").read_text(encoding="utf-8")
    assert written.startswith(line[:-1] + ', "label": "')
    assert json.loads(written)["score"] <= 1


def test_parquet_keeps_types_whatever_its_row_groups(run: Bulk, tmp_path: Path) -> None:
    columns: dict[str, list[Any]] = {"n": list(range(23)), "day": [datetime.date(2026, 1, 1)] * 23, "text": TEXTS}
    result = run(write_table(tmp_path / "a.parquet", columns), tmp_path / "out")
    before = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    after = pyarrow.concat_tables(pyarrow.parquet.read_table(tmp_path / "out" / name) for name in result["files"])
    assert after.select(before.column_names).equals(before)
    assert [len(read_rows(tmp_path / "out" / name)) for name in result["files"]] == [10, 10, 3]


def test_rows_without_an_answer_are_listed_and_do_not_stop_the_others(run: Bulk, tmp_path: Path) -> None:
    texts = [*TEXTS[:12], " ", "x" * (LIMIT + 1), "see you"]
    lines = ["id,text", *(f"{number},{text.replace(',', ';')}" for number, text in enumerate(texts)), "9,one,too many"]
    table = tmp_path / "a.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = run(table, tmp_path / "out")
    found = all_rows(tmp_path / "out", result)
    assert [row["id"] for row in found if not row["label"]] == ["12", "13"]
    assert found[12]["score"] == found[12]["score:ham"] == ""
    problems = read_rows(tmp_path / "out" / "problems.jsonl")
    assert [(entry["file"], entry["line"], entry["left_out"]) for entry in problems] == [
        ("a.csv", 14, False),
        ("a.csv", 15, False),
        ("a.csv", 17, True),
    ]
    assert problems[0]["reason"] == "the text is empty"
    assert f"the model takes {LIMIT}" in problems[1]["reason"]
    assert problems[2]["reason"] == "3 fields, the first line has 2"
    assert {entry["shard"] for entry in problems} == {"a-00001.csv"}
    assert (result["rows"], result["problems"]) == (15, 3)
    with pytest.raises(DataError) as strict:
        run(table, tmp_path / "strict", strict=True)
    assert strict.value.problems[0] == "a.csv line 14: the text is empty."
    assert len(strict.value.problems) == 4
    assert "10 of 15 rows are answered" in strict.value.problems[3]


def test_copies_within_a_shard_run_once(
    small_bundle: Path, run: Bulk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    whole = Scorer._run

    def counted(scorer: Scorer, texts: list[str]) -> Any:
        seen.extend(texts)
        return whole(scorer, texts)

    monkeypatch.setattr(Scorer, "_run", counted)
    table = write_table(tmp_path / "a.csv", {"text": TEXTS[:3] * 6})
    found = all_rows(tmp_path / "out", run(table, tmp_path / "out", shard_rows=9))
    assert sorted(seen) == sorted(TEXTS[:3] * 2)
    assert [row["score:spam"] for row in found] == [row["score:spam"] for row in found[:3]] * 6


_KILLED = """
import sys, torch
from pathlib import Path
from classtune.data.reading.columns import TableFormat
from classtune.inference.bulk.job import predict_bulk
torch.set_num_threads(1)
bundle, table, output = sys.argv[1:]
predict_bulk(Path(bundle), [table], Path(output), format=TableFormat(), wishes={}, resume=True, shard_rows=4,
             notify=print, progress=lambda *_: None)
"""


def test_a_killed_run_goes_on_where_it_stood(run: Bulk, small_bundle: Path, tmp_path: Path) -> None:
    texts = [f"{text} {number}" if number % 5 else " " for number in range(16) for text in TEXTS]
    source, output, whole = tmp_path / "in", tmp_path / "out", tmp_path / "whole"
    source.mkdir()
    for name in ("a.csv", "b.parquet"):
        write_table(source / name, {"id": [str(number) for number in range(len(texts))], "text": texts})
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, small_bundle, source, output],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 90
    while len(list(output.glob("b-*.parquet"))) < 3:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    stood = len(list(output.glob("?-*")))
    assert stood < 2 * len(texts) // 4
    with (output / "problems.jsonl").open("a", encoding="utf-8") as file:  # as a crash may leave it
        file.write('{"file": "a", "shard": "a-99999.csv"}\n{"fi')
    result = run(source, output, resume=True, shard_rows=4)
    assert result["resumed"] == 4 * stood
    assert run(source, whole, shard_rows=4)["problems"] == result["problems"] == 2 * sum(text == " " for text in texts)
    assert contents(output) == contents(whole)


def test_a_damaged_shard_is_made_again_and_a_finished_run_does_nothing(
    run: Bulk, notes: list[str], tmp_path: Path
) -> None:
    table = write_table(tmp_path / "a.parquet", {"text": TEXTS})
    run(table, tmp_path / "out")
    whole = contents(tmp_path / "out")
    assert run(table, tmp_path / "out", resume=True)["resumed"] == 23
    (tmp_path / "out" / "a-00001.parquet").write_bytes(b"PAR1")
    assert run(table, tmp_path / "out", resume=True)["resumed"] == 13
    assert any("a-00001.parquet is damaged and is made again" in note for note in notes)
    assert contents(tmp_path / "out") == whole


def test_answers_of_another_run_are_neither_mixed_nor_lost(run: Bulk, tmp_path: Path) -> None:
    table = write_table(tmp_path / "a.csv", {"text": TEXTS})
    run(table, tmp_path / "out")
    with pytest.raises(DataError, match=r"holds answers already\. Pass --resume"):
        run(table, tmp_path / "out")
    write_table(table, {"text": TEXTS[1:]})
    with pytest.raises(DataError, match=r"of another run; changed: a\.csv\. .* --force"):
        run(table, tmp_path / "out", resume=True)
    with pytest.raises(DataError, match="how the rows are shared"):
        run(write_table(table, {"text": TEXTS}), tmp_path / "out", resume=True, shard_rows=5)
    write_table(table, {"text": TEXTS[:2]})
    result = run(table, tmp_path / "out", resume=True, force=True)
    assert (result["rows"], result["resumed"]) == (2, 0)
    assert sorted(contents(tmp_path / "out")) == ["a-00000.csv", "manifest.json"]


def test_two_runs_do_not_write_into_one_folder(run: Bulk, tmp_path: Path) -> None:
    table = write_table(tmp_path / "a.csv", {"text": TEXTS})
    with (
        ShardFolder(tmp_path / "new" / "out", [], {}).alone(),
        pytest.raises(DataError, match=r"another run is writing here\. Wait for it"),
    ):
        run(table, tmp_path / "new" / "out")
    assert not (tmp_path / "new" / "out").exists()
    assert run(table, tmp_path / "new" / "out")["rows"] == len(TEXTS)


def test_another_bundle_is_refused(run: Bulk, tmp_path: Path) -> None:
    table = write_table(tmp_path / "a.csv", {"text": TEXTS})
    run(table, tmp_path / "out")
    path = tmp_path / "out" / "manifest.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"bundle": "', '"bundle": "0'), encoding="utf-8")
    with pytest.raises(DataError, match="changed: the bundle"):
        run(table, tmp_path / "out", resume=True)


def test_a_folder_of_mixed_files_and_a_pattern(run: Bulk, notes: list[str], tmp_path: Path) -> None:
    source = tmp_path / "in"
    (source / "sub").mkdir(parents=True)
    for name in ("a.csv", "b.jsonl", "c.parquet", "sub/a.tsv"):
        write_table(source / name, {"text": TEXTS[:3]})
    (source / "plain.txt").write_text("see you\nwin a prize\n", encoding="utf-8")
    (source / "empty.csv").write_text("", encoding="utf-8")
    (source / "photo.png").write_bytes(b"\x89PNG")
    (source / "_SUCCESS").write_text("", encoding="utf-8")
    result = run(source, tmp_path / "out")
    assert result["files"] == [
        "a-00000.csv", "b-00000.jsonl", "c-00000.parquet", "plain.txt-00000.csv", "sub/a-00000.tsv",
    ]  # fmt: skip
    assert result["rows"] == 14
    assert len({row["score:spam"] for row in all_rows(tmp_path / "out", result) if row["text"] == TEXTS[0]}) <= 2
    assert "left out of the folder, as no tables: photo.png" in notes
    assert "without rows, and passed over: empty.csv" in notes
    assert run(str(source / "**" / "a.*"), tmp_path / "some")["files"] == ["a-00000.csv", "sub/a-00000.tsv"]


def test_tables_of_a_folder_that_are_not_read_in_pieces_are_never_called_no_tables(
    run: Bulk, notes: list[str], tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name in ("a.csv.gz", "b.csv.gz"):
        (source / name).write_bytes(gzip.compress(b"text\nsee you\n", mtime=0))
    (source / "notes.md").write_text("about these files", encoding="utf-8")
    with pytest.raises(DataError) as wrong:
        run(source, tmp_path / "out")
    assert wrong.value.problems == [
        f"{name}: archives are not read in pieces. Unpack it." for name in ("a.csv.gz", "b.csv.gz")
    ]
    write_table(source / "c.csv", {"text": TEXTS[:3]})
    notes.clear()
    assert run(source, tmp_path / "out")["files"] == ["c-00000.csv"]
    assert notes[:2] == [
        "left out of the folder, for archives and workbooks are not read in pieces: a.csv.gz, b.csv.gz",
        "left out of the folder, as no tables: notes.md",
    ]
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "notes.md").write_text("about no files", encoding="utf-8")
    with pytest.raises(DataError, match="the folder holds no table"):
        run(tmp_path / "none", tmp_path / "other")


def test_inputs_that_cannot_be_used_are_all_named_before_any_work(run: Bulk, tmp_path: Path) -> None:
    (tmp_path / "book.xlsx").write_bytes(b"PK\x03\x04")
    (tmp_path / "open.csv").write_text('id,text\n1,"never closed\n' + "2,b\n" * 5000, encoding="utf-8")
    (tmp_path / "none.csv").write_text("text\n", encoding="utf-8")
    with pytest.raises(DataError) as wrong:
        run([tmp_path / "no.csv", tmp_path / "no*.tsv", Path("-")], tmp_path / "out")
    assert len(wrong.value.problems) == 3
    with pytest.raises(DataError) as wrong:
        run([tmp_path / "book.xlsx", tmp_path / "open.csv"], tmp_path / "out")
    assert [problem.partition(". ")[0] for problem in wrong.value.problems] == [
        "book.xlsx: Excel files are not read in pieces",
        "open.csv line 2: a quote that opens here is never closed",
    ]
    with pytest.raises(DataError, match=r"none\.csv: there are no rows"):
        run(tmp_path / "none.csv", tmp_path / "out")
    named = write_table(tmp_path / "named.csv", {"text": TEXTS})
    with pytest.raises(DataError, match="one of the inputs"):
        run(tmp_path, tmp_path)
    with pytest.raises(SettingsError, match="'local'"):
        run(named, tmp_path / "out", engine="locl")
    with pytest.raises(SettingsError, match="needs all texts at once"):
        run(named, tmp_path / "out", wishes={"deploy_prior": "estimate"})
    assert not (tmp_path / "out").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.doc").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="is not empty and holds no"):
        run(write_table(tmp_path / "a.csv", {"text": TEXTS}), tmp_path / "other")


def test_a_full_disk_and_ctrl_c_leave_whole_shards_only(
    run: Bulk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write_table(tmp_path / "a.csv", {"text": TEXTS})
    run(table, tmp_path / "whole")
    finish = bulk._finish
    for stop, expected in (
        (OSError(errno.ENOSPC, "No space left on device"), BundleError),
        (KeyboardInterrupt(), Interrupted),
    ):

        def half(path: Path, *_: object, stop: BaseException = stop) -> None:
            path.write_text("half", encoding="utf-8")
            raise stop

        def failing(target: Any, job: Any, *rest: Any, half: Callable[..., None] = half, **more: Any) -> None:
            if job.shard.piece == 1:
                monkeypatch.setattr(job.shard.stream, "write", half)
            finish(target, job, *rest, **more)

        output = tmp_path / expected.__name__
        monkeypatch.setattr(bulk, "_finish", failing)
        with pytest.raises(
            expected, match=r"10 of 23 rows are answered\. What is finished is kept: go on with --resume"
        ):
            run(table, output)
        assert sorted(contents(output)) == ["a-00000.csv", "manifest.json"]
        monkeypatch.setattr(bulk, "_finish", finish)
        assert run(table, output, resume=True)["resumed"] == 10
        assert contents(output) == contents(tmp_path / "whole")


def test_wishes_change_the_answers_and_belong_to_the_run(run: Bulk, tmp_path: Path) -> None:
    table = write_table(tmp_path / "a.csv", {"text": TEXTS})
    plain = all_rows(tmp_path / "plain", run(table, tmp_path / "plain"))
    rare = {"deploy_prior": {"spam": 0.001, "ham": 0.999}}
    wished = all_rows(tmp_path / "wished", run(table, tmp_path / "wished", wishes=rare))
    assert all(float(a["score:spam"]) > float(b["score:spam"]) for a, b in zip(plain, wished, strict=True))
    with pytest.raises(DataError, match="changed: the wishes about answers"):
        run(table, tmp_path / "wished", resume=True)


def test_cores_change_no_score(small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classtune.inference.bulk.scorer.SLICE_CHARACTERS", 100)
    predictor, _ = load_predictor(small_bundle)
    found = []
    for threads in (1, 3):
        with cores(), closing(Scorer(predictor, threads)) as scorer:
            found.append(scorer([*TEXTS, "x" * 999, TEXTS[0]]))
    one, many = found
    assert np.array_equal(one.logits, many.logits)
    assert one.faults == many.faults == {23: f"the text has 999 tokens, and the model takes {LIMIT}"}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_columns_of_the_table_that_answers_need_are_called_otherwise(
    kind: str, run: Bulk, small_bundle: Path, tmp_path: Path
) -> None:
    columns = {"text": TEXTS[:3], "label": ["a", "b", "c"], "score:spam": ["1", "2", "3"]}
    result = run(write_table(tmp_path / f"t.{kind}", columns), tmp_path / "out")
    found = all_rows(tmp_path / "out", result)
    assert [row["given:label"] for row in found] == ["a", "b", "c"]
    assert list(found[0]) == ["text", "given:label", "given:score:spam", "label", "score", "score:ham", "score:spam"]


@pytest.mark.parametrize("name", ["../precious.csv", "precious.csv", "ABSOLUTE", "big-00000.csv/../../precious.csv"])
def test_force_deletes_nothing_that_a_foreign_manifest_names(name: str, run: Bulk, tmp_path: Path) -> None:
    """A manifest that lists somebody's files does not make them bulk answers."""
    table = write_table(tmp_path / "big.csv", {"text": TEXTS})
    (tmp_path / "out").mkdir()
    precious = [tmp_path / "precious.csv", tmp_path / "out" / "precious.csv"]
    for path in precious:
        path.write_text("mine", encoding="utf-8")
    run(table, tmp_path / "made")
    manifest = json.loads((tmp_path / "made" / "manifest.json").read_text(encoding="utf-8"))
    manifest["shards"][0]["file"] = str(tmp_path / "precious.csv") if name == "ABSOLUTE" else name
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(DataError, match="is no list of bulk answers"):
        run(table, tmp_path / "out", force=True)
    assert [path.read_text(encoding="utf-8") for path in precious] == ["mine", "mine"]


def test_a_row_that_makes_the_model_fail_is_listed_and_loses_no_other(
    run: Bulk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from classtune.inference.predictor import Predictor

    plain = Predictor.logits

    def fail(self: Predictor, texts: list[str], **told: Any) -> Any:
        if any("[USER]" in text for text in texts):
            raise IndexError("index out of range in self")
        return plain(self, texts, **told)

    table = write_table(tmp_path / "big.csv", {"text": [*TEXTS[:5], "[USER] wrote", *TEXTS[5:], "x" * (LIMIT + 1)]})
    expected = run(write_table(tmp_path / "good.csv", {"text": TEXTS}), tmp_path / "good")
    monkeypatch.setattr(Predictor, "logits", fail)
    result = run(table, tmp_path / "out")
    assert (result["rows"], result["problems"]) == (25, 2)
    found = {row["text"]: row["label"] for row in all_rows(tmp_path / "out", result)}
    assert {text: found[text] for text in TEXTS} == {
        row["text"]: row["label"] for row in all_rows(tmp_path / "good", expected)
    }
    listed = [json.loads(line) for line in (tmp_path / "out" / "problems.jsonl").read_text().splitlines()]
    assert "the model fails with this text (IndexError: index out of range in self)" in listed[0]["reason"]
    assert (listed[0]["line"], found["[USER] wrote"]) == (7, "")


def test_a_model_that_fails_with_every_text_is_an_error(small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, _ = load_predictor(small_bundle)

    def fail(texts: list[str], **_: Any) -> Any:
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(predictor, "logits", fail)
    with closing(Scorer(predictor, 1)) as scorer, pytest.raises(RuntimeError, match="the device is gone"):
        scorer(TEXTS)
