"""transformers.js reads an ONNX export as it lies there, and gives classtune's labels and scores."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from small import rows, train_small

from classtune.export.write import export_bundle
from classtune.inference.predictor import load_predictor

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")

PACKAGE = "@huggingface/transformers"
PLACES = [Path(place) for place in os.environ.get("NODE_PATH", "").split(os.pathsep) if place]
PLACES.append(Path(__file__).parents[2] / "node_modules")
PROGRAM = """
const [modules, folder, name] = process.argv.slice(1);
const { pipeline, env } = require(modules + "/@huggingface/transformers");
env.allowRemoteModels = false;
env.localModelPath = folder + "/";
const texts = JSON.parse(require("fs").readFileSync(0, "utf8"));
pipeline("text-classification", name, { dtype: "fp32" })
  .then((classify) => classify(texts, { top_k: null }))
  .then((answers) => console.log(JSON.stringify(answers)));
"""


def test_labels_and_scores_are_those_of_predict(small_bert: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="ONNX is not installed")
    modules = next((place for place in PLACES if (place / PACKAGE).is_dir()), None)
    if shutil.which("node") is None or modules is None:
        pytest.skip(f"transformers.js is not here: npm install --no-save {PACKAGE}, or name its folder in NODE_PATH")
    train_small(small_bert, tmp_path / "bundle")  # it knows no classifier of Llama
    export_bundle(tmp_path / "bundle", "onnx", tmp_path / "model", notify=lambda _: None)
    texts = [*(text for text, _ in rows(12)), "a", "win " * 20, "é" * 30, "tab\tand\nline"]
    shown = subprocess.run(
        ["node", "-e", PROGRAM, str(modules), str(tmp_path), "model"],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert shown.returncode == 0, shown.stderr
    answers = json.loads(shown.stdout.splitlines()[-1])
    predictor = load_predictor(tmp_path / "bundle")[0]
    for ours, theirs in zip(predictor.predict(texts), answers, strict=True):
        assert [row["label"] for row in theirs] == [row["label"] for row in ours]
        assert max(abs(a["score"] - b["score"]) for a, b in zip(ours, theirs, strict=True)) < 1e-4
