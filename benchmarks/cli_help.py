"""`classtune --help`: median of ten."""

from __future__ import annotations

import argparse
import statistics
import subprocess

from common import Figure, command, main, seconds


def measure(args: argparse.Namespace) -> list[Figure]:
    line = [command(), "--help"]

    def call() -> None:
        subprocess.run(line, check=True, capture_output=True)

    call()  # the disk's cache is warm from here on
    times = [seconds(call) for _ in range(args.repeats)]
    detail = {"repeats": args.repeats, "least": min(times), "most": max(times)}
    return [Figure("classtune --help", statistics.median(times), "s", 0.4, 0.2, detail)]


if __name__ == "__main__":
    main(__doc__, measure, lambda parser: parser.add_argument("--repeats", type=int, default=10))
