"""A request's body: read within the limits of bytes, texts and characters, or refused with what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from classtune.server.dialects.refusals import Refusal
from classtune.server.settings import ServeSettings

Question = TypeVar("Question", bound=BaseModel)

# Fields of a body, and names in `columns`, at most: each that is not known is a problem to be written down.
_MOST_FIELDS = 1000
_MOST_PROBLEMS = 20  # that are told


async def read_question(request: Request, kind: type[Question], settings: ServeSettings) -> Question:
    """The question in a request's body. Raises Refusal where it is no JSON, too large or not such a question."""
    kind_sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not (kind_sent == "application/json" or (kind_sent.startswith("application/") and kind_sent.endswith("+json"))):
        # Other types a browser lets any page send without asking.
        raise Refusal(415, "validation", "Send JSON, with the header Content-Type: application/json.")
    body = bytearray()
    announced = request.headers.get("content-length", "0")
    too_large = Refusal(413, "validation", f"The request is larger than {settings.max_body:,} bytes. Send fewer texts.")
    if announced.isdigit() and int(announced) > settings.max_body:
        raise too_large
    async for chunk in request.stream():
        body += chunk
        if len(body) > settings.max_body:
            raise too_large
    try:
        document = from_json(body)
        _check_fields(document)
        return kind.model_validate(document)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        problems = list(dict.fromkeys(map(_problem, faults)))
        if len(problems) > _MOST_PROBLEMS:
            problems[_MOST_PROBLEMS:] = [f"And {len(problems) - _MOST_PROBLEMS:,} more."]
        raise Refusal(422, "validation", "\n".join(problems)) from None
    except ValueError as error:
        raise Refusal(422, "validation", f"The body is not valid JSON: {error}.") from None


def _check_fields(document: Any) -> None:
    columns = document.get("columns") if isinstance(document, dict) else None
    for what, fields in (("The body", document), ("columns", columns)):
        if isinstance(fields, dict) and len(fields) > _MOST_FIELDS:
            taken = f"has {len(fields):,} names, and {_MOST_FIELDS:,} are taken"
            raise Refusal(422, "validation", f"{what}: {taken}. Leave out what is not known.")


def check_size(texts: Sequence[str], field: str, settings: ServeSettings) -> int:
    """The characters of all texts. Raises Refusal for more or longer texts than are taken."""
    if len(texts) > settings.max_texts:
        raise Refusal(
            413,
            "validation",
            f"{field}: {len(texts):,} texts, and {settings.max_texts:,} are taken at once. Send fewer.",
        )
    lengths = [len(text) for text in texts]
    if max(lengths) > settings.max_characters:
        place = next(number for number, length in enumerate(lengths) if length > settings.max_characters)
        raise Refusal(
            413,
            "validation",
            f"{field}[{place}]: {lengths[place]:,} characters, and {settings.max_characters:,} are taken. Shorten it.",
        )
    return sum(lengths)


def _problem(fault: Any) -> str:
    """A problem of the body in our words. ``str | list[str]`` is said once, whichever part did not fit."""
    name = str(fault["loc"][0]) if fault["loc"] else "The body"
    if name in ("inputs", "input") and fault["type"] != "missing":
        return f"{name}: must be a text or a list of texts. Send strings."
    if fault["type"] == "value_error":
        return f"{fault['msg'].removeprefix('Value error, ')}."
    if not fault["loc"]:
        return 'The body must be a JSON object, such as {"inputs": "a text"}.'
    name = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return f"{name}: is not known here. Leave it out, or look it up in /openapi.json."
    return f"{name}: {fault['msg'].removeprefix('Input ').lower()}."
