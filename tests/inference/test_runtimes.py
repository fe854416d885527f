"""Exports answer as their bundles do, whatever pools, calibrates or windows; and refuse what is not theirs."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import one_thread, rows, train_small

from classtune.bundle import RECORD
from classtune.decisions.calibration import fit_calibration
from classtune.decisions.decisions import Decisions, Prior
from classtune.errors import BundleError, SettingsError, UserError
from classtune.export.write import export_bundle
from classtune.inference.predictor import load_predictor
from classtune.inference.runtimes import load_exported
from classtune.model.processor import processor
from classtune.stats import softmax

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")

TEXTS = ["a", *(text for text, _ in rows(9)), "é" * 40, "🎉 שלום", "win " * 30, "tab\tand\nline"]
NEEDS = {"onnx": "onnxscript", "openvino": "openvino"}


def decided(bundle: Path, folder: Path, method: str, *, multi: bool = False) -> Path:
    """A copy of a bundle with another calibration, and shares of the labels that differ in the field."""
    shutil.copytree(bundle, folder)
    predictor, loaded = load_predictor(bundle)
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(80, 2))
    truth = generator.random((80, 2)) < 0.5 if multi else (logits[:, 1] > logits[:, 0]) ^ (generator.random(80) < 0.2)
    calibration = fit_calibration(
        logits, truth if multi else truth.astype(np.int64), method=method, multi=multi, seed=1
    )
    decisions = Decisions(tuple(loaded.labels), multi, calibration, Prior((0.5, 0.5), (0.8, 0.2)))
    record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    golden = [entry["text"] for entry in record["golden"]]
    scores = decisions.probabilities(predictor.logits(golden)).tolist()
    record["golden"] = [{"text": text, "scores": row} for text, row in zip(golden, scores, strict=True)]
    record["decisions"] = decisions.record()
    (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def small_onnx(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small decoder's bundle as ONNX."""
    pytest.importorskip("onnxscript", reason="ONNX is not installed")
    folder = tmp_path_factory.mktemp("exports") / "llama-onnx"
    with one_thread():
        export_bundle(small_bundle, "onnx", folder, notify=lambda _: None)
    return folder


def assert_alike(bundle: Path, export: Path, runtime: str, texts: list[str], tolerance: float = 1e-4) -> None:
    """Together and alone, with labels in the same order."""
    ours, theirs = load_predictor(bundle)[0], load_exported(export, runtime)[0]
    expected = ours.probabilities(texts)
    assert np.ptp(expected[:, 0]) > 1e-4
    assert np.abs(theirs.probabilities(texts) - expected).max() < tolerance
    alone = np.concatenate([theirs.probabilities([text]) for text in texts])
    assert np.abs(alone - expected).max() < tolerance
    assert [row[0]["label"] for row in theirs.predict(texts)] == [row[0]["label"] for row in ours.predict(texts)]


def test_onnx_answers_as_the_bundle(small_bundle: Path, small_onnx: Path) -> None:
    assert_alike(small_bundle, small_onnx, "onnx", TEXTS)


