"""A Ray cluster: joining it, workers a core on it, and the files that they are sent. Knows nothing of what they do.

Needs the extra ``ray``.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from classtune.errors import ClasstuneError, UserError, require
from classtune.files import inside

RESTARTS = 3  # of a worker, and tries of what it was doing, where a machine goes away
_ANSWER_SECONDS = 10.0


@contextlib.contextmanager
def cluster() -> Iterator[Any]:
    """Ray, on the cluster that RAY_ADDRESS names or this process is joined to, else on this machine.

    Raises UserError without Ray and for an address where nothing answers, ClasstuneError where the cluster fails.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing calls out
    require("--engine ray", "ray", "ray")
    import ray

    joined = ray.is_initialized()
    if not joined:
        _check_address(os.environ.get("RAY_ADDRESS", ""))
    try:
        if not joined:
            ray.init(include_dashboard=False, log_to_driver=False)
        yield ray
    except (ray.exceptions.RayError, ConnectionError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise ClasstuneError(f"Ray failed ({reason}). What is finished is kept: go on with --resume.") from error
    finally:
        if not joined and ray.is_initialized():
            ray.shutdown()


def start_workers(ray: Any, kind: type, *given: Any) -> list[Any]:
    """A worker of this kind for each core but one: a pool that takes every one leaves Ray itself none.

    Whoever calls keeps what is given and was put into Ray's memory: a worker that is started again needs it.
    """
    count = max(1, int(ray.cluster_resources().get("CPU", 1)) - 1)
    remote = ray.remote(kind).options(num_cpus=1, max_restarts=RESTARTS, max_task_retries=RESTARTS)
    return [remote.remote(*given) for _ in range(count)]


@contextlib.contextmanager
def unpacked(files: dict[str, bytes]) -> Iterator[Path]:
    """A folder that holds these files while this lasts. Raises BundleError for a name that would lie outside."""
    with tempfile.TemporaryDirectory() as scratch:
        for name, content in files.items():
            path = inside(Path(scratch), name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        yield Path(scratch)


def _check_address(address: str) -> None:
    """Ray itself would try for minutes, and then end the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():  # unset, auto, local
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"RAY_ADDRESS={address}: no Ray cluster answers there ({error}). Start one with `ray start --head`, mend "
            "the address, or unset it to use this machine alone."
        ) from None
