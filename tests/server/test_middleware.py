"""What is round every request: a refusal that reaches whoever sends more than is taken, and a log that is only read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from classtune.server.access import Access
from classtune.server.metrics import Metrics
from classtune.server.middleware import RequestMiddleware, log
from classtune.server.settings import ServeSettings

PARTS = 5


def asked(headers: dict[bytes, bytes], status: int) -> list[str]:
    """What happens, in its order, when the app answers with this status and reads nothing of a body in parts."""
    happened: list[str] = []
    parts = iter(range(PARTS, 0, -1))

    async def receive() -> dict[str, Any]:
        happened.append("read")
        return {"type": "http.request", "body": b"a" * 100, "more_body": next(parts) > 1}

    async def send(message: dict[str, Any]) -> None:
        happened.append(message["type"])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": list(headers.items())}
    middleware = RequestMiddleware(app, access=Access.of(ServeSettings(), (), frozenset()), metrics=Metrics())
    asyncio.run(middleware(scope, receive, send))  # type: ignore[arg-type]
    return happened


ANSWERED = ["http.response.start", "http.response.body"]
HEADERS = {b"host": b"127.0.0.1", b"content-length": b"500"}


@pytest.mark.parametrize(
    ("headers", "status", "read"),
    [
        (HEADERS, 413, PARTS),
        ({b"host": b"127.0.0.1", b"transfer-encoding": b"chunked"}, 415, PARTS),
        ({**HEADERS, b"host": b"elsewhere"}, 200, PARTS),  # refused before the app is asked
        (HEADERS, 200, 0),
        ({**HEADERS, b"expect": b"100-continue"}, 413, 0),  # it has sent nothing yet
        ({b"host": b"127.0.0.1"}, 404, 0),
    ],
)
def test_who_sends_more_than_is_taken_hears_why(headers: dict[bytes, bytes], status: int, read: int) -> None:
    """A connection that is closed with bytes under way is reset, and the answer with it."""
    assert asked(headers, status) == ["read"] * read + ANSWERED


def test_a_log_line_runs_nothing_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    log("request", path="/\x1b[31m\x9b31m\x7f")
    assert "/\\u001b[31m\\u009b31m\\u007f" in capsys.readouterr().err
