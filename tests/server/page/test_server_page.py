"""The page in a real browser: every control used, nothing asked of other machines, readable at both widths.

Needs Gradio, Playwright and a Chromium of the system (``CLASSTUNE_CHROMIUM`` names another one); skipped without them.
docs/pictures.py takes the pictures in docs/ with what stands here.
"""

from __future__ import annotations

import contextlib
import csv
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from in_browser import BROKEN_WORDS, CONTRAST
from numpy.typing import NDArray
from small import one_thread, pair_rows, write_csv
from written import xlsx

from classtune.bundle import read_held_out
from classtune.config import Progress
from classtune.data.reading.cells import paired, parts_of
from classtune.data.reading.columns import TableFormat
from classtune.data.reading.tables import read_table
from classtune.decisions.abstention import Abstention
from classtune.decisions.decisions import Decisions
from classtune.errors import DataError, UserError
from classtune.explain.neighbours import Neighbours
from classtune.inference.predictor import Predictor, load_predictor
from classtune.inference.runtimes import ExportedNetwork
from classtune.server.page import html as wording
from classtune.server.page.actions import Page, feedback_file
from classtune.server.page.app import mount_page
from classtune.server.page.uploads import FileColumns

pytest_plugins = ["browser_fixture", "bundle_fixtures"]
# Gradio's queue counts its calls in a way that pandas will drop.
pytestmark = [
    pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting' is deprecated"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
]
# Gradio's own: at the end of an upload, and where a column is called as a group of its translations is.
HARMLESS = ("Method not implemented.", "[svelte-i18n] Message with id")

SPAM, HAM = "win a prize, call now 3 today", "see you at 4 then, mate"
EVIL = "<img src=x onerror=\"console.error('ran')\"> <b>win</b> ${1+1} {{value}} a prize"
WIDTHS = (360, 1280)


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


