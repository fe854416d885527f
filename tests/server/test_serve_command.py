"""`classtune serve --page`, `export` and `push` as a user starts them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small import Run

pytest_plugins = ["bundle_fixtures", "browser_fixture"]


@contextlib.contextmanager
def served(bundle: Path, *told: str) -> Iterator[str]:
    """The address of `classtune serve`, which must end well when it is told to stop."""
    process = subprocess.Popen(
        [sys.executable, "-m", "classtune", "serve", str(bundle), "--port", "0", *told],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stderr is not None
        events = (json.loads(line) for line in process.stderr if line.startswith("{"))
        yield next(event["url"] for event in events if event["event"] == "listening")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 0


def test_the_page_is_mounted_beside_the_api(small_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="the page needs the extra: pip install classtune[ui]")
    with served(small_bundle, "--page", "--feedback", str(tmp_path / "feedback.jsonl")) as url:
        browser = urllib.request.Request(f"{url}/", headers={"Accept": "text/html"})
        with urllib.request.urlopen(browser) as page:
            assert page.url == f"{url}/page/"
            assert "gradio" in page.read().decode().lower()
        question = urllib.request.Request(
            f"{url}/predict", json.dumps({"inputs": "hi"}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(question) as answer:
            assert {entry["label"] for entry in json.load(answer)} == {"ham", "spam"}


def test_with_keys_the_page_takes_one_as_its_password(browser: Any, small_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="the page needs the extra: pip install classtune[ui]")
    (tmp_path / "keys").write_text("a-long-enough-secret\n", encoding="utf-8")
    with served(small_bundle, "--page", "--keys", str(tmp_path / "keys")) as url:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{url}/")
        context = browser.new_context(http_credentials={"username": "anna", "password": "a-long-enough-secret"})
        page = context.new_page()
        page.goto(url)
        page.locator(".ct-examples button").first.click()
        page.locator("h2", has_text="Which words speak for").wait_for()
        assert page.locator(".ct-answer strong").inner_text() in ("ham", "spam")
        context.close()


def test_every_wrong_option_is_told(small_bundle: Path, command: Run) -> None:
    ran = command("serve", small_bundle, "--port", "70000", "--timeout", "soon")
    assert ran.code == 2
    assert "--port 70000" in ran.err
    assert "--timeout soon" in ran.err


def test_an_export_answers_as_the_bundle_does(small_bundle: Path, tmp_path: Path, command: Run) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra: pip install classtune[onnx]")
    result = command("export", small_bundle, "--to", "onnx", "-o", tmp_path / "out", "--json").document
    assert result["check"]["changed_labels"] == 0
    texts = ["win a prize, call now 77 today", "see you at 77 then, mate"]
    ours = command("predict", small_bundle, *texts, "--json").document
    theirs = command("predict", tmp_path / "out", *texts, "--runtime", "onnx", "--json").document
    for one, other in zip(ours, theirs, strict=True):
        assert [entry["label"] for entry in one] == [entry["label"] for entry in other]
        assert [entry["score"] for entry in one] == pytest.approx([entry["score"] for entry in other], abs=1e-4)
    table = tmp_path / "texts.csv"
    table.write_text("text,label\n" + "".join(f'"{text}",ham\n' for text in texts), encoding="utf-8")
    told = ("evaluate", tmp_path / "out", table, "--runtime", "onnx", "--json")
    assert command(*told).document["test"]["rows"] == 2
    table.write_text("text\n" + "".join(f'"{text}"\n' for text in texts), encoding="utf-8")
    bulk = command("predict", tmp_path / "out", table, "-o", f"{tmp_path}/bulk/", "--runtime", "onnx", "--json")
    assert bulk.document["rows"] == 2
    decided = command("predict", tmp_path / "out", "a text", "--runtime", "onnx", "--max-error", "0.1")
    assert (decided.code, decided.out) == (2, "")
    assert "an export answers as it was told when it was written" in decided.err


def test_a_device_that_is_not_here_is_told(small_bundle: Path, command: Run) -> None:
    assert command("predict", small_bundle, "a text", "--device", "cpu", "--json").document
    for told in (["predict", small_bundle, "a text"], ["serve", small_bundle, "--port", "0"]):
        ran = command(*told, "--device", "tpu")
        assert ran.code == 2
        assert "device = 'tpu': cannot be used here" in ran.err


def test_a_dry_push_lists_what_it_would_send(small_bundle: Path, command: Run) -> None:
    ran = command("push", small_bundle, "me/spam", "--dry-run")
    assert ran.code == 0
    assert "would be uploaded to me/spam" in ran.out
    assert "left out, because they hold or tell of texts of the table: " in ran.err
    assert "texts/held_out.jsonl" in ran.err


def test_a_folder_of_shards_is_written_for_many_rows(small_bundle: Path, tmp_path: Path, command: Run) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        (tmp_path / "in" / f"{name}.csv").write_text("text\nwin a prize\nsee you\n", encoding="utf-8")
    ran = command("predict", small_bundle, tmp_path / "in", "-o", f"{tmp_path / 'out'}/", "--json")
    assert ran.document["rows"] == 4
    assert len(ran.document["files"]) == 2
    written = (tmp_path / "out" / ran.document["files"][0]).read_text(encoding="utf-8").splitlines()
    assert written[0].startswith("text,label,score,score:ham,score:spam")
