"""What held-out rows say: the choice in words, and what to know before the classifier is trusted."""

from __future__ import annotations

import numpy as np

from classtune.judging.held_out import on_labels, on_rows, on_tail, said_of_choice

LOSSES = {"tf-idf": 0.4, "minilm-l6 probe": 0.3, "minilm-l6 tail": 0.25}


def test_the_sentence_says_which_and_why() -> None:
    said = said_of_choice("minilm-l6 tail", ["minilm-l6 tail"], 0.25, LOSSES, rows=1200)
    assert said == (
        "The classifier is minilm-l6 tail: of 3 candidates and their blends it has the lowest log loss on 1,200 "
        "held-out rows (0.250). Next comes minilm-l6 probe alone (0.300). TF-IDF + logistic regression alone has 0.400."
    )
    cheaper = said_of_choice("minilm-l6 probe", ["minilm-l6 probe"], 0.3, LOSSES, rows=None)
    assert "it is as good as any within noise, and costs less by cross-validation (0.300)" in cheaper
    blend = said_of_choice("tf-idf + minilm-l6 tail", ["tf-idf", "minilm-l6 tail"], 0.2, LOSSES, rows=None)
    assert "Next comes minilm-l6 tail alone" in blend
    alone = said_of_choice("tf-idf", ["tf-idf"], 0.4, {"tf-idf": 0.4}, rows=None)
    assert alone == "The classifier is TF-IDF + logistic regression: nothing else was compared."


def test_labels_that_are_never_answered_or_never_seen_are_named() -> None:
    labels, taught = ["a", "b", "c", "d"], np.array([True, True, True, False])
    answered = np.array([True, False, False, False])  # "a" to every row, of which one has "b"
    never, missing = on_labels(answered, np.array([0, 0, 1]), labels, taught)
    assert never == "Never answered on 3 held-out rows, though taught: 'b'."
    assert missing.startswith("No held-out row has 'c': how well")  # "d" was not taught: it is told elsewhere
    assert list(on_labels(taught[:3], np.arange(3), labels[:3], taught[:3])) == []
    many = [f"class {i}" for i in range(9)]
    first, *_ = on_labels(np.arange(9) == 0, np.arange(9), many, np.ones(9, dtype=bool))
    several = np.array([[True, True, False, False], [False, False, False, False], [True, False, False, False]])
    assert list(on_labels(answered, several, labels, taught)) == [never, missing]
    assert first.endswith("'class 5' and 3 more.")


def test_a_tail_below_its_probe_and_few_rows_are_said() -> None:
    better, worse = np.array([True, True, False]), np.array([True, False, False])
    assert list(on_tail("tail", worse, better)) == ["tail is right on 1 held-out row, its own probe on 2."]
    assert list(on_tail("tail", better, better)) == []
    assert list(on_rows(40, 2)) == []
    (few,) = on_rows(39, 2)
    assert few.startswith("39 training rows for 2 labels are few")
