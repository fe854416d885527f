"""The page in a real browser: every control used, nothing asked of other machines, readable at both widths.

Needs Gradio, Playwright and a Chromium of the system (``CLASSTUNE_CHROMIUM`` names another one); skipped without them.
What it does with files is in test_page_files.py.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from in_browser import BROKEN_WORDS, CONTRAST
from small import pair_rows, write_csv
from visits import EVIL, HAM, MARKS, SPAM, Offered, Site, Visit, reading

from classtune.bundle import read_held_out
from classtune.data.reading.cells import paired, parts_of
from classtune.data.reading.columns import TableFormat
from classtune.data.reading.tables import read_table
from classtune.decisions.decisions import Decisions
from classtune.errors import UserError
from classtune.explain.neighbours import Neighbours
from classtune.inference.predictor import Predictor, load_predictor
from classtune.inference.runtimes import ExportedNetwork
from classtune.server.page import html as wording
from classtune.server.page.actions import Page, feedback_file
from classtune.server.page.app import mount_page

pytest_plugins = ["browser_fixture", "bundle_fixtures", "page_fixture"]
pytestmark = MARKS


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
