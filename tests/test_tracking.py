"""What trackers are told of a run, by the real tools where they are installed, offline; the log of the run folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from small import Run

from classtune import tracking
from classtune.errors import UserError
from classtune.tracking import Tracking, tracker_names

pytest_plugins = ["bundle_fixtures"]

QUICK = ["--split-by", "exact", "--depth", "all", "--trainable", "1", "--epochs", "2", "--set", "batch_size=8"]
QUICK += ["--set", "candidates=one", "--set", "least_steps=0"]

# For each tool a program that prints what it kept: settings, losses by training and epoch, figures, files. {folder} is
# where the run was.
READERS = {
    "mlflow": """
import mlflow
client = mlflow.MlflowClient()
(run,) = client.search_runs([client.get_experiment_by_name("classtune").experiment_id])
losses = client.get_metric_history(run.info.run_id, "llama tail/train_loss")
print(json.dumps({"status": run.info.status, "settings": run.data.params, "figures": run.data.metrics,
    "facts": run.data.tags, "losses": {one.step: one.value for one in losses},
    "files": [file.path for file in client.list_artifacts(run.info.run_id)]}))
""",
    "tensorboard": """
from pathlib import Path
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
(folder,) = Path("runs").iterdir()
log = EventAccumulator(str(folder)).Reload()
said = {tag: log.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in log.Tags()["tensors"]}
rows = [line.strip("| ").split(" | ") for line in said["settings/text_summary"].splitlines()[2:]]
result = dict(line.split(": ", 1) for line in said["result/text_summary"].split("\\n\\n"))
print(json.dumps({"status": "FINISHED", "settings": dict(rows), "facts": result,
    "figures": {tag: log.Scalars(tag)[-1].value for tag in log.Tags()["scalars"]},
    "losses": {one.step: one.value for one in log.Scalars("llama tail/train_loss")},
    "files": [Path(result["report"]).name]}))
""",
    "trackio": """
import os
from pathlib import Path
from trackio.sqlite_storage import SQLiteStorage as storage
(name,) = storage.get_runs("classtune")
logs = storage.get_logs("classtune", name)
kept = [path.read_bytes() for path in Path(os.environ["TRACKIO_DIR"]).glob("artifacts/*/blobs/*/*/*")]
print(json.dumps({"status": "FINISHED", "settings": storage.get_run_config("classtune", name), "figures": logs[-1],
    "facts": logs[-1], "losses": {log["step"]: log["llama tail/train_loss"] for log in logs[:-1]},
    "files": ["report.html"] if Path("bundle/report.html").read_bytes() in kept else []}))
""",
}


def installed(name: str) -> None:
    """Skip, and say so, where a tool is not there."""
    if find_spec(tracking.TRACKERS[name][1]) is None:
        pytest.skip(f"{name} is not installed: pip install {tracking.TRACKERS[name][1]}")


def offline(folder: Path) -> dict[str, str]:
    """An environment in which every tool keeps what it is told in ``folder``."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "WANDB", "TRACKIO"))}
    own = {"WANDB_MODE": "offline", "WANDB_DIR": str(folder), "TRACKIO_DIR": str(folder / "trackio")}
    return {**kept, **own, "HOME": str(folder), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def python(folder: Path, *told: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *told], cwd=folder, env=offline(folder), capture_output=True, text=True, check=False
    )


def tracked(name: str, data: Path, model: Path, folder: Path) -> dict[str, Any]:
    """The result of a run that a tool was told of."""
    told = ["train", str(data), "-o", "bundle", "--model", str(model), *QUICK, "--track", name, "--json"]
    ran = python(folder, "-m", "classtune", *told)
    assert ran.returncode == 0, ran.stderr
    assert f"--track {name}: " in ran.stderr
    document: dict[str, Any] = json.loads(ran.stdout)  # whatever the tool prints, standard output is one document
    return document


@pytest.mark.parametrize("name", list(READERS))
def test_a_tracker_keeps_settings_losses_figures_and_the_report(
    name: str, small_csv: Path, small_llama: Path, tmp_path: Path
) -> None:
    installed(name)
    document = tracked(name, small_csv, small_llama, tmp_path)
    program = f"import json, warnings; warnings.simplefilter('ignore')\n{READERS[name]}"
    read = python(tmp_path, "-c", program)
    assert read.returncode == 0, read.stderr
    found = json.loads(read.stdout.splitlines()[-1])
    assert found["status"] == "FINISHED"
    assert str(found["settings"]["epochs"]) == "2"
    assert found["settings"]["max_ms"] == "unset"
    assert str(found["settings"]["rows"]) == "60"
    history = document["training"]["history"]
    losses = {str(point["epoch"]): pytest.approx(point["train_loss"], rel=1e-6) for point in history}
    assert found["losses"] == losses
    assert found["figures"]["test/accuracy"] == pytest.approx(document["test"]["accuracy"])
    assert found["figures"]["baseline/log_loss"] == pytest.approx(document["baseline"]["log_loss"])
    assert found["facts"]["chosen"] == "llama tail"
    assert found["files"] == ["report.html"]


