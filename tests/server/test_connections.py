"""Connections are bounded: slow ones are closed, and with every descriptor in use the server still answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from classtune.server.connections import bounded_connections, most_connections

SECONDS = 20
QUESTION = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def answer(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    while scope["path"] == "/wait" and not RELEASED.is_set():
        await asyncio.sleep(0.01)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


RELEASED = threading.Event()


@contextlib.contextmanager
def serving(most: int, seconds: float) -> Iterator[tuple[int, list[str]]]:
    """The port of a server with such connections, and the events that it has logged."""
    events: list[str] = []
    protocol = bounded_connections(most, lambda event, **_: events.append(event), seconds)
    config = uvicorn.Config(answer, log_config=None, http=protocol, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield port, events
        finally:
            RELEASED.set()
            server.should_exit = True
            thread.join(SECONDS)
            assert not thread.is_alive()
            RELEASED.clear()


def connect(port: int, send: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
    connection.sendall(send)
    return connection


def answered(connection: socket.socket) -> bool:
    received = b""
    while not received.endswith(b"ok"):
        if not (chunk := connection.recv(1000)):
            return False
        received += chunk
    return received.startswith(b"HTTP/1.1 200")


def closed(connection: socket.socket) -> bool:
    """Waits until the other side closes."""
    try:
        return connection.recv(1000) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "])
def test_headers_that_never_end_are_not_waited_for(sent: bytes) -> None:
    with serving(100, 0.2) as (port, _), connect(port, sent) as slow:
        assert closed(slow)


def test_a_connection_that_has_been_answered_is_not_slow() -> None:
    with serving(100, 0.2) as (port, _), connect(port, QUESTION) as kept:
        assert answered(kept)
        time.sleep(0.5)
        kept.sendall(QUESTION)
        assert answered(kept)
        kept.sendall(b"GET /")  # a second request that never ends
        assert closed(kept)


def test_where_all_are_in_use_the_longest_idle_makes_room() -> None:
    with serving(4, SECONDS) as (port, events), contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connect(port, b"GET /")) for _ in range(4)]
        time.sleep(0.1)
        with connect(port, QUESTION) as another:
            assert answered(another)
        assert closed(idle[0])
        assert events == ["too_many_connections"]


def test_where_none_is_idle_a_new_one_is_told_so() -> None:
    with serving(2, SECONDS) as (port, events), contextlib.ExitStack() as stack:
        busy = [stack.enter_context(connect(port, QUESTION.replace(b"/ ", b"/wait "))) for _ in range(2)]
        time.sleep(0.2)
        with connect(port) as another:
            head, _, body = another.recv(1000).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503")
        assert json.loads(body)["error_type"] == "overloaded"
        assert events == ["too_many_connections"]
        RELEASED.set()
        assert all(answered(connection) for connection in busy)


def test_there_are_descriptors_for_all_connections() -> None:
    pytest.importorskip("resource", reason="descriptors are counted on Unix")
    import resource

    assert 4 <= most_connections() < resource.getrlimit(resource.RLIMIT_NOFILE)[0]
