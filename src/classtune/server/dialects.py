"""The dialects that clients speak: Text Embeddings Inference's, vLLM's and that of Hugging Face's own clients.

What they ask, what they are answered, and how they are refused; nothing of how texts are scored.
Sources: Text Embeddings Inference's router (types, status codes); vLLM's entrypoints.pooling.classify.protocol; the
task text-classification of @huggingface/tasks, which huggingface_hub's and JavaScript's InferenceClient speak. Two
things are otherwise: ``["a", "b"]`` is a pair in the first, and here only for a classifier of pairs, else two texts;
and a number of tokens to cut at, which vLLM takes, is the bundle's to choose. Pairs are sent to the others as lists of
two (vLLM's form of no such question) or as ``{"text": …, "text_pair": …}``, as transformers.pipeline takes them. No
parameter is ignored: what is not named here, or cannot be done, is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib import metadata
from itertools import islice
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FailFast, Field, WithJsonSchema, model_validator

from classtune.data.reading.cells import paired
from classtune.inference.predictor import Ranked, answer_of
from classtune.server.registry import LoadedBundle
from classtune.stats import sigmoid, softmax

_FUNCTIONS: dict[str | None, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "none": lambda logits: logits,
    "sigmoid": sigmoid,
    "softmax": softmax,
}
# As texts are described: whether one of blanks alone can be read depends on the model.
_TEXT = {"type": "string", "minLength": 1}
_Text = Annotated[str, WithJsonSchema(_TEXT)]


class _FirstFault(FailFast):
    """Of a list: it is read up to the first item that does not fit. An error for each of a million takes gigabytes."""

    __hash__ = object.__hash__  # unions need one


_FIRST_FAULT = _FirstFault()
_Texts = Annotated[list[str], _FIRST_FAULT, WithJsonSchema({"type": "array", "items": _TEXT, "minItems": 1})]
# Of a table: what a cell of another column holds beside a text.
Cell = str | int | float | None
_Columns = Annotated[
    dict[str, Cell | Annotated[list[Cell], _FIRST_FAULT]] | None,
    Field(
        description="Cells of the columns that the classifier reads beside its texts, by name, one a text; what is not "
        "sent is an empty cell."
    ),
]
_ONE = {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 2}
_Ones = Annotated[
    list[Annotated[list[str], _FIRST_FAULT]],
    _FIRST_FAULT,
    WithJsonSchema({"type": "array", "items": _ONE, "minItems": 1}),
]
_PAIR = {
    "type": "object",
    "properties": {"text": _TEXT, "text_pair": {"type": "string"}},
    "required": ["text", "text_pair"],
    "additionalProperties": False,
}


class Refusal(Exception):
    """A request that gets no answer. kind: what Text Embeddings Inference calls the error."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class _Question(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class TextPair(_Question):
    """A pair as transformers.pipeline takes it."""

    text: str
    text_pair: str


_Pair = Annotated[TextPair, WithJsonSchema(_PAIR)]
_Pairs = Annotated[list[TextPair], _FIRST_FAULT, WithJsonSchema({"type": "array", "items": _PAIR, "minItems": 1})]


class PredictRequest(_Question):
    """Text Embeddings Inference's question, which may also name a ``model``."""

    inputs: _Text | _Texts | _Ones = Field(
        description="One text, or a list of texts; of a classifier of pairs a list of two, or a list of such lists."
    )
    truncate: bool | None = Field(None, description="Cut texts that are too long; unset: as the bundle was trained.")
    raw_scores: bool = Field(False, description="Logits instead of probabilities.")
    columns: _Columns = None
    model: str | None = Field(None, description="Which of the bundles answers; unset: the first.")


class ClassifyRequest(_Question):
    """vLLM's question."""

    input: _Text | _Texts | _Ones = Field(
        description="One text, or a list of texts; of a classifier of pairs a list of lists of two."
    )
    columns: _Columns = None
    model: str | None = Field(None, description="Which of the bundles answers; unset: the first.")
    truncate_prompt_tokens: Annotated[int, Field(ge=-1)] | None = Field(
        None, description="-1, or the most tokens that the bundle takes: cut texts that are too long."
    )
    use_activation: bool | None = Field(None, description="false: logits in the place of probabilities.")
    activation: bool | None = Field(None, description="Older name of use_activation.")
    softmax: bool | None = Field(None, description="Older name of use_activation.")
    request_id: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        None, description="What the answer's id ends in."
    )
    user: str | None = Field(None, description="Who asks; nothing comes of it.")
    add_special_tokens: Literal[True] = Field(True, description="The model is never run without them.")
    priority: Literal[0] = Field(0, description="All requests have the same.")

    @model_validator(mode="after")
    def _one_activation(self) -> ClassifyRequest:
        if len({each for each in (self.use_activation, self.activation, self.softmax) if each is not None}) > 1:
            raise ValueError("use_activation, activation and softmax are names of one thing. Send one")
        return self

    @property
    def activated(self) -> bool:
        """Whether probabilities are asked for, not logits."""
        return False not in (self.use_activation, self.activation, self.softmax)


