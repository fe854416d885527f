"""Figures are small, repeatable, well-formed, and carry their numbers as text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from classtune.judging.comparison import Candidate, Comparison
from classtune.judging.figures import Bin, CalibrationFacts, Figures, Reliability
from classtune.judging.learning_curve import LearningCurve
from classtune.report import curves, plots

HISTORY: list[dict[str, Any]] = [
    {
        "epoch": epoch / 4,
        "examples": 250 * epoch,
        "step": 16 * epoch,
        "train_loss": 0.7 / (1 + epoch),
        "validation_loss": 0.8 / (1 + epoch),
        "train_accuracy": None if epoch % 4 else 0.9,
        "validation_accuracy": 0.85,
    }
    for epoch in range(41)
]
CURVE = [{"depth": depth, "score": 0.8 + 0.01 * min(depth, 15), "se": 0.01} for depth in range(1, 31)]
POOLED = [
    point | {"pooling": pooling, "score": point["score"] - less}
    for point in CURVE
    for pooling, less in (("last", 0.02), ("mean", 0))
]
MODEL = Figures({"accuracy": 0.992}, {"accuracy": [0.985, 0.996]}, 1000)
BASELINE = Figures({"accuracy": 0.987}, {"accuracy": [0.979, 0.992]}, 1000, name="TF-IDF + logistic regression")
NAMES = ("majority class", "one-line rule", "TF-IDF + logistic regression", "frozen probe", "last block", "LoRA")
CANDIDATES = [
    Candidate(Figures({"accuracy": share}, {"accuracy": [share - 0.01, share + 0.004]}, 1000, name=name), 1.0, cost, 0)
    for name, share, cost in zip(
        NAMES, (0.866, 0.95, 0.987, 0.9871, 0.988, 0.9881), (0.0, 2e-3, 0.1, 7.5, 8, 80.0), strict=True
    )
]
BINS = [Bin(0.5 + i / 30, 0.45 + i / 30, i) for i in range(16)]
BEFORE = Reliability(0.3, 0.051, [Bin(one.confidence / 2, one.accuracy, one.rows) for one in BINS])
AFTER = Reliability(0.3, 0.0123, BINS)
CURVES = {
    label: {"precision": np.linspace(1, 0.5, 3000).tolist(), "recall": np.linspace(0, 1, 3000).tolist()}
    for label in ["_hidden", "$a$ <b>", "感情", *(f"label {i}" for i in range(20))]
}
LEARNING = LearningCurve("tiny probe", [50, 100, 200], [0.2, 0.15, 0.0], [0.02, 0.02, 0.01], 250, 0.03, 0.01, "")
RISK = {"answered": np.linspace(0.001, 1, 1000).tolist(), "error": np.linspace(0, 0.08, 1000).tolist()}
MANY = (np.eye(80, dtype=int) * 40 + np.arange(6400).reshape(80, 80) % 3).tolist()
FIGURES = {
    "training": lambda: plots.training_curves(HISTORY),
    "one measurement": lambda: plots.training_curves([HISTORY[0]]),
    "nothing measured": lambda: plots.training_curves([]),
    "depth": lambda: plots.depth_curve(CURVE, 15, 30),
    "depth and pooling": lambda: plots.depth_curve(POOLED, 15, 30),
    "one depth": lambda: plots.depth_curve(CURVE[:1], 1, 1),
    "two classes": lambda: plots.confusion_matrix([[960, 5], [9, 141]], ["ham", "spam"]),
    "odd labels": lambda: plots.confusion_matrix(
        np.eye(6, dtype=int).tolist(), ["感情", "😀", "$a$ <b> & '\"", "a\0\nb\ud800", "x -->", "شكر"]
    ),
    "80 classes": lambda: plots.confusion_matrix(MANY, [f"a_rather_long_label_{i}" for i in range(80)]),
    "300 classes": lambda: plots.confusion_matrix(np.eye(300, dtype=int).tolist(), [str(i) for i in range(300)]),
    "comparison": lambda: plots.comparison(MODEL, BASELINE, "the classifier"),
    "accuracy over cost": lambda: curves.accuracy_over_cost(Comparison(CANDIDATES, "last block", 1000)),
    "one candidate": lambda: curves.accuracy_over_cost(Comparison(CANDIDATES[:1], NAMES[0], 1000)),
    "reliability": lambda: curves.reliability(CalibrationFacts("temperature", None, BEFORE, AFTER)),
    "precision and recall": lambda: curves.precision_recall(CURVES),
    "risk and coverage": lambda: curves.risk_coverage(RISK, 0.01),
    "learning": lambda: curves.learning_curve(LEARNING),
    "no error": lambda: curves.risk_coverage({"answered": [0.5, 1.0], "error": [0.0, 0.0]}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_small_repeatable_and_described(name: str) -> None:
    svg = FIGURES[name]()
    assert svg == FIGURES[name]()
    assert len(svg.encode()) < 40_000
    root = ET.fromstring(svg)
    title = root.find("{http://www.w3.org/2000/svg}title")
    assert title is not None
    assert title.text == root.get("aria-label")
    assert len(title.text or "") > 20
    assert root.get("role") == "img"
    links = [value for node in root.iter() for key, value in node.attrib.items() if key.endswith("href")]
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)


def words(svg: str) -> list[str]:
    return [node.text or "" for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_training_curves_show_epochs_examples_and_only_what_was_measured() -> None:
    shown = words(FIGURES["training"]())
    assert {"epoch", "examples seen", "10,000", "loss", "accuracy", "train", "validation"} <= set(shown)
    without = [{**entry, "train_accuracy": None, "validation_accuracy": None} for entry in HISTORY]
    assert "accuracy" not in words(plots.training_curves(without))


def test_confusion_matrix_names_every_class_and_counts_few() -> None:
    assert {"ham", "spam", "960", "5", "9", "141"} <= set(words(FIGURES["two classes"]()))
    assert len([word for word in words(FIGURES["80 classes"]()) if word.startswith("a_rather")]) == 160


def test_alternative_text_tells_the_figures() -> None:
    assert "kept" in FIGURES["depth"]()
    assert "best 95.0\u00a0% after block 15; 15 of 30 blocks kept" in FIGURES["depth"]()
    assert "best 95.0\u00a0% after block 15 with mean pooling; 15" in FIGURES["depth and pooling"]()
    assert {"last", "mean"} <= set(words(FIGURES["depth and pooling"]()))
    assert "the classifier 99.2\u00a0% (98.5\u00a0% to 99.6\u00a0%)" in FIGURES["comparison"]()
    assert "1,101 of 1,115 texts right" in FIGURES["two classes"]()


def test_curves_tell_their_figures_too() -> None:
    assert "one-line rule 95.0\u00a0% at 0.002 ms; TF-IDF" in FIGURES["accuracy over cost"]()
    assert "before calibration the mean gap is 5.1\u00a0%; after calibration" in FIGURES["reliability"]()
    assert "is 1.2\u00a0%" in FIGURES["reliability"]()
    assert "4.0\u00a0% when 50\u00a0% are answered" in FIGURES["risk and coverage"]()
    assert "20.0\u00a0% after 50 rows; 15.0\u00a0% after 100 rows" in FIGURES["learning"]()
    assert "8.0\u00a0% when 100\u00a0% are answered" in FIGURES["risk and coverage"]()


def test_few_texts_make_few_points_of_the_reliability_diagram_and_each_says_how_many() -> None:
    """Of fifteen bins of two or three texts each point would be an accident."""
    few = [Bin(0.4 + i / 40, (i % 3) / 2, 2 + i % 2) for i in range(15)]
    svg = curves.reliability(CalibrationFacts("none", None, Reliability(0.3, 0.1, few), Reliability(0.3, 0.1, few)))
    assert "4 points, 7 to 10 answers a point" in svg
    assert "the classifier, 7 to 10 answers a point" in words(svg)
    assert "before" not in words(svg)
    assert {"before", "after, 6 to 29 answers a point"} <= set(words(FIGURES["reliability"]()))
    many = [Bin(0.4 + i / 40, 0.5, 200) for i in range(15)]
    facts = CalibrationFacts("none", None, Reliability(0.3, 0.1, many), Reliability(0.3, 0.1, many))
    assert "15 points, 200 answers a point" in curves.reliability(facts)


def test_one_colour_means_one_thing_in_all_figures() -> None:
    def colours(name: str) -> set[str]:
        return set(re.findall(r"#[0-9a-f]{6}", FIGURES[name]())) - {"#ffffff"}

    classifier, compared, before = plots.MODEL, plots.BASELINE, plots.BEFORE
    for name in ("comparison", "accuracy over cost"):
        assert colours(name) == {classifier, compared}, name
    for name in ("training", "reliability"):
        assert colours(name) == {classifier, before}, name
    for name in ("risk and coverage", "learning", "depth"):
        assert colours(name) == {classifier}, name
    assert not colours("precision and recall") & {classifier, compared, before}
    assert classifier in colours("depth and pooling")
    assert compared not in colours("depth and pooling")
    assert len({*plots.COLOURS, classifier, compared, before}) == len(plots.COLOURS) + 3 >= curves.MOST_LINES + 3


def test_precision_recall_names_every_line_that_it_draws() -> None:
    shown = words(FIGURES["precision and recall"]())
    assert {"_hidden", "$a$ <b>", "感情", "label 4"} <= set(shown)
    assert "label 5" not in shown


def test_names_of_candidates_do_not_overlap() -> None:
    """Each name keeps a line's height from the next, though the accuracies are as good as equal."""
    svg = ET.fromstring(FIGURES["accuracy over cost"]())
    texts = [node for node in svg.iter("{http://www.w3.org/2000/svg}text") if "8px" in node.get("style", "")]
    assert [(node.text or "").rsplit(" ", 2)[0] for node in texts] == list(NAMES)
    heights = [float(node.get("y", "nan")) for node in texts]
    assert max(np.diff(heights)) <= -9


def test_long_names_are_told_apart_by_their_ends() -> None:
    assert plots.squeezed("short", 16) == "short"
    squeezed = [plots.squeezed(f"request_about_card_payment_{i}", 16) for i in range(80)]
    assert len(set(squeezed)) == 80
    assert {len(name) for name in squeezed} == {16}


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100.0"), (0.99996, "100.00"), (0.9998, "99.98"), (0.992, "99.2"), (0.0, "0.0"), (0.0004, "0.04")],
)
def test_percent_does_not_round_errors_away_at_one_digit(share: float, text: str) -> None:
    assert plots.percent(share) == f"{text}\u00a0%"


def test_shown_is_one_printable_line() -> None:
    assert plots.shown("a\n\tb\0c\ud800", 20) == "a b\ufffdc\ufffd"
    assert plots.shown("x" * 10_000_000, 5) == "xxxx…"
