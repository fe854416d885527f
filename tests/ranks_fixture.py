"""Ranks beside the test's own process, for whatever they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ranked import Start, environment, free_port, start_rank


@pytest.fixture
def start_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Start]:
    """Starts the ranks beside this process, which is rank 0 of so many; what each prints is in ``log-RANK``. All must
    have ended when the test has."""
    from classtune.jobs.passes import ranks

    started: list[Any] = []
    monkeypatch.setattr(ranks, "_cores", lambda: 1)  # so that rank 0 has one thread too: see small.one_thread

    def start(of: int, more: Callable[[], None] | None = None) -> list[Any]:
        port = free_port()
        for name, value in environment(0, of, port).items():
            monkeypatch.setenv(name, value)
        started.extend(
            start_rank(rank, of, port, tmp_path / f"log-{rank}", ["train", "nothing.csv"], more)
            for rank in range(1, of)
        )
        return started

    yield start
    for process in started:
        process.join(60)
        assert process.exitcode is not None, "a rank stays"
