"""Why a text got its label, as JSON, HTML and text; and the proof that the words are the right ones."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import LIMIT, rows, train_small

from classtune.errors import DataError, SettingsError
from classtune.explain.explanations import agreement, as_html, as_text, explain
from classtune.explain.neighbours import Neighbours
from classtune.explain.words import without, words_of
from classtune.inference.predictor import Predictor, load_predictor
from classtune.model.pooled import pooled_states

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")

SPAM = "win a prize, call now 77 today"
HOSTILE = 'win <b onclick="x">now</b> & \x1b[31mcall'


@pytest.fixture(scope="module")
def predictor(small_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """Trained until it tells the two classes apart."""
    folder = tmp_path_factory.mktemp("explained") / "bert"
    trained: Any = train_small(small_bert, folder, trainable="all", epochs=6, learning_rate=3e-3)
    return trained.predictor  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def neighbours(predictor: Predictor) -> Neighbours:
    texts, labels = zip(*rows(), strict=True)
    return Neighbours.of(pooled_states(predictor.network, predictor.encoder.encode(texts)), texts, labels)


def words(*weighed: tuple[str, float, float]) -> dict[str, Any]:
    """An explanation of these words, with a space between them."""
    found, place = [], 0
    for word, weight, second in weighed:
        end = place + len(word)
        found.append({"word": word, "start": place, "end": end, "weight": weight, "gradients": second})
        place = end + 1
    text = " ".join(word for word, _, _ in weighed)
    return {"text": text, "label": "spam", "score": 0.9, "words": found, "neighbours": []}


class Page(HTMLParser):
    """The text of a piece of HTML, and the tags with what they say."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.text, self.tags = "", []  # type: ignore[var-annotated]
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_an_explanation_says_which_words_and_which_texts(predictor: Predictor, neighbours: Neighbours) -> None:
    told = json.loads(json.dumps(explain(predictor, SPAM, neighbours=neighbours)))
    scores = predictor.probabilities([SPAM])[0]
    assert told["label"] == "spam" == predictor.labels[scores.argmax()]
    assert told["score"] == pytest.approx(scores.max())
    assert [SPAM[word["start"] : word["end"]] for word in told["words"]] == [word["word"] for word in told["words"]]
    assert [word["word"] for word in told["words"]] == ["win", "a", "prize", ",", "call", "now", "77", "today"]
    assert 0 <= told["completeness_gap"] < 0.1
    weights, falls = (np.array([word[key] for word in told["words"]]) for key in ("weight", "gradients"))
    assert told["agreement"] == agreement(weights, falls)
    assert [near["label"] for near in told["neighbours"]] == ["spam"] * 3
    assert {near["text"] for near in told["neighbours"]} <= {text for text, _ in rows()}


def test_another_label_is_explained_by_the_same_words_the_other_way(predictor: Predictor) -> None:
    spam, ham = (explain(predictor, SPAM, label=label) for label in ("spam", "ham"))
    assert ham["label"] == "ham"
    assert ham["score"] == pytest.approx(1 - spam["score"])
    for one, other in zip(spam["words"], ham["words"], strict=True):
        assert one["weight"] == pytest.approx(-other["weight"], abs=1e-5)
    with pytest.raises(SettingsError, match=r"label 'spm' is unknown. Did you mean 'spam'\?"):
        explain(predictor, SPAM, label="spm")


