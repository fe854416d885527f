"""The nearest training texts: scikit-learn's answer, kept and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from classtune.errors import BundleError
from classtune.explain import neighbours as module
from classtune.explain.neighbours import TEXTS, VECTORS, Neighbours

ROWS = 50


@pytest.fixture
def states() -> np.ndarray:
    """All pointing much the same way, as states of language models do."""
    return (np.random.default_rng(5).normal(size=(ROWS, 16)) + 20).astype(np.float32)


@pytest.fixture
def index(states: np.ndarray) -> Neighbours:
    texts = [f"text {row} with\u2028a line's end, “quotes” and 🎉" for row in range(ROWS)]
    return Neighbours.of(states, texts, ["spam", "ham"] * (ROWS // 2))


def test_the_nearest_are_those_of_scikit_learn(index: Neighbours, states: np.ndarray) -> None:
    from sklearn.metrics.pairwise import cosine_similarity

    vector = states[7] + 0.1
    expected = cosine_similarity((vector - states.mean(0))[None], states - states.mean(0))[0]
    found = index.nearest(vector, count=4)
    assert [row["text"] for row in found] == [index.texts[row] for row in np.argsort(-expected)[:4]]
    assert [row["similarity"] for row in found] == pytest.approx(sorted(expected, reverse=True)[:4], abs=2e-3)
    assert found[0]["label"] == "ham"
    assert found[1]["similarity"] < 0.9  # not everything is alike


def test_the_text_itself_is_the_nearest(index: Neighbours, states: np.ndarray) -> None:
    for row in (0, ROWS - 1):
        (found,) = index.nearest(states[row], count=1)
        assert found["text"] == index.texts[row]
        assert found["similarity"] == pytest.approx(1, abs=1e-3)


def test_it_is_read_back_as_it_was(index: Neighbours, states: np.ndarray, tmp_path: Path) -> None:
    assert Neighbours.load(tmp_path) is None
    index.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {VECTORS, TEXTS}
    loaded = Neighbours.load(tmp_path)
    assert loaded is not None
    assert (loaded.texts, loaded.labels) == (index.texts, index.labels)
    assert loaded.nearest(states[3], 5) == index.nearest(states[3], 5)


def test_of_a_large_set_a_part_is_kept(states: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TEXTS", 20)
    texts = [str(row) for row in range(ROWS)]
    index = Neighbours.of(states, texts, texts)
    assert len(index.texts) == len(set(index.texts)) == len(index.vectors) == 20
    assert index.labels == index.texts
    assert index.nearest(states[int(index.texts[4])], 1)[0]["text"] == index.texts[4]


@pytest.mark.parametrize("damage", ["a line less", "no vectors", "half the vectors", "not JSON"])
def test_a_damaged_index_is_one_clear_error(damage: str, index: Neighbours, tmp_path: Path) -> None:
    index.save(tmp_path)
    lines = (tmp_path / TEXTS).read_text(encoding="utf-8").split("\n")
    if damage == "a line less":
        (tmp_path / TEXTS).write_text("\n".join(lines[1:]), encoding="utf-8")
    elif damage == "not JSON":
        (tmp_path / TEXTS).write_text("\n".join(["{", *lines[1:]]), encoding="utf-8")
    elif damage == "no vectors":
        (tmp_path / VECTORS).unlink()
    else:
        (tmp_path / VECTORS).write_bytes((tmp_path / VECTORS).read_bytes()[:200])
    with pytest.raises(BundleError, match="the training texts cannot be read"):
        Neighbours.load(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(index: Neighbours, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="gone"):
        index.save(tmp_path / "gone")