class TaskParameters(_Question):
    """The parameters of Hugging Face's task."""

    top_k: Annotated[int, Field(ge=1)] | None = Field(None, description="Give the so many likeliest labels only.")
    function_to_apply: Literal["sigmoid", "softmax", "none"] | None = Field(
        None, description="What makes scores of logits; unset: the classifier's own, calibrated."
    )
    truncation: bool | None = Field(None, description="Cut texts that are too long; unset: as the bundle was trained.")


class TaskRequest(_Question):
    """The question of Hugging Face's clients, which may also name a ``model``."""

    inputs: _Text | _Texts | _Pair | _Pairs = Field(
        description="One text, or a list of texts; of a classifier of pairs objects with text and text_pair."
    )
    parameters: TaskParameters | None = None
    columns: _Columns = None
    model: str | None = Field(None, description="Which of the bundles answers; unset: the first.")


class Prediction(BaseModel):
    """A label and its score. answer: whether the label is given, where that is not simply the first one."""

    label: str
    score: float
    answer: bool | None = None


class Classified(BaseModel):
    """What vLLM says of one text. label: null where the answer is withheld. probs: one a label, in their order."""

    index: int
    label: str | None
    probs: list[float]
    num_classes: int


class ClassifyResponse(BaseModel):
    """vLLM's answer."""

    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[Classified]
    usage: dict[str, int | None]


class VllmError(BaseModel):
    """What is wrong, as vLLM (and OpenAI) says it."""

    message: str
    type: str
    param: None
    code: int


class VllmErrorResponse(BaseModel):
    """vLLM's error."""

    error: VllmError


class ErrorResponse(BaseModel):
    """Text Embeddings Inference's error."""

    error: str
    error_type: str


def predict_texts(question: PredictRequest, *, pairs: bool) -> list[str]:
    """The texts that are asked for, or the pairs of a classifier that reads ``pairs``. Raises Refusal for none, and for
    what is neither."""
    if _is_one_pair(question.inputs, pairs=pairs):
        return _texts([question.inputs], "inputs", pairs=True)
    return _texts(question.inputs, "inputs", pairs=pairs)


def classify_texts(question: ClassifyRequest, *, pairs: bool) -> list[str]:
    """As `predict_texts`; two texts are never a pair."""
    return _texts(question.input, "input", pairs=pairs)


def task_texts(question: TaskRequest, *, pairs: bool) -> list[str]:
    """As `predict_texts`; a pair has its own form."""
    inputs = [question.inputs] if isinstance(question.inputs, TextPair) else question.inputs
    told = [[item.text, item.text_pair] if isinstance(item, TextPair) else item for item in inputs]
    return _texts(inputs if isinstance(inputs, str) else told, "inputs", pairs=pairs)


def predict_answer(question: PredictRequest, ranked: list[Ranked], *, pairs: bool) -> Any:
    """A text's (or pair's) labels with their scores, highest first; a list of such where a list of them was sent."""
    alone = isinstance(question.inputs, str) or _is_one_pair(question.inputs, pairs=pairs)
    return ranked[0] if alone else ranked


def _is_one_pair(inputs: Any, *, pairs: bool) -> bool:
    """Whether a list of two texts is asked of a classifier of pairs: one pair, as Text Embeddings Inference has it."""
    return pairs and len(inputs) == 2 and all(isinstance(item, str) for item in inputs) and not isinstance(inputs, str)


