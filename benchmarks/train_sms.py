"""`classtune train sms-spam` with its defaults, as a user starts it: wall time, peak memory, tokens through the trunk.

The model is fetched and converted beforehand. The bundle stays in the cache for predict.py.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

from common import CACHE, SMS_BUNDLE, Figure, fetch_default_model, main, note, run_command


def train_sms_spam() -> tuple[float, float, dict[str, Any]]:
    """Wall time in seconds, peak memory in GB, and the result document of one run of the command."""
    CACHE.mkdir(exist_ok=True)
    return run_command("train", "sms-spam", "-o", str(SMS_BUNDLE), "--force", "--json")


def measure(args: argparse.Namespace) -> list[Figure]:
    fetch_default_model()
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
