"""What a person sees: progress bars on standard error, results as plain tables on standard output."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

STAGES = {
    "depth": ("choosing the depth", "blocks"),
    "trunk": ("trunk", "tokens"),
    "epochs": ("training", "texts"),
    "test": ("testing", "texts"),
    "predict": ("predicting", "texts"),
}


class _Rate(ProgressColumn):
    """Units done a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {task.fields['unit']}/s" if speed else "", style="progress.data.speed")


class Screen:
    """Progress of one command. Used as a context manager; ``quiet`` shows nothing but errors."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description:<18}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            _Rate(),
            TimeRemainingColumn(),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def note(self, line: str) -> None:
        """A line of progress."""
        self.console.print(line, markup=False, soft_wrap=True)

    def progress(self, stage: str, done: int, total: int) -> None:
        """How far a stage is; where there is no terminal, a line when it starts."""
        name, unit = STAGES[stage]
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(name, total=total, unit=unit)
            if not self.console.is_terminal:
                self.note(f"{name}: {total:,} {unit}")
        self._progress.update(self._tasks[stage], completed=done)


def show(rows: Sequence[Sequence[str]], header: Sequence[str]) -> None:
    """A table on standard output; numbers (columns after the first) stand right."""
    table = Table(*header, box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    console().print(table)


def console() -> Console:
    """Standard output, as wide as its lines where it is no terminal."""
    return Console(
        file=sys.stdout, highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200, markup=False
    )


def say(line: str = "") -> None:
    """A line of the result."""
    console().print(line, markup=False, soft_wrap=True)


def show_training(result: dict[str, Any]) -> None:
    """What a run found, as a table of model and baseline and the verdict."""
    data, splits, depth = result["data"], result["splits"], result["depth"]
    copies = f"{data['duplicates']:,} copies of other rows"
    say(f"{data['name']}: {data['rows']:,} rows, {len(data['classes'])} classes, {copies}")
    together = " (copies kept together)" if result["settings"]["split"] == "grouped" else ""
    parts = ", ".join(f"{size:,} {part}" for part, size in splits.items())
    say(f"split: {parts}{together}")
    say(f"depth: {depth['kept']} of {depth['of']} blocks kept")
    if result["test"] is not None:
        name = f"{result['settings']['model']}, fine-tuned"
        say()
        show_scores({name: result["test"], result["baseline"]["name"]: result["baseline"]})
        say()
        say(result["verdict"]["sentence"])
    seconds = ", ".join(
        f"{step} {value:.0f} s" for step, value in result["timing"].items() if step != "total" and value >= 0.5
    )
    say(f"{result['timing']['total']:.0f} s in all ({seconds})")
    if result["bundle"]:
        say(f"bundle: {result['bundle']}   report: {result['bundle']}/report.html")


def show_scores(judged: dict[str, dict[str, Any]]) -> None:
    """Test figures of several classifiers, side by side."""
    rows = [
        (
            name,
            f"{100 * scores['accuracy']:.2f} %",
            f"{100 * scores['accuracy_ci95'][0]:.2f} to {100 * scores['accuracy_ci95'][1]:.2f}",
            f"{scores['macro_f1']:.4f}",
            f"{scores['log_loss']:.4f}",
            f"{scores['ece']:.4f}",
        )
        for name, scores in judged.items()
    ]
    show(rows, ("on the test rows", "accuracy", "95 % interval", "macro F1", "log loss", "calibration error"))


def show_predictions(texts: Sequence[str], predictions: Sequence[Sequence[dict[str, Any]]]) -> None:
    """The best label of each text with its score."""
    rows = [
        (best[0]["label"], f"{best[0]['score']:.4f}", _short(text))
        for text, best in zip(texts, predictions, strict=True)
    ]
    table = Table("label", "score", "text", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)


def _short(text: str, limit: int = 120) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
