"""SIGKILL of a rank at random moments: the others end too, say so once, and --resume ends in the same bytes.

``make test-faults`` tries 25 moments; here a few are tried.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

from killed import TRIES, finish, timed
from ranked import free_port, start_rank
from small import rows, write_csv
from test_kills import contents

pytest_plugins = ["bundle_fixtures"]

QUICK = ["--epochs", "12", "--split-by", "exact", "--set", "batch_size=4", "--set", "candidates=one", "-q"]


def of_two(arguments: list[Any], logs: list[Path], killed: int = 0, after: float | None = None) -> list[int]:
    """Exit codes of two ranks, one of which is killed after so many seconds."""
    port = free_port()
    processes = [start_rank(rank, 2, port, logs[rank], arguments, one_core) for rank in range(2)]
    if after is not None:
        processes[killed].join(after)
        if processes[killed].exitcode is None:
            processes[killed].kill()
            processes[1 - killed].join(5)
            processes[1 - killed].terminate()  # as torchrun does, a moment later
    for process in processes:
        process.join(120)
        assert process.exitcode is not None, f"a rank hangs after {killed} was killed: {logs[1 - killed].read_text()}"
    return [process.exitcode for process in processes]


def one_core() -> None:
    """Rank 0 has one thread: see `small.one_thread`."""
    from classtune.jobs.passes import ranks

    ranks._cores = lambda: 1


def test_two_ranks_go_on_to_the_bytes_of_one_process(small_llama: Path, tmp_path: Path) -> None:
    table = write_csv(tmp_path / "messages.csv", rows(200))
    place, logs = tmp_path / "place", [tmp_path / "log-0", tmp_path / "log-1"]

    def train(target: Path, *more: str) -> list[Any]:
        return ["train", table, "-o", target, "--model", small_llama, *QUICK, *more]

    seconds = timed(train(tmp_path / "one"), logs[0])
    expected, drawn = contents(tmp_path / "one"), random.Random(7)
    assert of_two(train(tmp_path / "two"), logs) == [0, 0]
    assert contents(tmp_path / "two") == expected
    killed = 0
    for number in range(TRIES):
        shutil.rmtree(place, ignore_errors=True)
        codes = of_two(train(place / "bundle"), logs, number % 2, drawn.uniform(0.02, 1.0) * seconds)
        killed += codes[number % 2] == -9
        said = [log.read_text(encoding="utf-8") for log in logs]
        assert "Traceback" not in "".join(said)
        assert "".join(said).count("classtune:") == (1 if any(code == 1 for code in codes) else 0), said
        again = ["--resume", "--force"]  # it may have been put in place before
        # What was kept by two goes on in one process, and the other way round.
        if number % 4 < 2:
            assert of_two(train(place / "bundle", *again), logs) == [0, 0], logs[0].read_text(encoding="utf-8")
        else:
            code, _, told = finish(train(place / "bundle", *again), logs[0])
            assert code == 0, told
        assert contents(place / "bundle") == expected
        assert [path.name for path in place.iterdir()] == ["bundle"]
    print(f"\ntwo ranks: {killed} of {TRIES} killed under way, all ended in the same bytes")
