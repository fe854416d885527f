"""What is round every request: its id, its key, its time, and its line in the log. No text is ever logged."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from classtune.server.dialects import Refusal, refused
from classtune.server.metrics import Metrics

# Asked by whoever watches over servers, who should hold no key.
OPEN_PATHS = frozenset({"/health", "/ready"})
_BEARER = b"Bearer"
_PASSWORD = b'Basic realm="classtune: any name, and a key as the password", charset="UTF-8"'
_GOOD_ID = re.compile(rb"[!-~]{1,128}")


def log(event: str, *, level: str = "info", **particulars: Any) -> None:
    """One line of JSON on standard error."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"time": now, "level": level, "event": event, **particulars}, ensure_ascii=False, default=str)
    print(line, file=sys.stderr, flush=True)


class RequestMiddleware:
    """ASGI middleware. keys: one must be shown, if there are any. paths: the API's routes, which metrics count by name.

    Clients of the API show a key as a bearer. Everything else is for browsers, which ask for a password: a key is one.
    """

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
        offered = headers.get(b"x-request-id", b"")
        identity = offered.decode("ascii") if _GOOD_ID.fullmatch(offered) else uuid.uuid4().hex
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
            if path in OPEN_PATHS or self._opens(headers, path):
                await self.app(scope, receive, sending)
            else:
                refusal = Refusal(401, "unauthorized", "Show a key: Authorization: Bearer KEY.")
                await _refuse(refusal, path, sending, asks=_BEARER if path in self._paths else _PASSWORD)
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

    def _opens(self, headers: Mapping[bytes, bytes], path: str) -> bool:
        """Whether a key is shown that opens; every key is compared, each in constant time."""
        kind, _, key = headers.get(b"authorization", b"").partition(b" ")
        wanted = b"bearer"
        # A browser sends the password along whichever site asks: never to the API, and not for another site's page.
        origin = headers.get(b"origin")
        at_home = origin is None or origin.partition(b"://")[2] == headers.get(b"host")
        if kind.lower() == b"basic" and path not in self._paths and at_home:
            wanted, key = b"basic", _password(key)
        fits = [hmac.compare_digest(key.strip(), known) for known in self._keys]
        return not self._keys or (any(fits) and kind.lower() == wanted)


def _password(shown: bytes) -> bytes:
    """What stands behind the user's name, which may be any."""
    try:
        return base64.b64decode(shown, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


async def _refuse(refusal: Refusal, path: str, send: Send, *, asks: bytes | None = None) -> None:
    body = json.dumps(refused(refusal, path)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if asks is not None:
        headers.append((b"www-authenticate", asks))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
