"""The commands: what they print, what they write, and that a run gives the same bytes every time."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from small import Run, rows, write_csv

from classtune.screen.answers import show_bundle

pytest_plugins = ["bundle_fixtures"]

QUICK = ["--split-by", "exact", "--depth", "all", "--trainable", "1", "--epochs", "2"]
QUICK += ["--set", "batch_size=8", "--set", "learning_rate=0.001"]
# One network and nothing else, as most of these tests want it.
QUICK += ["--set", "candidates=one", "--set", "least_steps=0"]
LONG = [*QUICK, "--epochs", "20", "--set", "patience=0"]


def arguments(data: Path, model: Path, output: Path, *more: str) -> list[str]:
    return ["train", str(data), "-o", str(output), "--model", str(model), *QUICK, *more]


def weights(bundle: Path) -> bytes:
    return (bundle / "model.safetensors").read_bytes()


def start(*told: object) -> subprocess.Popen[str]:
    """`classtune` as a process of its own, without a network, on one thread as everything here."""
    return subprocess.Popen(
        [sys.executable, "-m", "classtune", *map(str, told)],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "CLASSTUNE_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_train_prints_one_json_document_with_what_it_found(
    small_csv: Path, small_llama: Path, tmp_path: Path, command: Run
) -> None:
    ran = command(*arguments(small_csv, small_llama, tmp_path / "bundle", "--json"))
    assert ran.code == 0
    document = ran.document
    assert document["bundle"] == str(tmp_path / "bundle")
    assert document["data"]["rows"] == 60
    assert document["data"]["classes"] == {"spam": 30, "ham": 30}
    assert document["data"]["duplicates"] == 0
    assert document["splits"] == {"train": 42, "validation": 6, "test": 12}
    judged = {"accuracy", "accuracy_ci95", "macro_f1", "log_loss", "ece", "confusion"}
    assert judged <= set(document["test"])
    assert judged | {"name"} <= set(document["baseline"])
    low, high = document["test"]["accuracy_ci95"]
    assert 0 <= low <= document["test"]["accuracy"] <= high <= 1
    assert (document["depth"]["kept"], document["depth"]["of"]) == (3, 3)
    assert document["trunk"]["texts"] == 60
    assert document["trunk"]["tokens"] == sum(len(text) for text, _ in rows())  # a token each character, no padding
    assert {"total", "trunk", "epochs"} <= set(document["timing"])
    assert document["settings"]["model"] == str(small_llama)
    assert document["verdict"]["sentence"]
    assert os.listdir(tmp_path) == ["bundle"]  # no checkpoints are left


def test_train_without_json_shows_model_and_baseline_side_by_side(
    small_csv: Path, small_llama: Path, tmp_path: Path, command: Run
) -> None:
    ran = command(*arguments(small_csv, small_llama, tmp_path / "bundle", "--quiet"))
    assert (ran.code, ran.err) == (0, "")
    assert "60 rows, 2 classes, 0 copies of other rows, 2 near copies" in ran.out
    assert "42 train, 6 validation, 12 test (copies kept together)" in ran.out
    assert "depth: 3 of 3 blocks of llama kept" in ran.out
    assert "llama tail (chosen)" in ran.out
    assert "tf-idf" in ran.out
    assert "test texts" in ran.out  # the verdict
    assert f"report: {tmp_path / 'bundle'}/texts/report.html" in ran.out


def test_the_probes_choose_a_depth_and_its_curve_is_in_the_result(
    small_csv: Path, small_llama: Path, tmp_path: Path, command: Run
) -> None:
    told = arguments(small_csv, small_llama, tmp_path / "bundle", "--depth", "auto", "--json")
    depth = command(*told).document["depth"]
    assert [point["depth"] for point in depth["curve"]][:1] == [1]
    assert 1 <= depth["kept"] <= depth["of"] == 3
    config = json.loads((tmp_path / "bundle" / "config.json").read_text(encoding="utf-8"))
    assert config["num_hidden_layers"] == depth["kept"]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    small_csv: Path, small_llama: Path, tmp_path: Path, command: Run
) -> None:
    for name, seed in (("one", "1"), ("again", "1"), ("two", "2")):
        assert command(*arguments(small_csv, small_llama, tmp_path / name, "--seed", seed)).code == 0
    assert weights(tmp_path / "one") == weights(tmp_path / "again")
    assert weights(tmp_path / "one") != weights(tmp_path / "two")


def test_flags_win_over_a_recipe_file_over_the_recipe_it_names(
    small_csv: Path, small_llama: Path, tmp_path: Path, command: Run
) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('recipe = "llms-from-scratch"\nepochs = 7\nbatch_size = 4\n', encoding="utf-8")
    told = ["train", small_csv, "-o", tmp_path / "bundle", "--model", small_llama, "--recipe", recipe]
    ran = command(*told, "--epochs", "1", "--set", "evaluate_every=0", "--json")
    settings = ran.document["settings"]
    assert (settings["epochs"], settings["batch_size"], settings["split"]) == (1, 4, "llms-from-scratch")
    assert ran.document["splits"] == {"train": 42, "validation": 6, "test": 12}
    record = json.loads((tmp_path / "bundle" / "classtune.json").read_text(encoding="utf-8"))
    assert record["settings"] == settings


def test_given_files_are_used_as_they_are_and_their_rows_never_train(
    small_llama: Path, tmp_path: Path, command: Run
) -> None:
    train = write_csv(tmp_path / "train.csv", rows(40))
    test = write_csv(tmp_path / "test.csv", [*rows(50)[38:], ("SEE you at  1 then, mate", "ham")])
    told = arguments(train, small_llama, tmp_path / "bundle", "--test", str(test), "--set", "validation=0.2", "--json")
    ran = command(*told)
    assert ran.document["splits"]["test"] == 13
    assert ran.document["splits"]["train"] + ran.document["splits"]["validation"] == 37  # three stand in both
    assert any(
        note.startswith("rows of ") and note.endswith("left out of training: 3.") for note in ran.document["notes"]
    )


def test_evaluate_judges_a_bundle_on_any_table(small_bundle: Path, small_csv: Path, command: Run) -> None:
    ran = command("evaluate", small_bundle, small_csv, "--json")
    assert ran.code == 0
    assert ran.document["bundle"] == str(small_bundle)
    assert ran.document["data"]["rows"] == ran.document["test"]["rows"] == 60
    counted = [sum(line) for line in ran.document["test"]["confusion"]]
    assert counted == [30, 30]
    shown = command("evaluate", small_bundle, small_csv)
    assert f"{100 * ran.document['test']['accuracy']:.2f} %" in shown.out
    assert "as if each were answered" not in shown.out


def test_what_the_result_does_not_say_is_said_without_progress_too(
    small_llama: Path, tmp_path: Path, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = [*rows(60), *((f"the parcel {n} is late again", "ship") for n in range(30))]
    table, known = (
        write_csv(tmp_path / "t.csv", three),
        write_csv(tmp_path / "v.csv", [(f"{t}!", la) for t, la in rows(20)]),
    )
    told = ["--model", small_llama, "--depth", "1", "--epochs", "1", "--split-by", "exact", "--set", "candidates=one"]
    monkeypatch.setattr("classtune.jobs.steps.Clock.read", lambda _: {"total": 0.2, "load": 0.1})
    ran = command("train", table, "--validation", known, "-o", tmp_path / "b", *told, "-q")
    assert ran.code == 0, ran.err
    assert "\n0 s in all\n" in ran.out
    assert ran.out.count("labels without a validation row: 'ship'. Nothing is fitted to them") == 1


def test_predict_prints_the_form_of_hugging_face(small_bundle: Path, command: Run) -> None:
    ran = command("predict", small_bundle, "win a prize", "see you at 7", "--json")
    assert ran.code == 0
    assert len(ran.document) == 2
    for ranked in ran.document:
        assert [set(entry) for entry in ranked] == [{"label", "score"}] * 2
        assert {entry["label"] for entry in ranked} == {"ham", "spam"}
        assert ranked[0]["score"] >= ranked[1]["score"]
        assert ranked[0]["score"] + ranked[1]["score"] == pytest.approx(1)


def test_a_text_scores_the_same_alone_in_a_file_and_through_a_pipe(
    small_bundle: Path, tmp_path: Path, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [text for text, _ in rows(20)]
    table = tmp_path / "new.csv"
    table.write_text("id,message\n" + "".join(f'{n},"{text}"\n' for n, text in enumerate(texts)), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(table.read_bytes())))
    many = command("predict", small_bundle, table, "--json").document
    piped = command("predict", small_bundle, "-", "--json").document
    assert many == piped
    for text, ranked in zip(texts[:3], many, strict=False):
        alone = command("predict", small_bundle, text, "--json").document[0]
        assert [entry["score"] for entry in alone] == pytest.approx([entry["score"] for entry in ranked], abs=1e-6)


def test_predictions_are_written_as_csv_and_as_jsonl(small_bundle: Path, tmp_path: Path, command: Run) -> None:
    texts = ['a "quoted", text\nof two lines', "see you"]
    for name in ("out.csv", "out.jsonl"):
        ran = command("predict", small_bundle, *texts, "-o", tmp_path / name)
        assert (ran.code, ran.out) == (0, "")
    expected = command("predict", small_bundle, *texts, "--json").document
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    for text, ranked, row, line in zip(texts, expected, table, lines, strict=True):
        assert (row["text"], row["label"]) == (line["text"], line["label"]) == (text, ranked[0]["label"])
        assert float(row["score"]) == line["score"] == ranked[0]["score"]
        for entry in ranked:
            assert float(row[f"score:{entry['label']}"]) == line["scores"][entry["label"]] == entry["score"]
    assert sorted(os.listdir(tmp_path)) == ["out.csv", "out.jsonl"]


def test_info_says_what_a_bundle_is(small_bundle: Path, command: Run) -> None:
    record = command("info", small_bundle, "--json").document
    assert record == json.loads((small_bundle / "classtune.json").read_text(encoding="utf-8"))
    shown = command("info", small_bundle).out
    assert "ham, spam" in shown
    assert "3 of 3 blocks" in shown
    assert "160 tokens; longer texts are refused" in shown
    assert "same scores" in shown
    assert record["date"] in shown


def test_info_says_what_was_asked_for_and_what_the_weights_lack(
    small_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((small_bundle / "classtune.json").read_text(encoding="utf-8"))
    record["settings"] |= {"cost": "fn=5,fp=1", "deploy_prior": {"spam": 0.1}}
    record["decisions"]["prior"]["deployed"] = {"ham": 0.9, "spam": 0.1}
    record["cross_validation"] = {"figures": record["test"] | {"accuracy": 0.875}}
    show_bundle("bundle", record)
    shown = capsys.readouterr().out
    assert "--cost fn=5,fp=1 --deploy-prior spam=0.1" in shown
    assert "the network's scores, without class prior in production" in shown
    assert "87.50 % (95 % interval" in shown


@pytest.mark.parametrize(("name", "keys"), [("models", {"name", "parameters"}), ("datasets", {"name", "licence"})])
def test_the_known_names_are_listed(name: str, keys: set[str], command: Run) -> None:
    listed: list[dict[str, Any]] = command(name, "--json").document
    assert listed
    assert all(keys <= set(entry) for entry in listed)
    shown = command(name).out
    assert all(entry["name"] in shown for entry in listed)


def test_labels_that_look_like_markup_or_numbers_stay_as_they_are(
    small_llama: Path, tmp_path: Path, command: Run
) -> None:
    names = {"spam": "[bold]", "ham": "001"}
    table = write_csv(tmp_path / "odd.csv", [(text, names[label]) for text, label in rows(30)])
    assert command(*arguments(table, small_llama, tmp_path / "bundle")).code == 0
    assert command("info", tmp_path / "bundle", "--json").document["labels"] == ["001", "[bold]"]
    ran = command("predict", tmp_path / "bundle", "[red]win[/red] a prize 🎉")
    assert "[red]win[/red] a prize 🎉" in ran.out
    assert any(name in ran.out for name in names.values())


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_goes_on_to_the_same_weights(
    sent: signal.Signals,
    small_csv: Path,
    small_llama: Path,
    tmp_path: Path,
    command: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C or a crash after the first checkpoint, then --resume: the bytes of a run that was never stopped."""
    from classtune.training import loop

    target, run_folder = tmp_path / "stopped", tmp_path / "stopped.run"
    told = ["train", small_csv, "-o", target, "--model", small_llama, *LONG, "--json"]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a process inherits that it is ignored
    process = start(*told)
    deadline = time.monotonic() + 120
    while not list(run_folder.glob("checkpoint*.safetensors")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    assert out == ""
    assert not target.exists()
    if sent is signal.SIGINT:
        assert process.returncode == 1
        assert f"Stopped. What was finished is in {run_folder}: give the same command with --resume to go on." in err
        assert "Traceback" not in err
    epochs: list[int] = []
    shuffled = loop.shuffled_batches

    def counted(*given: Any) -> Any:
        epochs.append(given[-1])
        return shuffled(*given)

    monkeypatch.setattr(loop, "shuffled_batches", counted)
    resumed = command(*told, "--resume")
    assert resumed.document["training"]["epochs"] == 20
    assert epochs == list(range(epochs[0], 20))  # those that were finished are not trained again
    assert epochs[0] > 0
    assert command(*told[:3], tmp_path / "whole", *told[4:]).code == 0
    assert weights(target) == weights(tmp_path / "whole")
    assert sorted(os.listdir(tmp_path)) == ["stopped", "whole"]


def test_resume_refuses_another_run_and_without_it_a_run_starts_anew(
    small_csv: Path, small_llama: Path, tmp_path: Path, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "bundle"
    with monkeypatch.context() as patch:  # stopped once everything is trained and before it is tested
        patch.setattr("classtune.jobs.results.result", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        stopped = command(*arguments(small_csv, small_llama, target))
    assert stopped.code == 1
    assert "Traceback" not in stopped.err
    assert "topped" in stopped.err
    assert os.listdir(tmp_path) == ["bundle.run"]
    refused = command(*arguments(small_csv, small_llama, target, "--resume", "--seed", "9"))
    assert (refused.code, refused.out) == (2, "")
    assert "the interrupted run had other settings" in refused.err
    assert command(*arguments(small_csv, small_llama, target, "--seed", "9")).code == 0
    assert os.listdir(tmp_path) == ["bundle"]


def test_resuming_what_was_never_started_says_so(
    small_csv: Path, small_llama: Path, tmp_path: Path, command: Run
) -> None:
    ran = command(*arguments(small_csv, small_llama, tmp_path / "bundle", "--resume"))
    assert ran.code == 0
    assert "There is no stopped run to resume: starting anew." in ran.err


def test_help_is_instant_and_complete(command: Run) -> None:
    started = time.perf_counter()
    shown = subprocess.run(
        [sys.executable, "-m", "classtune", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert time.perf_counter() - started < 5  # no torch (the house test says so exactly); a loaded machine is slow
    for name in ("demo", "train", "evaluate", "predict", "info", "models", "datasets"):
        assert f"  {name} " in shown


def test_the_reference_pages_say_what_the_program_says() -> None:
    """Where this fails: run ``make docs``."""
    place = Path(__file__).parents[1] / "docs" / "generate.py"
    spec = importlib.util.spec_from_file_location("generate", place)
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    pages: dict[Path, str] = generate.pages()
    assert sorted(path.name for path in pages) == ["cli.md", "settings.md"]
    older = tuple(map(int, version("typer").split(".")[:2])) < (0, 29)  # it writes a command's arguments otherwise
    for path, text in pages.items():
        if older and path.name == "cli.md":
            continue
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale: run `make docs`"


def test_train_ends_with_lines_to_copy(small_csv: Path, small_llama: Path, tmp_path: Path, command: Run) -> None:
    target = tmp_path / "my tickets"
    ran = command(*arguments(small_csv, small_llama, target))
    lines = ran.out.rstrip().splitlines()[-3:]
    assert [shlex.split(line)[:3] for line in lines] == [
        ["classtune", word, str(target)] for word in ("predict", "serve", "next")
    ]
    new = write_csv(tmp_path / "new.csv", rows(4))
    told = shlex.split(lines[0], comments=True)[1:]
    assert (
        command(
            *[
                str(new) if word == "new.csv" else str(tmp_path / word) if word == "answers.csv" else word
                for word in told
            ]
        ).code
        == 0
    )
    assert command("predict", target, "a text", "--json").out.count("classtune") == 0


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_says_what_it_is_within_80_columns(
    flag: str, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = command(flag).out
    assert "..." not in shown.partition("Commands:")[2]
    assert "  train " in shown
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_the_version_is_told(command: Run) -> None:
    from classtune import __version__

    assert command("--version").out == f"classtune {__version__}\n"
