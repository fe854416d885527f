"""The API's routes: every dialect over the bundles that are served, and what is asked by whoever watches over a server.

A request's texts become items in the event loop (or, many, in a thread), `batching` runs them, and the bundle's
decisions make the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel

from classtune.errors import DataError
from classtune.inference.predictor import Ranked, TooLong, answer_of
from classtune.server.batching import Batcher, ModelFailed, QueueFull
from classtune.server.beside import with_columns
from classtune.server.dialects.hugging_face import TaskRequest, task_scores, task_texts
from classtune.server.dialects.refusals import ErrorResponse, Refusal, VllmErrorResponse
from classtune.server.dialects.tei import (
    Prediction,
    PredictRequest,
    info_answer,
    predict_answer,
    predict_texts,
    with_scores,
)
from classtune.server.dialects.vllm import (
    ClassifyRequest,
    ClassifyResponse,
    classify_answer,
    classify_texts,
    models_answer,
    truncate_of,
)
from classtune.server.metrics import Metrics
from classtune.server.middleware import log
from classtune.server.questions import check_size, read_question
from classtune.server.registry import LoadedBundle, ModelRegistry
from classtune.server.settings import ServeSettings

# Requests of more characters than this become tokens in a thread, so that others are still answered meanwhile.
_INLINE_CHARACTERS = 20_000
# Of those at once: each takes some 250 MB while it is cut. One that nobody waits for any more is not begun.
_READERS = 2
_REFUSALS = {
    400: "No texts.",
    401: "No key, or a wrong one.",
    404: "No such model.",
    403: "Asked by a foreign name, or by another place's web page.",
    413: "Too much: bytes, texts, characters or tokens.",
    415: "The body is not said to be JSON.",
    422: "The request or a text cannot be read.",
    424: "The model failed.",
    429: "Too many texts wait already.",
    503: "The server stopped before it was done.",
    504: "Not done in time.",
}


@dataclass(frozen=True)
class _Scored:
    """What a bundle says of a request's texts.

    logits, probabilities [texts, labels]; ranked: see `Predictor.ranked`; tokens: how many were read.
    """

    bundle: LoadedBundle
    logits: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    ranked: list[Ranked]
    tokens: int


class Api:
    """The routes, and what they share. ``stopping`` set, the server is not ready any more."""

    def __init__(self, registry: ModelRegistry, settings: ServeSettings, batcher: Batcher, metrics: Metrics) -> None:
        self.registry = registry
        self.settings = settings
        self.batcher = batcher
        self.metrics = metrics
        self.stopping = False
        self._readers = ThreadPoolExecutor(_READERS, "classtune-tokens")

    def router(self) -> APIRouter:
        """Each route with what /openapi.json says of it."""
        router = APIRouter()
        predictions = _answers(list[Prediction] | list[list[Prediction]])
        router.post("/predict", responses=predictions, openapi_extra=_asks(PredictRequest))(self.predict)
        for path in ("/classify", "/v1/classify"):
            responses = _answers(ClassifyResponse, VllmErrorResponse)
            router.post(path, responses=responses, openapi_extra=_asks(ClassifyRequest))(self.classify)
        for path in ("/", "/invocations"):
            responses = _answers(list[list[Prediction]])
            router.post(path, responses=responses, openapi_extra=_asks(TaskRequest))(self.task)
        _add_get(router, "/", self.root, {307: {"description": "To the page, where a browser asks and there is one."}})
        _add_get(router, "/v1/models", self.models)
        _add_get(router, "/info", self.info)
        unhealthy: dict[int | str, Any] = {503: {"model": ErrorResponse, "description": "It cannot answer."}}
        for path in ("/health", "/ping"):
            _add_get(router, path, self.health, unhealthy | {200: {"content": None, "description": "It can answer."}})
        _add_get(router, "/ready", self.ready, unhealthy)
        text: dict[str, Any] = {"text/plain": {}, "application/openmetrics-text": {}}
        _add_get(router, "/metrics", self.measured, {200: {"content": text, "description": "In the form asked for."}})
        return router

    async def predict(self, request: Request) -> Response:
        """Labels with their scores, highest first: a list for one text, a list of lists for a list of texts."""
        async with _in_time(self.settings):
            question = await read_question(request, PredictRequest, self.settings)
            bundle = self._bundle(question.model)
            texts = _asked(question, predict_texts, bundle)
            scored = await self._score(request, bundle, texts, "inputs", question.truncate)
        ranked = scored.ranked
        if question.raw_scores:
            ranked = with_scores(scored.bundle, ranked, scored.logits)
        return json_response(predict_answer(question, ranked, pairs=bundle.pair is not None))

    async def task(self, request: Request) -> Response:
        """Hugging Face's task: for each text a list of labels with their scores, highest first."""
        async with _in_time(self.settings):
            question = await read_question(request, TaskRequest, self.settings)
            truncate = question.parameters.truncation if question.parameters else None
            bundle = self._bundle(question.model)
            scored = await self._score(request, bundle, _asked(question, task_texts, bundle), "inputs", truncate)
        return json_response(task_scores(question, scored.bundle, scored.logits, scored.ranked))

    async def root(self, request: Request) -> Response:
        """The page for a browser, where there is one; else what ``/info`` says."""
        if self.settings.page and "text/html" in request.headers.get("accept", ""):
            return Response(status_code=307, headers={"Location": "page/"})  # wherever a proxy puts it
        return await self.info()

    async def classify(self, request: Request) -> Response:
        """Each text's label (null where the answer is withheld) and the probabilities of all labels."""
        async with _in_time(self.settings):
            question = await read_question(request, ClassifyRequest, self.settings)
            bundle = self._bundle(question.model)
            truncate = truncate_of(question, bundle.predictor.limit)
            scored = await self._score(request, bundle, _asked(question, classify_texts, bundle), "input", truncate)
        scores = scored.probabilities if question.activated else scored.logits
        identity = question.request_id or request.state.request_id
        return json_response(classify_answer(scored.bundle, identity, scores, scored.ranked, scored.tokens))

    async def models(self) -> Response:
        """The bundles that are served."""
        return json_response(models_answer(list(self.registry)))

    async def info(self) -> Response:
        """The first bundle as Text Embeddings Inference describes a model, and all bundles under ``models``."""
        return json_response(info_answer(list(self.registry), self.settings.queue, self.settings.max_texts))

    async def health(self) -> Response:
        """Whether the thread that runs the models is alive. Needs no key."""
        if not self.batcher.alive:
            raise Refusal(503, "unhealthy", "The thread that runs the models has ended. Start the server again.")
        return Response(status_code=200)

    async def ready(self) -> Response:
        """Whether new requests should be sent here: not while the server stops. Needs no key."""
        if self.stopping or not self.batcher.alive:
            raise Refusal(503, "unhealthy", "The server is stopping.")
        return json_response({"ready": True, "models": {bundle.name: bundle.version for bundle in self.registry}})

    async def measured(self, request: Request) -> Response:
        """Counts and times for Prometheus, as OpenMetrics where that is asked for."""
        body, kind = self.metrics.page(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": kind})

    def _bundle(self, name: str | None) -> LoadedBundle:
        try:
            return self.registry[name]
        except LookupError as error:
            raise Refusal(404, "not_found", str(error.args[0])) from None

    async def _score(
        self, request: Request, bundle: LoadedBundle, texts: list[str], field: str, truncate: bool | None
    ) -> _Scored:
        """Run the texts in the queue. Raises Refusal for everything that stands in the way."""
        predictor = bundle.predictor
        characters = check_size(texts, field, self.settings)
        places = [field] if len(texts) == 1 else [f"{field}[{number}]" for number in range(len(texts))]
        request.state.noted = {"model": bundle.name, "texts": len(texts)}
        try:
            read = partial(predictor.items, texts, places, truncate=truncate)
            if characters > _INLINE_CHARACTERS:
                items = await asyncio.get_running_loop().run_in_executor(self._readers, read)
            else:
                items = read()
            logits = await asyncio.wrap_future(self.batcher.submit(predictor, items))
        except TooLong as error:
            advice = "Shorten the text, or pass truncate: true to have it cut."
            raise Refusal(413, "validation", f"{error}\n{advice}") from None
        except DataError as error:
            raise Refusal(422, "tokenizer", str(error)) from None
        except QueueFull:
            raise Refusal(429, "overloaded", "Too many texts wait already. Try again in a moment.") from None
        except ModelFailed as failed:
            place = places[failed.text]
            log("model_failed", level="error", model=bundle.name, place=place, error=repr(failed.__cause__))
            raise Refusal(424, "backend", f"{place}: the model failed on it. The server's log says why.") from failed
        if not np.isfinite(logits).all():
            raise Refusal(424, "backend", "The model gave a score that is no number. Train the classifier again.")
        probabilities = predictor.decisions.probabilities(logits)
        ranked = predictor.ranked(probabilities)
        self.metrics.answered(bundle.name, [answer_of(entries) for entries in ranked])
        self.metrics.drift.add(bundle, texts, probabilities)
        return _Scored(bundle, logits, probabilities, ranked, items.tokens)


def _asked(
    question: PredictRequest | ClassifyRequest | TaskRequest, read: Callable[..., list[str]], bundle: LoadedBundle
) -> list[str]:
    """The texts, or pairs, of a question, with the cells that were sent beside them. read: what takes them out."""
    return with_columns(read(question, pairs=bundle.pair is not None), question.columns, bundle.beside)


def _add_get(
    router: APIRouter, path: str, answer: Callable[..., Any], responses: dict[int | str, Any] | None = None
) -> None:
    """A route that is read with GET, and looked at with HEAD."""
    router.add_api_route(path, answer, methods=["GET"], responses=responses)
    router.add_api_route(path, answer, methods=["HEAD"], include_in_schema=False)


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


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return Response(body, status, headers, "application/json")


def _asks(kind: type[BaseModel]) -> dict[str, Any]:
    """The body of a route for /openapi.json: it is read by hand, which is faster, and FastAPI cannot see it."""
    schema = kind.model_json_schema()
    parts = schema.pop("$defs", {})  # put in their place: references would be looked for at the document's root
    for field in schema["properties"].values():
        for way in field.get("anyOf", ()):
            way.update(parts.get(way.pop("$ref", "").rpartition("/")[2], {}))
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _answers(kind: Any, error: type[BaseModel] = ErrorResponse) -> dict[int | str, dict[str, Any]]:
    return {
        200: {"model": kind},
        **{status: {"model": error, "description": sentence} for status, sentence in _REFUSALS.items()},
    }
