"""The page stands alone, escapes what users wrote, leaves out what is missing, and comes out the same each time."""

from __future__ import annotations

import errno
import html
import re
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, ModelCardData
from made_up import EVIL, full, multilabel, result

from classtune.config import resolve
from classtune.data.audit.audit import Audit, Finding
from classtune.data.audit.in_force import in_force
from classtune.decisions.decisions import Prior
from classtune.errors import BundleError
from classtune.jobs.compare import write_comparison
from classtune.judging.figures import Confused
from classtune.report import curves, plots
from classtune.report.page import CONTENTS, model_card, write_report
from classtune.result import (
    CrossValidation,
    EarlierVersion,
    Mistake,
    Result,
    Word,
)

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and sees that what is opened is closed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.text += " " * (tag in {"td", "th"})
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def figures_in_front(card: str) -> dict[str, float]:
    """The figures in a card's front matter, as the Hub reads them."""
    front = ModelCard(card).data
    assert isinstance(front, ModelCardData)
    return {str(figure.metric_name): figure.metric_value for figure in front.eval_results or []}


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are their texts alone: drawing them takes a second a page."""
    for module in (plots, curves):
        monkeypatch.setattr(module, "svg_of", lambda draw, height, text: f'<svg role="img">{html.escape(text)}</svg>')


def render(folder: Path, found: Result, **told: Any) -> str:
    write_report(folder / "report.html", found, **told)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_page_stands_alone(tmp_path: Path) -> None:
    source = render(tmp_path, result())
    page = Page(source)
    assert not page.tags & {"script", "link", "iframe", "img", "form", "object"}
    assert not re.search(r"url\((?!#)|@import", source)
    for name, value in page.attributes:
        assert not name.startswith("on")
        if name in {"src", "href", "xlink:href"}:
            assert value.startswith(("#", "data:image/png;base64,"))
        elif not name.startswith("xmlns"):
            assert "//" not in value
    assert len(source.encode()) < 300_000


def test_page_says_what_the_document_says(tmp_path: Path) -> None:
    document = result()
    text = " ".join(Page(render(tmp_path, document)).text.replace("\u00a0", " ").split())
    assert document.test is not None
    assert document.verdict is not None
    low, high = document.test.accuracy_ci95
    assert f"{document.test.accuracy:.1%}".replace("%", " %") in text
    assert f"95 % interval {low:.1%} to {high:.1%}".replace("%", " %").replace("95  %", "95 %") in text
    assert document.verdict.sentence in text
    for part in (
        "TF-IDF + logistic regression", "18 of 30 blocks", "1,000 training texts", "one side of the split: 403",
        "different labels: 2", "cut to the length limit: 7; tokens that were left out: ", "1 min 15 s", "torch 2.13.0",
        "The weights after epoch 3 were kept; training stopped early",
        "learning_rate 0.0003", "epochs 8", "cache True", "5,171 distinct texts", "Train 180, validation 60, test 60",
    ):  # fmt: skip
        assert part in text


@pytest.mark.usefixtures("undrawn")
def test_page_says_what_a_full_document_says(tmp_path: Path) -> None:
    document = full()
    source = render(tmp_path, document)
    text = " ".join(Page(source).text.replace("\u00a0", " ").split())
    for part in (
        "Exact duplicates: 403 (7.1 %)", "Each of them counts twice.",
        "Exact duplicates (403): Remove them with --fix.", "Copies across splits", "HTML entities", "label: ham",
        "Method: temperature.", "none 0.310, temperature 0.220", "before 0.310 5.1 %", "after 0.220 1.2 %",
        "it answered 93.2 %; 0.9 % of these answers were wrong (95 % interval 0.4 % to 1.6 %)", "spam 0.370",
        "It answers 93.0 % of texts", "ham 33.3 % 16.7 %", "The validation rows allow no promise", "ham 0 10 10",
        "spam precision 99.0 % 0.370 99.4 % 98.1 % to 99.9 % 171 no", "tokens 17 41 512",
        "tokens that were left out: 4,321", "TF-IDF + logistic regression", "1 min 21 s", "0.0005 ms", "1 MB",
        "ham, spam",
    ):  # fmt: skip
        assert part in text, part
    assert source.count('<tr class="chosen">') == 1
    assert text.count("The validation rows allow no promise") == 1


@pytest.mark.usefixtures("undrawn")
def test_order_is_verdict_advice_evidence_making(tmp_path: Path) -> None:
    source = render(tmp_path, full())
    assert source.index("test texts right") < source.index("<nav") < source.index("<h2")
    assert re.findall(r'<h2 id="(\w+)"', source) == list(CONTENTS) == re.findall(r'<li><a href="#(\w+)">', source)[:13]
    assert [*CONTENTS][:3] == ["todo", "worth", "next"]
    assert [*CONTENTS][-1] == "made"


@pytest.mark.usefixtures("undrawn")
def test_words_of_a_mistake_are_tinted_by_how_they_spoke(tmp_path: Path) -> None:
    source = render(tmp_path, full())
    for mark, word in [
        ("for3", "URGENT!"),
        ("for2", "prize"),
        ("for1", "won"),
        ("against3", "home"),
        ("against1", "tea"),
    ]:
        assert f'<mark class="{mark}">{word}</mark>' in source
    cell = next(cell for cell in re.findall(r"<td class=\"text\".*?</td>", source) if "tea" in cell)
    assert " ".join(re.sub(r"<[^>]*>", "", cell).split()) == " ".join(full().mistakes[1].text.split())


@pytest.mark.usefixtures("undrawn")
def test_of_a_long_mistake_the_loudest_words_are_shown(tmp_path: Path) -> None:
    document = full()
    text = "quiet " * 1000 + "LOUD " + "quiet " * 1000
    mistake = Mistake(text, "ham", "spam", 0.9, [Word("LOUD", 6000, 6004, -0.1)])
    source = render(tmp_path, replace(document, mistakes=[mistake]))
    assert '<mark class="against3">LOUD</mark>' in source
    assert 10 < source.count("quiet quiet") < 50
    silent = replace(mistake, words=[replace(mistake.words[0], weight=0.0)])
    assert "LOUD" not in render(tmp_path, replace(document, mistakes=[silent]))


@pytest.mark.usefixtures("undrawn")
def test_several_labels_a_text(tmp_path: Path) -> None:
    text = " ".join(Page(render(tmp_path, multilabel())).text.replace("\u00a0", " ").split())
    for part in (
        "exactly the right labels",
        "micro F1 61.0 %",
        "Hamming loss (lower is better) 4.3 %",
        "average precision",
    ):
        assert part in text
    assert "Confusion matrix" not in text
    card = model_card(multilabel())
    assert "a text may have several labels; macro F1 is **" in card
    assert "| micro F1 |" in card


def test_what_users_wrote_is_shown_and_not_run(tmp_path: Path) -> None:
    page = Page(render(tmp_path, full()))
    assert "script" not in page.tags
    assert page.text.count(EVIL) >= 5  # class table, per-class table, note, mistake's text and its label
    assert "\0" not in page.text


def test_same_document_same_bytes(tmp_path: Path) -> None:
    assert render(tmp_path, full()) == render(tmp_path, full())
    assert model_card(full()) == model_card(full())


HEADINGS = {
    "depth": "Depth\n", "training": "Training\n", "mistakes": "Most confident mistakes", "versions": "Versions",
    "timing": "Time\n", "comparison": "McNemar", "calibration": "Before and after calibration",
    "test": "of test texts right", "learning_curve": "More rows\n",
}  # fmt: skip
OPTIONAL = [part.name for part in fields(Result) if part.type.endswith("None") or part.name in HEADINGS]


@pytest.mark.parametrize("missing", OPTIONAL)
@pytest.mark.usefixtures("undrawn")
def test_missing_parts_are_left_out(tmp_path: Path, missing: str) -> None:
    whole = full()
    part = getattr(whole, missing)
    empty: Any = type(part)() if isinstance(part, dict | list) else None
    document = replace(whole, **{missing: empty})
    text = Page(render(tmp_path, document)).text
    assert "None" not in text
    assert HEADINGS.get(missing, "\0") not in text
    assert "None" not in model_card(document).replace("top_k=None", "")


def test_a_run_without_test_rows_is_a_page_that_claims_nothing(tmp_path: Path) -> None:
    bare = replace(result(), test=None, baseline=None, verdict=None, depth=None, training=None, mistakes=[])
    page = Page(render(tmp_path, bare))
    assert "no test rows" in page.text
    assert "svg" not in page.tags
    assert "not tested" in model_card(bare)


@pytest.mark.usefixtures("undrawn")
def test_comparison_alone_is_a_page_of_its_own(tmp_path: Path) -> None:
    found = replace(full(), test=None, baseline=None)
    source = render(tmp_path, found, sections=("candidates", "rows", "made"))
    page = Page(source)
    assert "candidates compared" in page.text
    assert "no test rows" not in page.text
    assert "What to do" not in page.text
    assert re.findall(r'<h2 id="(\w+)"', source) == ["candidates", "rows", "made"]
    assert source.count('<tr class="chosen">') == 1


def test_an_attribute_that_a_template_misspells_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jinja2 import DictLoader
    from jinja2.exceptions import UndefinedError

    template = "{{ under_wishes.classifiers }}{{ verdict.sentense }}"
    monkeypatch.setattr("jinja2.PackageLoader", lambda _: DictLoader({"card.md.j2": template}))
    with pytest.raises(UndefinedError, match="Verdict has no sentense"):
        model_card(result())


@pytest.mark.usefixtures("undrawn")
def test_tf_idf_that_was_chosen_does_not_stand_beside_itself(tmp_path: Path) -> None:
    found = result()
    alone = replace(found, chosen=replace(found.chosen, name="tf-idf", members={"tf-idf": 1.0}))
    source, beside = render(tmp_path, alone), render(tmp_path, found)
    assert [len(re.findall('class="tile[ "]', page)) for page in (source, beside)] == [1, 2]
    assert "The classifier: TF-IDF + logistic regression" in source
    assert "| | the classifier: TF-IDF + logistic regression |\n|---|---|\n" in model_card(alone)


def test_many_classes_and_mistakes_stay_below_the_limit(tmp_path: Path) -> None:
    document = full(tuple(f"a class with quite a long name, number {i}" for i in range(300)), rows=3000)
    assert document.test is not None
    assert document.test.confusion is None
    test = replace(document.test, largest_confusions=[Confused("mail", "parcel", 12)] * 1000)
    source = render(tmp_path, replace(document, test=test, mistakes=[Mistake("words " * 1000, "a", "b", 0.9)] * 1000))
    assert len(source.encode()) < 300_000
    assert "The confusion matrix of 300 classes is not kept, only its largest cells." in source
    assert source.count(">mail</th>") == 10
    assert "150 more classes" in " ".join(source.split())


def test_card_is_read_by_the_hub_and_keeps_labels_in_their_cells() -> None:
    document = result(labels=("ham", "a|b\n# [x](http://e.x) <img>", EVIL))
    content = model_card(document)
    card = ModelCard(content)
    assert card.data.get("library_name") == "transformers"
    assert card.data.get("pipeline_tag") == "text-classification"
    assert card.data.get("model_name") == "spam"
    figures = figures_in_front(content)
    assert document.test is not None
    assert document.verdict is not None
    assert figures["Accuracy"] == pytest.approx(document.test.accuracy, abs=1e-6)
    assert figures["Macro F1"] == pytest.approx(document.test.values["macro_f1"], abs=1e-6)
    assert "classtune" in card.data.get("tags")
    row = next(line for line in card.text.splitlines() if line.startswith(r"| a\|"))
    assert row.startswith(r"| a\|b \# \[x\](http\://e.x) \<img\> |")
    assert len(re.findall(r"(?<!\\)\|", row)) == 6
    assert "<script" not in card.text.replace(r"\<script", "")
    assert document.verdict.sentence in card.text


def test_card_has_the_same_facts_as_the_page() -> None:
    card = ModelCard(model_card(full())).text.replace("\u00a0", " ").replace("\\", "")
    for part in (
        "| TF-IDF + logistic regression |", "Exact duplicates: 403.",
        "Calibration: temperature; the calibration error went from 5.1 % to 1.2 %.", "It answers 93.0 % of texts",
        "it answered 93.2 % of the test texts, 0.9 % of them wrongly", "This folder holds texts of the table",
    ):  # fmt: skip
        assert part in card, part
    assert "This folder holds texts of the table" not in model_card(result())


def test_card_promises_no_score_that_the_weights_do_not_hold() -> None:
    plain = replace(result(), hugging_face=True)
    assert "`pipeline` gives the same labels and scores" in model_card(plain)
    card = model_card(replace(full(), hugging_face=True))
    assert (
        "`classtune.load` applies this classifier's class prior in production, thresholds and withheld answers" in card
    )
    assert "the same labels" not in card


@pytest.mark.parametrize("name", ["a: b", "- x", "#1 {y}", "'q\"", "عاجل", "\ud800", ""])
def test_front_matter_survives_odd_names(name: str) -> None:
    document = result()
    named = replace(document, data=replace(document.data, name=name), bundle=f"out/{name}")
    assert list(figures_in_front(model_card(named))) == ["Accuracy", "Macro F1"]


def test_a_page_that_cannot_be_written_is_one_clear_error_that_names_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not the place where it is written first, which the user never named and which is gone."""

    def no_room(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_room)
    with pytest.raises(BundleError, match=f"^{re.escape(str(tmp_path / 'page.html'))}: the disk is full"):
        write_comparison(tmp_path / "page.html", result())


