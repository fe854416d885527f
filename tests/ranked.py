"""`classtune` as several ranks on this machine, as torchrun starts them: the environment says which each is."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from killed import start
from small import rows

if TYPE_CHECKING:
    from classtune.config import Settings
    from classtune.jobs.train import Trained

# Starts the ranks beside the test's process; see ranks_fixture.py.
Start = Callable[..., list[Any]]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def environment(rank: int, of: int, port: int) -> dict[str, str]:
    return {
        **{"RANK": str(rank), "WORLD_SIZE": str(of), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(of)},
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
    }


def as_rank(rank: int, of: int, port: int, more: Callable[[], None] | None = None) -> None:
    """In a process of its own: it is this rank. more: what else is done before its command runs."""
    os.environ.update(environment(rank, of, port))
    if more is not None:
        more()


def start_rank(
    rank: int, of: int, port: int, log: Path, arguments: list[Any], more: Callable[[], None] | None = None
) -> Any:
    """A process that runs the command as this rank."""
    log.unlink(missing_ok=True)
    return start(arguments, log, partial(as_rank, rank, of, port, more))


def train_rows(settings: Settings, **told: Any) -> Trained:
    """`train` on 160 rows, some of them labelled wrong."""
    from classtune.data.reading.tables import table_from_rows
    from classtune.jobs.train import train

    lines = [(text, label if row % 9 else "ham") for row, (text, label) in enumerate(rows(160))]
    texts, labels = zip(*lines, strict=True)
    return train(table_from_rows(texts, labels, name="rows"), settings, notify=silent, progress=silent, **told)


def figures(trained: Trained) -> list[float]:
    """What its test says."""
    test = trained.result.document()["test"]
    return [test["rows"], test["accuracy"], test["log_loss"], test["ece"]]


def silent(*_: object) -> None:
    """Nobody asked."""
