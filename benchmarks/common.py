"""What the benchmarks share: figures and how they are shown, the machine, data, timing.

Imports neither torch nor classtune's heavy parts: a parent's memory counts in what the kernel reports of its children.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from classtune.data.reading.tables import Table

HERE = Path(__file__).resolve().parent
CACHE = HERE / "cache"
# Data sets for measuring. Without this folder sms-spam is fetched, and benchmarks that need other sets are skipped.
DATA = Path(os.environ.get("CLASSTUNE_TEST_DATA") or HERE.parent.parent / "shared" / "data")


@dataclass(frozen=True)
class Figure:
    """One measured figure. must, strive: what it is held to (None: shown for comparison); whichever is smaller says
    whether less or more is better. detail: what it was made from, ready for JSON."""

    figure: str
    value: float
    unit: str
    must: float | None = None
    strive: float | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    def outcome(self) -> str:
        if self.must is None or self.strive is None:
            return ""
        sign = -1 if self.strive < self.must else 1
        if sign * self.value >= sign * self.strive:
            return "strive"
        return "must" if sign * self.value >= sign * self.must else "MISSED"


class Skipped(Exception):
    """A benchmark cannot run here; the message says why."""


def main(
    description: str | None,
    measure: Callable[[argparse.Namespace], list[Figure]],
    options: Callable[[argparse.ArgumentParser], object] = lambda parser: None,
) -> None:
    """Run one benchmark as a script: a table on standard output, or with ``--json`` one JSON list of figures."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    options(parser)
    args = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    if (DATA / "sms_spam").is_dir():
        os.environ.setdefault("CLASSTUNE_DATA", str(DATA))
    try:
        figures = measure(args)
    except Skipped as reason:
        note(f"skipped: {reason}")
        figures = []
    if args.json:
        print(json.dumps([{**asdict(figure), "machine": machine()} for figure in figures]))
    else:
        show(figures)
        for figure in figures:
            print(f"{figure.figure}: {json.dumps(figure.detail, ensure_ascii=False)}")
        print(machine())


def show(figures: Sequence[Figure]) -> None:
    """The table of part 3: figure, value, what it is held to, and which of these it reaches."""
    width = max((len(figure.figure) for figure in figures), default=0)
    for figure in figures:
        held = f"must {_short(figure.must)}, strive {_short(figure.strive)}" if figure.must is not None else ""
        print(f"{figure.figure:<{width}}  {_short(figure.value):>8} {figure.unit:<4}  {held:<24}  {figure.outcome()}")


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


@functools.cache
def machine() -> str:
    """Processor, cores, memory, Python, torch and its threads."""
    threads = subprocess.run(
        [sys.executable, "-c", "import torch; print(torch.get_num_threads())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{_processor()}, {cores} cores, {memory:.0f} GB, {platform.system()}, Python {platform.python_version()}, "
        f"torch {metadata.version('torch')} with {threads} threads, transformers {metadata.version('transformers')}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def seconds(work: Callable[[], object]) -> float:
    """How long it takes, once."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def note(*lines: object) -> None:
    """A line of progress on standard error."""
    print(*lines, file=sys.stderr, flush=True)


def silent(*_: object) -> None:
    """Progress that is not shown, so that drawing it is not measured."""


def command() -> str:
    """The `classtune` command of this interpreter's environment."""
    found = shutil.which("classtune", path=str(Path(sys.executable).parent)) or shutil.which("classtune")
    if not found:
        raise Skipped("the classtune command is not installed here")
    return found


def run_command(*arguments: str) -> tuple[float, float, Any]:
    """Wall time in seconds, peak memory in GB and the printed JSON document of one run of `classtune`."""
    line = [command(), *arguments]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        start = time.perf_counter()
        process = subprocess.Popen(line, stdout=output)
        # wait4 and not RUSAGE_CHILDREN: the memory of this child alone, whatever ran before it.
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(line)}: exit code {process.returncode}")
        output.seek(0)
        result = json.load(output)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return wall, usage.ru_maxrss * unit / 1e9, result


def fetch_default_model() -> None:
    """Have the default model in the cache, converted; in a process of its own, whose memory does not count."""
    subprocess.run([sys.executable, "-c", _FETCH], check=True, stdout=sys.stderr)


_FETCH = """
from classtune.config import resolve
from classtune.model.backbone import load_backbone
from classtune.sources import fetch_model
load_backbone(fetch_model("smollm2-135m", notify=print), ["ham", "spam"], resolve())
"""


def needs(*names: str) -> Path:
    """The folder of data sets, where it holds all of these files."""
    missing = [name for name in names if not (DATA / name).exists()]
    if missing:
        raise Skipped(f"{', '.join(missing)} not in {DATA}. Name another folder with CLASSTUNE_TEST_DATA.")
    return DATA


def sms_spam(*, quoting: bool | None = None) -> Table:
    """The SMS Spam Collection. quoting: None as it is written; True as the tutorial reads it."""
    from classtune.data.catalogue import load_dataset
    from classtune.data.reading.tables import TableFormat

    return load_dataset("sms-spam", TableFormat(quoting=quoting), notify=note)
