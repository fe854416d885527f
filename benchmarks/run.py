"""Run every benchmark, each in a process of its own; print the table and write results.json beside this file."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

from common import HERE, Figure, machine, note, show

BENCHMARKS = (
    *("cli_help", "train_sms", "predict", "trunk", "trainer", "tutorial"),
    *("compare", "copies", "audit", "label_errors", "abstention", "explain", "next", "drift"),
    *("candidates", "serve", "bulk", "runtimes", "store", "ranks", "peers"),
)
TAKE_FULL = ("trainer", "tutorial")
RESULTS = HERE / "results.json"


def run(name: str, *, full: bool) -> list[dict[str, Any]] | None:
    """The figures of one benchmark (none where it was skipped); None where it failed."""
    note(f"— {name}")
    line = [sys.executable, str(HERE / f"{name}.py"), "--json", *(["--full"] if full and name in TAKE_FULL else [])]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=BENCHMARKS, metavar="NAME")
    parser.add_argument("--full", action="store_true", help="measure all of what is otherwise measured in part")
    args = parser.parse_args()
    # With --only, what is not measured now stays as it was.
    kept = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() and len(args.only) < len(BENCHMARKS) else []
    rows = {row["figure"]: row for row in kept}
    failed = []
    for name in args.only:
        found = run(name, full=args.full)
        if found is None:
            failed.append(name)
            continue
        rows |= {row["figure"]: row for row in found}
        RESULTS.write_text(json.dumps(list(rows.values()), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"\n{name}", flush=True)
        show([Figure(**{key: value for key, value in row.items() if key != "machine"}) for row in found])
    print(f"\n{machine()}")
    if failed:
        note(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
