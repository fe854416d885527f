"""SetFit and fastText on the rows of candidates.py: each in an environment of its own, which is made here once.

SetFit learns from 8 rows a class, with its documented defaults, on the MiniLM that we ship; classtune's default runs
beside it, in turns, so that the times compare. fastText learns from whole sets too. Seconds are those of the processor,
on one thread, so that a busy machine changes them little: loading, training and answering the test rows, and for ours
everything else that `train` does. Starting Python and imports are in none.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from candidates import EMBEDDING, Rows, Run, is_whole, ours, rows_of, runs_of, scores
from common import CACHE, HERE, Figure, Skipped, main, note

LONG_SECONDS = 600  # SetFit's pairs that take longer than this are capped
PAIR_SECONDS = 0.04  # about, of short texts: training on one pair
CAPPED = 20  # SetFit's own num_iterations: so many pairs of either kind a row
KEYS = ("accuracy", "macro_f1")


class Peer(NamedTuple):
    """name: as shown. program: beside this file. packages: what its environment gets, beside constraints.txt."""

    name: str
    program: str
    packages: tuple[str, ...]

    def python(self) -> Path:
        """The interpreter of the peer's environment, made where it is missing. Raises Skipped when pip fails."""
        folder = CACHE / "peers" / self.name
        python = folder / "bin" / "python"
        stamp, wanted = folder / "installed", "\n".join(self.packages)
        if not (stamp.exists() and stamp.read_text(encoding="utf-8") == wanted):
            note(f"{self.name}: installing {', '.join(self.packages)} into {folder}")
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            constraints = str(HERE.parent / "constraints.txt")
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", constraints]
            done = subprocess.run([*pip, *self.packages], stdout=sys.stderr, check=False)
            if done.returncode:
                raise Skipped(f"{self.name} does not install here: pip install {' '.join(self.packages)} failed")
            stamp.write_text(wanted, encoding="utf-8")
        return python

    def run(self, rows: Rows, seed: int, **more: Any) -> dict[str, Any]:
        """Train on the rows to learn from and answer the test rows: accuracy and macro F1 in percent, seconds."""
        task = {
            "texts": rows.texts[rows.learn].tolist(),
            "labels": rows.truth[rows.learn].tolist(),
            "test": rows.texts[rows.test].tolist(),
            "seed": seed,
            **more,
        }
        done = subprocess.run(
            [str(self.python()), str(HERE / self.program)],
            input=json.dumps(task),
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )
        if done.returncode:
            raise SystemExit(f"{self.name}: exit code {done.returncode}\n{done.stderr[-2000:]}")
        result = json.loads(done.stdout.splitlines()[-1])
        reached = scores(rows.truth[rows.test], np.array(result.pop("answers")))
        return {"seed": seed, **{key: 100 * value for key, value in reached.items()}, **result}


SETFIT = Peer("SetFit", "peer_setfit.py", ("setfit==1.2.0", "transformers<5", "torch"))
FASTTEXT = Peer("fastText", "peer_fasttext.py", ("fasttext-wheel==0.9.2", "numpy<2"))


def sentence_transformer() -> Path:
    """MiniLM as a sentence-transformers folder, as its card describes it: mean of the last states, length 1."""
    from classtune.sources import fetch_model

    folder = CACHE / "peers" / EMBEDDING
    shutil.copytree(fetch_model(EMBEDDING), folder, dirs_exist_ok=True)
    modules = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    listed = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(modules)
    ]
    files: dict[str, object] = {
        "modules.json": listed,
        "sentence_bert_config.json": {"max_seq_length": 256, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": 384, "pooling_mode_mean_tokens": True},
        "2_Normalize/config.json": {},
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


def pairs(rows: Rows) -> int:
    """How many pairs SetFit's defaults train on: the rarer kind is repeated up to the number of the other."""
    counts = np.unique(rows.truth[rows.learn], return_counts=True)[1]
    same = int((counts * (counts + 1) // 2).sum())
    total = int(counts.sum())
    return 2 * max(same, total * (total + 1) // 2 - same)


def setfit(rows: Rows, seed: int) -> dict[str, Any]:
    """SetFit on these rows, capped where all pairs would take too long."""
    count = pairs(rows)
    capped = count * PAIR_SECONDS > LONG_SECONDS
    if capped:
        note(f"SetFit: {count:,} pairs take more than {LONG_SECONDS} s, so num_iterations={CAPPED}")
    result = SETFIT.run(rows, seed, model=str(sentence_transformer()), num_iterations=CAPPED if capped else None)
    return {**result, "pairs": 2 * CAPPED * len(rows.learn) if capped else count, "capped": capped}


def default(run: Run) -> dict[str, Any]:
    """classtune's default on the same rows."""
    table, validation, test, seed = run
    started = time.process_time()
    result = ours(table, seed, {}, validation, test)
    spent = time.process_time() - started
    reached = {key: 100 * result["test"][key] for key in KEYS}
    return {"seed": seed, **reached, "seconds": spent, "chosen": result["chosen"]["name"]}


def compared(name: str, key: str, runs: Sequence[Run], others: Sequence[str]) -> list[Figure]:
    """The figure of classtune (on few rows) and of each peer, mean over the runs; in turns, run by run."""
    found: dict[str, list[dict[str, Any]]] = {other: [] for other in others}
    for run in runs:
        seed = run[3]
        for other in others:
            if other == "classtune":
                result = default(run)
            elif other == "SetFit":
                result = setfit(rows_of(run[0], seed, {}, run[1], run[2]), seed)
            else:
                result = FASTTEXT.run(rows_of(run[0], seed, {}, run[1], run[2]), seed)
            note(f"{name}, seed {seed}, {other}: {key} {result[key]:.2f}, {result['seconds']:.1f} s")
            found[other].append(result)
    figures = []
    for other, results in found.items():
        mean = {one: float(np.mean([result[one] for result in results])) for one in (*KEYS, "seconds")}
        figures.append(Figure(f"{name}: {other}, {key}", mean[key], "%", detail={"mean": mean, "runs": results}))
    return figures


def measure(args: argparse.Namespace) -> list[Figure]:
    import sklearn.linear_model  # noqa: F401  # these two now, so that no run pays for them
    import torch
    import transformers  # noqa: F401
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    there = []
    for peer in (SETFIT, FASTTEXT):
        try:
            peer.python()
            there.append(peer.name)
        except Skipped as reason:
            note(f"skipped: {reason}")
    whole = [name for name in there if name == FASTTEXT.name]
    figures: list[Figure] = []
    with threadpool_limits(1):
        for name in args.only:
            figures += compared(*runs_of(name, args), whole if is_whole(name) else ["classtune", *there])
    return figures


def options(parser: argparse.ArgumentParser) -> None:
    whole = ["sms", "trec", "banking77", "emotion", "irony", "offensive", "imdb"]
    few = ["sms-8", "trec-8"]  # banking77-8 when it is named: SetFit takes a quarter of an hour a draw
    parser.add_argument("--only", nargs="+", default=[*few, *whole], help="sets; NAME-8 is 8 rows a class")
    parser.add_argument("--seeds", type=int, default=5, help="runs on sms-spam")
    parser.add_argument("--draws", type=int, default=3, help="draws of few rows")


if __name__ == "__main__":
    main(__doc__, measure, options)
