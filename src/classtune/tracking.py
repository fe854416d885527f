"""A run told to the trackers that people have: MLflow, TensorBoard, Weights & Biases, Trackio.

Each gets the settings, the losses of every epoch, the figures of the result and the report without quoted texts, in the
place that its own environment variables name. Knows nothing of how a run is made.

No extra holds these packages: who tracks has one of them, and four would come with it. So they are imported by name.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, Self

from classtune.errors import UserError, did_you_mean
from classtune.result import Result

PROJECT = "classtune"  # where no environment variable names another
# Fields of an epoch that say which one it is; the others are its figures.
_PLACE = ("training", "epoch", "step", "examples")

Facts = Mapping[str, Any]


class Tracker(Protocol):
    """One tool, and the run that it has begun. Any of it may raise whatever the tool raises."""

    place: str

    def epoch(self, training: str, epoch: int, figures: Mapping[str, float]) -> None:
        """Losses of an epoch of one of the trainings of the run: ``minilm-l6 tail``."""

    def finish(self, figures: Mapping[str, float], facts: Facts, report: Path) -> None:
        """What came out of the run. report: a page in one file."""

    def close(self, *, failed: bool) -> None:
        """End the run. failed: it was stopped, or an error ended it."""


class _MLflow:
    """The server or store that MLFLOW_TRACKING_URI names, else a file in this folder."""

    def __init__(self, name: str, facts: Facts) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing calls out but what was asked to
        self.tool = import_module("mlflow")
        if not {"MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"} & set(os.environ):
            self.tool.set_experiment(PROJECT)
        self.place = self.tool.get_tracking_uri()
        self.tool.start_run(run_name=name)
        self.tool.log_params(facts)

    def epoch(self, training: str, epoch: int, figures: Mapping[str, float]) -> None:
        self.tool.log_metrics({_plain(f"{training}/{key}"): value for key, value in figures.items()}, step=epoch)

    def finish(self, figures: Mapping[str, float], facts: Facts, report: Path) -> None:
        self.tool.log_metrics({_plain(key): value for key, value in figures.items()})
        self.tool.set_tags(facts)
        self.tool.log_artifact(str(report))

    def close(self, *, failed: bool) -> None:
        self.tool.end_run("FAILED" if failed else "FINISHED")


class _TensorBoard:
    """Event files in ``runs/NAME-TIME``; TensorBoard keeps no files, so that it is told where the report lies."""

    def __init__(self, name: str, facts: Facts) -> None:
        self.place = str(Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
        self.writer = import_module("torch.utils.tensorboard").SummaryWriter(self.place)
        rows = "\n".join(f"| {key} | {value} |" for key, value in facts.items())
        self.writer.add_text("settings", f"| setting | value |\n|---|---|\n{rows}")

    def epoch(self, training: str, epoch: int, figures: Mapping[str, float]) -> None:
        for key, value in figures.items():
            self.writer.add_scalar(f"{training}/{key}", value, epoch)
        self.writer.flush()

    def finish(self, figures: Mapping[str, float], facts: Facts, report: Path) -> None:
        for key, value in figures.items():
            self.writer.add_scalar(key, value)
        said = [*(f"{key}: {value}" for key, value in facts.items()), f"report: {report.resolve()}"]
        self.writer.add_text("result", "\n\n".join(said))

    def close(self, *, failed: bool) -> None:
        self.writer.close()


class _WandB:
    """The service that the user is logged in to, or with WANDB_MODE=offline the folder ``wandb``."""

    def __init__(self, name: str, facts: Facts) -> None:
        self.tool = import_module("wandb")
        told: dict[str, Any] = {} if os.environ.get("WANDB_PROJECT") else {"project": PROJECT}
        # Its console capture would stand between classtune and its own standard output.
        settings = self.tool.Settings(console="off")
        self.run = self.tool.init(name=name, config=dict(facts), settings=settings, **told)
        self.name = name
        self.place = self.run.dir if self.run.offline else self.run.url

    def epoch(self, training: str, epoch: int, figures: Mapping[str, float]) -> None:
        axis = f"{training}/epoch"  # the tool's own step only grows, and every training begins with epoch 1
        self.run.define_metric(f"{training}/*", step_metric=axis)
        self.run.log({axis: epoch, **{f"{training}/{key}": value for key, value in figures.items()}})

    def finish(self, figures: Mapping[str, float], facts: Facts, report: Path) -> None:
        self.run.summary.update({**figures, **facts})
        artifact = self.tool.Artifact(_named(self.name), type="report")
        artifact.add_file(str(report), name=report.name)
        self.run.log_artifact(artifact)

    def close(self, *, failed: bool) -> None:
        self.run.finish(exit_code=int(failed))


class _Trackio:
    """Its own folder on this machine, or what TRACKIO_SPACE_ID or TRACKIO_SERVER_URL names."""

    def __init__(self, name: str, facts: Facts) -> None:
        self.tool = import_module("trackio")
        project = os.environ.get("TRACKIO_PROJECT") or PROJECT
        run = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"  # two runs of one name are one line in its pictures
        self.run = self.tool.init(project=project, name=run, config=dict(facts), embed=False)
        self.name = name
        self.place = f'trackio show --project "{project}"'

    def epoch(self, training: str, epoch: int, figures: Mapping[str, float]) -> None:
        self.run.log({f"{training}/{key}": value for key, value in figures.items()}, step=epoch)

    def finish(self, figures: Mapping[str, float], facts: Facts, report: Path) -> None:
        self.run.log({**figures, **facts})
        artifact = self.tool.Artifact(_named(self.name), type="report")
        artifact.add_file(str(report), name=report.name)
        self.run.log_artifact(artifact)

    def close(self, *, failed: bool) -> None:
        self.tool.finish()  # `Run.finish` alone is done once more when Python ends, and prints on standard output


# name → what begins a run of it, and the package that it needs
TRACKERS: dict[str, tuple[Callable[[str, Facts], Tracker], str]] = {
    "mlflow": (_MLflow, "mlflow"),
    "tensorboard": (_TensorBoard, "tensorboard"),
    "wandb": (_WandB, "wandb"),
    "trackio": (_Trackio, "trackio"),
}


def tracker_names(told: str | None) -> list[str]:
    """``"mlflow, tensorboard"`` → names. Raises UserError with every name that is unknown or not installed."""
    names = list(dict.fromkeys(name.strip() for name in (told or "").split(",") if name.strip()))
    unknown = [name for name in names if name not in TRACKERS]
    problems = [f"--track {name!r} is unknown. {did_you_mean(name, TRACKERS)}" for name in unknown]
    missing = [package for name, (_, package) in TRACKERS.items() if name in names and find_spec(package) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        problems.append(f"--track: {', '.join(missing)} {verb} not installed. pip install {' '.join(missing)}")
    if problems:
        raise UserError(problems)
    return names


class Tracking:
    """A run as its trackers are told of it. One that fails under way is left, with a word: it must cost no training.

    A context manager: an exception that leaves it ends the runs as failed.
    """

    def __init__(self, names: Sequence[str], run: str, facts: Facts, notify: Callable[[str], None]) -> None:
        """facts: settings, and what else the run begins with. Raises UserError for a tracker that cannot begin."""
        self._notify = notify
        self._trackers: dict[str, Tracker] = {}
        problems = []
        shown = {key: _shown(value) for key, value in facts.items()}
        for name in names:
            try:
                with _quietly():
                    self._trackers[name] = TRACKERS[name][0](run, shown)
                notify(f"--track {name}: {self._trackers[name].place}")
            except Exception as error:
                problems.append(f"--track {name}: it cannot begin ({_reason(error)}).")
        if problems:
            self._all(lambda tracker: tracker.close(failed=True))
            raise UserError(problems)

    def epoch(self, point: Mapping[str, Any]) -> None:
        """An epoch, as `Extensions.on_epoch` hears of it."""
        figures = {key: float(value) for key, value in point.items() if key not in _PLACE and value is not None}
        self._all(lambda tracker: tracker.epoch(point["training"], point["epoch"], figures))

    def replay(self, log: Path) -> None:
        """The epochs of a stopped run that goes on, from the log of its folder, so that one run shows all of them."""
        for line in log.read_text(encoding="utf-8").splitlines() if log.is_file() else []:
            with contextlib.suppress(ValueError):  # a power failure may tear the last line
                self.epoch(json.loads(line))

    def finish(self, result: Result, report: Path) -> None:
        """What came out of it. report: the page that quotes no text of the table, since trackers are shared."""
        figures, facts = figures_of(result), {"chosen": result.chosen.name, "bundle": str(result.bundle)}
        self._all(lambda tracker: tracker.finish(figures, facts, report))

    def _all(self, tell: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                with _quietly():
                    tell(tracker)
            except Exception as error:
                del self._trackers[name]
                self._notify(f"--track {name}: it failed, and is told no more of this run ({_reason(error)}).")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._all(lambda tracker: tracker.close(failed=kind is not None))


def figures_of(result: Result) -> dict[str, float]:
    """The figures of a result, by names that trackers group by what stands before the slash: ``test/accuracy``."""
    crossed = None if result.cross_validation is None else result.cross_validation.figures
    sides = {"test": result.test, "baseline": result.baseline, "cross-validation": crossed}
    found = {
        f"{side}/{key}": float(value)
        for side, figures in sides.items()
        if figures is not None
        for key, value in figures.values.items()
    }
    losses = {f"held-out log loss/{name}": loss for name, loss in result.chosen.losses.items() if loss is not None}
    return {**found, **losses, "seconds": result.timing["total"]}


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Standard output is the result's: what a tool prints goes to standard error. Its warnings are no user's."""
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"


def _shown(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float) else "unset" if value is None else str(value)


def _plain(key: str) -> str:
    """A name as MLflow takes it."""
    return re.sub(r"[^\w./: -]", "-", key)


def _named(run: str) -> str:
    """The name of a run's report among artifacts, which take no blanks."""
    return f"{re.sub(r'[^A-Za-z0-9._-]', '-', run)}-report"
