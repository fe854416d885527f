"""Why a text got its label: the words for and against it, and the training texts most like it. JSON, HTML or text."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from classtune.data.reading.cells import as_pair
from classtune.errors import SettingsError, did_you_mean
from classtune.explain.attributions import STEPS, attribute, by_word
from classtune.explain.neighbours import Neighbours
from classtune.explain.words import Piece, check_length, without, words_of
from classtune.model.batches import Batch
from classtune.model.network import Network
from classtune.model.pooled import pooled_states

TOP_WORDS = 5
# A label's words and those against it: at least 3:1 on white and on near-black once thinned, and never colour alone.
_FOR, _AGAINST = "59, 130, 196", "217, 122, 30"
_STRONGEST = 0.45
# The same for terminals of 256 colours, weak to strong; letters on them are black.
_FOR_ANSI, _AGAINST_ANSI = (153, 111, 75), (223, 216, 209)
NO_WORD = "."  # what is left of a text of one word: something that every kind of classifier takes
_FAINT = 0.1  # of the strongest word; weaker ones are not coloured


class Predicts(Protocol):
    """What is explained: anything that scores texts, with the network that does it."""

    network: Network
    labels: list[str]

    @property
    def single(self) -> bool:
        """Whether ``network`` is all that answers."""

    @property
    def pairs(self) -> bool:
        """Whether it reads a text as a pair, which a blank line parts."""

    @property
    def whole(self) -> Callable[[Batch], Tensor]:
        """The network on its fastest layers."""

    def probabilities(self, texts: Sequence[str], /) -> NDArray[np.float64]:
        """Probabilities [texts, labels]."""


def explain(
    predictor: Predicts,
    text: str,
    *,
    label: str | None = None,
    neighbours: Neighbours | None = None,
    steps: int = STEPS,
) -> dict[str, Any]:
    """Why a text gets a label (None: its most probable one), ready for JSON.

    Gives ``text``; ``label`` and its ``score`` (probability); ``words``: each with ``start`` and ``end`` in the text,
    ``weight`` (how far the log-odds fall without the word) and ``gradients`` (integrated gradients), above 0 for the
    label; ``agreement``: share of the five words of largest weight for which both have the same sign;
    ``completeness_gap``: what integrated gradients miss of the whole, as a share (large: do not lean on them);
    ``neighbours``: ``text``, ``label``, ``similarity``. What leaving a word out does leads: on the
    default model its words carry twice as much of the answer as those of integrated gradients (benchmarks/explain.py).
    Raises SettingsError for an unknown label, DataError for a text that is empty or too long.
    """
    if label is not None and label not in predictor.labels:
        raise SettingsError(f"label {label!r} is unknown. {did_you_mean(label, predictor.labels)}")
    check_length(text)
    text = as_pair(text) if predictor.pairs else text
    scores = predictor.probabilities([text])[0]
    chosen = int(scores.argmax()) if label is None else predictor.labels.index(label)
    weighed = word_weights(predictor, text, chosen)
    words, weights = [word for word, _ in weighed], np.array([weight for _, weight in weighed])
    gradients, second = None, np.full(len(words), np.nan)
    if predictor.single:  # the gradients of one member would speak for that member alone
        gradients = attribute(predictor.network, text, chosen, "integrated-gradients", steps)
        words, second = by_word(text, gradients)
    near: list[dict[str, Any]] = []
    if neighbours is not None:
        near = neighbours.nearest(pooled_states(predictor.network, predictor.network.encoder.encode([text]))[0])
    return {
        "text": text,
        "label": predictor.labels[chosen],
        "score": float(scores[chosen]),
        "words": [
            {
                "word": word.text,
                "start": word.start,
                "end": word.end,
                "weight": float(weight),
                "gradients": None if gradients is None else float(other),
            }
            for word, weight, other in zip(words, weights, second, strict=True)
        ],
        "agreement": None if gradients is None else agreement(weights, second),
        "completeness_gap": None if gradients is None else gradients.gap,
        "neighbours": near,
    }


def word_weights(predictor: Predicts, text: str, label_index: int) -> list[tuple[Piece, float]]:
    """The words of a text, each with how far the log-odds of the label fall when it is left out (occlusion)."""
    if predictor.single:
        attributed = attribute(predictor.network, text, label_index, "occlusion", run=predictor.whole)
        return list(zip(attributed.pieces, map(float, attributed.weights), strict=True))
    words = words_of(text)
    shorter = [without(text, [word]) or NO_WORD for word in words]
    odds = _log_odds(predictor.probabilities([text, *shorter])[:, label_index])
    return [(word, float(odds[0] - fell)) for word, fell in zip(words, odds[1:], strict=True)]


def _log_odds(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    safe = np.clip(probabilities, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(safe) - np.log1p(-safe))


def agreement(weights: NDArray[np.float64], others: NDArray[np.float64], top: int = TOP_WORDS) -> float:
    """Share of the ``top`` words of largest weight (by size) for which both have the same sign, 0 … 1."""
    chosen = np.argsort(-np.abs(weights), kind="stable")[:top]
    return float(np.mean(np.sign(weights[chosen]) == np.sign(others[chosen])))


def as_html(explanation: dict[str, Any]) -> str:
    """The text with its words tinted, for any page: blue and a line below for the label, orange and dots against it.

    The strength of the tint is the weight; each word tells its weight when pointed at, and the whole tells a screen
    reader its strongest words. Everything is escaped.
    """
    text, label, strongest = explanation["text"], explanation["label"], _strongest(explanation)
    parts, place = [], 0
    for word in explanation["words"]:
        parts.append(html.escape(text[place : word["start"]]))
        share = word["weight"] / strongest
        colour, line = (_FOR, "solid") if share > 0 else (_AGAINST, "dotted")
        shown = html.escape(text[word["start"] : word["end"]])
        if abs(share) >= _FAINT:
            style = (
                f"background: rgba({colour}, {abs(share) * _STRONGEST:.3f}); "
                f"border-bottom: 2px {line} rgb({colour}); padding: 0 1px"
            )
            title = html.escape(f"{word['weight']:+.2f} {'for' if share > 0 else 'against'} {label}", quote=True)
            shown = f'<span style="{style}" title="{title}">{shown}</span>'
        parts.append(shown)
        place = word["end"]
    parts.append(html.escape(text[place:]))
    weights = ", ".join(f"{word['word']} {word['weight']:+.1f}" for word in _top(explanation))
    spoken = html.escape(f"{label}, {explanation['score']:.0%}. Strongest words: {weights}. Text: {text}", quote=True)
    return f'<span class="explanation" role="img" aria-label="{spoken}">{"".join(parts)}</span>'


def as_text(explanation: dict[str, Any], color: bool) -> str:
    """For a terminal: the label, the words for (+) and against (−) it, and the training texts most like it.

    color: also the text itself, its words on blue (underlined) for the label and on orange against it.
    """
    lines = [f"{explanation['label']}  {explanation['score']:.3f}"]
    if color:
        lines.append(_tinted(explanation))
    width = max((len(word["word"]) for word in _top(explanation)), default=0)
    for word in _top(explanation):
        sign = "−" if word["weight"] < 0 else "+"
        second = "" if word["gradients"] is None else f"  gradients: {word['gradients']:+.2f}".replace("-", "−")
        lines.append(f"  {sign}{abs(word['weight']):.2f}  {_printable(word['word']):<{width}}{second}".rstrip())
    if explanation["neighbours"]:
        lines.append("Most like it among the training texts:")
        for near in explanation["neighbours"]:
            lines.append(f"  {near['similarity']:.2f}  {near['label']}: {_printable(near['text'])}")
    return "\n".join(lines)


def _tinted(explanation: dict[str, Any]) -> str:
    text, strongest = explanation["text"], _strongest(explanation)
    parts, place = [], 0
    for word in explanation["words"]:
        parts.append(_printable(text[place : word["start"]]))
        share = word["weight"] / strongest
        shown = _printable(text[word["start"] : word["end"]])
        if abs(share) >= _FAINT:
            strength = min(int(abs(share) * 3), 2)
            style = f"4;30;48;5;{_FOR_ANSI[strength]}" if share > 0 else f"30;48;5;{_AGAINST_ANSI[strength]}"
            shown = f"\x1b[{style}m{shown}\x1b[0m"
        parts.append(shown)
        place = word["end"]
    return "".join([*parts, _printable(text[place:])])


def _top(explanation: dict[str, Any]) -> list[dict[str, Any]]:
    """The words of largest weight, the strongest first."""
    return sorted(explanation["words"], key=lambda word: -abs(word["weight"]))[:TOP_WORDS]


def _strongest(explanation: dict[str, Any]) -> float:
    return max((abs(word["weight"]) for word in explanation["words"]), default=0.0) or 1.0


def _printable(text: str) -> str:
    """Without what could steer a terminal."""
    return "".join(sign if sign.isprintable() else " " if sign.isspace() else "�" for sign in text)
