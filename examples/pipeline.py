"""In a pipeline of scikit-learn: after a step that cleans texts, and as features for another classifier."""

import re

from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from tickets import LABELS, MODEL, TEXTS

from classtune import TextClassifier


def without_numbers(texts: list[str]) -> list[str]:
    """Order numbers say nothing of the topic."""
    return [re.sub(r"\d+", "#", text) for text in texts]


cleaned = make_pipeline(FunctionTransformer(without_numbers), TextClassifier(MODEL, epochs=2)).fit(TEXTS, LABELS)
print(cleaned.predict(["order 9 was charged twice"]))

states = FrozenEstimator(cleaned[-1])  # not trained again; gives pooled states [texts, width]
regression = make_pipeline(states, LogisticRegression(max_iter=1000)).fit(TEXTS, LABELS)
print(regression.score(TEXTS, LABELS))
