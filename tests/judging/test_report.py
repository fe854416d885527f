"""The page stands alone, escapes what users wrote, leaves out what is missing, and comes out the same each time."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard

from classtune.errors import BundleError
from classtune.judging.metrics import judge
from classtune.judging.report import model_card, write_report
from classtune.judging.verdict import verdict

EVIL = "<script>alert('x')</script>"
VOID = {"meta", "br", "link", "img", "input", "hr"}


def result(labels: tuple[str, ...] = ("ham", "spam", EVIL), rows: int = 60) -> dict[str, Any]:
    """A whole document, as ``train --json`` prints it."""
    rng, classes = np.random.default_rng(0), len(labels)
    truth = rng.integers(0, classes, rows)
    guesses = [rng.dirichlet(np.ones(classes), rows) + weight * np.eye(classes)[truth] for weight in (0.5, 0.2)]
    model, baseline = (judge(guess / guess.sum(axis=1, keepdims=True), truth, labels) for guess in guesses)
    baseline["name"] = "TF-IDF + logistic regression"
    right = [guess.argmax(axis=1) == truth for guess in guesses]
    return {
        "bundle": "out/spam",
        "data": {
            "name": "sms-spam",
            "rows": rows * 5,
            "classes": dict.fromkeys(labels, rows),
            "duplicates": 403,
            "conflicting": 2,
        },
        "splits": {"train": rows * 3, "validation": rows, "test": rows},
        "test": model,
        "baseline": baseline,
        "verdict": verdict(model, baseline, *right, cost_ratio=30.0),
        "depth": {
            "kept": 18,
            "of": 30,
            "curve": [{"depth": d, "score": 0.8 + d / 300, "se": 0.01} for d in range(1, 31)],
            "texts": 1000,
        },
        "trunk": {"texts": 5171, "tokens": 120_000, "seconds": 31.5, "distinct_tokens": 119_000},
        "training": {
            "history": [
                {"epoch": float(e), "examples": e * 180, "step": e * 12, "train_loss": 1 / (e + 1)}
                | {"validation_loss": 1.1 / (e + 1), "train_accuracy": None, "validation_accuracy": None}
                for e in range(1, 5)
            ],
            "best_epoch": 3,
            "epochs": 4,
            "stopped": True,
        },
        "settings": {"model": "smollm2-135m", "epochs": 8, "learning_rate": 3e-4, "max_tokens": None, "cache": True},
        "cut_texts": 7,
        "timing": {"total": 75.2, "trunk": 31.5, "epochs": 12.0, "baseline": 2.5, "depth": 9.1},
        "versions": {"torch": "2.13.0"},
        "notes": [f"a note {EVIL}"],
        "mistakes": [{"text": f"{EVIL} \0 \ud800 text", "truth": EVIL, "label": "ham", "score": 0.99}],
    }


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
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def render(folder: Path, document: dict[str, Any]) -> str:
    write_report(folder / "report.html", document)
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
    low, high = document["test"]["accuracy_ci95"]
    assert f"{document['test']['accuracy']:.1%}".replace("%", " %") in text
    assert f"95 % interval {low:.1%} to {high:.1%}".replace("%", " %").replace("95  %", "95 %") in text
    assert document["verdict"]["sentence"] in text
    for part in (
        "TF-IDF + logistic regression", "18 of 30 blocks", "1,000 training texts", "403 are copies", "2 equal texts",
        "7 texts were cut", "The weights after epoch 3 were kept; training stopped early", "1 min 15 s", "torch 2.13.0",
        "learning_rate 0.0003", "epochs 8", "cache True", "5,171 distinct texts", "Train 180, validation 60, test 60",
    ):  # fmt: skip
        assert part in text


def test_what_users_wrote_is_shown_and_not_run(tmp_path: Path) -> None:
    page = Page(render(tmp_path, result()))
    assert "script" not in page.tags
    assert page.text.count(EVIL) >= 5  # class table, per-class table, note, mistake's text and its label
    assert "\0" not in page.text


def test_same_document_same_bytes(tmp_path: Path) -> None:
    assert render(tmp_path, result()) == render(tmp_path, result())
    assert model_card(result()) == model_card(result())


@pytest.mark.parametrize("missing", [key for key in result() if key not in {"data", "splits"}])
@pytest.mark.parametrize("none", [True, False], ids=["none", "absent"])
def test_missing_parts_are_left_out(tmp_path: Path, missing: str, none: bool) -> None:
    document = result()
    del document[missing]
    if none:
        document[missing] = None
    text = Page(render(tmp_path, document)).text
    assert "None" not in text
    heading = {
        "depth": "Where the network was cut", "training": "Training\n", "mistakes": "most confident mistakes",
        "notes": "Worth knowing", "versions": "Versions", "settings": "Settings", "timing": "Time\n",
    }.get(missing, "of test texts right" if missing == "test" else "\0")  # fmt: skip
    assert heading not in text
    assert "None" not in model_card(document).replace("top_k=None", "")


def test_bare_document_is_a_page_that_claims_nothing(tmp_path: Path) -> None:
    bare = {
        "data": {"name": "x", "rows": 9, "classes": {"a": 5, "b": 4}},
        "splits": {"train": 8, "validation": 1, "test": 0},
    }
    page = Page(render(tmp_path, bare))
    assert "no test rows" in page.text
    assert "svg" not in page.tags
    assert "not tested" in model_card(bare)


def test_many_classes_and_mistakes_stay_below_the_limit(tmp_path: Path) -> None:
    document = result(tuple(f"a class with quite a long name, number {i}" for i in range(300)), rows=3000)
    document["mistakes"] = [{"text": "words " * 1000, "truth": "a", "label": "b", "score": 0.9}] * 1000
    source = render(tmp_path, document)
    assert len(source.encode()) < 300_000
    assert "150 more classes" in " ".join(source.split())


def test_card_is_read_by_the_hub_and_keeps_labels_in_their_cells() -> None:
    document = result(labels=("ham", "a|b\n# [x](http://e.x) <img>", EVIL))
    content = model_card(document)
    card = ModelCard(content)
    assert card.data.get("library_name") == "transformers"
    assert card.data.get("pipeline_tag") == "text-classification"
    assert "classtune" in card.data.get("tags")
    row = next(line for line in card.text.splitlines() if line.startswith(r"| a\|"))
    assert row.startswith(r"| a\|b \# \[x\](http\://e.x) \<img\> |")
    assert len(re.findall(r"(?<!\\)\|", row)) == 6
    assert "<script" not in card.text.replace(r"\<script", "")
    assert document["verdict"]["sentence"] in card.text


def test_page_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="the report cannot be written"):
        write_report(tmp_path / "missing" / "report.html", result())
