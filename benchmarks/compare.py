"""`classtune compare sms-spam` as a user starts it: wall time, peak memory, and its candidates."""

from __future__ import annotations

import argparse

from common import Figure, fetch_default_model, main, note, run_command

SHOWN = ("name", "accuracy", "accuracy_ci95", "macro_f1", "log_loss", "ece", "p_value")
COSTS = ("train_seconds", "ms_per_text", "bytes")


def measure(args: argparse.Namespace) -> list[Figure]:
    fetch_default_model()
    wall, memory, found = run_command("compare", "sms-spam", "--json")
    note(found["chosen"]["sentence"])
    detail = {
        "candidates": [{key: one[key] for key in (*SHOWN, *COSTS)} for one in found["candidates"]],
        "chosen": found["chosen"]["sentence"],
        "timing": found["timing"],
        "memory_gb": memory,
    }
    return [Figure("compare sms-spam, without full fine-tune", wall / 60, "min", 8, 4, detail)]


if __name__ == "__main__":
    main(__doc__, measure)
