"""Connections, bounded: no more than there are file descriptors for, and none that never finishes its headers.

uvicorn bounds neither. With every descriptor in use no request is accepted any more, not even `/health`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# Seconds until a request's headers must have arrived.
HEADER_SECONDS = 10.0
# Descriptors that are left for files: bundles that are looked at, tables of the page.
_RESERVED = 64
_MOST = 65_536
_LOG_EVERY = 10.0  # seconds
_BODY = json.dumps({"error": "Too many connections. Try again in a moment.", "error_type": "overloaded"}).encode()
_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)


def most_connections() -> int:
    """How many connections the process has descriptors for; raises its soft limit to the hard one where it may."""
    if sys.platform == "win32":
        return 400  # select() takes 512 there
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    limit = _MOST if soft == resource.RLIM_INFINITY else min(soft, _MOST)
    return max(4, limit - _open_descriptors() - _RESERVED)


def _open_descriptors() -> int:
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:
        return 64


@dataclass
class Limits:
    """What the connections of a server share. log: called with an event; logged: when it last was."""

    most: int
    seconds: float
    log: Callable[..., None]
    logged: float = -_LOG_EVERY


class Connection(H11Protocol):
    """One of a bounded number; see `bounded_connections`."""

    limits: Limits
    _timer: asyncio.TimerHandle | None = None
    idle_since = 0.0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.idle_since = time.monotonic()
        self._timer = self.loop.call_later(self.limits.seconds, self._close)
        if len(self.connections) > self.limits.most:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        headers_under_way = self.conn.their_state is h11.IDLE
        if headers_under_way or (self.cycle is not None and self.cycle.response_complete):
            if self._timer is None:
                self._timer = self.loop.call_later(self.limits.seconds, self._close)
        else:
            self._stop_timer()

    def on_response_complete(self) -> None:
        self.idle_since = time.monotonic()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _make_room(self) -> None:
        if (now := time.monotonic()) - self.limits.logged >= _LOG_EVERY:
            self.limits.logged = now
            self.limits.log("too_many_connections", level="warning", most=self.limits.most)
        others = [each for each in self.connections if isinstance(each, Connection) and each is not self]
        idle = [other for other in others if other.cycle is None or other.cycle.response_complete]
        if idle:
            oldest = min(idle, key=lambda other: other.idle_since)
            oldest.transport.abort()
            self.connections.discard(oldest)
        else:
            self.transport.write(_REFUSAL)
            self.transport.close()


def bounded_connections(most: int, log: Callable[..., None], seconds: float = HEADER_SECONDS) -> type[H11Protocol]:
    """uvicorn's HTTP protocol with at most ``most`` connections, each of which has ``seconds`` for its headers.

    Where all are in use, the connection that has been idle longest is closed for a new one; where none is idle, the new
    one is refused with 503, so that nobody waits without an answer. log: called with the event, now and then.
    """
    return type("BoundedConnection", (Connection,), {"limits": Limits(most, seconds, log)})
