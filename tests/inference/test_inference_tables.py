"""A bundle over a table."""

from __future__ import annotations

from pathlib import Path

from small import rows

from classtune.data.reading.tables import table_from_rows
from classtune.inference.tables import evaluate_bundle, predict_table

pytest_plugins = ["bundle_fixtures"]


def quiet(*_: object) -> None:
    """Nobody asked."""


def test_evaluation_and_prediction_agree(small_bundle: Path) -> None:
    texts, labels = zip(*rows(20), strict=True)
    table = table_from_rows(texts, labels, name="rows")
    judged = evaluate_bundle(small_bundle, table, {}, notify=quiet, progress=quiet).test.document()
    predicted = [ranked[0]["label"] for ranked in predict_table(small_bundle, table, {}, notify=quiet, progress=quiet)]
    right = sum(label == truth for label, truth in zip(predicted, labels, strict=True))
    assert judged["accuracy"] == right / 20
