"""Standard streams as a command finds them: closed, on a full disk, or in an encoding that lacks characters."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast


class _Watched:
    """A stream that remembers whether it could not be written to. heedless: what it cannot write is lost without a
    word, and the work goes on."""

    def __init__(self, stream: TextIO, *, heedless: bool = False) -> None:
        self._stream, self._heedless = stream, heedless
        self.lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._tried(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._tried(self._stream.flush)

    def _tried(self, call: Callable[..., Any], *arguments: str) -> None:
        try:
            call(*arguments)
        except OSError:
            self.lost = True
            if not self._heedless:
                raise


@contextlib.contextmanager
def standard_streams() -> Iterator[Callable[[], bool]]:
    """Within, all three are there; standard error takes anything, and characters that standard output lacks are shown
    by their codes. Gives whether standard output could not be written to; what waits for it is then forgotten, so that
    nothing fails again at the end."""
    with contextlib.ExitStack() as opened:
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass  # else the next file that is opened would be it, and hold what is printed
        os.close(number)
        nothing = opened.enter_context(open(os.devnull, "r+", encoding="utf-8"))
        given = sys.stdin, sys.stdout, sys.stderr
        if hasattr(given[1], "reconfigure"):
            given[1].reconfigure(errors="backslashreplace")
        output = _Watched(given[1] or nothing)

        def is_lost() -> bool:
            if output.lost:
                os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())
            return output.lost

        sys.stdin = given[0] or nothing
        sys.stdout = cast(TextIO, output)
        sys.stderr = cast(TextIO, _Watched(given[2] or nothing, heedless=True))
        try:
            yield is_lost
        finally:
            sys.stdin, sys.stdout, sys.stderr = given
