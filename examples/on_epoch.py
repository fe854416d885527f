"""A callback: it gets each epoch's figures, to draw or log them, and stops the training where it gives True."""

from typing import Any

from tickets import LABELS, MODEL, TEXTS

from classtune import TextClassifier


def watch(point: dict[str, Any]) -> bool:
    """Prints the losses; a loss below 0.1 is good enough."""
    print(f"epoch {point['epoch']}: {point['train_loss']:.3f} train, {point['validation_loss']:.3f} validation")
    return bool(point["validation_loss"] < 0.1)


classifier = TextClassifier(MODEL, on_epoch=watch, epochs=4, candidates="one").fit(TEXTS, LABELS)
print(classifier.result_["training"]["stopped"])