def classify_answer(
    bundle: LoadedBundle, request_id: str, scores: NDArray[np.float64], ranked: list[Ranked], tokens: int
) -> dict[str, Any]:
    """vLLM's form. scores: probabilities, or logits where they are asked for [texts, labels].

    A text's several labels are parted by ", " in ``label``, and listed in ``labels``.
    """
    data = []
    for index, (row, entries) in enumerate(zip(scores.tolist(), ranked, strict=True)):
        answer = answer_of(entries)
        entry = {"index": index, "label": ", ".join(answer) or None, "probs": row, "num_classes": len(row)}
        data.append(entry | ({"labels": answer} if bundle.predictor.decisions.multi else {}))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0, "prompt_tokens_details": None}
    return {
        "id": f"classify-{request_id}",
        "object": "list",
        "created": int(time.time()),
        "model": bundle.name,
        "data": data,
        "usage": usage,
    }


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


def with_scores(bundle: LoadedBundle, ranked: list[Ranked], scores: NDArray[np.float64]) -> list[Ranked]:
    """The same labels in the same order with other scores [texts, labels]."""
    columns = {label: number for number, label in enumerate(bundle.predictor.labels)}
    return [
        [entry | {"score": float(row[columns[entry["label"]]])} for entry in entries]
        for entries, row in zip(ranked, scores, strict=True)
    ]


def truncate_of(question: ClassifyRequest, limit: int) -> bool | None:
    """Whether texts are cut at ``limit`` tokens, the most that the bundle takes. Raises Refusal for another number."""
    wanted = question.truncate_prompt_tokens
    if wanted is None:
        return None
    if wanted not in (-1, limit):
        sentence = f"truncate_prompt_tokens: {wanted}, and this classifier reads {limit:,} tokens. Pass -1 or {limit}."
        raise Refusal(422, "validation", sentence)
    return True


def models_answer(bundles: Sequence[LoadedBundle]) -> dict[str, Any]:
    """vLLM's (and OpenAI's) list of models."""
    return {
        "object": "list",
        "data": [{"id": bundle.name, "object": "model", "created": 0, "owned_by": "classtune"} for bundle in bundles],
    }


def info_answer(bundles: Sequence[LoadedBundle], queue: int, most_texts: int) -> dict[str, Any]:
    """The first bundle as Text Embeddings Inference describes a model, and all of them under ``models``."""
    first = bundles[0]
    labels = first.predictor.labels
    of_labels = {
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
    }
    return {
        "model_id": first.name,
        "model_sha": first.version,
        "model_dtype": "float32",
        "model_type": {"classifier": of_labels},
        "max_concurrent_requests": queue,
        "max_input_length": first.predictor.limit,
        "max_client_batch_size": most_texts,
        "auto_truncate": first.predictor.cuts,
        "version": metadata.version("classtune"),
        "models": [
            {
                "name": bundle.name,
                "version": bundle.version,
                "labels": bundle.predictor.labels,
                "several_labels": bundle.predictor.decisions.multi,
                "withholds_answers": bundle.withholds,
                "max_input_length": bundle.predictor.limit,
                "auto_truncate": bundle.predictor.cuts,
                "classifier": bundle.record.get("classifier", "one network"),
                "columns": bundle.beside,
                "pair": bundle.pair,
                "depth": (bundle.record["depth"] or {}).get("kept"),  # TF-IDF has no blocks
            }
            for bundle in bundles
        ],
    }


def refused(refusal: Refusal, path: str) -> dict[str, Any]:
    """The error in the words of the dialect that was spoken."""
    if path.endswith("/classify") or path.startswith("/v1/"):
        return {"error": {"message": str(refusal), "type": refusal.kind, "param": None, "code": refusal.status}}
    return {"error": str(refusal), "error_type": refusal.kind}


def _texts(inputs: Any, name: str, *, pairs: bool) -> list[str]:
    """A text, texts, or lists of one text or of a pair, as texts. Raises Refusal for none, and for other lists."""
    if isinstance(inputs, str):
        return [inputs]
    if not inputs:
        raise Refusal(400, "empty", f"{name}: the list is empty. Send at least one text.")
    lists = [[item] if isinstance(item, str) else item for item in inputs]
    faults = (f"{name}[{place}]" for place, item in enumerate(lists) if not 1 <= len(item) <= 1 + pairs)
    if wrong := list(islice(faults, 5)):
        kind = "a pair. Send lists of two texts" if pairs else "one text. This classifier takes no pairs; send one text"
        raise Refusal(422, "tokenizer", f"{', '.join(wrong)}: not {kind} each.")
    return [item[0] if len(item) == 1 else paired(*item) for item in lists]
