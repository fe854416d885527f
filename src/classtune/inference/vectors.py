"""Texts as vectors of length 1, near where the texts are alike: by a bundle's own network or terms, or by a model.

Knows nothing of what they are compared for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from classtune.bundle import Bundle
from classtune.candidates.columns import ColumnsModel
from classtune.candidates.lexical_model import LexicalModel
from classtune.config import Progress, resolve
from classtune.model.backbone import load_backbone
from classtune.model.network import Network
from classtune.model.pooled import pooled_states
from classtune.sources import fetch_model

Vectors = NDArray[np.float32]
# Dimensions of TF-IDF after a singular value decomposition: enough to tell topics apart, cheap to cluster.
_LEXICAL_WIDTH = 100
_READ_TOKENS = 256


def bundle_vectors(bundle: Bundle, texts: Sequence[str], progress: Progress, *, seed: int = 123) -> Vectors:
    """Vectors [texts, width] by what goes into the head of the main network; without one by the terms of TF-IDF, or
    else by the columns beside the texts.

    Raises DataError for texts that the bundle cannot read.
    """
    if bundle.main is not None:
        return network_vectors(bundle.main, texts, progress)
    models = [member.model for member in bundle.members]
    lexical = next((model for model in models if isinstance(model, LexicalModel)), None)
    if lexical is not None:
        return _of_terms(lexical, texts, seed)
    return unit(np.hstack([model.features(texts) for model in models if isinstance(model, ColumnsModel)]))


def model_vectors(model: str, texts: Sequence[str], *, notify: Callable[[str], None], progress: Progress) -> Vectors:
    """Sentence embeddings [texts, width] of a named model, not trained on anything: the mean of its last states.

    Of long texts the first 256 tokens are read. Raises SourceError where the model cannot be had.
    """
    settings = resolve(overrides={"model": model, "pooling": "mean", "max_tokens": _READ_TOKENS})
    network = load_backbone(fetch_model(model, notify=notify), ["a", "b"], settings)
    return network_vectors(network, texts, progress)


def network_vectors(network: Network, texts: Sequence[str], progress: Progress) -> Vectors:
    """What goes into the network's head, of length 1 [texts, width]; of a text read in windows their mean."""
    pieces = network.encoder.pieces(texts)
    states = pooled_states(network, pieces.ids, progress=lambda done, total: progress("states", done, total))
    sums = np.zeros((len(texts), states.shape[1]), dtype=np.float32)
    np.add.at(sums, pieces.of_text, states)
    return unit(sums)


def unit(vectors: Vectors) -> Vectors:
    """Vectors of length 1; one of no length stays so."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def _of_terms(model: LexicalModel, texts: Sequence[str], seed: int) -> Vectors:
    from sklearn.decomposition import TruncatedSVD

    features = model.features(texts)
    width = min(_LEXICAL_WIDTH, min(features.shape) - 1)
    if width < 1:
        return np.ones((len(texts), 1), dtype=np.float32)
    return unit(TruncatedSVD(width, random_state=seed).fit_transform(features).astype(np.float32))
