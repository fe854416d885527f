"""What each word adds: held against captum, and against what the classifier itself says of shorter texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from classtune.errors import DataError
from classtune.explain import attributions
from classtune.explain.attributions import attribute, by_word, integrate
from classtune.explain.words import Piece, without
from classtune.model.head import pool
from classtune.model.network import Network
from classtune.model.slicing import states

TEXT = "URGENT! You have won £1,000, don't wait 🎉"
# Decoders and encoders, own heads, an encoder that adds to its embeddings, one that classtune cannot cut.
CASES = [
    ("llama", {}),
    ("llama", {"pooling": "last+mean"}),
    ("llama", {"pooling": "mean", "head_bias": True}),
    ("gpt2", {}),
    ("bert", {}),
    ("roberta", {"pooling": "mean"}),
    ("modernbert", {}),
    ("distilbert", {}),
    ("electra", {}),
    ("opt", {}),
    ("llama", {"padding": 50}),
    ("bert", {"max_tokens": 12}),
]
Make = Callable[..., Network]


@torch.inference_mode()
def served(network: Network, text: str) -> torch.Tensor:
    """Logits [labels] as the predictor makes them."""
    batch = network.encoder.batch(network.encoder.encode([text]))
    logits: torch.Tensor = network.tail(None, frozen=True).eval()(batch)[0]
    return logits


def scored(network: Network, text: str) -> float:
    """Log-odds of the second of two labels."""
    ham, spam = served(network, text).tolist()
    return float(spam - ham)


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_weights_sum_to_what_the_text_changes(name: str, settings: dict[str, Any], make_network: Make) -> None:
    network = make_network(name, **settings)
    gradients = attribute(network, TEXT, 1)
    assert gradients.score == pytest.approx(scored(network, TEXT), abs=1e-4)
    whole = gradients.score - gradients.baseline_score
    assert abs(gradients.weights.sum() - whole) <= max(0.05 * abs(whole), 1e-4)
    assert gradients.gap <= 0.051 or abs(whole) < 2e-3
    words, weights = by_word(TEXT, gradients)
    outside = sum(weight for piece, weight in zip(gradients.pieces, gradients.weights, strict=True) if not piece.end)
    assert weights.sum() + outside == pytest.approx(gradients.weights.sum(), abs=1e-9)
    assert outside == pytest.approx(0, abs=1e-6)  # what stands around the text is the same with and without it
    occlusion = attribute(network, TEXT, 1, "occlusion")
    assert occlusion.baseline_score == pytest.approx(gradients.baseline_score, abs=1e-4)
    assert [word.text for word in occlusion.pieces] == [word.text for word in words]
    shorter = "URGENT! You have won , don't wait 🎉"
    number = [word.text for word in words].index("1,000")
    if "max_tokens" not in settings:
        assert without(TEXT, words[number - 1 : number + 1]) == shorter
        left = without(TEXT, [words[number]])
        assert occlusion.weights[number] == pytest.approx(scored(network, TEXT) - scored(network, left), abs=1e-4)


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_captum_finds_the_same(name: str, make_network: Make) -> None:
    captum = pytest.importorskip("captum.attr")
    network = make_network(name)
    ours = attribute(network, TEXT, 0, steps=2000)
    batch = network.encoder.batch(network.encoder.encode([TEXT]))
    embedding = network.base.get_input_embeddings()
    end = embedding(batch.values).detach()
    padded = batch.values.clone()
    padded[0, torch.tensor([piece.end > 0 for piece in ours.pieces])] = attributions.neutral_token(network)

    def score(points: torch.Tensor) -> torch.Tensor:
        hidden = states(network.base, points, None)
        logits = network.head(pool(hidden, batch.last.expand(len(points)), network.pooling))
        difference: torch.Tensor = logits[:, 0] - logits[:, 1]
        return difference

    theirs = captum.IntegratedGradients(score).attribute(end, embedding(padded).detach(), n_steps=400)
    theirs = theirs.detach().sum(2)[0].numpy()
    assert np.abs(ours.weights - theirs).max() < 0.03 * np.abs(theirs).max()


def test_the_path_is_looked_at_where_the_score_leaps() -> None:
    """A leap like those of language models: a steep logistic curve."""
    looked: list[float] = []

    def look(positions: list[float]) -> Any:
        looked.extend(positions)
        for x in positions:
            height = 1 / (1 + np.exp(-60 * (x - 0.3)))
            yield 3 * height, np.array([6.0, -3.0]) * 60 * height * (1 - height)

    weights, first, last = integrate(look, 128)
    assert weights == pytest.approx([6, -3], rel=0.05)
    assert [first, last] == pytest.approx([0, 3], abs=1e-6)
    assert len(looked) == len(set(looked)) < 40
    assert sum(0.1 < x < 0.5 for x in looked) >= 12 > sum(x > 0.5 for x in looked)


def test_several_labels_are_scored_each_alone(make_network: Make) -> None:
    network = make_network("bert")
    network.classifier.config.problem_type = "multi_label_classification"
    batch = network.encoder.batch(network.encoder.encode([TEXT]))
    with torch.no_grad():
        logits = network.classifier(input_ids=batch.values).logits[0]
    for label in (0, 1):
        for method in ("integrated-gradients", "occlusion"):
            found = attribute(network, TEXT, label, method)
            assert found.score == pytest.approx(float(logits[label]), abs=1e-5)


def test_pieces_of_a_text_that_was_cut_stand_where_they_stood(make_network: Make) -> None:
    whole = attribute(make_network("bert"), TEXT, 1).pieces
    cut = attribute(make_network("bert", max_tokens=12), TEXT, 1).pieces
    assert cut == [*whole[:11], whole[-1]]
    assert whole[0].end == whole[-1].end == 0
    assert {TEXT[piece.start : piece.end] for piece in whole} == {piece.text for piece in whole}


def test_nothing_is_a_space_where_a_space_is_a_token(make_network: Make) -> None:
    network = make_network("llama")
    assert network.encoder.tokenizer.convert_ids_to_tokens(attributions.neutral_token(network)) == "Ġ"


def test_a_token_counts_for_the_word_that_it_begins_in() -> None:
    pieces = [Piece("ab", 0, 2), Piece("c", 2, 3), Piece(" d", 3, 5), Piece(" ", 5, 6), Piece("", 0, 0)]
    found = attributions.Attribution(pieces, np.array([1.0, 2.0, 4.0, 8.0, 16.0]), 0, 0.0, 0.0)
    words, weights = by_word("abc d ", found)
    assert [word.text for word in words] == ["abc", "d"]
    assert weights.tolist() == [3.0, 12.0]


def test_a_text_of_one_word_has_an_occlusion(make_network: Make) -> None:
    found = attribute(make_network("llama"), "ok", 1, "occlusion")
    assert found.weights == pytest.approx([found.score - found.baseline_score])


def test_an_empty_text_is_refused(make_network: Make) -> None:
    for method in ("integrated-gradients", "occlusion"):
        with pytest.raises(DataError, match="the text is empty"):
            attribute(make_network("llama"), "", 1, method)
