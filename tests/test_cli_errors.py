"""Mistakes at the command line: told in words, all at once, with exit code 2, nothing printed and nothing written."""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from small import LIMIT, Ran, Run, rows, write_csv

pytest_plugins = ["bundle_fixtures"]


@pytest.fixture
def refused(command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What is told when a command is refused; what must hold for every refusal is checked here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLASSTUNE_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("CLASSTUNE_HOME", str(tmp_path / "no-cache"))

    def run(*arguments: object) -> str:
        before = sorted(os.listdir(tmp_path))
        ran: Ran = command(*arguments)
        assert (ran.code, ran.out) == (2, "")
        assert "Traceback" not in ran.err
        assert sorted(set(os.listdir(tmp_path)) - {"no-cache"}) == before
        return ran.err

    return run


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        (["--recipe", "llm-from-scratch"], "recipe 'llm-from-scratch' is unknown. Did you mean 'llms-from-scratch'?"),
        (["--recipe", "mine.toml"], "mine.toml: cannot be read (No such file or directory)."),
        (["--set", "epoch=3"], "setting 'epoch' is unknown. Did you mean 'epochs'?"),
        (["--set", "epochs"], "--set 'epochs': write key=value."),
        (["--epochs", "0"], "epochs = 0: should be greater than or equal to 1."),
        (["--depth", "some"], "depth = 'some': should be 'auto' or 'all', or should be a valid integer."),
        (["--depth", "2", "--trainable", "3"], "trainable = 3 is more than the depth = 2 blocks that are kept."),
        (["--depth", "4"], "depth = 4:"),
        (["--trainable", "4"], "trainable = 4:"),
        (["--device", "tpu"], "device = 'tpu': cannot be used here"),
        (["--set", "split=llms-from-scratch", "--test", "test.csv"], "leave --validation and --test out."),
        (["--encoding", "utf-9"], "utf-9"),
        (["--text", "txt"], "no column is called 'txt' (--text). Did you mean 'text'?"),
        (["--nonsense"], "No such option: --nonsense"),
    ],
)
def test_wrong_settings(
    told: list[str], problem: str, small_csv: Path, small_llama: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    write_csv(tmp_path / "test.csv", rows(10))
    assert problem in refused("train", small_csv, "-o", "bundle", "--model", small_llama, *told)


def test_several_wrong_settings_come_in_one_message(small_csv: Path, refused: Callable[..., str]) -> None:
    told = refused("train", small_csv, "--epochs", "0", "--pooling", "max", "--set", "sed=1", "--set", "test=2")
    for problem in ("epochs = 0", "pooling = 'max'", "setting 'sed' is unknown. Did you mean 'seed'?", "test = 2"):
        assert problem in told


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ("smollm2-153m", "Did you mean 'smollm2-135m'?"),
        ("./nowhere", "./nowhere: no such folder or file."),
        ("empty", "empty: not a model: the folder holds neither config.json nor a .gguf file."),
        ("broken", "broken: no model can be read from it"),
        ("gpt2", "openai-community/gpt2: not in the Hub's cache, and fetching is off."),
    ],
)
def test_models_that_cannot_be_had(
    model: str, problem: str, small_csv: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{", encoding="utf-8")
    assert problem in refused("train", small_csv, "-o", "bundle", "--model", model)


def test_a_data_set_that_is_unknown_is_offered_the_nearest(refused: Callable[..., str]) -> None:
    assert "Did you mean 'sms-spam'?" in refused("train", "sms-spm")


TABLES: dict[str, tuple[bytes, str]] = {
    "empty.csv": (b"", "empty.csv: the file is empty."),
    "header.csv": (b"text,label\n", "header.csv: there is a header and no rows."),
    "picture.csv": (b"\x89PNG\r\n\x1a\n\0\0", "picture.csv: is a PNG picture, not a text table."),
    "binary.csv": (b"text,label\na\0\xff\xfe,b\n", "binary.csv"),
    "ragged.csv": (b"text,label\na,x,y\nb,z\n", "ragged.csv line 2: 3 fields"),
    "other.csv": (b"a,b,c\n1,2,3\n4,5,6\n", "other.csv: no column looks like the text among 'a', 'b', 'c'."),
    "two.csv": (b"text,review,label\na,b,x\nc,d,y\n", "two.csv: more than one column could hold the text:"),
    "labels.csv": (
        b"text,label\na,\nb,x\nc, \n",
        "labels.csv lines 2, 4: the label is empty. Fill it in, or pass --drop-u",
    ),
    "texts.csv": (b"text,label\n,x\nb,y\n", "texts.csv line 2: the text is empty. Fill it in, or pass --drop-empty."),
    "alike.csv": (
        b"text,label\na,Spam\nb,spam\nc,ham\n",
        "labels that differ only by case, blanks or what is not seen: 'Spam' (1: 2)",
    ),
    "one.csv": (b"text,label\na,x\nb,x\nc,x\nd,x\n", "every row has the label 'x' (4): a classifier needs two classes"),
    "small.csv": (
        b"text,label\na,x\nb,x\nc,x\nd,y\ne,z\n",
        "label 'y': 1 group in 1 row, and the split needs 2.",
    ),
    "old.xls": (b"\xd0\xcf\x11\xe0", "old.xls: is an old Office file, which is not read. Save it as .xlsx or .csv."),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_that_cannot_be_used(name: str, tmp_path: Path, small_llama: Path, refused: Callable[..., str]) -> None:
    (tmp_path / name).write_bytes(TABLES[name][0])
    assert TABLES[name][1] in refused("train", name, "-o", "bundle", "--model", small_llama)


def test_every_class_that_is_too_small_and_every_empty_cell_is_told(
    tmp_path: Path, small_llama: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "small.csv").write_bytes(TABLES["small.csv"][0])
    assert "label 'z': 1 group" in refused("train", "small.csv", "--model", small_llama)
    (tmp_path / "labels.csv").write_bytes(TABLES["labels.csv"][0])
    assert "labels.csv lines 2, 4: the label is empty." in refused("train", "labels.csv", "--model", small_llama)


def test_missing_files_are_told(tmp_path: Path, small_bundle: Path, refused: Callable[..., str]) -> None:
    assert "none.csv: no such file." in refused("train", "none.csv")
    assert "none.csv: no such file." in refused("evaluate", small_bundle, "none.csv")
    assert "none.csv: no such file." in refused("predict", small_bundle, "none.csv")  # and is not taken for a text
    (tmp_path / "folder").mkdir()
    assert "folder: is a folder." in refused("train", "folder")


def test_a_name_that_no_file_can_have_is_told(small_bundle: Path, small_csv: Path, refused: Callable[..., str]) -> None:
    long = "a" * 300
    for words in (
        ("audit", long),
        ("info", long),
        ("train", small_csv, "-o", long),
        ("predict", small_bundle, "text", "-o", f"{long}.csv"),
        ("explain", small_bundle, "text", "--html", f"{long}.html"),
    ):
        assert re.search(rf"{long}\S*: File name too long\. Name another place", refused(*words)), words


def test_a_margin_that_is_none_opens_no_gate(small_bundle: Path, small_csv: Path, refused: Callable[..., str]) -> None:
    for margin in ("nan", "-5", "inf"):
        told = refused("evaluate", small_bundle, "other", small_csv, "--at-least-as-good", "--margin", margin)
        assert f"--margin {margin}: points of accuracy, from 0 to 100." in told


def test_wishes_that_are_none_are_told_and_not_left_out(small_csv: Path, refused: Callable[..., str]) -> None:
    assert "--label-columns ',': names no column" in refused("audit", small_csv, "--label-columns", ",")
    assert "max_error = 0.0: should be greater than 0" in refused("train", small_csv, "-o", "b", "--max-error", "0")
    twice = ("--precision", "spam=0.5", "--precision", "spam=0.9")
    assert "--precision 'spam=0.9': the label has a share already" in refused("train", small_csv, "-o", "b", *twice)


def test_nothing_at_standard_input_is_told(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    assert "standard input: the file is empty." in refused("train", "-")


def test_texts_longer_than_the_model_takes_are_told_with_the_way_out(
    tmp_path: Path, small_llama: Path, small_bundle: Path, refused: Callable[..., str], command: Run
) -> None:
    lines = rows(30)
    lines[4] = ("x" * (LIMIT + 1), lines[4][1])
    write_csv(tmp_path / "long.csv", lines)
    one = ["--set", "candidates=one"]
    told = refused("train", "long.csv", "-o", "bundle", "--model", small_llama, "--depth", "all", "--epochs", "1", *one)
    assert f"long.csv line 6: the text has {LIMIT + 1} tokens, and the model takes {LIMIT}." in told
    assert f"Train with --set max_tokens={LIMIT} to cut long texts" in told
    quick = ["--depth", "all", "--epochs", "1", "--set", f"max_tokens={LIMIT}", "--json"]
    cut = command("train", "long.csv", "-o", "bundle", "--model", small_llama, *quick)
    assert cut.document["cut_texts"] == 1
    assert f"1 of 30 texts were cut to {LIMIT} tokens, their beginning; lost: 1 token." in cut.document["notes"]
    assert f"line 6: the text has {LIMIT + 1} tokens" in refused("predict", small_bundle, "long.csv")


def test_labels_that_training_never_sees_are_told(
    tmp_path: Path, small_csv: Path, small_llama: Path, small_bundle: Path, refused: Callable[..., str]
) -> None:
    write_csv(tmp_path / "test.csv", [("hello", "ham"), ("buy", "spamm"), ("what", "eggs")])
    told = refused("train", small_csv, "-o", "bundle", "--model", small_llama, "--test", "test.csv")
    assert "test.csv line 3: the label 'spamm' is not in" in told
    assert "Did you mean 'spam'?" in told
    assert re.search(r"test\.csv line 4: the label 'eggs' is not in .*\. Known: ham, spam\.", told)
    told = refused("evaluate", small_bundle, "test.csv")
    assert "test.csv line 3: the label 'spamm' is not one of the bundle's. Did you mean 'spam'?" in told
    assert "test.csv line 4: the label 'eggs' is not one of the bundle's. Known: ham, spam." in told


def test_all_that_is_wrong_with_labelled_rows_is_told_at_once(
    tmp_path: Path, small_csv: Path, small_llama: Path, small_bundle: Path, refused: Callable[..., str]
) -> None:
    write_csv(tmp_path / "test.csv", [("", "ham"), ("buy", "spamm"), ("what", ""), (" ", "eggs"), ("x", "y" * 1001)])
    shutil.copytree(small_bundle, tmp_path / "other")
    for told, label in (
        (("evaluate", small_bundle), "the label 'spamm' is not one of the bundle's."),
        (("evaluate", small_bundle, "other"), "the label 'spamm' is one of neither bundle."),
        (("train", small_csv, "-o", "bundle", "--model", small_llama, "--test"), "the label 'spamm' is not in"),
        (("train", small_csv, "-o", "bundle", "--model", small_llama, "--validation"), "the label 'spamm' is not in"),
    ):
        said = refused(*told, "test.csv")
        assert "test.csv lines 2, 5: the text is empty" in said
        assert "test.csv line 4: the label is empty" in said
        assert "test.csv line 6: the label has 1,001 characters" in said
        assert label in said
        assert label.replace("spamm", "eggs") in said
        assert len(said.splitlines()) == 5


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ("out.txt", "-o out.txt: predictions are written as .csv, .xlsx or .jsonl."),
        ("nowhere/out.csv", "-o nowhere/out.csv: there is no folder nowhere."),
    ],
)
def test_predictions_that_cannot_be_written_are_refused_before_any_work(
    output: str, problem: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    assert problem in refused("predict", tmp_path / "not even looked at", "hello", "-o", output)


@pytest.mark.parametrize(
    ("text", "problem"), [("", "text is empty"), ("  ", "text is empty"), ("\udcff", "half a character")]
)
def test_texts_that_are_none(text: str, problem: str, small_bundle: Path, refused: Callable[..., str]) -> None:
    assert problem in refused("predict", small_bundle, "hello", text)


def test_what_is_missing_on_the_command_line_is_told(small_bundle: Path, refused: Callable[..., str]) -> None:
    assert "Missing argument" in refused("train")
    assert "Missing argument" in refused("predict", small_bundle)
    assert "No such command" in refused("trian")


def test_here_is_no_place_for_a_bundle(small_csv: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    for place in (".", tmp_path, "/"):
        assert "is not empty and holds no bundle." in refused("train", small_csv, "-o", place)


def test_a_failure_that_is_nobody_s_mistake_is_exit_code_1(
    small_csv: Path, small_llama: Path, tmp_path: Path, command: Run
) -> None:
    explode = [
        "--set",
        "candidates=one",
        "--set",
        "learning_rate=1e30",
        "--set",
        "clip=0",
        "--set",
        "warmup=0",
        "--epochs",
        "3",
        "--depth",
        "all",
    ]
    ran = command("train", small_csv, "-o", tmp_path / "bundle", "--model", small_llama, *explode)
    assert (ran.code, ran.out) == (1, "")
    assert "The loss is not a number at step" in ran.err
    assert not (tmp_path / "bundle").exists()


def test_what_nobody_foresaw_is_one_line_and_a_file(
    command: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nothing\nat all")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("classtune.inference.predictor.load_predictor", fail)
    ran = command("info", tmp_path)
    (file,) = tmp_path.iterdir()
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "classtune: an unexpected ZeroDivisionError (by nothing). This is a fault of classtune: please report it with "
        f"the traceback in {file}.\n"
    )
    assert "in fail\n" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        (["--lr", "0.1"], "--set learning_rate=…"),
        (["--lr=0.1"], "--set learning_rate=…"),
        (["--max-length", "64"], "--set max_tokens=…"),
        (["--batch-size", "8"], "--set batch_size=…"),
        (["--bach-size", "8"], "--set batch_size=…"),
        (["--num-epochs", "3"], "--epochs"),
        (["--random-state", "3"], "--seed"),
    ],
)
def test_an_option_of_a_setting_s_name_says_how_the_setting_is_told(
    told: list[str], meant: str, command: Run, tmp_path: Path
) -> None:
    ran = command("train", tmp_path / "t.csv", *told)
    assert ran.code == 2
    assert f"No such option: {told[0].partition('=')[0]}. Did you mean {meant}?" in ran.err
    assert "Did you mean" not in command("predict", tmp_path, "text", *told).err
    assert "Did you mean" not in command("train", tmp_path / "t.csv", "--zzz", "1").err
