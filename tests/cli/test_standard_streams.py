"""A command whose standard streams are closed, full, gone, or lack characters says so, or goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["bundle_fixtures"]
FULL = Path("/dev/full")
TEXT = "h\u4e2dllo \U0001f600"


def ran(*words: object, streams: dict[str, Any] | None = None, encoding: str = "utf-8", close: str = "") -> Any:
    """The command in a process of its own. close: streams that the shell closes, such as ``1>&-``."""
    command = [sys.executable, "-m", "classtune", *map(str, words)]
    if close:
        command = ["sh", "-c", f'"$@" {close}', "sh", *command]
    told = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **(streams or {})}
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    return subprocess.run(command, stdin=subprocess.DEVNULL, env=environment, timeout=300, check=False, **told)


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
@pytest.mark.parametrize("words", [("models",), ("info", "BUNDLE", "--json")])
def test_output_that_cannot_be_written_is_one_line(words: tuple[str, ...], small_bundle: Path) -> None:
    with FULL.open("w") as full:
        found = ran(*(small_bundle if word == "BUNDLE" else word for word in words), streams={"stdout": full})
    assert (found.returncode, found.stderr.decode()) == (
        1,
        "classtune: standard output: cannot be written (No space left on device).\n",
    )


def test_a_reader_that_has_gone_ends_it_without_a_word() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    found = ran("models", streams={"stdout": writing})
    os.close(writing)
    assert (found.returncode, found.stderr) == (1, b"")


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
def test_progress_that_cannot_be_written_stops_no_work(small_bundle: Path) -> None:
    with FULL.open("w") as full:
        found = ran("predict", small_bundle, "win a prize", streams={"stderr": full})
        assert found.returncode == 0
        assert b"win a prize" in found.stdout
        assert ran("predict", small_bundle, "gone.csv", streams={"stderr": full}).returncode == 2


@pytest.mark.skipif(os.name == "nt", reason="a shell")
def test_closed_streams_are_none(small_bundle: Path, tmp_path: Path) -> None:
    assert ran("info", small_bundle, close=">&-").returncode == 0
    closed = ran("predict", small_bundle, "win a prize", "-o", tmp_path / "out.csv", close=">&- 2>&- <&-")
    assert closed.returncode == 0
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").startswith("text,label,score")
    empty = ran("predict", small_bundle, "-", close="<&-")
    assert (empty.returncode, b"standard input: the file is empty" in empty.stderr) == (2, True)


def test_characters_that_the_output_lacks_are_shown_by_codes(small_bundle: Path) -> None:
    table = ran("predict", small_bundle, TEXT, encoding="ascii")
    assert table.returncode == 0, table.stderr
    assert rb"h\u4e2dllo \U0001f600" in table.stdout
    printed = ran("next", small_bundle, "-", "--json", encoding="ascii")
    assert printed.returncode == 2  # nothing to read: no fault of the encoding
    explained = ran("explain", small_bundle, TEXT, "--json", encoding="latin-1")
    assert TEXT in json.dumps(json.loads(explained.stdout), ensure_ascii=False)
