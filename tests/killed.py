"""`classtune` in processes that are killed at a moment of our choosing.

They start as forks of a process that has everything imported, so that a start takes a moment and not seconds.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TRIES = int(os.environ.get("CLASSTUNE_FAULT_TRIES", "3"))
# What the second of two runs in one place says: while the first is at work, and afterwards.
REFUSED = (
    "another run is writing here",
    "is there already",
    "holds a bundle already",
    "holds rows already",
    "holds answers",
)
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        *("classtune.cli", "classtune.screen.results", "classtune.jobs.train", "classtune.inference.bulk.job"),
        *("transformers.models.llama.modeling_llama", "sklearn.linear_model", "matplotlib.backends.backend_svg"),
    ]
)


def run_command(arguments: list[str], log: Path, prepare: Callable[[], None] | None = None) -> None:
    """In a process of its own: the command, its output in ``log``."""
    import torch

    os.environ["CLASSTUNE_OFFLINE"] = "1"
    for name in ("RANK", "WORLD_SIZE"):  # of a test during which the process that forks this one was started
        os.environ.pop(name, None)
    torch.set_num_threads(1)
    with log.open("a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    sys.argv = ["classtune", *arguments]
    if prepare is not None:
        prepare()
    from classtune import cli

    cli.main()


def start(arguments: list[Any], log: Path, prepare: Callable[[], None] | None = None) -> Any:
    process = _CONTEXT.Process(target=run_command, args=([str(entry) for entry in arguments], log, prepare))
    process.start()
    return process


def finish(arguments: list[Any], log: Path, prepare: Callable[[], None] | None = None) -> tuple[int, float, str]:
    """Exit code, seconds, and what it printed."""
    log.unlink(missing_ok=True)
    started = time.monotonic()
    process = start(arguments, log, prepare)
    process.join(300)
    assert process.exitcode is not None, f"{arguments} hangs"
    return process.exitcode, time.monotonic() - started, log.read_text(encoding="utf-8")


def timed(arguments: list[Any], log: Path, prepare: Callable[[], None] | None = None) -> float:
    """Seconds of a command that is left alone, once the process that forks others has everything imported."""
    finish(["--help"], log)
    code, seconds, said = finish(arguments, log, prepare)
    assert code == 0, said
    return seconds


def kill_after(seconds: float, arguments: list[Any], log: Path, prepare: Callable[[], None] | None = None) -> bool:
    """SIGKILL after so many seconds; whether it still ran."""
    process = start(arguments, log, prepare)
    process.join(seconds)
    ran = process.exitcode is None
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.join()
    return ran


def both(arguments: list[Any], place: Path) -> tuple[list[int], list[str]]:
    """Exit codes of the command in two processes that start together, and what each said; logs lie in ``place``."""
    finish(["--help"], place / "log")  # the process that forks both has everything imported
    logs = [place / "log-0", place / "log-1"]
    for log in logs:
        log.unlink(missing_ok=True)
    processes = [start(arguments, log) for log in logs]
    for process in processes:
        process.join(120)
        assert process.exitcode is not None, f"{arguments} hangs"
    return [process.exitcode for process in processes], [log.read_text(encoding="utf-8") for log in logs]


def one_of_two(arguments: list[Any], place: Path) -> None:
    """Of two at once that write below ``place / "out"``, one wins, the other says why not, and no scratch is left."""
    codes, said = both(arguments, place)
    assert sorted(codes) == [0, 2], said
    refused = said[codes.index(2)]
    assert any(reason in refused for reason in REFUSED), refused
    assert not [path.name for path in (place / "out").rglob(".*")]
