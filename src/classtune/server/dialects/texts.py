"""Texts, pairs and the cells beside them, as requests of every dialect hold them."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, Field, WithJsonSchema

from classtune.data.reading.cells import paired
from classtune.server.dialects.refusals import Refusal


class _FirstFault(FailFast):
    """Of a list: it is read up to the first item that does not fit. An error for each of a million takes gigabytes."""

    __hash__ = object.__hash__  # unions need one


_FIRST_FAULT = _FirstFault()
# As texts are described: whether one of blanks alone can be read depends on the model.
_TEXT = {"type": "string", "minLength": 1}
_LISTED = {"type": "array", "items": _TEXT, "minItems": 1}
_PAIR = {
    "type": "object",
    "properties": {"text": _TEXT, "text_pair": {"type": "string"}},
    "required": ["text", "text_pair"],
    "additionalProperties": False,
}
Text = Annotated[str, WithJsonSchema(_TEXT)]
Texts = Annotated[list[str], _FIRST_FAULT, WithJsonSchema(_LISTED)]
# Lists of one text, or of the two of a pair.
Lists = Annotated[
    list[Annotated[list[str], _FIRST_FAULT]],
    _FIRST_FAULT,
    WithJsonSchema({"type": "array", "items": {**_LISTED, "maxItems": 2}, "minItems": 1}),
]
# Of a table: what a cell of another column holds beside a text.
Cell = str | int | float | None
Columns = Annotated[
    dict[str, Cell | Annotated[list[Cell], _FIRST_FAULT]] | None,
    Field(
        description="Cells of the columns that the classifier reads beside its texts, by name, one a text; what is not "
        "sent is an empty cell."
    ),
]


class Question(BaseModel):
    """What every request is: of fields that are known, each of its own type."""

    model_config = ConfigDict(strict=True, extra="forbid")


class TextPair(Question):
    """A pair as transformers.pipeline takes it."""

    text: str
    text_pair: str


Pair = Annotated[TextPair, WithJsonSchema(_PAIR)]
Pairs = Annotated[list[TextPair], _FIRST_FAULT, WithJsonSchema({"type": "array", "items": _PAIR, "minItems": 1})]


def texts_of(inputs: Any, field: str, *, pairs: bool) -> list[str]:
    """A text, texts, or lists of one text or of a pair, as texts. Raises Refusal for none, and for other lists.

    field: what the request calls them. pairs: whether the classifier reads pairs.
    """
    if isinstance(inputs, str):
        return [inputs]
    if not inputs:
        raise Refusal(400, "empty", f"{field}: the list is empty. Send at least one text.")
    lists = [[item] if isinstance(item, str) else item for item in inputs]
    faults = (f"{field}[{place}]" for place, item in enumerate(lists) if not 1 <= len(item) <= 1 + pairs)
    if wrong := list(islice(faults, 5)):
        kind = "a pair. Send lists of two texts" if pairs else "one text. This classifier takes no pairs; send one text"
        raise Refusal(422, "tokenizer", f"{', '.join(wrong)}: not {kind} each.")
    return [item[0] if len(item) == 1 else paired(*item) for item in lists]
