"""vLLM's dialect: the probabilities of all labels. Source: entrypoints.pooling.classify.protocol.

Pairs come as lists of two, which is its form of no such question.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from classtune.inference.predictor import Ranked, answer_of
from classtune.server.dialects.refusals import Refusal
from classtune.server.dialects.texts import Columns, Lists, Question, Text, Texts, texts_of
from classtune.server.registry import LoadedBundle


class ClassifyRequest(Question):
    """vLLM's question."""

    input: Text | Texts | Lists = Field(
        description="One text, or a list of texts; of a classifier of pairs a list of lists of two."
    )
    columns: Columns = None
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


def classify_texts(question: ClassifyRequest, *, pairs: bool) -> list[str]:
    """As `tei.predict_texts`; two texts are never a pair."""
    return texts_of(question.input, "input", pairs=pairs)


def truncate_of(question: ClassifyRequest, limit: int) -> bool | None:
    """Whether texts are cut at ``limit`` tokens, the most that the bundle takes. Raises Refusal for another number."""
    wanted = question.truncate_prompt_tokens
    if wanted is None:
        return None
    if wanted not in (-1, limit):
        sentence = f"truncate_prompt_tokens: {wanted}, and this classifier reads {limit:,} tokens. Pass -1 or {limit}."
        raise Refusal(422, "validation", sentence)
    return True


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


def models_answer(bundles: Sequence[LoadedBundle]) -> dict[str, Any]:
    """vLLM's (and OpenAI's) list of models."""
    return {
        "object": "list",
        "data": [{"id": bundle.name, "object": "model", "created": 0, "owned_by": "classtune"} for bundle in bundles],
    }
