"""fastText as its tutorial has it, in an environment of its own: rows come in as JSON, answers go out.

The tutorial's text (punctuation apart, lower case), pairs of words, 25 epochs, rate 0.5; no search for settings.
Started by peers.py; knows nothing of classtune.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from pathlib import Path

import fasttext

PREFIX = "__label__"


def plain(text: str) -> str:
    """One line, as the tutorial's sed command leaves it."""
    return " ".join(re.sub(r"([.!?,'/()])", r" \1 ", text).lower().split())


def main() -> None:
    task = json.load(sys.stdin)
    started = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "rows.txt"
        rows = zip(task["texts"], task["labels"], strict=True)
        file.write_text("".join(f"{PREFIX}{label} {plain(text)}\n" for text, label in rows), encoding="utf-8")
        model = fasttext.train_supervised(str(file), lr=0.5, epoch=25, wordNgrams=2, thread=1, verbose=0)
    trained = time.process_time()
    labels, _ = model.predict([plain(text) for text in task["test"]])
    answers = [int(one[0].removeprefix(PREFIX)) for one in labels]
    done = time.process_time()
    print(json.dumps({"answers": answers, "train_seconds": trained - started, "seconds": done - started}))


if __name__ == "__main__":
    main()
