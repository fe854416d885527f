"""What is written, what is refused, and that nothing is put in place unchecked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import Run, rows, train_small, write_csv

from classtune.bundle import RECORD
from classtune.data.reading.tables import table_from_rows
from classtune.errors import BundleError, ClasstuneError, SettingsError
from classtune.export import write as export
from classtune.export.write import export_bundle
from classtune.inference.predictor import load_predictor
from classtune.inference.runtimes import load_exported

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")

HUGGING_FACE = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def test_unless_told_otherwise_it_is_checked_on_texts_that_were_not_trained_on(
    small_bundle: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript", reason="onnx is not installed")
    check = export_bundle(small_bundle, "onnx", tmp_path / "out", notify=silent)["check"]
    held_out = (small_bundle / "texts" / "held_out.jsonl").read_text(encoding="utf-8").splitlines()
    assert (check["texts"], check["texts_are"]) == (len(held_out), "held-out texts of the bundle")


def silent(_: str) -> None:
    """Nobody asked."""


def test_an_export_reads_the_columns_that_the_bundle_reads(small_llama: Path, tmp_path: Path, command: Run) -> None:
    """Texts of two columns joined, and of two columns of labels the one that was told at training."""
    pytest.importorskip("onnxscript", reason="onnx is not installed")
    lines = [(text.split(",")[0], text.split(",")[1], label, "old") for text, label in rows(60)]
    data = write_csv(tmp_path / "t.csv", lines, ("subject", "body", "topic", "label"))
    told = ["--text", "subject,body", "--label", "topic", "--split-by", "exact", "--depth", "all", "--epochs", 1]
    quick = ["--model", small_llama, "--set", "candidates=one", "--set", "least_steps=0"]
    assert command("train", data, *told, *quick, "-o", tmp_path / "b").code == 0
    assert command("export", tmp_path / "b", "--to", "onnx", "-o", tmp_path / "e").code == 0
    bundle, export = (
        [command(name, folder, data, *runtime, "--json").document for name in ("predict", "evaluate")]
        for folder, runtime in ((tmp_path / "b", ()), (tmp_path / "e", ("--runtime", "onnx")))
    )
    for one, other in zip(bundle[0], export[0], strict=True):
        assert other[0] == {"label": one[0]["label"], "score": pytest.approx(one[0]["score"], abs=1e-4)}
    assert export[1]["test"]["accuracy"] == bundle[1]["test"]["accuracy"]


@pytest.mark.parametrize(("runtime", "package"), [("onnx", "onnxscript"), ("openvino", "nncf")])
def test_int8_is_smaller_and_answers_alike(runtime: str, package: str, small_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip(package, reason=f"{runtime} is not installed")
    texts = [text for text, _ in rows(100)][60:]
    told: list[str] = []
    table = table_from_rows(texts, [label for _, label in rows(100)][60:], name="new messages")
    done = export_bundle(small_bundle, runtime, tmp_path / "out", int8=True, data=table, notify=told.append)
    check = done["check"]
    assert (check["texts"], check["texts_are"], check["changed_labels"]) == (40, "new messages", 0)
    assert 0 < check["largest_difference"] < 0.2
    assert told == [
        "compared with the bundle on 40 texts (new messages): 0 other labels, scores differ by at most "
        f"{check['largest_difference']:.2g}"
    ]
    assert done["files"] == {
        str(path.relative_to(tmp_path / "out")): path.stat().st_size
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    weights = 4 * sum(value.numel() for value in load_predictor(small_bundle)[0].network.classifier.parameters())
    if runtime == "openvino":
        assert done["files"]["model.bin"] < weights / 2
    record = json.loads((tmp_path / "out" / RECORD).read_text(encoding="utf-8"))
    assert record["export"]["precision"] == "int8"
    assert not {"data", "notes", "splits"} & set(record)  # they quote training texts
    loaded, _ = load_exported(tmp_path / "out", runtime)
    gap = np.abs(loaded.probabilities(texts) - load_predictor(small_bundle)[0].probabilities(texts)).max()
    assert gap <= check["largest_difference"] + 1e-6


def fake_graph(changed: int) -> Callable[..., dict[str, Any]]:
    """Writes nothing that is loaded, and finds ``changed`` of 200 labels changed."""

    def write(folder: Path, *_: Any, **__: Any) -> dict[str, Any]:
        (folder / "model.onnx").write_bytes(b"graph")
        share = changed / 200
        return {"texts": 200, "changed_labels": changed, "changed_share": share, "largest_difference": 0.3}

    return write


@pytest.mark.parametrize(("int8", "changed", "passes"), [(True, 1, True), (True, 2, False), (False, 1, False)])
def test_an_export_that_changes_labels_is_refused_unless_forced(
    int8: bool, changed: int, passes: bool, small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "require", lambda *_: None)
    monkeypatch.setattr(export, "_write_graph", fake_graph(changed))
    monkeypatch.setattr(export, "_write_record", lambda *_: None)
    output, told = tmp_path / "out", list[str]()
    if not passes:
        share = f"{changed} of 200 texts \\({changed / 2:.1f} %"
        with pytest.raises(ClasstuneError, match=f"export changes the label of {share}.*or pass --force"):
            export_bundle(small_bundle, "onnx", output, int8=int8, notify=silent)
        assert list(tmp_path.iterdir()) == []
    export_bundle(small_bundle, "onnx", output, int8=int8, force=True, notify=told.append)
    assert [path.name for path in output.iterdir()] == ["model.onnx"]
    assert any("Written all the same" in line for line in told) != passes


def test_a_bundle_is_never_overwritten(small_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(small_bundle, folder)
    before = sorted(folder.iterdir())
    for output in (folder, folder / "inside", tmp_path):
        with pytest.raises(BundleError, match="is the bundle, or lies around or in it"):
            export_bundle(folder, "hf", output, force=True, notify=silent)
    assert sorted(folder.iterdir()) == before


def test_what_cannot_be_had_is_said_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--to onx: is unknown"):
        export_bundle(tmp_path / "none", "onx", tmp_path / "out", notify=silent)
    with pytest.raises(SettingsError, match="--int8 with --to hf"):
        export_bundle(tmp_path / "none", "hf", tmp_path / "out", int8=True, notify=silent)


def test_a_hugging_face_bundle_gives_its_hugging_face_files(small_bundle: Path, tmp_path: Path) -> None:
    from transformers import pipeline

    told: list[str] = []
    done = export_bundle(small_bundle, "hf", tmp_path / "out", notify=told.append)
    assert set(done["files"]) == {*HUGGING_FACE, "classtune-export.json"}
    assert done["check"]["texts"] == 18
    assert done["check"]["largest_difference"] < 1e-5
    assert not any("Hugging Face" in line for line in told)  # the calibration is in the weights
    texts = [text for text, _ in rows(6)]
    plain = pipeline("text-classification", model=str(tmp_path / "out"), device="cpu")(texts)
    assert [row["label"] for row in plain] == [
        row[0]["label"] for row in load_predictor(small_bundle)[0].predict(texts)
    ]


def test_the_bias_of_a_head_goes_into_a_norm_that_has_one(
    backbone_folder: Callable[[str], Path], small_llama: Path, tmp_path: Path
) -> None:
    train_small(backbone_folder("gpt2"), tmp_path / "gpt2", head_bias=True, learning_rate=1e-2)
    network = load_predictor(tmp_path / "gpt2")[0].network
    assert network.own_head is not None
    assert network.own_head.linear.bias.abs().max() > 1e-3
    done = export_bundle(tmp_path / "gpt2", "hf", tmp_path / "out", notify=silent)
    assert done["check"]["changed_labels"] == 0
    assert done["check"]["largest_difference"] < 1e-5
    train_small(small_llama, tmp_path / "llama", head_bias=True, epochs=1)
    with pytest.raises(SettingsError, match=r"the head has a bias.*--set head_bias=false"):
        export_bundle(tmp_path / "llama", "hf", tmp_path / "out2", notify=silent)
    assert not (tmp_path / "out2").exists()


def test_another_pooling_has_no_hugging_face_class(small_bert: Path, tmp_path: Path) -> None:
    train_small(small_bert, tmp_path / "bundle", epochs=1, pooling="mean")
    with pytest.raises(SettingsError, match=r"pool 'first', this bundle 'mean'. Train with --hugging-face"):
        export_bundle(tmp_path / "bundle", "hf", tmp_path / "out", notify=silent)


def test_weights_of_8_bits_answer_alike_on_every_processor(small_bundle: Path, tmp_path: Path) -> None:
    """Without VNNI, two products of 0…255 by a weight are added in 16 bits: weights beyond 64 would saturate them."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    export_bundle(small_bundle, "onnx", tmp_path / "out", int8=True, notify=silent)
    model = onnx.load(str(tmp_path / "out" / "onnx" / "model_quantized.onnx"))
    values = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    weights = [values[node.input[1]] for node in model.graph.node if node.op_type == "MatMulInteger"]
    assert len(weights) > 5
    assert all(weight.dtype == np.int8 and np.abs(weight.astype(int)).max() <= 64 for weight in weights)


def test_openvino_rounds_no_inputs_unasked(small_bundle: Path, tmp_path: Path) -> None:
    """It would, in groups of 32, on processors with VNNI alone: scores moved by 0.08 between processors."""
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    pytest.importorskip("nncf", reason="nncf is not installed")
    export_bundle(small_bundle, "openvino", tmp_path / "out", int8=True, notify=silent)
    compiled = openvino.Core().compile_model(str(tmp_path / "out" / "model.xml"), "CPU")
    assert compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE") == 0
