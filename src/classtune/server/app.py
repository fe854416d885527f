"""The server's web side: routes, limits and what is said when something is refused. `envelope` is round every request.

A request is read here, its texts become tokens in the event loop (or, many, in a thread), `batching` runs them, and the
bundle's decisions make the answer. Late-imported by `server`: nothing else of classtune needs FastAPI.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, TypeVar

import numpy as np
from fastapi import FastAPI, Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from classtune.errors import DataError
from classtune.inference.predictor import Ranked, answer_of
from classtune.server.batching import Batcher, QueueFull
from classtune.server.dialects import (
    ClassifyRequest,
    ClassifyResponse,
    ErrorResponse,
    Prediction,
    PredictRequest,
    Refusal,
    classify_answer,
    classify_texts,
    models_answer,
    predict_answer,
    predict_texts,
    refused,
)
from classtune.server.metrics import Metrics
from classtune.server.middleware import Envelope, log
from classtune.server.registry import Served, Shelf, TooLong
from classtune.server.settings import ServeSettings

# Requests of more characters than this become tokens in a thread, so that others are still answered meanwhile.
_INLINE_CHARACTERS = 20_000
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorResponse, "description": "No texts."},
    401: {"model": ErrorResponse, "description": "No key, or a wrong one."},
    404: {"model": ErrorResponse, "description": "No such model."},
    413: {"model": ErrorResponse, "description": "Too much: bytes, texts, characters or tokens."},
    422: {"model": ErrorResponse, "description": "The request or a text cannot be read."},
    424: {"model": ErrorResponse, "description": "The model failed."},
    429: {"model": ErrorResponse, "description": "Too many texts wait already."},
    504: {"model": ErrorResponse, "description": "Not done in time."},
}

Question = TypeVar("Question", bound=BaseModel)


@dataclass(frozen=True)
class _Scored:
    """What the model says of a request's texts. logits, probabilities [texts, labels]; tokens: how many were read."""

    logits: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    ranked: list[Ranked]
    tokens: int


