"""The learning curve of a run: on held-out rows, of what was chosen, the same each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import SEVERAL, rows

from classtune.candidates import probe
from classtune.candidates.backbone import Backbone
from classtune.config import resolve
from classtune.data.reading.tables import table_from_rows
from classtune.jobs.train import train
from classtune.result import Result
from classtune.screen.results import show_training

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")


def run(model: Path, count: int = 320, **told: Any) -> Result:
    """Texts of which a part has the other label."""
    lines = [(text, label if row % 7 else "ham") for row, (text, label) in enumerate(rows(count))]
    texts, labels = zip(*lines, strict=True)
    settings = resolve(overrides={**SEVERAL, "effort": "fast", "model": str(model), **told})
    silent: Any = lambda *_: None  # noqa: E731
    return train(table_from_rows(texts, labels, name="rows"), settings, notify=silent, progress=silent).result


def test_the_probe_learns_from_a_quarter_and_half_and_is_judged_on_held_out_rows(
    small_bert: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    learned: list[Any] = []
    fitting = probe.probe_of

    def fit(backbone: Backbone, some: Any) -> Any:
        learned.append(some)
        assert not set(some) & set(backbone.material.splits.test)
        return fitting(backbone, some)

    monkeypatch.setattr(probe, "probe_of", fit)
    keep = f"{small_bert.name} probe"
    result = run(small_bert, keep=keep)
    curve = result.learning_curve
    assert curve is not None
    assert (curve.candidate, curve.held_out_rows) == (keep, 256)
    full = curve.rows[-1]
    assert curve.rows == [pytest.approx(full / 4, abs=1), pytest.approx(full / 2, abs=1), full]
    sizes = sorted(len(some) for some in learned)
    assert sizes[0] == pytest.approx(full / 4, abs=4)
    assert np.array(sizes[5:10]) == pytest.approx(full / 2, abs=4)
    assert 0.03 < curve.error[-1] < 0.3
    assert result.timing["learning curve"] < result.timing["total"]
    show_training(result)
    assert curve.sentence in capsys.readouterr().out


def test_it_is_the_same_again(small_bert: Path) -> None:
    told: dict[str, Any] = {"keep": f"{small_bert.name} probe", "validation": 0.2}
    assert run(small_bert, **told).learning_curve == run(small_bert, **told).learning_curve


def test_of_words_alone_it_is_the_curve_of_words(small_bert: Path) -> None:
    curve = run(small_bert, keep="tf-idf").learning_curve
    assert curve is not None
    assert curve.candidate == "tf-idf"
    assert curve.held_out_rows < 256  # one fold: each size is fitted anew


@pytest.mark.parametrize("told", [{"count": 60}, {"candidates": "one", "trainable": "head"}])
def test_where_nothing_can_be_told_nothing_is(told: dict[str, Any], small_bert: Path) -> None:
    assert run(small_bert, **told).learning_curve is None
