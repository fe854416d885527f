"""The page in a real browser: it asks for nothing, fits a telephone, and can be read, heard and printed.

Needs Playwright and a Chromium of the system (``CLASSTUNE_CHROMIUM`` names another one); skipped without them.
"""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_browser import CONTRAST
from made_up import EVIL, full, multilabel
from PIL import Image

from classtune.report.page import write_report

pytest_plugins = ["browser_fixture"]

NASTY = (
    *("ham", "spam", EVIL, "عاجل: رسالة مزعجة", "😀👩‍👩‍👧 party", "感情・分類", "_hidden $a$ 5 % & more"),
    "a_label_that_is_one_very_long_word_" * 4,
)
DOCUMENTS = {
    "nasty": lambda: full(NASTY, 300),
    "77 classes": lambda: full(tuple(f"request_about_card_payment_{i}" for i in range(77)), 1500),
    "several labels": multilabel,
}
WIDTHS = (360, 1280)

UNNAMED_FIGURES = """() => [...document.querySelectorAll("svg")].filter(svg =>
  svg.getAttribute("role") !== "img" || !svg.getAttribute("aria-label")
  || svg.querySelector(":scope > title")?.textContent !== svg.getAttribute("aria-label")).length"""
HEADINGS = (
    """() => [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].map(heading => Number(heading.tagName[1]))"""
)
BROKEN_ANCHORS = """() => [...document.querySelectorAll("a")].map(a => a.getAttribute("href"))
  .filter(target => !document.getElementById(target.slice(1)))"""
HEADERLESS = """() => [...document.querySelectorAll("th:not([scope])")].length
  + [...document.querySelectorAll("table")].filter(table => !table.caption).length"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report of each document."""
    folder = tmp_path_factory.mktemp("reports")
    for name, document in DOCUMENTS.items():
        write_report(folder / f"{name}.html", document())
    return {name: folder / f"{name}.html" for name in DOCUMENTS}


class Visit:
    """A page opened in a context of its own, with everything that it asked for and complained about."""

    def __init__(self, browser: Any, file: Path, width: int = 1280, **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page = self.context.new_page()
        self.page.route("**/*", self._answer)
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(file.as_uri())
        self.page.wait_for_load_state("networkidle")

    def _answer(self, route: Any) -> None:
        if route.request.url.startswith(("file:", "data:", "about:")):
            route.continue_()
        else:
            self.asked.append(route.request.url)
            route.abort()

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("width", WIDTHS)
def test_page_asks_for_nothing_and_fits(browser: Any, pages: dict[str, Path], name: str, width: int) -> None:
    with Visit(browser, pages[name], width) as visit:
        assert (visit.asked, visit.complaints) == ([], [])
        visit.page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        # No cell is squeezed to a column of single letters.
        assert (
            visit.page.evaluate("Math.min(...[...document.querySelectorAll('td:not(.n)')].map(c => c.offsetWidth))")
            > 80
        )


@pytest.mark.parametrize("name", DOCUMENTS)
def test_page_can_be_heard(browser: Any, pages: dict[str, Path], name: str) -> None:
    with Visit(browser, pages[name]) as visit:
        assert visit.page.locator("svg").count() >= 7
        assert visit.page.evaluate(UNNAMED_FIGURES) == 0
        assert visit.page.evaluate(HEADERLESS) == 0
        assert visit.page.evaluate(BROKEN_ANCHORS) == []
        levels = visit.page.evaluate(HEADINGS)
        assert levels.count(1) == 1
        assert levels[0] == 1
        assert all(level <= before + 1 for before, level in itertools.pairwise(levels))
        assert visit.page.evaluate("document.documentElement.lang") == "en"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(browser: Any, pages: dict[str, Path], scheme: str) -> None:
    with Visit(browser, pages["nasty"], color_scheme=scheme) as visit:
        ground = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 26)")
        visit.page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
        contrasts = visit.page.evaluate(CONTRAST)
        assert len(contrasts) > 300
        assert [entry for entry in contrasts if entry[0] < 4.5] == []


def test_page_needs_no_script(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["77 classes"], java_script_enabled=False) as visit:
        folded = visit.page.locator("details", has_text="All 77 classes").first
        row = folded.locator("tbody th").last
        assert not row.is_visible()
        folded.locator("summary").click()
        assert row.is_visible()


def test_page_prints_what_is_folded_too(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["77 classes"]) as visit:
        shown = visit.page.pdf(format="A4")
        visit.page.emulate_media(media="print")
        assert visit.page.locator("details tbody th").first.is_visible()
        assert not visit.page.locator("nav").is_visible()
    assert shown.startswith(b"%PDF")
    assert len(shown) > 50_000


def test_a_table_shows_on_which_side_it_goes_on(browser: Any, pages: dict[str, Path]) -> None:
    """By a shade at that side, for a telephone shows no scroll bar."""

    def edges(table: Any) -> tuple[float, float]:
        """How light its left and its right end are, 0 black … 255 white."""
        with Image.open(io.BytesIO(table.screenshot())) as picture:
            grey = np.asarray(picture.convert("L"))
        return float(np.median(grey[:, 1])), float(np.median(grey[:, -2]))

    with Visit(browser, pages["nasty"], 390) as visit:
        tables = visit.page.locator(".scroll")
        wide = [table for table in tables.all() if table.evaluate("one => one.scrollWidth > one.clientWidth + 40")]
        assert wide
        at_start = edges(wide[0])
        wide[0].evaluate("one => { one.scrollLeft = one.scrollWidth; }")
        at_end = edges(wide[0])
        assert at_start[0] > 250 > at_start[1]
        assert at_end[1] > 250 > at_end[0]
        narrow = next(table for table in tables.all() if table.evaluate("one => one.scrollWidth <= one.clientWidth"))
        assert min(edges(narrow)) > 250