def test_options_in_advice_stand_as_code_and_nothing_else_becomes_html(tmp_path: Path) -> None:
    finding = Finding("mojibake", 1, 0.5, [], effect="", advice="`--fix <OUT>` & `")
    found = result()
    audit = replace(found.data.audit, findings=[finding])
    write_report(tmp_path / "report.html", replace(found, data=replace(found.data, audit=audit)))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<code>--fix &lt;OUT&gt;</code> &amp; `" in page


@pytest.mark.usefixtures("undrawn")
def test_what_to_do_leaves_out_what_is_done(tmp_path: Path) -> None:
    """Advice that the run followed is no advice; what stands under "Data audit" says that it was followed."""
    rows = Audit(60, {"a": 50, "b": 10}, 1, 0, 1, {}, [])
    rows.add(
        Finding(kind, 1, 0.1, [], "effect", f"advice on {kind}")
        for kind in ("near-duplicates", "telling-blanks", "imbalance", "language-mix", "mojibake")
    )
    found = result()

    def page(**told: Any) -> tuple[list[str], str]:
        """The kinds whose own advice stands under "What to do", and what stands under "Data audit"."""
        settings = resolve(overrides={"model": "smollm2-135m", **told})
        data = replace(found.data, audit=in_force(rows, settings))
        text = Page(render(tmp_path, replace(found, data=data, settings=settings), sections=("todo", "audited"))).text
        todo, audited = text.rsplit("What to do\n", 1)[1].split("Data audit\n", 1)
        return sorted(re.findall(r"advice on ([\w-]+)", todo)), audited

    todo, audited = page()
    assert todo == ["imbalance", "language-mix", "mojibake"]
    assert "Nothing to do: near copies were kept in one part." in audited
    todo, _ = page(split_by="exact", class_weights="balanced", blanks="keep", model="intfloat/multilingual-e5-small")
    assert todo == ["mojibake", "near-duplicates", "telling-blanks"]


@pytest.mark.usefixtures("undrawn")
def test_page_and_card_say_when_it_was_made_and_what_comes_next(tmp_path: Path) -> None:
    found = replace(result(), bundle="out/my spam")
    text = " ".join(Page(render(tmp_path, found)).text.split())
    assert "my spam · 2026-11-28" in text
    for line in (
        "classtune predict 'my spam' new.csv -o answers.csv",
        "classtune serve 'my spam' --page",
        "classtune next 'my spam' pool.csv -n 50 -o to-label.csv",
        "classtune train sms-spam --add labelled.csv --from 'my spam' -o 'my spam-2'",
    ):
        assert line in text
    assert "Trained on 2026-11-28." in model_card(found)


@pytest.mark.usefixtures("undrawn")
def test_the_next_version_has_what_this_one_had(tmp_path: Path) -> None:
    """The tables that it learned from, each by its own name, and what was asked of its answers."""
    found = replace(result(), bundle="out/b")
    tables = ["data/my t.csv", "data/more.csv"]
    data = replace(found.data, name=" and ".join(tables), added=tables)
    settings = found.settings.model_copy(update={"cost": "fn=5,fp=1", "recall": {"a b": 0.9}})
    text = " ".join(Page(render(tmp_path, replace(found, data=data, settings=settings))).text.split())
    told = "--cost fn=5,fp=1 --recall 'a b=0.9'"
    assert f"classtune train 'my t.csv' --add more.csv --add labelled.csv --from b {told} -o b-2" in text
    assert "my t.csv and more.csv · classtune report" in text
    unnamed = replace(found, data=replace(found.data, name="training data"))  # of Python's own rows
    assert "classtune train table.csv --add labelled.csv" in " ".join(Page(render(tmp_path, unnamed)).text.split())
    corrected = replace(data, name=tables[0])  # nothing that was added was new
    assert "# my t.csv\n" in model_card(replace(found, data=corrected)).replace("\\", "")


def test_shares_of_the_field_are_shown_only_where_they_differ(tmp_path: Path) -> None:
    def page(deployed: float) -> str:
        prior = Prior((0.5, 0.5), (deployed, 1 - deployed))
        found = result(("a", "b"))
        write_report(tmp_path / "report.html", replace(found, decisions=replace(found.decisions, prior=prior)))
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    assert "Class prior" in page(0.1)
    assert "Class prior" not in page(0.5)


def test_page_says_nothing_of_where_it_was_made(tmp_path: Path) -> None:
    found = full()
    data = replace(found.data, name="/home/anna/tickets.csv")
    found = replace(found, bundle="/home/anna/secret place/spam", data=data)
    page = render(tmp_path, found)
    for shown_in in (page, model_card(found).replace("\\", "")):
        assert "anna" not in shown_in
        assert "tickets.csv" in shown_in
    assert "classtune train tickets.csv --add" in " ".join(page.split())


def test_the_version_before_and_cross_validation_are_on_page_and_card(tmp_path: Path) -> None:
    full_result = full()
    assert full_result.test is not None
    crossed = CrossValidation(full_result.test, [0.8, 0.9], "cross-validation: 85.0 % of 60 rows right")
    before = EarlierVersion("/home/me/tickets", 20, 0, None, sentence="None of the 20 texts of /home/me/tickets.")
    untested = replace(full_result, test=None, baseline=None, comparison=None, verdict=None)
    found = replace(untested, cross_validation=crossed, earlier=before)
    for shown_in in (render(tmp_path, found), model_card(found)):
        assert "85.0 % of 60 rows right" in shown_in
        assert "None of the 20 texts of tickets." in shown_in
        assert "/home/me" not in shown_in
        assert "no test rows" not in shown_in
