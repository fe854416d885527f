"""What is round every request: its id, its key, its time, and its line in the log. No text is ever logged."""

from __future__ import annotations

import hmac
import json
import re
import sys
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from classtune.serving.http.dialects import Refusal, refused
from classtune.serving.http.metrics import Metrics

# Asked by whoever watches over servers, who should hold no key.
OPEN_PATHS = frozenset({"/health", "/ready"})
_GOOD_ID = re.compile(rb"[!-~]{1,128}")


def log(event: str, *, level: str = "info", **particulars: Any) -> None:
    """One line of JSON on standard error."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"time": now, "level": level, "event": event, **particulars}, ensure_ascii=False, default=str)
    print(line, file=sys.stderr, flush=True)


class Envelope:
    """ASGI middleware. keys: one must be shown, if there are any. paths: routes that metrics count by name."""

    def __init__(self, app: ASGIApp, *, keys: Sequence[str], metrics: Metrics, paths: frozenset[str]) -> None:
        self.app = app
        self._keys = [key.encode() for key in keys]
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        path: str = scope["path"]
        headers = dict(scope["headers"])
        told = headers.get(b"x-request-id", b"")
        identity = told.decode("ascii") if _GOOD_ID.fullmatch(told) else uuid.uuid4().hex
        state = scope.setdefault("state", {})
        state["request_id"] = identity
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", identity.encode())]
            await send(message)

        try:
            if path in OPEN_PATHS or self._opens(headers.get(b"authorization", b"")):
                await self.app(scope, receive, sending)
            else:
                await _refuse(Refusal(401, "unauthorized", "Show a key: Authorization: Bearer KEY."), path, sending)
        except ClientDisconnect:
            status = 499  # as nginx calls it
        except Exception as error:  # a fault of ours: said in the log, not to the client
            log("failed", level="error", request_id=identity, error=repr(error))
            if not status:
                await _refuse(Refusal(500, "internal", "The server failed. Its log says why."), path, sending)
        finally:
            seconds = time.perf_counter() - began
            self._metrics.request(path if path in self._paths else "other", status, seconds)
            log(
                "request",
                request_id=identity,
                method=scope["method"],
                path=path,
                status=status,
                ms=round(1000 * seconds, 2),
                **state.get("noted", {}),
            )

    def _opens(self, shown: bytes) -> bool:
        """Whether a key is shown that opens; every key is compared, each in constant time."""
        kind, _, key = shown.partition(b" ")
        fits = [hmac.compare_digest(key.strip(), known) for known in self._keys]
        return not self._keys or (any(fits) and kind.lower() == b"bearer")


async def _refuse(refusal: Refusal, path: str, send: Send) -> None:
    body = json.dumps(refused(refusal, path)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
