"""`classtune train sms-spam` with its defaults, as a user starts it: wall time, peak memory, tokens through the trunk.

The model is fetched and converted beforehand. Its bundle stays in the cache, and beside it, for the benchmarks that
compare with `transformers.pipeline`, one network alone.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from common import CACHE, Figure, fetch_default_model, main, note, run_command

SMS_BUNDLE = CACHE / "sms-spam"
SMS_NETWORK = CACHE / "sms-spam-network"


def train_sms_spam(bundle: Path = SMS_BUNDLE, *told: str) -> tuple[float, float, dict[str, Any]]:
    """Wall time in seconds, peak memory in GB, and the result document of one run of the command."""
    CACHE.mkdir(exist_ok=True)
    return run_command("train", "sms-spam", "-o", str(bundle), "--force", "--json", *told)


def sms_bundle() -> Path:
    """The bundle of the defaults, trained if need be."""
    if not SMS_BUNDLE.exists():
        note("training the defaults on sms-spam first")
        train_sms_spam()
    return SMS_BUNDLE


def sms_network() -> Path:
    """A bundle that `transformers.pipeline` reads: SmolLM2 with its tail alone, trained if need be."""
    if not SMS_NETWORK.exists():
        note("training one network on sms-spam first")
        train_sms_spam(SMS_NETWORK, "--model", "smollm2-135m", "--hugging-face")
    return SMS_NETWORK


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
        "chosen": result["chosen"]["name"],
        "depth": result["depth"],
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