@pytest.fixture(scope="module")
def site(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The page over four bundles: one that answers, one that never does, one of several labels without a report, one
    whose table had pairs and columns beside them."""
    pytest.importorskip("gradio", reason='gradio is not installed (pip install "classtune[ui]")')
    folder = tmp_path_factory.mktemp("page")
    predictor, bundle = load_predictor(small_bundle)
    near = Neighbours.load(small_bundle)

    def offered(name: str, decisions: Decisions, where: Path = small_bundle) -> Offered:
        return Offered(name, where, Predictor(predictor.network, predictor.labels, decisions), bundle.record, near)

    bundles = [
        offered("messages", predictor.decisions),
        offered("careful", careful(predictor.decisions)),
        offered("topics", Decisions.plain(predictor.labels, multi=True), folder),
        reading(offered("answers", predictor.decisions), {"text": "question", "pair": "reply", "with": "price,day"}),
    ]
    with one_thread(), running(bundles, folder / "feedback.jsonl") as site:
        yield site


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


def test_an_export_answers_and_says_that_it_cannot_explain(small_bundle: Path, tmp_path: Path) -> None:
    predictor, bundle = load_predictor(small_bundle)
    network = ExportedNetwork(lambda inputs, output: np.zeros((len(inputs[0]), 2)), predictor.encoder)
    export = Predictor(network, predictor.labels, Decisions.plain(predictor.labels))
    page = Page([Offered("export", tmp_path, export, bundle.record, None)], None)
    answer, asked = page.classify("export", SPAM)
    assert "50" in answer
    assert "not by an export of it" in page.why(asked)


def test_text_is_answered_explained_and_judged(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        page = visit.page
        assert page.get_by_role("heading", level=1).inner_text() == "Is your text ham or spam?"
        assert visit.fits()
        visit.ask(SPAM)
        assert page.locator(".ct-answer strong").inner_text() == "spam"
        assert page.locator(".ct-bars li").count() == 2
        assert page.locator(".explanation span").count() > 0
        near = page.locator(".ct-near li")
        assert near.count() == 3
        assert "prize" in near.first.inner_text()
        assert visit.fits()
        page.get_by_role("button", name="Yes").click()
        page.get_by_text("Thank you. Kept in feedback-messages.jsonl").wait_for()
        assert not page.get_by_role("button", name="Yes").is_visible()

        page.get_by_role("button", name="see you at").click()  # an example
        page.locator(".ct-answer strong", has_text="ham").wait_for()
        page.get_by_role("button", name="No", exact=True).click()
        page.get_by_label("The right label").click()
        page.get_by_role("option", name="spam").click()
        page.get_by_role("button", name="Keep this").click()
        page.get_by_text("Thank you.").wait_for()
    table = read_table(feedback_file(site.feedback, "messages", 4))
    assert table.texts[-2] == SPAM
    assert table.labels is not None
    assert table.labels[-2:] == ["spam", "spam"]


def test_on_a_phone_the_answer_is_in_view_above_the_examples(browser: Any, site: Site) -> None:
    with Visit(browser, site, 360) as visit:
        page = visit.page
        page.set_viewport_size({"width": 360, "height": 640})
        visit.ask(SPAM)
        page.wait_for_timeout(300)
        answer = page.locator(".ct-answer").bounding_box()
        assert 0 <= answer["y"] <= 640 - answer["height"]
        assert answer["y"] < page.locator(".ct-examples button").first.bounding_box()["y"]
        assert "of its answers were right (95\u00a0% interval" in page.get_by_text("How good is it?").inner_text()


def test_how_to_ask_from_code_names_the_address_that_the_page_was_asked_by(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        visit.page.get_by_text("Use from code").click()
        code = visit.page.locator(".ct-code").first
        code.wait_for()
        assert f"curl {visit.address.rstrip('/')}/predict" in code.inner_text()


def test_an_answer_that_is_withheld_is_said_in_plain_words(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        page = visit.page
        visit.choose("careful")
        visit.ask(SPAM)
        page.locator(".ct-answer", has_text="No answer").wait_for()
        assert "so that at most 1 in 100 answers are wrong" in page.locator(".ct-answer + p").inner_text()
        assert page.locator(".ct-given").count() == 0
        assert not page.get_by_role("button", name="Yes").is_visible()
        page.get_by_role("button", name="Keep this").click()  # nothing chosen yet
        page.get_by_role("alert").filter(has_text="Choose one").wait_for()
        page.get_by_label("The right label").click()
        page.get_by_role("option", name="ham").click()
        page.get_by_role("button", name="Keep this").click()
        page.get_by_text("Thank you.").wait_for()
    (line,) = lines(feedback_file(site.feedback, "careful", 4))
    assert (line["text"], line["label"], line["answer"]) == (SPAM, "ham", None)


def test_an_answer_stays_that_is_asked_while_another_classifier_opens(
    browser: Any, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    heading = Page.heading

    def slow(page: Page, name: str) -> str:
        time.sleep(2)
        return heading(page, name)

    monkeypatch.setattr(Page, "heading", slow)
    with Visit(browser, site) as visit:
        visit.choose("careful")
        visit.ask(SPAM)
        visit.page.wait_for_timeout(2500)
        assert "No answer" in visit.page.locator(".ct-answer").inner_text()


def test_several_labels_are_chosen_and_kept(browser: Any, site: Site) -> None:
    with Visit(browser, site, 360) as visit:
        page = visit.page
        visit.choose("topics")
        page.get_by_role("heading", level=1, name="Which of these fit your text: ham or spam?").wait_for()
        visit.ask(SPAM)
        page.get_by_role("button", name="No", exact=True).click()
        for label in ("ham", "spam"):
            page.get_by_label("The right label").click()
            page.get_by_role("option", name=label).click()
        page.keyboard.press("Escape")
        assert visit.fits()
        page.get_by_role("button", name="Keep this").click()
        page.get_by_text("Thank you.").wait_for()
        page.get_by_role("tab", name="Report").click()
        page.get_by_text("This classifier came without a report.").wait_for()
    (line,) = lines(feedback_file(site.feedback, "topics", 4))
    assert line["label"] == ["ham", "spam"]


def test_markup_in_a_text_is_shown_and_never_run(browser: Any, site: Site) -> None:
    with Visit(browser, site, 360) as visit:
        visit.ask(EVIL + "x" * 60)
        assert visit.page.locator(".explanation").inner_text().startswith(EVIL)
        assert visit.page.locator(".ct-page img").count() == 0
        assert visit.fits()


def test_page_works_by_keyboard_alone(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        page = visit.page
        focused = "document.activeElement.innerText || document.activeElement.getAttribute('aria-label')"
        page.keyboard.type("win a prize")  # the box has the focus
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("now")
        assert visit.box.input_value() == "win a prize\nnow"
        page.wait_for_timeout(500)  # Gradio draws the box anew after typing
        page.keyboard.press("Tab")
        page.wait_for_function(f"({focused}) === 'Classify'")
        page.keyboard.press("Enter")
        page.locator("h2", has_text="Which words speak for").wait_for()
        reached = []
        for _ in range(2):
            page.keyboard.press("Tab")
            reached.append(page.evaluate(focused))
        assert reached == ["Yes", "No"]
        page.keyboard.press("Enter")
        page.get_by_label("The right label").wait_for()
        page.get_by_role("tab", name="One text").focus()
        for _ in range(2):
            page.keyboard.press("Tab" if page.evaluate(focused) == "One text" else "Enter")
        page.get_by_role("button", name="Classify the file").wait_for()


def test_no_text_and_no_file_are_told_in_place(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        visit.page.get_by_role("button", name="Classify").click()
        visit.page.get_by_role("alert").filter(has_text="There is no text yet.").wait_for()
        visit.ask(HAM)
        assert visit.page.get_by_role("alert").count() == 0
        visit.box.fill("win " * 100)
        visit.box.press("Enter")
        visit.page.get_by_role("alert").filter(has_text="Your text").wait_for()  # longer than the model takes
        visit.page.get_by_role("tab", name="A file").click()
        visit.page.get_by_role("button", name="Classify the file").click()
        visit.page.get_by_role("alert").filter(has_text="There is no file yet.").wait_for()


def test_file_becomes_a_table_to_take_away(browser: Any, site: Site, tmp_path: Path) -> None:
    file = tmp_path / "inbox.csv"
    with file.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened).writerows([("no", "first", "second"), (1, SPAM, "x"), (2, EVIL, "y"), (3, "", "z")])
    with Visit(browser, site, 360) as visit:
        page = visit.page
        page.get_by_role("tab", name="A file").click()
        page.locator("input[type=file]").set_input_files(file)
        page.get_by_label("Column with the texts").wait_for()
        page.get_by_role("button", name="Classify the file").click()
        assert not page.get_by_label("Column with the second texts").is_visible()
        problem = page.get_by_role("alert").filter(has_text="no column looks like the text")
        problem.wait_for()
        assert "Choose it in the list above." in problem.inner_text()
        assert "--" not in problem.inner_text()
        assert str(tmp_path) not in problem.inner_text()
        assert "gradio" not in problem.inner_text()
        page.get_by_label("Column with the texts").click()
        assert page.get_by_role("option").all_inner_texts() == ["no", "first", "second"]
        page.get_by_role("option", name="first").click()
        page.get_by_role("button", name="Classify the file").click()
        page.get_by_text("Left out, because they have no text: 1.").wait_for()
        assert page.locator(".ct-table tbody tr").count() == 2
        assert page.locator(".ct-table tbody tr").first.inner_text().split("\t")[:2] == [SPAM, "spam"]
        assert visit.fits()
        taken = {}
        for name in ("Download as Excel", "Download as CSV", "Download as JSON lines"):
            with page.expect_download() as download:
                page.get_by_role("button", name=name).click()
            taken[download.value.suggested_filename] = Path(download.value.path()).read_bytes()
    assert sorted(taken) == ["inbox-labels.csv", "inbox-labels.jsonl", "inbox-labels.xlsx"]
    kept = [(row["no"], row["first"]) for row in csv.DictReader(taken["inbox-labels.csv"].decode().splitlines())]
    assert kept == [("1", SPAM), ("2", EVIL)]
    first, _ = map(json.loads, taken["inbox-labels.jsonl"].decode().splitlines())
    assert first["label"] == "spam"
    assert taken["inbox-labels.xlsx"].startswith(b"PK")


def test_two_texts_are_asked_of_a_classifier_of_pairs(browser: Any, site: Site) -> None:
    with Visit(browser, site, 390) as visit:
        page = visit.page
        assert not page.get_by_label("Second text").is_visible()
        visit.choose("answers")
        page.get_by_role("heading", level=1, name="Is your pair of texts ham or spam?").wait_for()
        assert "read without price and day" in page.locator(".ct-lead").inner_text()
        page.get_by_label("First text (question)").fill("win a prize")
        page.get_by_label("First text (question)").press("Enter")
        page.get_by_role("alert").filter(has_text="There is no second text yet.").wait_for()
        page.get_by_label("Second text (reply)").fill("call now 3 today")
        page.get_by_label("Second text (reply)").press("Enter")
        page.locator("h2", has_text="Which words speak for").wait_for()
        assert page.locator(".explanation").inner_text().split() == ["win", "a", "prize", "call", "now", "3", "today"]
        assert visit.fits()
        page.get_by_role("button", name="Yes").click()
        page.get_by_text("Thank you.").wait_for()
        page.get_by_text("Use from code").click()
        assert page.locator(".ct-code").count() == 1  # the other clients cannot name a bundle
        code = page.locator(".ct-code").inner_text()
        assert f"{visit.address}predict" in code
        assert '"inputs": ["a text", "its pair"], "model": "answers"' in code
    (line,) = lines(feedback_file(site.feedback, "answers", 4))
    assert (line["question"], line["reply"]) == ("win a prize", "call now 3 today")


def test_columns_of_a_file_are_chosen_and_what_is_lacking_is_said(browser: Any, site: Site, tmp_path: Path) -> None:
    header, rows = (
        ["id", "question", "said", "day"],
        [[str(n), f"win a prize {n}", "call now", "Monday"] for n in range(3)],
    )
    file = tmp_path / "asked.csv"
    with file.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened).writerows([header, *rows])
    with Visit(browser, site, 390) as visit:
        page = visit.page
        page.get_by_role("tab", name="A file").click()
        page.locator("input[type=file]").set_input_files(file)
        page.get_by_label("Column with the texts").wait_for()
        assert page.get_by_label("Column with the texts").input_value() == "question"
        visit.choose("answers")
        page.get_by_text(
            "This classifier reads reply as the second text, and price and day beside the texts. This file has no "
            "column reply or price: choose another above, or add it."
        ).wait_for()
        page.get_by_role("button", name="Classify the file").click()
        problem = page.get_by_role("alert").filter(has_text="no column is called 'reply'")
        problem.wait_for()
        assert "--" not in problem.inner_text()
        with file.open("w", encoding="utf-8", newline="") as opened:
            csv.writer(opened).writerows([[*header, "price"], *([*row, "3"] for row in rows)])
        page.get_by_role("button", name="Clear").click()
        page.locator("input[type=file]").set_input_files(file)
        page.get_by_text("This file has no column reply: choose another above").wait_for()
        page.get_by_label("Column with the second texts").click()
        page.get_by_role("option", name="said").click()
        page.get_by_role("button", name="Classify the file").click()
        page.get_by_text("3 texts:").wait_for()
        assert page.locator(".ct-table tbody tr").first.inner_text().startswith("win a prize 0 call now")
        assert visit.fits()


def test_on_a_phone_no_word_is_broken_and_every_text_stands_out(browser: Any, site: Site, tmp_path: Path) -> None:
    file = write_csv(
        tmp_path / "inbox.csv", [(f"{HAM} and please answer my question about the delivery {n}", "x") for n in range(3)]
    )
    for scheme in ("light", "dark"):
        with Visit(browser, site, 390, color_scheme=scheme) as visit:
            page = visit.page
            visit.ask(SPAM)
            page.wait_for_timeout(500)  # Gradio fades in what it shows
            assert [entry for entry in page.evaluate(CONTRAST) if entry[0] < 4.5] == []
            assert page.evaluate(BROKEN_WORDS) == []
            page.get_by_role("tab", name="A file").click()
            page.locator("input[type=file]").set_input_files(file)
            page.get_by_label("Column with the texts").wait_for()
            page.get_by_role("button", name="Classify the file").click()
            page.get_by_text("3 texts:").wait_for()
            page.wait_for_timeout(500)
            assert [entry for entry in page.evaluate(CONTRAST) if entry[0] < 4.5] == []
            assert page.evaluate(BROKEN_WORDS) == []


def test_report_is_shown_from_this_server_and_opens_alone(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        page = visit.page
        page.get_by_role("tab", name="Report").click()
        page.frame_locator("iframe").get_by_role("heading", level=1).wait_for()
        with page.expect_popup() as popup:
            page.get_by_role("link", name="Open the report").click()
        assert popup.value.get_by_role("heading", level=1).count() == 1
        answer = page.request.get(site.address + "report/unknown")
        assert (answer.status, "There is no report" in answer.text()) == (404, True)
        assert page.request.get(visit.address + "health").json() == {"status": "ok"}  # the API is still there


def lines(file: Path) -> list[dict[str, Any]]:
    """What a feedback file holds."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_without_gradio_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match=r'pip install "classtune\[ui\]"'):
        mount_page(object(), [], feedback=None)  # type: ignore[arg-type]


def test_lists_hold_what_a_file_has_and_several_text_columns_as_one(small_bundle: Path, tmp_path: Path) -> None:
    predictor, bundle = load_predictor(small_bundle)
    whole = reading(
        Offered("messages", small_bundle, predictor, bundle.record, None), {"text": "subject,body", "label": "label"}
    )
    page, file = Page([whole], None), tmp_path / "mail.csv"
    file.write_text("id,subject,body\n1,win a prize,call now\n", encoding="utf-8")
    found = page.columns("messages", str(file))
    assert found.texts == [
        ("subject and body, joined", "subject,body"),
        ("id", "id"),
        ("subject", "subject"),
        ("body", "body"),
    ]
    assert (found.text, found.pairs, found.pair) == ("subject,body", [], None)
    assert "reads subject and body joined as the text. This file has all of these columns." in found.told
    shown, _ = page.classify_file("messages", str(file), found.text, tmp_path, lambda *_: None)
    assert "win a prize call now" in shown
    file.write_text("id,subject\n1,win a prize\n", encoding="utf-8")
    found = page.columns("messages", str(file))
    assert found.text is None
    assert "This file has no column body: choose another above, or add it." in found.told
    with pytest.raises(DataError, match=r"mail.csv: .* or choose one column in the list above\.") as caught:
        page.classify_file("messages", str(file), None, tmp_path, lambda *_: None)
    assert "--" not in str(caught.value)
    file.write_text("", encoding="utf-8")
    found = page.columns("messages", str(file))
    assert ([*found.texts], "mail.csv: the file is empty." in found.problem) == ([], True)
    assert page.columns("messages", None) == FileColumns()


NO_TABLES: dict[str, tuple[bytes, str]] = {
    "locked.xlsx": (
        b"\xd0\xcf\x11\xe0" + "EncryptedPackage\0".encode("utf-16-le").ljust(64, b"\0") + b"\x22\0",
        "is an Office file with a password, which is not read. Open it with its password and save it without one",
    ),
    "two.xlsx": (xlsx(A={1: ["text"], 2: ["a"]}, B={1: ["text"], 2: ["b"]}), "sheets: 'A', 'B'. Leave one of them in"),
    "codes.csv": ("id,text\n1,\x81\n".encode("latin-1"), "is not UTF-8. Save it as UTF-8."),
    "binary.csv": (b"id,text\n1,\0\n", "If it is text, save it as UTF-8."),
    "open.csv": (b'id,text\n1,"open\n', "is never closed. Double the quotes."),
    "wide.csv": (b"id,text\n1,a,b\n", "Quote cells that hold a comma."),
    "quotes.tsv": (b'id\ttext\n1\t"a\n2\tb"\n', "Double the quotes that are part of texts."),
}


@pytest.mark.parametrize("name", NO_TABLES)
def test_a_file_that_is_no_table_says_so_without_the_command_line_s_flags(
    name: str, small_bundle: Path, tmp_path: Path
) -> None:
    content, message = NO_TABLES[name]
    predictor, bundle = load_predictor(small_bundle)
    page, file = Page([Offered("messages", small_bundle, predictor, bundle.record, None)], None), tmp_path / name
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        page.classify_file("messages", str(file), None, tmp_path, lambda *_: None)
    told = str(caught.value)
    assert told.startswith(f"{name}")
    assert message in told
    assert "--" not in told


def test_a_pair_is_asked_of_the_classifier_as_a_pair(small_pairs: Path, tmp_path: Path) -> None:
    """Typed, and of a file whose columns are called otherwise; and its words are explained."""
    predictor, bundle = load_predictor(small_pairs)
    page = Page([Offered("answers", small_pairs, predictor, bundle.record, Neighbours.load(small_pairs))], None)
    pair = ("when is it open?\n\nand where?", "it opens at 9")
    shown, asked = page.classify("answers", *pair)
    assert tuple(part for _, part in parts_of(asked["text"])) == pair
    (scores,) = predictor.probabilities([paired(*pair)])
    assert wording.percent(max(scores)) in shown
    assert abs(scores[0] - predictor.probabilities(["\n\n".join(pair)])[0, 0]) > 1e-6  # parted at the first blank line
    assert "opens" in page.why(asked)
    assert all(all(page.boxes("answers", sample)) for (sample,) in page.examples("answers"))
    file = write_csv(
        tmp_path / "mail.csv", [(answer, question) for question, answer, _ in pair_rows(4)], ("said", "asked")
    )
    found = page.columns("answers", str(file))
    assert (found.text, found.pair, found.pairs) == (None, None, ["said", "asked"])
    _, paths = page.classify_file("answers", str(file), "asked", tmp_path, lambda *_: None, "said")
    written = read_table(
        next(path for path in paths if path.suffix == ".csv"), TableFormat(text="said"), labelled=False
    )
    expected = predictor.probabilities([paired(question, answer) for question, answer, _ in pair_rows(4)])
    assert [float(score) for score in written.columns["score:fits"]] == pytest.approx(expected[:, 0].tolist(), abs=1e-6)


def test_an_example_of_a_pair_fills_both_boxes(small_bundle: Path) -> None:
    predictor, bundle = load_predictor(small_bundle)
    plain = Offered("messages", small_bundle, predictor, bundle.record, None)
    of_pairs = reading(replace(plain, name="answers"), {"text": "question", "pair": "reply"})
    page = Page([plain, of_pairs], None)
    assert page.boxes("answers", "is it open?\n\nyes") == ("is it open?", "yes")
    assert page.boxes("messages", "is it open?\n\nyes") == ("is it open?\n\nyes", "")


def test_no_download_holds_a_formula_that_a_spreadsheet_would_run(small_bundle: Path, tmp_path: Path) -> None:
    predictor, bundle = load_predictor(small_bundle)
    page = Page([Offered("messages", small_bundle, predictor, bundle.record, None)], None)
    file = tmp_path / "inbox.csv"
    with file.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened).writerows([("text", "from"), ("=HYPERLINK(1) win", "@SUM(1)"), ("call now", "anna")])
    _, paths = page.classify_file("messages", str(file), "", tmp_path, lambda *_: None)
    (as_csv,) = (path for path in paths if path.suffix == ".csv")
    with as_csv.open(encoding="utf-8-sig", newline="") as opened:
        kept = [(row["text"], row["from"]) for row in csv.DictReader(opened)]
    assert kept == [("'=HYPERLINK(1) win", "'@SUM(1)"), ("call now", "anna")]


