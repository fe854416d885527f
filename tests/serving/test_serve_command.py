"""`classtune serve --page`, `export` and `push` as a user starts them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from small import Run

pytest_plugins = ["bundle_fixtures"]


def test_the_page_is_mounted_beside_the_api(small_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="the page needs the extra: pip install classtune[ui]")
    told = ["--port", "0", "--page", "--feedback", str(tmp_path / "feedback.jsonl")]
    process = subprocess.Popen(
        [sys.executable, "-m", "classtune", "serve", str(small_bundle), *told],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stderr is not None
        events = (json.loads(line) for line in process.stderr if line.startswith("{"))
        url = next(event["url"] for event in events if event["event"] == "listening")
        with urllib.request.urlopen(f"{url}/") as page:
            assert "gradio" in page.read().decode().lower()
        question = urllib.request.Request(
            f"{url}/predict", json.dumps({"inputs": "hi"}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(question) as answer:
            assert {entry["label"] for entry in json.load(answer)} == {"ham", "spam"}
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 0


def test_a_page_with_keys_is_refused(small_bundle: Path, tmp_path: Path, command: Run) -> None:
    (tmp_path / "keys").write_text("a-long-enough-secret\n", encoding="utf-8")
    ran = command("serve", small_bundle, "--page", "--keys", tmp_path / "keys")
    assert (ran.code, ran.out) == (2, "")
    assert "--page with keys" in ran.err


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


def test_a_dry_push_lists_what_it_would_send(small_bundle: Path, command: Run) -> None:
    ran = command("push", small_bundle, "me/spam", "--dry-run")
    assert ran.code == 0
    assert "would be uploaded to me/spam" in ran.out
    assert "left out, because texts of the table are in them: neighbours.jsonl" in ran.err


def test_a_folder_of_shards_is_written_for_many_rows(small_bundle: Path, tmp_path: Path, command: Run) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        (tmp_path / "in" / f"{name}.csv").write_text("text\nwin a prize\nsee you\n", encoding="utf-8")
    ran = command("predict", small_bundle, tmp_path / "in", "-o", f"{tmp_path / 'out'}/", "--json")
    assert ran.document["rows"] == 4
    assert len(ran.document["files"]) == 2
    written = (tmp_path / "out" / ran.document["files"][0]).read_text(encoding="utf-8").splitlines()
    assert written[0].startswith("text,label,score,score:ham,score:spam")