def test_weights_and_biases_keeps_a_run_offline(small_csv: Path, small_llama: Path, tmp_path: Path) -> None:
    """Its files have no reader of their own any more: that the words are in them has to do."""
    installed("wandb")
    tracked("wandb", small_csv, small_llama, tmp_path)
    (log,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    kept = log.read_bytes()
    for word in (b"learning_rate", b"llama tail/train_loss", b"test/accuracy", b"bundle-report", b"report.html"):
        assert word in kept


def test_unknown_and_missing_trackers_are_one_error_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Run
) -> None:
    monkeypatch.setattr("classtune.tracking.find_spec", lambda name: None)
    ran = command("train", tmp_path / "no-such-table.csv", "--track", "wandb,mlfow, mlflow")
    assert ran.code == 2
    assert "--track 'mlfow' is unknown. Did you mean 'mlflow'?" in ran.err
    assert "--track: mlflow, wandb are not installed. pip install mlflow wandb" in ran.err
    assert "no-such-table" not in ran.err
    assert tracker_names("") == []


class Kept:
    """A tracker that keeps what it is told, and fails where it is asked to."""

    place = "here"

    def __init__(self, run: str, facts: Any) -> None:
        if run == "refused":
            raise RuntimeError("nobody is logged in\nand so on")
        self.facts, self.epochs, self.failed = facts, list[Any](), list[bool]()
        self.broken = False
        made.append(self)

    def epoch(self, training: str, epoch: int, figures: Any) -> None:
        if self.broken:
            raise OSError("the network is down")
        print("a tool that prints")
        self.epochs.append((training, epoch, dict(figures)))

    def finish(self, figures: Any, facts: Any, report: Path) -> None:
        self.epochs.append("finished")

    def close(self, *, failed: bool) -> None:
        self.failed.append(failed)


made: list[Kept] = []


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    made.clear()
    for name in ("mlflow", "wandb"):
        monkeypatch.setitem(tracking.TRACKERS, name, (Kept, "json"))


POINT = {"training": "m tail", "epoch": 1, "step": 5, "examples": 40, "train_loss": 0.5, "validation_loss": None}


@pytest.mark.usefixtures("kept")
def test_a_tracker_that_fails_under_way_is_left_and_the_run_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    with Tracking(["mlflow", "wandb"], "run", {"keep": None, "cost": {"a": 1}}, said.append) as told:
        made[0].broken = True
        told.epoch(POINT)
        told.epoch({**POINT, "epoch": 2})
    assert made[1].facts == {"keep": "unset", "cost": "{'a': 1}"}
    assert made[1].epochs == [("m tail", 1, {"train_loss": 0.5}), ("m tail", 2, {"train_loss": 0.5})]
    assert made[1].failed == [False]
    assert said[2:] == ["--track mlflow: it failed, and is told no more of this run (OSError: the network is down)."]
    shown = capsys.readouterr()
    assert (shown.out, "a tool that prints" in shown.err) == ("", True)


@pytest.mark.usefixtures("kept")
def test_a_run_that_fails_is_ended_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt), Tracking(["mlflow"], "run", {}, print):
        raise KeyboardInterrupt
    assert made[0].failed == [True]
    with pytest.raises(UserError, match=r"--track wandb: it cannot begin \(RuntimeError: nobody is logged in\)\."):
        Tracking(["wandb"], "refused", {}, print)


@pytest.mark.usefixtures("kept")
def test_a_stopped_run_leaves_a_line_an_epoch_and_one_that_goes_on_tells_them_all(
    small_csv: Path, small_llama: Path, tmp_path: Path, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ["train", small_csv, "-o", tmp_path / "b", "--model", small_llama, *QUICK, "--epochs", "3"]
    usual, seen = Kept.epoch, list[int]()

    def stop(self: Kept, training: str, epoch: int, figures: Any) -> None:
        usual(self, training, epoch, figures)
        seen.append(epoch)
        if len(seen) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Kept, "epoch", stop)
    assert command(*told, "--track", "mlflow").code == 1
    log = tmp_path / "b.run" / "epochs.jsonl"
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [(line["training"], line["epoch"]) for line in lines] == [("llama tail", 1), ("llama tail", 2)]
    assert lines[0]["train_loss"] > 0
    with log.open("a", encoding="utf-8") as file:
        file.write('{"training": "torn')
    assert command(*told, "--track", "mlflow", "--resume").code == 0
    assert [point[1] for point in made[-1].epochs[:-1]] == [1, 2, 3]
    assert made[-1].epochs[-1] == "finished"
    assert [one.failed for one in made] == [[True], [False]]
    assert not log.parent.exists()


@pytest.mark.usefixtures("kept")
def test_cross_validation_says_of_which_fold_an_epoch_is(
    small_csv: Path, small_llama: Path, tmp_path: Path, command: Run
) -> None:
    ran = command(
        "train", small_csv, "-o", tmp_path / "b", "--model", small_llama, *QUICK, "--cv", 2, "--track", "mlflow"
    )
    assert ran.code == 0, ran.err
    assert {point[0] for point in made[0].epochs[:-1]} == {
        "fold 1 of 2 llama tail",
        "fold 2 of 2 llama tail",
        "llama tail",
    }
