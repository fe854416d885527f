"""The terminal: progress bars on standard error, lines and plain tables on standard output. Knows no result."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import accumulate
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from classtune.errors import counted, printable

# Stage → its name, and what it counts.
STAGES = {
    "depth": ("choosing the depth", "block"),
    "words": ("learning words", "text"),
    "trunk": ("trunk", "token"),
    "epochs": ("training", "text"),
    "test": ("testing", "text"),
    "predict": ("predicting", "text"),
    "audit": ("auditing", "check"),
    "near copies": ("finding near copies", "text"),
    "states": ("reading", "text"),
}


# Where there is no terminal, a line of how far a stage is comes as often as this.
SECONDS_BETWEEN_LINES = 30.0
_NAME, _NAMES = 40, 100  # characters of a name, and of a list of names, where they are shown


class _Rate(ProgressColumn):
    """Units done a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {task.fields['unit']}s/s" if speed else "", style="progress.data.speed")


class _Console(Console):
    """A terminal that runs nothing of what it shows: control characters in labels, texts and names are pictures."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


class Screen:
    """Progress of one command. Used as a context manager; ``quiet`` shows nothing but errors."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = _Console(stderr=True, quiet=quiet, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description:<18}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            _Rate(),
            TimeRemainingColumn(),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
            speed_estimate_period=120,  # seconds; some stages tell rarely
        )
        self._tasks: dict[str, TaskID] = {}
        self._lines: dict[str, float] = {}  # when the last line of a stage was written, in seconds

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

    def notes(self, lines: Iterable[str]) -> None:
        """Lines of progress."""
        for line in lines:
            self.note(line)

    def progress(self, stage: str, done: int, total: int) -> None:
        """How far a stage is; where there is no terminal, a line when it starts and every half minute."""
        name, unit = STAGES[stage]
        now = self._progress.get_time()
        if stage not in self._tasks:
            self._tasks[stage], self._lines[stage] = self._progress.add_task(name, total=total, unit=unit), now
            if not self.console.is_terminal:
                self.note(f"{name}: {counted(total, unit)}")
        task = self._progress.tasks[self._tasks[stage]]
        if total != task.total or done < task.completed:  # once more: the next fold, the next candidate
            self._progress.reset(task.id, total=total)
            self._lines[stage] = now
        self._progress.update(task.id, completed=done)
        if not self.console.is_terminal and done < total and now - self._lines[stage] >= SECONDS_BETWEEN_LINES:
            self._lines[stage] = now
            left = task.time_remaining
            self.note(f"{name}: {100 * done / total:.0f} %" + ("" if left is None else f", about {left:.0f} s left"))


def show(rows: Sequence[Sequence[str]], header: Sequence[str]) -> None:
    """A table on standard output, each cell on a line and cut; numbers (columns after the first) stand right."""
    table = Table(*map(short, header), box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*map(short, row))
    console().print(table)


def console() -> Console:
    """Standard output, as wide as its lines where it is no terminal."""
    return _Console(
        file=sys.stdout, highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200, markup=False
    )


def say(line: str = "") -> None:
    """A line of the result."""
    console().print(line, markup=False, soft_wrap=True)


def show_texts(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table that ends in texts, each on a line and cut: nothing in it is markup."""
    table = Table(*header, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(short(cell)) for cell in row))
    console().print(table)


def listed(names: Iterable[str]) -> str:
    """Names on one line, each cut; of many those that fit, one at least, and how many more there are."""
    shown = [short(name, _NAME) for name in names]
    fitting = max(1, sum(end <= _NAMES for end in accumulate(len(name) + 2 for name in shown)))
    more = len(shown) - fitting
    return ", ".join(shown[:fitting]) + (f" and {more:,} more" if more > 0 else "")


def short(text: str, limit: int = 120) -> str:
    """A text on one line, cut."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
