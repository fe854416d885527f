"""The server's web side put together: the routes, the middleware that is round every request, and how it refuses.

Late-imported by `server`: nothing else of classtune needs FastAPI.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from importlib import metadata

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from classtune.server.access import Access
from classtune.server.batching import Batcher
from classtune.server.dialects.refusals import Refusal, refused
from classtune.server.metrics import Metrics
from classtune.server.middleware import RequestMiddleware
from classtune.server.registry import ModelRegistry
from classtune.server.routes import Api, json_response
from classtune.server.settings import ServeSettings, listed


def create_app(registry: ModelRegistry, settings: ServeSettings, keys: Sequence[str] = ()) -> FastAPI:
    """The application: every dialect over the bundles of ``registry``. keys: requests must show one, if there are any.

    Its routes are in ``app.state.api``, with the queue and the thread that runs the models in ``batcher``, which ends
    with the application's lifespan.
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
        redirect_slashes=False,  # its redirects name the host that the client chose
        lifespan=lifespan,
    )
    app.state.api = Api(registry, settings, batcher, metrics)
    router = app.state.api.router()
    app.include_router(router)
    app.add_exception_handler(Refusal, _refusal)
    app.add_exception_handler(HTTPException, _http_error)
    app.state.methods = _methods([*app.routes, *router.routes])
    app.add_middleware(
        RequestMiddleware, access=Access.of(settings, keys, frozenset(app.state.methods)), metrics=metrics
    )
    if settings.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=listed(settings.cors),
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=["authorization", "content-type", "x-request-id"],
            expose_headers=["x-request-id", "retry-after"],
        )
    return app


async def _refusal(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    headers = {"Retry-After": "1"} if refusal.status == 429 else None
    return json_response(refused(refusal, request.url.path), refusal.status, headers)


async def _http_error(request: Request, error: Exception) -> Response:
    """What Starlette refuses by itself, in the dialect that was spoken."""
    assert isinstance(error, HTTPException)
    kind = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "validation")
    refusal = Refusal(error.status_code, kind, str(error.detail))
    headers = dict(error.headers or {})
    if error.status_code == 405 and request.url.path in request.app.state.methods:
        headers["Allow"] = ", ".join(sorted(request.app.state.methods[request.url.path]))
    return json_response(refused(refusal, request.url.path), refusal.status, headers)


def _methods(routes: Iterable[object]) -> dict[str, set[str]]:
    """The methods of each path, of whichever routes."""
    methods: dict[str, set[str]] = {}
    for route in routes:
        methods.setdefault(getattr(route, "path", ""), set()).update(getattr(route, "methods", None) or ())
    return methods
