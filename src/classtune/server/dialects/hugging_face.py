"""The dialect of Hugging Face's own clients: the task text-classification of @huggingface/tasks.

huggingface_hub's and JavaScript's InferenceClient speak it. Pairs come as ``{"text": …, "text_pair": …}``, as
transformers.pipeline takes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from classtune.inference.predictor import Ranked
from classtune.server.dialects.tei import with_scores
from classtune.server.dialects.texts import Columns, Pair, Pairs, Question, Text, TextPair, Texts, texts_of
from classtune.server.registry import LoadedBundle
from classtune.stats import sigmoid, softmax

_FUNCTIONS: dict[str | None, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "none": lambda logits: logits,
    "sigmoid": sigmoid,
    "softmax": softmax,
}


class TaskParameters(Question):
    """The parameters of Hugging Face's task."""

    top_k: Annotated[int, Field(ge=1)] | None = Field(None, description="Give the so many likeliest labels only.")
    function_to_apply: Literal["sigmoid", "softmax", "none"] | None = Field(
        None, description="What makes scores of logits; unset: the classifier's own, calibrated."
    )
    truncation: bool | None = Field(None, description="Cut texts that are too long; unset: as the bundle was trained.")


class TaskRequest(Question):
    """The question of Hugging Face's clients, which may also name a ``model``."""

    inputs: Text | Texts | Pair | Pairs = Field(
        description="One text, or a list of texts; of a classifier of pairs objects with text and text_pair."
    )
    parameters: TaskParameters | None = None
    columns: Columns = None
    model: str | None = Field(None, description="Which of the bundles answers; unset: the first.")


def task_texts(question: TaskRequest, *, pairs: bool) -> list[str]:
    """As `tei.predict_texts`; a pair has its own form."""
    inputs = [question.inputs] if isinstance(question.inputs, TextPair) else question.inputs
    told = [[item.text, item.text_pair] if isinstance(item, TextPair) else item for item in inputs]
    return texts_of(inputs if isinstance(inputs, str) else told, "inputs", pairs=pairs)


def task_scores(
    question: TaskRequest, bundle: LoadedBundle, logits: NDArray[np.float64], ranked: list[Ranked]
) -> list[Ranked]:
    """A list of labels and scores a text, highest first; one text too is a list of one list.

    The function that the classifier itself applies gives calibrated scores; another one is applied to its logits.
    """
    parameters = question.parameters or TaskParameters.model_validate({})
    own = "sigmoid" if bundle.predictor.decisions.multi else "softmax"
    if parameters.function_to_apply not in (None, own):
        ranked = with_scores(bundle, ranked, _FUNCTIONS[parameters.function_to_apply](logits))
    return [entries[: parameters.top_k] for entries in ranked]
