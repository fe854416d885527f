"""Texts in which nothing can be read: refused alike by every kind of bundle, and wherever texts come in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import Run, train_small

from classtune import load
from classtune.data.reading.cells import is_blank
from classtune.errors import DataError
from classtune.inference.predictor import load_predictor
from classtune.server.page.feedback import add_feedback

pytest_plugins = ["bundle_fixtures"]

BLANK = [
    "",
    " ",
    "\t\n",
    "\f",
    "\x1f",
    "\x85",
    "\xa0",
    "\u2028",
    "\u3000",
    "\u200b",
    "\ufeff",
    "\u200e \xad",
    "\u2800",
    "\ufe0f",
    "\u180f\U000e0101",
]
SEEN = [".", "\u2764\ufe0f", "\u200bhello", "0", "\u0301", "\ue000", "\ufffd", "e\xa0"]


@pytest.fixture(scope="module")
def lexical(small_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of TF-IDF alone."""
    folder = tmp_path_factory.mktemp("lexical") / "bundle"
    train_small(small_llama, folder, candidates="all", keep="tf-idf", effort="fast")
    return folder


def test_what_is_blank() -> None:
    assert all(map(is_blank, BLANK))
    assert not any(map(is_blank, SEEN))


@pytest.mark.parametrize("kind", ["network", "lexical", "blend"])
def test_every_kind_of_bundle_refuses_them(
    kind: str, lexical: Path, small_bundle: Path, small_blend: tuple[Any, Path], tmp_path: Path, command: Run
) -> None:
    folder = {"network": small_bundle, "lexical": lexical, "blend": small_blend[1]}[kind]
    predictor, _ = load_predictor(folder)
    for text in BLANK:
        for ask in (predictor.probabilities, predictor.items):
            with pytest.raises(DataError, match=r"text 2: the text is empty\."):
                ask(["hello", text])
    given = [*BLANK, "hello"]
    scores = load(folder).predict_proba(given)
    assert np.isnan(scores).all(axis=1).tolist() == [True] * len(BLANK) + [False]
    table = tmp_path / "rows.jsonl"
    table.write_text("".join(json.dumps({"text": text}) + "\n" for text in given), encoding="utf-8")
    ran = command("predict", folder, table)
    assert (ran.code, ran.out) == (2, "")
    assert f"({len(BLANK)}): the text is empty." in ran.err
    assert len(command("predict", folder, table, "--drop-empty", "--json").document) == 1
    assert command("predict", folder, table, "-o", f"{tmp_path / 'out'}/", "--json").document["problems"] == len(BLANK)
    with pytest.raises(DataError, match="feedback: the text is empty"):
        add_feedback(tmp_path / "f.jsonl", "\u200b", ["ham"], answer=[], labels=["ham"], multi=False, bundle="b")
