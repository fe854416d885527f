"""A `TextClassifier` that is fitted once for a file of tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from small import one_thread
from tiny_classifier import LABELS, TEXTS, small

from classtune import TextClassifier


@pytest.fixture(scope="module")
def fitted(small_llama: Path) -> TextClassifier:
    with one_thread():
        return small(small_llama, epochs=6).fit(TEXTS, LABELS)
