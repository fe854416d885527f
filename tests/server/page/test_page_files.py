"""A file on the page: its columns, its answers to take away, and what is wrong with it. See test_server_page.py."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from visits import EVIL, MARKS, SPAM, Offered, Site, Visit, reading
from written import xlsx

from classtune.errors import DataError
from classtune.inference.predictor import load_predictor
from classtune.server.page.actions import Page
from classtune.server.page.uploads import FileColumns

pytest_plugins = ["browser_fixture", "bundle_fixtures", "page_fixture"]
pytestmark = MARKS


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
