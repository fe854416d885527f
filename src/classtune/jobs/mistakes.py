"""The test rows that a classifier gets wrong with the most confidence, and the words that misled it."""

from __future__ import annotations

import numpy as np

from classtune.data.dataset import Material
from classtune.explain.explanations import word_weights
from classtune.inference.predictor import Predictor
from classtune.jobs.steps import Scores
from classtune.judging.answers import right_rows
from classtune.result import Mistake, Word

_SHOWN = 10
_EXPLAINED_WORDS = 60  # a text is run once for each of its words


def confident_mistakes(material: Material, scores: Scores, predictor: Predictor) -> list[Mistake]:
    """The worst first. scores [test rows, labels]: probabilities as ``predictor`` gives them."""
    rows = material.splits.test
    truth = material.truth[rows]
    answers = predictor.decisions.answers(scores)
    given = answers.any(1) | material.multi
    wrong = np.flatnonzero(given & ~right_rows(predictor.decisions, scores, truth))
    guess = np.where(answers, scores, -1.0).argmax(1)
    worst = wrong[np.argsort(-scores[wrong, guess[wrong]], kind="stable")][:_SHOWN]
    mistakes = []
    for index in worst:
        text = material.texts[rows[index]]
        words = []
        if len(text.split()) <= _EXPLAINED_WORDS:
            words = [
                Word(word.text, word.start, word.end, float(weight))
                for word, weight in word_weights(predictor, text, int(guess[index]))
            ]
        label = ", ".join(np.array(material.labels)[answers[index]])
        mistakes.append(Mistake(text, material.label_of(rows[index]), label, float(scores[index, guess[index]]), words))
    return mistakes
