"""scikit-learn's grid over settings: every setting of docs/settings.md is a parameter."""

from sklearn.model_selection import GridSearchCV
from tickets import LABELS, MODEL, TEXTS

from classtune import TextClassifier

grid = GridSearchCV(
    TextClassifier(MODEL, epochs=2),
    {"learning_rate": [1e-4, 1e-3], "trainable": [1, "head"]},
    cv=2,
    scoring="neg_log_loss",
)
grid.fit(TEXTS, LABELS)
print(grid.best_params_)