def create_app(shelf: Shelf, settings: ServeSettings, keys: Sequence[str] = ()) -> FastAPI:
    """The application: both dialects over the bundles of ``shelf``. keys: one of them must be shown, if there are any.

    Its lifespan holds the thread that runs the models, with its queue in ``app.state.batcher``. ``app.state.stopping``
    set, it is not ready any more.
    """
    metrics = Metrics()
    batcher = Batcher(room=settings.queue, observe=metrics.batch)
    metrics.queue.set_function(lambda: batcher.waiting)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(batcher.stop, settings.grace)

    app = FastAPI(
        title="classtune",
        version=metadata.version("classtune"),
        description="Text classifiers in the dialects of Text Embeddings Inference and of vLLM.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.stopping = False
    app.state.batcher = batcher

    async def score(
        request: Request, name: str | None, texts: list[str], field: str, truncate: bool | None, raw: bool = False
    ) -> tuple[Served, _Scored]:
        try:
            served = shelf[name]
        except LookupError as error:
            raise Refusal(404, "not_found", str(error.args[0])) from None
        characters = _check_size(texts, field, settings)
        places = [field] if len(texts) == 1 else [f"{field}[{number}]" for number in range(len(texts))]
        request.state.noted = {"model": served.name, "texts": len(texts)}
        try:
            if characters > _INLINE_CHARACTERS:
                pieces = await asyncio.to_thread(served.pieces, texts, places, truncate)
            else:
                pieces = served.pieces(texts, places, truncate)
            logits = await asyncio.wrap_future(batcher.submit(served.predictor, pieces, len(texts)))
        except TooLong as error:
            raise Refusal(413, "validation", str(error)) from None
        except DataError as error:
            raise Refusal(422, "tokenizer", str(error)) from None
        except QueueFull:
            raise Refusal(429, "overloaded", "Too many texts wait already. Try again in a moment.") from None
        except Exception as error:
            log("model_failed", level="error", model=served.name, error=repr(error))
            raise Refusal(424, "backend", "The model failed on these texts. The server's log says why.") from error
        if not np.isfinite(logits).all():
            raise Refusal(424, "backend", "The model gave a score that is no number. Train the classifier again.")
        predictor = served.predictor
        probabilities = predictor.decisions.probabilities(logits)
        ranked = predictor.ranked(probabilities)
        metrics.answered(served.name, [answer_of(entries) for entries in ranked])
        return served, _Scored(logits, probabilities, ranked, sum(map(len, pieces.ids)))

    @app.post(
        "/predict", responses=_answers(list[Prediction] | list[list[Prediction]]), openapi_extra=_asks(PredictRequest)
    )
    async def predict(request: Request) -> Response:
        """Labels with their scores, highest first: a list for one text, a list of lists for a list of texts."""
        async with _in_time(settings):
            question = await _read(request, PredictRequest, settings)
            texts = predict_texts(question)
            served, found = await score(request, question.model, texts, "inputs", question.truncate)
        ranked = found.ranked
        if question.raw_scores:
            columns = {label: number for number, label in enumerate(served.predictor.labels)}
            ranked = [
                [entry | {"score": float(row[columns[entry["label"]]])} for entry in entries]
                for entries, row in zip(ranked, found.logits, strict=True)
            ]
        return _json(predict_answer(question, ranked))

    @app.post("/classify", responses=_answers(ClassifyResponse), openapi_extra=_asks(ClassifyRequest))
    @app.post("/v1/classify", responses=_answers(ClassifyResponse), openapi_extra=_asks(ClassifyRequest))
    async def classify(request: Request) -> Response:
        """Each text's label (null where the answer is withheld) and the probabilities of all labels."""
        async with _in_time(settings):
            question = await _read(request, ClassifyRequest, settings)
            truncate = True if question.truncate_prompt_tokens else None
            served, found = await score(request, question.model, classify_texts(question), "input", truncate)
        scores = found.logits if question.use_activation is False else found.probabilities
        return _json(classify_answer(served, request.state.request_id, scores, found.ranked, found.tokens))

    @app.get("/v1/models")
    async def models() -> Response:
        """The bundles that are served."""
        return _json(models_answer(list(shelf)))

    @app.get("/info")
    async def info() -> Response:
        """The first bundle as Text Embeddings Inference describes a model, and all bundles under ``models``."""
        return _json(_info(shelf, settings, app.version))

    @app.get("/health", responses={503: {"model": ErrorResponse}})
    async def health() -> Response:
        """Whether the thread that runs the models is alive. Needs no key."""
        if not batcher.alive:
            raise Refusal(503, "unhealthy", "The thread that runs the models has ended. Start the server again.")
        return Response(status_code=200)

    @app.get("/ready", responses={503: {"model": ErrorResponse}})
    async def ready() -> Response:
        """Whether new requests should be sent here: not while the server stops. Needs no key."""
        if app.state.stopping or not batcher.alive:
            raise Refusal(503, "unhealthy", "The server is stopping.")
        return _json({"ready": True, "models": {served.name: served.version for served in shelf}})

    @app.get("/metrics")
    async def measured() -> Response:
        """Counts and times for Prometheus."""
        return Response(metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.exception_handler(Refusal)
    async def refuse(request: Request, refusal: Refusal) -> Response:
        headers = {"Retry-After": "1"} if refusal.status == 429 else None
        return _json(refused(refusal, request.url.path), refusal.status, headers)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        kind = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "validation")
        return _json(refused(Refusal(error.status_code, kind, str(error.detail)), request.url.path), error.status_code)

    app.add_middleware(
        Envelope, keys=keys, metrics=metrics, paths=frozenset(getattr(route, "path", "") for route in app.routes)
    )
    return app


@contextlib.asynccontextmanager
async def _in_time(settings: ServeSettings) -> AsyncIterator[None]:
    """Gives up, reading the request included, when the time is over; what waits in the queue is dropped."""
    try:
        async with asyncio.timeout(settings.timeout):
            yield
    except TimeoutError:
        raise Refusal(
            504, "timeout", f"Not done in {settings.timeout:g} seconds. Send fewer texts, or later."
        ) from None


async def _read(request: Request, kind: type[Question], settings: ServeSettings) -> Question:
    """The question in a request's body. Raises Refusal where it is too large or not such a question."""
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
        return kind.model_validate_json(bytes(body))
    except ValidationError as error:
        faults = [_fault(fault) for fault in error.errors(include_url=False, include_context=False)]
        raise Refusal(422, "validation", "\n".join(dict.fromkeys(faults))) from None


def _fault(fault: Any) -> str:
    """A problem of the body in our words. ``str | list[str]`` is told once, whichever part did not fit."""
    if fault["type"] == "json_invalid":
        return f"The body is not valid JSON: {fault['msg'].partition(': ')[2] or fault['msg']}."
    name = str(fault["loc"][0]) if fault["loc"] else "The body"
    if name in ("inputs", "input") and fault["type"] != "missing":
        return f"{name}: must be a text or a list of texts. Send strings."
    if not fault["loc"]:
        return 'The body must be a JSON object, such as {"inputs": "a text"}.'
    return f"{name}: {fault['msg'].removeprefix('Input ').lower()}."


def _check_size(texts: Sequence[str], field: str, settings: ServeSettings) -> int:
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


def _info(shelf: Shelf, settings: ServeSettings, version: str) -> dict[str, Any]:
    first = shelf[None]
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
        "max_concurrent_requests": settings.queue,
        "max_input_length": first.predictor.encoder.rules.limit,
        "max_client_batch_size": settings.max_texts,
        "auto_truncate": first.cuts,
        "version": version,
        "models": [
            {
                "name": served.name,
                "version": served.version,
                "labels": served.predictor.labels,
                "several_labels": served.predictor.decisions.multi,
                "withholds_answers": served.withholds,
                "max_input_length": served.predictor.encoder.rules.limit,
                "auto_truncate": served.cuts,
                "depth": served.record["depth"]["kept"],
            }
            for served in shelf
        ],
    }


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return Response(body, status, headers, "application/json")


def _asks(kind: type[BaseModel]) -> dict[str, Any]:
    """The body of a route for /openapi.json: it is read by hand, which is faster, and FastAPI cannot see it."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": kind.model_json_schema()}}}}


def _answers(kind: Any) -> dict[int | str, dict[str, Any]]:
    return {200: {"model": kind}, **_REFUSALS}
