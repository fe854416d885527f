"""Columns beside the texts as a classifier: what is made of cells, what it learns, and that it comes back as it was."""

from __future__ import annotations

import copy
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest

from classtune.candidates.columns import COLUMNS, Column, ColumnsModel
from classtune.data.reading.cells import RowText, cells_beside
from classtune.errors import BundleError
from classtune.stats import softmax

LABELS = ["billing", "login"]


def row(product: str, price: object, text: str = "help") -> RowText:
    return RowText(text, {"product": product, "price": str(price)})


ROWS = [row("card", 10 + n) if n % 2 else row("app", n / 10) for n in range(40)]
TRUTH = np.array([1 - n % 2 for n in range(40)])


def fitted(**told: object) -> ColumnsModel:
    return ColumnsModel.fit(["product", "price"], ROWS, TRUTH, classes=2, seed=1, **told)  # type: ignore[arg-type]


def test_many_numbers_are_limits_and_all_else_is_categories() -> None:
    price = Column.of("price", [str(n) for n in range(100)] + ["", ""])
    assert price.categories == ("",)
    assert len(price.limits) == 9
    low, high, empty, nothing = price.features(["-5", "1e9", "", "n/a"]) + np.array(price.means)
    assert (low.sum(), high.sum(), empty.tolist()) == (pytest.approx(0), pytest.approx(9), pytest.approx([1] + 9 * [0]))
    np.testing.assert_allclose(nothing, price.means)
    assert Column.of("stars", ["1", "2", "5", "5", "2", "1"]).categories == ("1", "2", "5")
    assert Column.of("code", [*map(str, range(30)), "x", "x"]).categories == ("x",)
    assert Column.of("id", [f"n{number}" for number in range(30)]).width == 0
    assert Column.of("huge", ["nan", "inf", *map(str, range(30))]).limits == ()


def test_it_learns_from_either_column_and_not_from_the_text() -> None:
    model = fitted()
    scores = softmax(model.logits([row("card", ""), row("app", ""), row("", 35), row("", 0.3)]))
    assert (scores[[0, 2], 0] > 0.7).all()
    assert (scores[[1, 3], 1] > 0.7).all()
    assert softmax(model.logits(["a text alone"]))[0, 0] == pytest.approx(0.5, abs=0.05)
    np.testing.assert_array_equal(model.logits([row("card", 9, "one")]), model.logits([row("card", 9, "other")]))


def test_a_text_alone_and_a_value_never_met_say_little() -> None:
    model = fitted()
    np.testing.assert_array_equal(model.logits(["a text alone"]), model.logits([row("", "")]))
    unknown = model.logits([row("unheard of", "")])
    np.testing.assert_array_equal(unknown, model.logits(["a text alone"]))  # no training row had an empty cell


def test_an_empty_cell_is_a_value_where_training_rows_have_some() -> None:
    rows = [RowText("t", {"agent": "" if n % 2 else f"agent {n % 6}"}) for n in range(60)]
    model = ColumnsModel.fit(["agent"], rows, np.arange(60) % 2, classes=2, seed=1)
    assert softmax(model.logits(["t"]))[0, 1] > 0.8


def test_several_labels_a_row_and_weights() -> None:
    truth = np.stack([TRUTH == 0, TRUTH == 1, np.ones(40, bool)], axis=1)
    model = ColumnsModel.fit(["product"], ROWS, truth, classes=3, seed=1)
    assert (model.logits([row("card", 1)]) > 0).tolist() == [[True, False, True]]
    heavy = fitted(weights=np.where(TRUTH == 1, 5.0, 1.0))
    assert heavy.logits(["t"])[0, 1] > fitted().logits(["t"])[0, 1]


def test_it_comes_back_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    model = fitted()
    model.save(tmp_path, LABELS)
    np.testing.assert_array_equal(model.logits(ROWS), ColumnsModel.load(tmp_path, LABELS).logits(ROWS))
    with pytest.raises(BundleError, match="its labels are"):
        ColumnsModel.load(tmp_path, LABELS[::-1])
    facts = json.loads((tmp_path / COLUMNS).read_text(encoding="utf-8"))
    for damaged in ("{", json.dumps(facts[:1]), json.dumps([{**facts[0], "limits": ["x"]}])):
        (tmp_path / COLUMNS).write_text(damaged, encoding="utf-8")
        with pytest.raises(BundleError, match="the member of columns"):
            ColumnsModel.load(tmp_path, LABELS)


def test_a_text_with_cells_is_its_text_and_survives_copies() -> None:
    text = row("card", math.pi)
    assert text == "help"
    for again in (copy.deepcopy(text), pickle.loads(pickle.dumps(text))):
        assert cells_beside(again) == {"product": "card", "price": str(math.pi)}
