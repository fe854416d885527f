"""The page that is tried, over made-up bundles, and a visit to it in a real browser; docs/pictures.py pays one too."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from classtune.config import Progress
from classtune.decisions.abstention import Abstention
from classtune.decisions.decisions import Decisions
from classtune.explain.neighbours import Neighbours
from classtune.inference.predictor import Predictor
from classtune.server.page.app import mount_page

SPAM, HAM = "win a prize, call now 3 today", "see you at 4 then, mate"
# Gradio's own: at the end of an upload, and where a column is called as a group of its translations is.
HARMLESS = ("Method not implemented.", "[svelte-i18n] Message with id")
EVIL = "<img src=x onerror=\"console.error('ran')\"> <b>win</b> ${1+1} {{value}} a prize"
WIDTHS = (360, 1280)
# Gradio's queue counts its calls in a way that pandas will drop.
MARKS = [
    pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting' is deprecated"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
]


@dataclass(frozen=True)
class Offered:
    """What the server hands to the page."""

    name: str
    folder: Path
    predictor: Predictor
    record: dict[str, Any]
    neighbours: Neighbours | None

    def probabilities(
        self, texts: Sequence[str], *, places: Sequence[str], progress: Progress | None = None
    ) -> NDArray[np.float64]:
        return self.predictor.probabilities(texts, places=places, progress=progress)


@dataclass(frozen=True)
class Site:
    """The running server."""

    address: str
    feedback: Path


def careful(decisions: Decisions) -> Decisions:
    """The same, answering only when surer than it ever is."""
    promise = Abstention(
        max_error=0.01,
        threshold=0.999999,
        rows=500,
        answered=400,
        errors=0,
        error_bound=0.008,
        answered_share=0.8,
        answered_ci95=(0.7, 0.9),
        rows_needed=300,
        sentence="",
    )
    return replace(decisions, thresholds=None, abstention=promise)


def reading(bundle: Offered, columns: dict[str, str]) -> Offered:
    """The bundle as if its table had had these columns."""
    return replace(bundle, record={**bundle.record, "data": {"columns": columns}})


@contextlib.contextmanager
def running(bundles: list[Offered], feedback: Path) -> Iterator[Site]:
    """A server with the page, and one route of an API before it."""
    import uvicorn
    from fastapi import FastAPI

    app = FastAPI(docs_url=None, redoc_url=None)
    app.add_api_route("/health", lambda: {"status": "ok"})
    mount_page(app, bundles, feedback=feedback)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < deadline
        assert thread.is_alive()
        time.sleep(0.05)
    yield Site(f"http://127.0.0.1:{port}/page/", feedback)
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


class Visit:
    """The page opened in a context of its own; whatever leaves this machine or is complained about fails the test."""

    def __init__(self, browser: Any, site: Site, width: int = 1280, **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        self.context.set_default_timeout(20_000)
        self.address = site.address.removesuffix("page/")
        self.outside: list[str] = []
        self.complaints: list[str] = []
        self.context.route("**/*", self._answer)
        self.page = self.context.new_page()
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(site.address)
        self.page.locator(".ct-examples button").first.wait_for()
        self.page.wait_for_timeout(700)  # Gradio listens a moment after it shows, and gives no sign of it

    @property
    def box(self) -> Any:
        return self.page.get_by_label("Your text")

    def ask(self, text: str) -> None:
        """Type a text, press Enter and wait for answer and reasons."""
        self.box.fill(text)
        self.box.press("Enter")
        self.page.locator("h2", has_text="Which words speak for").wait_for()

    def choose(self, name: str) -> None:
        """Take another classifier."""
        self.page.get_by_label("Classifier").click()
        self.page.get_by_role("option", name=name).click()

    def fits(self) -> bool:
        """Whether nothing sticks out to the side, on a telephone and on a wide screen."""
        before, found = self.page.viewport_size, []
        for width in WIDTHS:
            self.page.set_viewport_size({"width": width, "height": 900})
            found.append(self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"))
        self.page.set_viewport_size(before)
        return all(found)

    def _answer(self, route: Any) -> None:
        if route.request.url.startswith((self.address, "data:", "blob:")):
            route.continue_()
        else:
            self.outside.append(route.request.url)
            route.abort()

    def _listen(self, message: Any) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(HARMLESS):
            self.complaints.append(message.text)

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.context.close()
        if kind is None:
            assert (self.outside, self.complaints) == ([], [])
