"""Two processes that write to one place at once: one wins, the other ends with a sentence, and nothing is half made."""

from __future__ import annotations

from pathlib import Path

import pytest
from killed import both, one_of_two
from small import rows, write_csv

from classtune.inference.predictor import load_predictor

pytest_plugins = ["bundle_fixtures"]


def test_two_trainings(small_llama: Path, tmp_path: Path) -> None:
    table, place = write_csv(tmp_path / "rows.csv", rows(80)), tmp_path / "out"
    told = ["--model", small_llama, "--depth", "1", "--epochs", "2", "--split-by", "exact", "-q"]
    command = ["train", table, "-o", place / "bundle", *told, "--set", "candidates=one"]
    one_of_two(command, tmp_path)
    load_predictor(place / "bundle")
    codes, said = both([*command, "--force"], tmp_path)
    assert 0 in codes, said
    assert all(code == 0 or "another run is writing here" in text for code, text in zip(codes, said, strict=True)), said
    load_predictor(place / "bundle")
    assert [path.name for path in place.iterdir()] == ["bundle"]


@pytest.mark.parametrize("output", ["answers.csv", "answers/"])
def test_two_predictions(output: str, small_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    table = write_csv(tmp_path / "rows.csv", [(text, "") for text, _ in rows(3000)])
    one_of_two(["predict", small_bundle, table, "--text", "text", "-q", "-o", f"{tmp_path / 'out'}/{output}"], tmp_path)
    written = [path.read_text(encoding="utf-8") for path in (tmp_path / "out").rglob("*.csv")]
    assert sum(len(text.splitlines()) - 1 for text in written) == 3000


def test_two_exports(small_bundle: Path, tmp_path: Path) -> None:
    from transformers import pipeline

    one_of_two(["export", small_bundle, "--to", "hf", "-q", "-o", tmp_path / "out" / "plain"], tmp_path)
    assert pipeline("text-classification", model=str(tmp_path / "out" / "plain"))("win a prize")
