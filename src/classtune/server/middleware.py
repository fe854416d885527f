"""What is round every request: its id, its key, its time, and its line in the log. No text is ever logged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import threading
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from classtune.errors import C1_ESCAPES
from classtune.server.access import Access
from classtune.server.dialects.refusals import Refusal, refused
from classtune.server.metrics import Metrics

_WRITING = threading.Lock()
_GOOD_ID = re.compile(rb"[!-~]{1,128}")
# What is read on of a request that was refused before its end, and for how long: a connection that is closed with bytes
# under way is reset, and the client never sees why.
_UNREAD_BYTES, _UNREAD_SECONDS = 1 << 26, 5


def log(event: str, *, level: str = "info", **particulars: Any) -> None:
    """One line of JSON on standard error."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"time": now, "level": level, "event": event, **particulars}, ensure_ascii=False, default=str)
    line = line.translate(C1_ESCAPES)  # a path may hold them, and a terminal would run them
    with _WRITING:  # `print` writes the end of a line by itself, and another thread's line may come before it
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


class RequestMiddleware:
    """ASGI middleware. access: who may ask; its ``api`` paths are those that metrics count by name."""

    def __init__(self, app: ASGIApp, *, access: Access, metrics: Metrics) -> None:
        self.app = app
        self._access = access
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        path: str = scope["path"]
        headers = dict(scope["headers"])
        offered = headers.get(b"x-request-id", b"")
        identity = offered.decode("ascii") if _GOOD_ID.fullmatch(offered) else uuid.uuid4().hex
        state = scope.setdefault("state", {})
        state["request_id"] = identity
        status = 0
        body = _Body(receive, headers)

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status >= 400:
                    await body.drain()
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", identity.encode())]
            await send(message)

        try:
            refusal = self._access.refusal(headers, scope["method"], path)
            if refusal is None:
                await self.app(scope, body.receive, sending)
            else:
                await _refuse(refusal[0], path, sending, asks=refusal[1])
        except ClientDisconnect:
            status = 499  # as nginx calls it
        except asyncio.CancelledError:  # the server stops, and the time for what was under way is over
            if status:
                raise
            sentence = "The server stopped before this was done. Send it again."
            await _refuse(Refusal(503, "unhealthy", sentence), path, sending)
        except Exception as error:  # a fault of ours: said in the log, not to the client
            log("failed", level="error", request_id=identity, error=repr(error))
            if not status:
                await _refuse(Refusal(500, "internal", "The server failed. Its log says why."), path, sending)
        finally:
            seconds = time.perf_counter() - began
            self._metrics.request(path if path in self._access.api else "other", status, seconds)
            log(
                "request",
                request_id=identity,
                method=scope["method"],
                path=path,
                status=status,
                ms=round(1000 * seconds, 2),
                **state.get("noted", {}),
            )


class _Body:
    """A request's body on its way in. A client that waits for "100 Continue" has sent none of it."""

    def __init__(self, receive: Receive, headers: dict[bytes, bytes]) -> None:
        self._receive = receive
        announced = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
        self._more = announced and b"expect" not in headers

    async def receive(self) -> Message:
        message = await self._receive()
        self._more = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Read the rest, within limits, and forget it."""
        left = _UNREAD_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_UNREAD_SECONDS):
                while self._more and left > 0:
                    left -= len((await self.receive()).get("body", b""))


async def _refuse(refusal: Refusal, path: str, send: Send, *, asks: bytes | None = None) -> None:
    body = json.dumps(refused(refusal, path)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if asks is not None:
        headers.append((b"www-authenticate", asks))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
