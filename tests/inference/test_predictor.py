"""Texts to scores: one text or many, in any order, the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import LIMIT, rows, train_small

from classtune.errors import DataError
from classtune.inference import scoring as module
from classtune.inference.predictor import Predictor, load_predictor

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")

TEXTS = ["a", *(text for text, _ in rows(9)), "é" * 40, "🎉 שלום", "win " * 30, "tab\tand\nline"]


@pytest.fixture(scope="module")
def llama(small_bundle: Path) -> Predictor:
    return load_predictor(small_bundle)[0]


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_a_text_scores_the_same_alone_as_among_others(
    family: str, small_bundle: Path, small_bert: Path, tmp_path: Path
) -> None:
    folder = small_bundle if family == "llama" else tmp_path / "bert"
    if family == "bert":
        train_small(small_bert, folder, epochs=1)
    predictor, _ = load_predictor(folder)
    together = predictor.probabilities(TEXTS)
    alone = np.concatenate([predictor.probabilities([text]) for text in TEXTS])
    assert np.abs(together - alone).max() < 1e-6
    assert together.sum(1) == pytest.approx(1)
    assert np.ptp(together[:, 0]) > 1e-3


def test_copies_get_the_same_score_and_are_run_once(llama: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    encode = llama.encoder.pieces

    def counted(texts: list[str], places: list[str]) -> Any:
        seen.append(len(texts))
        return encode(texts, places)

    monkeypatch.setattr(llama.encoder, "pieces", counted)
    scores = llama.probabilities([*TEXTS, *reversed(TEXTS)])
    assert seen == [len(TEXTS)]
    assert np.array_equal(scores[: len(TEXTS)], scores[len(TEXTS) :][::-1])


def test_parts_of_a_large_table_make_no_difference(llama: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = llama.probabilities(TEXTS)
    monkeypatch.setattr(module, "_CHUNK", 4)
    done: list[tuple[str, int, int]] = []
    parts = llama.probabilities(TEXTS, progress=lambda *told: done.append(told))
    assert np.abs(whole - parts).max() < 1e-6
    assert done[-1] == ("predict", len(TEXTS), len(TEXTS))
    assert [count for _, count, _ in done] == sorted(count for _, count, _ in done)


def test_no_text_gives_no_row(llama: Predictor) -> None:
    assert llama.probabilities([]).shape == (0, 2)
    assert llama.predict([]) == []


def test_labels_are_ranked(llama: Predictor) -> None:
    ranked = [{"label": "spam", "score": 0.75}, {"label": "ham", "score": 0.25}]
    assert llama.ranked(np.array([[0.25, 0.75]])) == [ranked]
    for ranked, row in zip(llama.predict(TEXTS), llama.probabilities(TEXTS), strict=True):
        assert ranked[0]["score"] == row.max()


def test_every_text_that_cannot_be_taken_is_told_with_its_place(
    llama: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["fine", "", "x" * (LIMIT + 1), "fine", ""]
    with pytest.raises(DataError) as raised:
        llama.probabilities(texts)
    assert raised.value.problems[0] == "text 2: the text is empty. Give it words, or leave it out."
    assert raised.value.problems[1] == f"text 3: the text has {LIMIT + 1} tokens, and the model takes {LIMIT}."
    with pytest.raises(DataError, match="messages line 7: the text is empty"):
        llama.probabilities(["fine", ""], places=["messages line 6", "messages line 7"])


def test_many_threads_get_the_same_scores(llama: Predictor) -> None:
    from concurrent.futures import ThreadPoolExecutor

    expected = llama.probabilities(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        for scores in pool.map(lambda _: llama.probabilities(TEXTS), range(8)):
            assert np.array_equal(scores, expected)


def test_training_and_serving_cut_alike(small_llama: Path, tmp_path: Path) -> None:
    trained = train_small(small_llama, tmp_path / "bundle", epochs=1, max_tokens=12)
    loaded, _ = load_predictor(tmp_path / "bundle")
    long = "see you at 77 then, mate"
    assert np.array_equal(loaded.probabilities([long]), loaded.probabilities([long[:12]]))
    assert np.abs(loaded.probabilities([long]) - trained.predictor.probabilities([long])).max() < 1e-6
    before = loaded.encoder.texts_cut
    loaded.probabilities([long, long[:12]])
    assert loaded.encoder.texts_cut == before + 1
