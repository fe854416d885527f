"""The main job as a whole: which rows do what, what passes the trunk, and what the result says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from small import QUICK, rows, train_small

from classtune.config import resolve
from classtune.data.dataset import prepare
from classtune.data.reading.tables import table_from_rows
from classtune.errors import DataError, Interrupted
from classtune.jobs.train import Trained, train
from classtune.training import depth

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")


def run(model: Path, lines: list[tuple[str, str]], notify: Any = None, **told: Any) -> Trained:
    texts, labels = zip(*lines, strict=True)
    settings = resolve(overrides={**QUICK, "model": str(model), **told})
    return train(table_from_rows(texts, labels, name="rows"), settings, notify=notify or _quiet, progress=_quiet)


def _quiet(*_: object) -> None:
    """Nobody asked."""


def losses(trained: Trained) -> list[tuple[float, float]]:
    return [
        (point["train_loss"], point["validation_loss"]) for point in trained.result.document()["training"]["history"]
    ]


def test_equal_texts_pass_the_trunk_once_and_no_padding_does(small_llama: Path) -> None:
    lines = [*rows(40), *rows(10), ("WIN a prize, call now 0  today", "spam")]  # ten copies, and one after folding
    result = run(small_llama, lines).result.document()
    assert result["data"]["duplicates"] == 11
    assert result["trunk"]["texts"] == 41
    distinct = sum(len(" ".join(text.split())) for text in {text for text, _ in lines})  # a token each character
    assert result["trunk"]["distinct_tokens"] == distinct
    assert distinct <= result["trunk"]["tokens"] <= 1.02 * distinct


@pytest.mark.parametrize("told", [{}, {"trainable": "head"}, {"trainable": 2, "pooling": "mean"}])
def test_cached_and_uncached_training_give_the_same_losses(told: dict[str, Any], small_llama: Path) -> None:
    cached, uncached = (run(small_llama, rows(), cache=cache, **told) for cache in (True, False))
    assert losses(cached) == [pytest.approx(pair, abs=1e-5) for pair in losses(uncached)]
    assert uncached.result.document()["trunk"] is None


def test_what_fits_neither_memory_nor_disk_is_computed_again(
    small_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = run(small_llama, rows())
    monkeypatch.setattr(psutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    told: list[str] = []
    streamed = run(small_llama, rows(), notify=told.append, store_limit_mb=0)
    assert streamed.result.document()["trunk"] is None
    assert any("The activations take" in note and "the trunk runs again for each of up to" in note for note in told)
    assert losses(stored) == [pytest.approx(pair, abs=1e-5) for pair in losses(streamed)]


def test_a_store_on_disk_gives_the_same_losses(small_llama: Path) -> None:
    disk, memory = run(small_llama, rows(), store_limit_mb=0, store="float32"), run(small_llama, rows())
    assert (disk.result.document()["trunk"]["on_disk"], memory.result.document()["trunk"]["on_disk"]) == (True, False)
    assert losses(disk) == losses(memory)


@pytest.mark.parametrize("trainable", ["all", "lora", "head"])
def test_whatever_is_trained_the_saved_model_scores_as_it_was_tested(
    trainable: str, small_llama: Path, tmp_path: Path
) -> None:
    from classtune.inference.predictor import load_predictor

    trained = train_small(small_llama, tmp_path / "bundle", trainable=trainable, epochs=3)
    texts = [text for text, _ in rows(6)]
    loaded, _ = load_predictor(tmp_path / "bundle")
    assert np.abs(loaded.probabilities(texts) - trained.predictor.probabilities(texts)).max() < 1e-6
    history = losses(trained)
    assert history[-1][0] < history[0][0]


def test_the_mistakes_shown_are_those_of_the_saved_predictor(small_llama: Path) -> None:
    lines = [
        (text, label if row % 5 else "ham") for row, (text, label) in enumerate(rows(100))
    ]  # some labels are wrong
    trained = run(small_llama, lines, epochs=1)
    wrong = trained.result.document()["mistakes"]
    errors = round((1 - trained.result.document()["test"]["accuracy"]) * trained.result.document()["test"]["rows"])
    assert len(wrong) == min(10, errors) > 0
    for mistake in wrong:
        best = trained.predictor.predict([mistake["text"]])[0][0]
        assert best["label"] == mistake["label"]
        assert best["score"] == pytest.approx(mistake["score"], abs=1e-5)
        assert mistake["label"] != mistake["truth"]


def test_undersampling_and_given_rows(small_llama: Path) -> None:
    lines = [*rows(60), *((f"{text} again", label) for text, label in rows(60) if label == "ham")]
    result = run(small_llama, lines, balance="undersample", epochs=1).result.document()
    assert result["splits"]["test"] == 18  # the real shares of the classes
    assert result["splits"]["train"] == 2 * 21  # as many of each


def test_given_rows_are_never_trained_on_and_unknown_labels_are_refused() -> None:
    texts, labels = zip(*rows(30), strict=True)
    table = table_from_rows(texts, labels, name="all")
    test = table_from_rows([*texts[:4], "new"], [*labels[:4], "ham"], name="given")
    material = prepare(table, resolve(), test=test)
    trained_on = {material.texts[row] for row in (*material.splits.train, *material.splits.validation)}
    assert not trained_on & set(test.texts)
    assert [material.texts[row] for row in material.splits.test] == test.texts
    wrong = table_from_rows(["a", "b"], ["hamm", "eggs"], name="given")
    with pytest.raises(DataError) as raised:
        prepare(table, resolve(), test=wrong)
    assert len(raised.value.problems) == 2


def test_the_probes_see_training_rows_only(small_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    choose = depth.choose_depth

    def spy(network: Any, ids: Any, *rest: Any, **more: Any) -> Any:
        seen.extend(tuple(item.tolist()) for item in ids)
        return choose(network, ids, *rest, **more)

    monkeypatch.setattr("classtune.candidates.cut.choose_depth", spy)
    trained = run(small_llama, rows(), depth="auto", epochs=1)
    splits = prepare(table_from_rows(*zip(*rows(), strict=True), name="rows"), resolve(overrides=QUICK)).splits
    train_ids = trained.network.encoder.encode([rows()[row][0] for row in splits.train])
    assert seen
    assert set(seen) <= {tuple(item.tolist()) for item in train_ids}


def test_ctrl_c_without_a_run_folder_says_that_nothing_is_kept(
    small_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("classtune.candidates.tail.fit", stop)
    with pytest.raises(Interrupted, match="Stopped before anything was finished"):
        run(small_llama, rows())


# Training and validation loss after each epoch, as they were when this test was written.
RECORDED = [(0.299853, 0.118876), (0.083038, 0.045802), (0.038949, 0.036563)]


def test_the_losses_are_those_on_record(small_llama: Path) -> None:
    assert losses(run(small_llama, rows(), epochs=3)) == [pytest.approx(pair, abs=1e-4) for pair in RECORDED]
