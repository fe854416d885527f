"""`classtune train sms-spam` with its defaults, as a user starts it: wall time, peak memory, tokens through the trunk.

The model is fetched and converted beforehand. The bundle stays in the cache for predict.py.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from common import CACHE, SMS_BUNDLE, Figure, command, main, note

_FETCH = """
from classtune.config import resolve
from classtune.model.backbone import load_backbone
from classtune.sources import fetch_model
load_backbone(fetch_model("smollm2-135m", notify=print), ["ham", "spam"], resolve())
"""


def train_sms_spam() -> tuple[float, float, dict[str, Any]]:
    """Wall time in seconds, peak memory in GB, and the result document of one run of the command."""
    subprocess.run([sys.executable, "-c", _FETCH], check=True, stdout=sys.stderr)
    CACHE.mkdir(exist_ok=True)
    line = [command(), "train", "sms-spam", "-o", str(SMS_BUNDLE), "--force", "--json"]
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
        result: dict[str, Any] = json.load(output)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return wall, usage.ru_maxrss * unit / 1e9, result


def measure(args: argparse.Namespace) -> list[Figure]:
    runs = []
    for _ in range(args.repeats):
        runs.append(train_sms_spam())
        note(f"{runs[-1][0]:.1f} s, {runs[-1][1]:.2f} GB")
    result = runs[-1][2]
    trunk = result["trunk"]
    detail = {
        "walls": [run[0] for run in runs],
        "timing": result["timing"],
        "depth": {"kept": result["depth"]["kept"], "of": result["depth"]["of"]},
        "epochs": result["training"]["epochs"],
        "accuracy": result["test"]["accuracy"],
        "baseline": result["baseline"]["accuracy"],
    }
    passed = {key: trunk[key] for key in ("texts", "tokens", "distinct_tokens", "seconds")}
    wall = statistics.median(run[0] for run in runs)
    return [
        Figure("classtune train sms-spam, defaults", wall, "s", 240, 90, detail),
        Figure("peak memory of training on sms-spam", max(run[1] for run in runs), "GB", 3, 1.5),
        Figure(
            "tokens through the trunk / distinct real tokens",
            trunk["tokens"] / trunk["distinct_tokens"],
            "",
            1.05,
            1.02,
            passed,
        ),
    ]


if __name__ == "__main__":
    main(__doc__, measure, lambda parser: parser.add_argument("--repeats", type=int, default=1))