@pytest.mark.parametrize(
    ("runtime", "family", "method", "multi", "settings"),
    [
        ("onnx", "bert", "isotonic", False, {"pooling": "mean", "long_texts": "windows", "max_tokens": 40}),
        ("openvino", "bert", "vector", True, {"pooling": "last+mean", "max_tokens": 24, "truncate": "both"}),
    ],
)
def test_pooling_calibration_and_long_texts_go_along(
    runtime: str,
    family: str,
    method: str,
    multi: bool,
    settings: dict[str, Any],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    pytest.importorskip(NEEDS[runtime], reason=f"{runtime} is not installed")
    train_small(request.getfixturevalue(f"small_{family}"), tmp_path / "plain", epochs=1, **settings)
    bundle = decided(tmp_path / "plain", tmp_path / "bundle", method, multi=multi)
    done = export_bundle(bundle, runtime, tmp_path / "export", notify=lambda _: None)
    # The check compares what the graph itself ends in, too.
    assert (done["check"]["texts"], done["check"]["changed_labels"]) == (18, 0)
    assert done["check"]["largest_difference"] < 1e-4
    assert_alike(bundle, tmp_path / "export", runtime, TEXTS)


def test_others_can_use_the_onnx_file_alone(small_bundle: Path, small_onnx: Path) -> None:
    """Tokenizer, session and labels, without classtune: padded as transformers pads."""
    import onnxruntime
    from transformers import AutoTokenizer

    session = onnxruntime.InferenceSession(str(small_onnx / "onnx" / "model.onnx"), providers=["CPUExecutionProvider"])
    tokens = AutoTokenizer.from_pretrained(str(small_onnx))(TEXTS, padding=True, return_tensors="np")
    inputs = {name: tokens[name] for name in ("input_ids", "attention_mask")}
    probabilities, logits = session.run(["probabilities", "logits"], inputs)
    predictor, bundle = load_predictor(small_bundle)
    assert np.abs(probabilities - predictor.probabilities(TEXTS)).max() < 1e-4
    assert np.abs(softmax(logits) - predictor.probabilities(TEXTS)).max() < 1e-4
    assert json.loads(session.get_modelmeta().custom_metadata_map["labels"]) == bundle.labels


def test_exports_of_an_earlier_classtune_load(small_bundle: Path, small_onnx: Path, tmp_path: Path) -> None:
    """Their graph lies at the root, and the record does not name it."""
    folder = tmp_path / "export"
    shutil.copytree(small_onnx, folder)
    (folder / "onnx" / "model.onnx").rename(folder / "model.onnx")
    (folder / "onnx").rmdir()
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    del record["export"]["file"]
    record["sha256"]["model.onnx"] = record["sha256"].pop("onnx/model.onnx")
    (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
    assert_alike(small_bundle, folder, "onnx", TEXTS)


def test_many_threads_get_the_same_scores(small_onnx: Path) -> None:
    predictor, _ = load_exported(small_onnx, "onnx")
    expected = predictor.probabilities(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        for scores in pool.map(lambda _: predictor.probabilities(TEXTS), range(8)):
            assert np.abs(scores - expected).max() < 1e-6


def test_torch_is_a_runtime_too(small_bundle: Path) -> None:
    expected = load_predictor(small_bundle)[0].probabilities(TEXTS)
    assert np.array_equal(load_exported(small_bundle, "torch")[0].probabilities(TEXTS), expected)


def test_what_is_wrong_with_an_export_is_said(small_bundle: Path, small_onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--runtime onyx: is unknown"):
        load_exported(small_onnx, "onyx")
    with pytest.raises(BundleError, match=r"no export for openvino\. Run `classtune export .* --to openvino -o OUT`"):
        load_exported(small_onnx, "openvino")
    with pytest.raises(BundleError, match=r"holds no export for onnx"):
        load_exported(small_bundle, "onnx")
    with pytest.raises(BundleError, match=r"is an export, which .* run with --runtime onnx\."):
        load_predictor(small_onnx)
    shutil.copytree(small_onnx, tmp_path / "export")
    (tmp_path / "export" / "onnx" / "model.onnx").write_bytes(b"cut")
    with pytest.raises(BundleError, match=r"model\.onnx: was changed or truncated"):
        load_exported(tmp_path / "export", "onnx")


def test_golden_texts_are_checked_on_load(small_onnx: Path, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    shutil.copytree(small_onnx, folder)
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    record["golden"][0]["scores"][0] += 0.01
    (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(BundleError, match="scores otherwise than when it was saved") as raised:
        load_exported(folder, "onnx")
    assert "processor" not in str(raised.value)
    checked_on = record["export"]["check"]["processor"]
    assert checked_on == processor()
    checked_on |= {"name": "Elsewhere 9000", "instructions": [*checked_on["instructions"], "quantum"]}
    (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(BundleError, match=r"Elsewhere 9000.*it had quantum.*Export the bundle again on this processor"):
        load_exported(folder, "onnx")


def test_a_runtime_that_is_absent_names_the_command(
    small_bundle: Path, small_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    absent: Callable[..., Any] = lambda name, *rest: None if name == "onnxruntime" else found(name, *rest)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", absent)
    with pytest.raises(
        UserError, match=r'--runtime onnx: onnxruntime is not installed. pip install "classtune\[onnx\]"'
    ):
        load_exported(small_onnx, "onnx")
    with pytest.raises(UserError, match=r'--to onnx: .* pip install "classtune\[onnx\]"'):
        export_bundle(small_bundle, "onnx", tmp_path / "out", notify=lambda _: None)
