"""The code of the task pages runs, from top to bottom, on tiny models in the place of the real ones."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from small import Run, write_csv

from classtune.sources import MODELS, Local

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread", "few_steps")

TASKS = Path(__file__).parents[1] / "docs" / "tasks"
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SAID = {
    "billing": ("I was charged twice for order {}", "the invoice {} is wrong", "refund my payment {} at once"),
    "login": ("password reset {} never comes", "my account is locked after {} tries", "error {} when I sign in"),
}
ROWS = [(text.format(n), topic) for n in range(12) for topic, texts in SAID.items() for text in texts]
ITALIAN = {"bella": "buono", "brutta": "male"}
# Near copies stay together, so that a class needs texts that differ.
OPENINGS = ("hello there,", "please could you", "I would like somebody to", "good morning, we need to", "as agreed:")
PLACES = (
    "a Roma",
    "al mare con gli amici di sempre",
    "in ufficio da sola",
    "senza fare niente",
    "con la famiglia a casa",
)
CLASSES = ("cancel", "track", "return", "pay", "rate", "call", "change", "gift")
TABLES = {
    "tickets": ROWS,
    "rare": [*ROWS[:60], *[row for row in ROWS if row[1] == "billing"]],
    "intents": [(f"{say} {label} order {n}", label) for n in range(3) for say in OPENINGS for label in CLASSES],
    "rare-test": [(f"so: {text} again", label) for text, label in ROWS[::5]],
    "intents-test": [(f"now {label} my order {n}", label) for n in range(2) for label in CLASSES],
    "later": [(f"again: {text}, please", topic) for text, topic in ROWS[::3]],
    "few": ROWS[:48],
    "today": [(f"{text} please", "") for text, _ in ROWS],
    "pool": [(f"{text} please", "") for text, _ in ROWS],
    "labelled": [(text, f"{topic}|urgent" if "at once" in text else topic) for text, topic in ROWS],
    "reviews": [(f"{text} and so on and on and on, as I have said before", topic) for text, topic in ROWS],
    "tweets": [
        (f"che {word} giornata {at} {n}", label) for n in range(6) for at in PLACES for word, label in ITALIAN.items()
    ],
}


@pytest.fixture
def folder(tmp_path: Path, small_llama: Path, small_bert: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the pages find their tables; the named models are tiny ones."""
    for name, model in (("smollm2-135m", small_llama), ("minilm-l6", small_bert)):
        monkeypatch.setitem(MODELS, name, replace(MODELS[name], source=Local(model)))
    for name, rows in TABLES.items():
        write_csv(tmp_path / f"{name}.csv", list(dict.fromkeys(rows)))
    lines = [{"text": f"I was charged for plan {n}", "label": "billing", "answer": "login"} for n in range(4)]
    (tmp_path / "right.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def serving(bundle: Path) -> Iterator[str]:
    """The address of a server of the bundle."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "classtune", "serve", str(bundle), "--port", str(port), "--threads", "1"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(600):
                try:
                    urlopen(f"{url}/ready").close()
                    break
                except (URLError, ConnectionError):
                    assert server.poll() is None
                    time.sleep(0.1)
            yield url
        finally:
            server.send_signal(signal.SIGTERM)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("page", sorted(TASKS.glob("*.md")), ids=lambda path: path.stem)
def test_a_page_runs(page: Path, folder: Path, command: Run) -> None:
    texts, topics = zip(*ROWS, strict=True)
    names: dict[str, Any] = {"tickets": list(texts), "topics": list(topics)}
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert blocks
    for language, code in blocks:
        if language == "sh":
            for line in code.splitlines():
                program, *arguments = shlex.split(line, comments=True)
                assert program == "classtune"
                ran = command(*arguments)
                assert ran.code == 0, ran.err
                assert "learned from" not in ran.err, line  # no page judges by rows that were trained on
        elif page.stem == "http":
            with serving(folder / "tickets") as names["url"]:
                exec(code, names)
        else:
            exec(code, names)


def test_the_index_lists_every_page() -> None:
    docs = TASKS.parent
    index = (docs / "README.md").read_text(encoding="utf-8")
    for path in sorted(docs.rglob("*.md")):
        assert path.name == "README.md" or f"({path.relative_to(docs).as_posix()})" in index, path
