"""One rule says what is a table and what is a text; and what is printed runs nothing in a terminal."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
from small import QUICK, Run, rows, write_csv

from classtune.cli import inputs
from classtune.cli.inputs import print_json, what_is_given
from classtune.errors import SettingsError, printable
from classtune.estimator.classifier import print_note
from classtune.screen.answers import show_predictions
from classtune.screen.terminal import Screen, say, show

pytest_plugins = ["bundle_fixtures"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "b.csv", "big.parquet", "notes"):
        Path(name).write_text("text\na\n", encoding="utf-8")
    Path("tests").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "output", "expected"),
    [
        (["hello there"], None, "texts"),
        (["tests", ""], None, "texts"),  # words, and one of them is the name of a folder here
        (["test?"], None, "texts"),  # a question, beside a folder that the pattern fits
        (["note?"], None, "texts"),  # the file that it fits is no table
        (["really?", "why [not]", "x" * 5000, "a\0b"], None, "texts"),
        (["I wrote it in notes.txt today"], None, "texts"),
        (["a.csv"], None, "table"),
        (["missing.csv"], None, "table"),
        (["notes"], None, "table"),
        (["-"], None, "table"),
        (["a.csv"], "out.csv", "table"),
        (["a.csv", "b.csv"], None, "shards"),  # what a shell makes of *.csv
        (["*.csv"], None, "shards"),
        (["tests/"], None, "shards"),
        (["tests"], "out", "shards"),
        (["a.csv"], "out/", "shards"),
        (["a.csv"], "tests", "shards"),
    ],
)
def test_what_is_a_table_and_what_is_a_text(here: Path, words: list[str], output: str | None, expected: str) -> None:
    assert what_is_given(words, output) == expected


def test_a_large_file_is_answered_in_shards(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert what_is_given(["big.parquet"], None) == "table"
    monkeypatch.setattr(inputs, "LARGE_BYTES", 5)
    assert what_is_given(["big.parquet"], None) == "shards"


def test_tables_and_texts_together_are_refused(here: Path) -> None:
    with pytest.raises(SettingsError, match=r"'a\.csv' is a table and 'hello' is a text"):
        what_is_given(["hello", "a.csv"], None)
    with pytest.raises(SettingsError, match=r"-o out\.csv: several tables are answered into a folder"):
        what_is_given(["a.csv", "b.csv"], "out.csv")


def test_several_files_are_read_and_not_classified_by_name(small_bundle: Path, tmp_path: Path, command: Run) -> None:
    for name in ("a.csv", "b.csv"):
        write_csv(tmp_path / name, rows(3))
    ran = command("predict", small_bundle, tmp_path / "a.csv", tmp_path / "b.csv", "-o", tmp_path / "out", "--json")
    assert (ran.document["rows"], ran.document["files"]) == (6, ["a-00000.csv", "b-00000.csv"])
    heading = (tmp_path / "out" / "a-00000.csv").read_text(encoding="utf-8").partition("\n")[0]
    assert heading.strip() == "text,given:label,label,score,score:ham,score:spam"


@pytest.mark.parametrize("output", ["out.csv", "out/"])
def test_formulas_are_escaped_when_asked(output: str, small_bundle: Path, tmp_path: Path, command: Run) -> None:
    texts = ['=HYPERLINK("x")', "@me", "-1 is cold", "+1", "plain"]
    table = write_csv(tmp_path / "t.csv", [(text, "-0.5") for text in texts])
    for flags, marks in (([], ""), (["--escape-formulas"], "'''")):
        done = command("predict", small_bundle, table, "-o", f"{tmp_path}/{output}", "--force", *flags)
        assert done.code == 0, done.err
        (found,) = [path for path in tmp_path.rglob("*.csv") if path.name.startswith(("out", "t-"))]
        cells = [line.lstrip('"')[:2] for line in found.read_text(encoding="utf-8").splitlines()[1:]]
        assert cells == (["'=", "'@", "'-", "+1", "pl"] if marks else ["=H", "@m", "-1", "+1", "pl"])


@pytest.mark.parametrize("how", ["next", "start", "audit"])
def test_every_table_that_is_written_escapes_formulas_when_asked_and_else_comes_back_as_it_was(
    how: str, small_bundle: Path, small_bert: Path, tmp_path: Path, command: Run
) -> None:
    texts = ['=HYPERLINK("x")', "@me is here", "-1 is cold", "+1", "＝wide", "plain, and\nlong"]
    table, out = write_csv(tmp_path / "t.csv", [(text, "=ham") for text in texts]), tmp_path / "out.csv"
    words = {
        "next": ["next", small_bundle, table, "-n", 6, "-o", out],
        "start": ["start", table, "--labels", "=ham,b", "-n", 6, "--model", small_bert, "-o", out],
        "audit": ["audit", table, "--model", small_bert, "--fix", out],
    }[how]
    for flags, marked in (([], ""), (["--escape-formulas"], "'")):
        done = command(*words, "--force", *flags)
        assert done.code == 0, done.err
        with out.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
        back = {line["text"] for line in lines}
        assert back == {text if text[0] in "+p" else marked + text for text in texts}
        kept = {line["label" if how == "audit" else "given:label"] for line in lines}
        assert kept == {f"{marked}=ham"}


ESCAPES = "\x1b]0;title\x07\x1b[31mred\x9b2J\r"


def test_what_is_printed_runs_nothing_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say(ESCAPES)
    show([[ESCAPES, ESCAPES]], (ESCAPES, "b"))
    show_predictions([ESCAPES], [[{"label": ESCAPES, "score": 0.5}]])
    Screen().note(ESCAPES)
    print_json({ESCAPES: ESCAPES})
    shown = "".join(capsys.readouterr())
    assert "␛]0;title␛[31mred\ufffd2J" in shown  # rich leaves bells out
    assert not {"\x1b", "\x07", "\x9b", "\r"} & set(shown)
    assert printable("a\tb\n") == "a\tb\n"


def test_errors_run_nothing_in_a_terminal(tmp_path: Path, small_bundle: Path, command: Run) -> None:
    ran = command("audit", tmp_path / f"{ESCAPES.strip()}.csv")
    assert ran.code == 2
    assert "\x1b" not in ran.err
    assert "␛" in ran.err


def test_what_nobody_foresaw_and_notes_in_python_run_nothing_in_a_terminal(
    command: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError(ESCAPES)

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("classtune.data.catalogue.open_data", fail)
    ran = command("audit", "t.csv")
    assert ran.code == 1
    assert "an unexpected ZeroDivisionError (␛]0;title" in ran.err
    print_note(ESCAPES)
    said = capsys.readouterr().err
    assert "␛]0;title␇␛[31mred\ufffd2J␍" in said
    assert not {"\x1b", "\x07", "\x9b", "\r"} & set(ran.err + said)


def test_a_bundle_remembers_its_columns(small_llama: Path, tmp_path: Path, command: Run) -> None:
    table = tmp_path / "t.csv"
    lines = [
        "id,title,body,kind",
        *(f"{row},same,{text.replace(',', ' ')},{label}" for row, (text, label) in enumerate(rows())),
    ]
    table.write_text("\n".join(lines), encoding="utf-8")
    settings = [part for key, value in QUICK.items() for part in ("--set", f"{key}={value}")]
    told = ["--text", "body", "--label", "kind", "--model", small_llama, "-o", tmp_path / "out", *settings]
    assert command("train", table, *told).code == 0
    assert len(command("predict", tmp_path / "out", table, "--json").document) == 60
    assert command("evaluate", tmp_path / "out", table, "--json").document["data"]["rows"] == 60


def test_without_a_terminal_a_long_stage_tells_how_far_it_is_and_what_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    view = Screen()
    monkeypatch.setattr(view._progress, "get_time", lambda: now[0])
    for done in (0, 25, 50, 75, 100):  # every 20 seconds
        view.progress("trunk", done, 100)
        now[0] += 20
    view.progress("epochs", 1, 2)
    for done in (10, 20, 30):  # the next model's pass is another one, at another rate
        view.progress("trunk", done, 40)
        now[0] += 30
    assert capsys.readouterr().err.splitlines() == [
        "trunk: 100 tokens",
        "trunk: 50 %, about 40 s left",
        "training: 2 texts",
        "trunk: 50 %, about 60 s left",
        "trunk: 75 %, about 30 s left",
    ]


def test_a_pipe_is_a_table_and_no_text(small_bundle: Path, tmp_path: Path, command: Run) -> None:
    """What a shell makes of <(…): a path that is no regular file."""
    reading, writing = os.pipe()
    os.write(writing, b"text\nhello there\nsee you\n")
    os.close(writing)
    ran = command("predict", small_bundle, f"/dev/fd/{reading}", "--json")
    os.close(reading)
    assert len(ran.document) == 2
    refused = command("predict", small_bundle, os.devnull)
    assert (refused.code, "the file is empty" in refused.err) == (2, True)


def test_words_that_say_nothing_are_refused(small_bundle: Path, tmp_path: Path, command: Run) -> None:
    """A variable of the shell that is not set: nothing else is done in its place."""
    data = write_csv(tmp_path / "t.csv", rows(20))
    for words, said in (
        (["predict", small_bundle, data, "-o", ""], "--output: is given an empty word"),
        (["train", data, "-o", tmp_path / "b", "--test", ""], "--test: is given an empty word"),
        (["train", data, "-o", tmp_path / "b", "--with", "", "--recipe="], "--recipe: is given an empty word"),
        (["train", data, "-o", tmp_path / "b", "--add", ""], "--add: is given an empty word"),
        (["predict", small_bundle, data, "--encoding", ""], "--encoding: is given an empty word"),
        (["predict", "", "hello"], "DIR: is given an empty word"),
        (["evaluate", small_bundle, ""], "DATA: is given an empty word"),
        (["export", small_bundle, "--to", "onnx", "-o", ""], "--output: is given an empty word"),
        (["predict", small_bundle, ""], "row 1: the text is empty"),
        (["audit", data, "--model", ","], "model = ',': names no model"),
        (["next", small_bundle, data, "--seed", "-1"], "--seed"),
        (["start", data, "--labels", "a,b", "--seed", str(2**32)], "--seed"),
    ):
        ran = command(*words)
        assert (ran.code, said in ran.err) == (2, True), ran.err
    assert not (tmp_path / "b").exists()