def test_page_asks_in_words_that_fit_any_number_of_labels() -> None:
    assert "Is your text a, b or c?" in wording.heading(["a", "b", "c"], multi=False)
    assert "Which of 77 labels fits your text?" in wording.heading([f"l{i}" for i in range(77)], multi=False)
    assert "<b>" not in wording.heading(["<b>", "c"], multi=False)


def test_bars_show_few_labels_and_fold_the_rest() -> None:
    ranked = [{"label": f"<{i}>", "score": 1 / 20} for i in range(20)]
    shown = wording.answer_html(ranked, Decisions.plain([f"<{i}>" for i in range(20)]))
    assert shown.count("<li") == 20
    assert "<summary>12 less likely labels</summary>" in shown
    assert "<0>" not in shown
    assert (wording.percent(0.99999), wording.percent(1e-9), wording.percent(0.5)) == ("over 99 %", "under 1 %", "50 %")


def test_examples_are_held_out_texts(small_bundle: Path) -> None:
    """Golden texts are of no table, and a training text shows nothing."""
    predictor, bundle = load_predictor(small_bundle)
    served = SimpleNamespace(
        name="b",
        folder=small_bundle,
        predictor=predictor,
        record=bundle.record,
        neighbours=Neighbours.load(small_bundle),
    )
    examples = [text for (text,) in Page([served], None).examples("b")]
    assert examples
    assert set(examples) <= set(read_held_out(small_bundle))


def test_every_label_gets_an_example_from_the_surest_text() -> None:
    golden = [{"text": "sure", "scores": [0.9, 0.1, 0.0]}, {"text": "surer", "scores": [0.95, 0.05, 0.0]}]
    training = [("short", "b"), ("a text of some length for b", "b"), ("another one that is for b", "b")]
    assert wording.example_texts(["a", "b", "c"], golden, training) == ["surer", "a text of some length for b"]
