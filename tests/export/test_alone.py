"""A blend is exported as its main network alone, and what that loses is told; no network is no export."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import SEVERAL, rows

from classtune.bundle import RECORD, read_held_out
from classtune.config import resolve
from classtune.data.reading.tables import table_from_rows
from classtune.decisions.decisions import Prior
from classtune.errors import BundleError
from classtune.export.alone import main_network
from classtune.export.write import export_bundle
from classtune.inference.predictor import Predictor, load_predictor
from classtune.inference.runtimes import load_exported
from classtune.jobs.train import train
from classtune.stats import softmax

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")


def main_scores(folder: Path, texts: list[str]) -> Any:
    """What the main network answers by its member's temperature alone [texts, labels]."""
    _, bundle = load_predictor(folder)
    member = next(member for member in bundle.members if member.model is bundle.main)
    assert member.weight.scale != 1.0
    return softmax(member.weight.scale * Predictor(bundle.network, bundle.labels, bundle.decisions).logits(texts))


def test_a_blend_gives_its_main_network_and_says_what_is_lost(small_blend: tuple[Any, Path], tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="onnx is not installed")
    folder, told = small_blend[1], list[str]()
    done = export_bundle(folder, "onnx", tmp_path / "out", notify=told.append)
    texts = read_held_out(folder)
    blend, bundle = load_predictor(folder)
    expected, own = blend.probabilities(texts), main_scores(folder, texts)
    exported, loaded = load_exported(tmp_path / "out", "onnx")
    np.testing.assert_allclose(exported.probabilities(texts), own, atol=1e-4)
    assert done["check"]["largest_difference"] < 1e-4  # from this network, not from the blend
    record = json.loads((tmp_path / "out" / RECORD).read_text(encoding="utf-8"))
    name = next(member.name for member in bundle.members if member.model is bundle.main)
    assert record["classifier"] == name
    assert record["test"] is record["baseline"] is None
    assert loaded.decisions.calibration.folded is not None
    assert loaded.decisions.calibration.folded["scale"] == [bundle.members[1].weight.scale]
    lost = record["export"]["lost"]
    assert lost == done["lost"]
    assert lost["largest_difference"] == pytest.approx(np.abs(expected - own).max(), abs=1e-5)
    assert lost["largest_difference"] > 1e-3
    assert lost["changed_share"] == pytest.approx((expected.argmax(1) != own.argmax(1)).mean())
    assert (lost["texts"], lost["texts_are"]) == (len(texts), "held-out texts of the bundle")
    assert any("its main network alone" in line and name in line for line in told)
    assert any(f"compared with {name} alone on" in line for line in told)


def test_the_shares_of_the_field_stay_with_the_main_network(small_blend: tuple[Any, Path]) -> None:
    predictor, bundle = load_predictor(small_blend[1])
    prior = Prior((0.5, 0.5), (0.9, 0.1))
    alone = main_network(predictor, replace(bundle, decisions=replace(bundle.decisions, prior=prior)))
    assert alone.bundle.decisions.prior == prior
    texts = [text for text, _ in rows(4)]
    weighted = main_scores(small_blend[1], texts) * np.array([1.8, 0.2])
    np.testing.assert_allclose(
        alone.predictor.probabilities(texts), weighted / weighted.sum(1, keepdims=True), atol=1e-6
    )


@pytest.mark.parametrize("to", ["onnx", "openvino", "hf"])
def test_tf_idf_alone_is_refused(to: str, lexical_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"holds no network .*tf-idf alone.*train --keep NAME.*ships one\.$"):
        export_bundle(lexical_bundle, to, tmp_path / "out", notify=print)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def lexical_bundle(small_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts, labels = zip(*rows(80), strict=True)
    settings = resolve(overrides={**SEVERAL, "model": str(small_bert), "keep": "tf-idf"})
    folder = tmp_path_factory.mktemp("lexical") / "bundle"
    trained = train(table_from_rows(texts, labels, name="rows"), settings, notify=print, progress=lambda *_: None)
    trained.save(folder)
    return folder
