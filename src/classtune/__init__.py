"""classtune: turn a pretrained language model into a text classifier you can trust.

    from classtune import TextClassifier, load

    classifier = TextClassifier().fit(texts, labels)
    classifier.save("bundle")
    load("bundle").predict(["Is this spam?"])

Importing this module imports no torch; the public names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from classtune.errors import (
    BundleError,
    ClasstuneError,
    DataError,
    Interrupted,
    SettingsError,
    SourceError,
    UserError,
)

if TYPE_CHECKING:
    from classtune.estimator import NotFittedError, TextClassifier
    from classtune.estimator.loaded import load

__version__ = "0.1.0"
__all__ = [
    "BundleError",
    "ClasstuneError",
    "DataError",
    "Interrupted",
    "NotFittedError",
    "SettingsError",
    "SourceError",
    "TextClassifier",
    "UserError",
    "load",
]
_LATE = {
    "NotFittedError": "classtune.estimator",
    "TextClassifier": "classtune.estimator",
    "load": "classtune.estimator.loaded",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(_LATE[name]), name)
    raise AttributeError(f"module 'classtune' has no attribute {name!r}")