@pytest.mark.parametrize(("text", "problem"), [("", "the text is empty"), ("x" * (LIMIT + 1), "tokens, and the model")])
def test_a_text_that_cannot_be_scored_cannot_be_explained(predictor: Predictor, text: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        explain(predictor, text)


def test_agreement_is_that_of_the_strongest_words() -> None:
    weights = np.array([5.0, -4.0, 3.0, 0.1])
    assert agreement(weights, np.array([1.0, 2.0, 3.0, -9.0]), top=3) == pytest.approx(2 / 3)
    assert agreement(weights, weights / 9) == 1


def fall(predictor: Predictor, text: str, weights: np.ndarray[Any, Any], count: int) -> float:
    """How far the answer's probability falls when the words of largest weight are left out."""
    words = words_of(text)
    gone = [words[place] for place in np.argsort(-weights, kind="stable")[:count]]
    whole, shorter = predictor.probabilities([text, without(text, gone)])
    return float(whole.max() - shorter[whole.argmax()])


@pytest.mark.parametrize("method", ["weight", "gradients"])
@pytest.mark.parametrize("count", [1, 3])
def test_the_words_found_matter_more_than_words_at_random(predictor: Predictor, method: str, count: int) -> None:
    rng, found, by_chance = np.random.default_rng(0), [], []
    for text, _ in rows(24):
        weights = np.array([word[method] for word in explain(predictor, text, steps=48)["words"]])
        found.append(fall(predictor, text, weights, count))
        by_chance += [fall(predictor, text, rng.random(len(weights)), count) for _ in range(4)]
    assert np.mean(found) > 2 * max(float(np.mean(by_chance)), 0.01)


def test_html_shows_the_text_and_each_words_weight(predictor: Predictor) -> None:
    page = Page(as_html(explain(predictor, HOSTILE)))
    assert page.text == HOSTILE
    assert {tag for tag, _ in page.tags} == {"span"}
    shown = words(("win", 2.0, 1.0), ("mate", -1.0, -0.5), ("a", 0.01, 0.0))
    source = as_html(shown)
    page = Page(source)
    (_, whole), (_, win), (_, mate) = page.tags
    assert page.text == "win mate a"
    assert (win["title"], mate["title"]) == ("+2.00 for spam", "-1.00 against spam")
    assert "solid" in str(win["style"])  # not by colour alone
    assert "dotted" in str(mate["style"])
    strength = [float(number) for number in re.findall(r"rgba\([^)]*, ([\d.]+)\)", source)]
    assert strength[0] == pytest.approx(2 * strength[1], abs=0.002)
    assert "spam, 90%" in str(whole["aria-label"])
    assert "win +2.0, mate -1.0" in str(whole["aria-label"])


def test_a_label_cannot_break_out_of_the_html() -> None:
    page = Page(as_html({**words(("win", 2.0, 1.0)), "label": '"><script>x</script>'}))
    assert [tag for tag, _ in page.tags] == ["span", "span"]


def test_the_terminal_shows_signs_without_colour_and_tints_with_it(
    predictor: Predictor, neighbours: Neighbours
) -> None:
    shown = words(("win", 2.0, 1.0), ("mate", -1.0, -0.5))
    assert as_text(shown, False).split("\n") == [
        "spam  0.900",
        "  +2.00  win   gradients: +1.00",
        "  −1.00  mate  gradients: −0.50",
    ]
    assert "\x1b[4;30;48;5;75mwin\x1b[0m \x1b[30;48;5;216mmate\x1b[0m" in as_text(shown, True)
    told = as_text(explain(predictor, SPAM, neighbours=neighbours), False)
    assert "Most like it among the training texts:\n" in told
    assert " spam: win a prize, call now" in told


def test_a_text_cannot_steer_the_terminal(predictor: Predictor) -> None:
    near = [{"text": "\x1b[2Jgone", "label": "spam", "similarity": 1.0}]
    told = {**explain(predictor, HOSTILE), "neighbours": near}
    assert "\x1b" not in as_text(told, False)
    assert set(re.findall(r"\x1b\[([^m]*)m", as_text(told, True))) <= {"0"} | {
        f"{line}30;48;5;{colour}"
        for line, colours in (("4;", (153, 111, 75)), ("", (223, 216, 209)))
        for colour in colours
    }
    assert "\x1b[2J" not in as_text(told, True)


def test_a_text_whose_words_cannot_all_be_left_out_is_refused_at_once(predictor: Any) -> None:
    with pytest.raises(DataError, match=r"has 20,000 words in 40,000 characters: to leave each of them out in turn"):
        explain(predictor, "a " * 20_000)


def test_the_only_word_of_a_text_weighs_what_its_answer_is_without_it(small_blend: tuple[Any, Path]) -> None:
    """Of several members too, which have no score for nothing."""
    predictor, _ = load_predictor(small_blend[1])
    assert not predictor.single
    explanation = explain(predictor, "prize")
    (word,) = explanation["words"]
    place = predictor.labels.index(explanation["label"])
    with_it, without_it = predictor.probabilities(["prize", "."])[:, place].astype(float)
    odds = [np.log(share / (1 - share)) for share in (with_it, without_it)]
    assert word["weight"] == pytest.approx(odds[0] - odds[1], rel=1e-4)
    assert abs(word["weight"]) > 1e-6
