"""A search for settings: what it uses, how much of the gain it calls selection, and what it leaves alone."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small import SEVERAL, rows

from classtune.candidates import tuning
from classtune.candidates.backbone import Backbone
from classtune.candidates.tail import tried as usual
from classtune.candidates.tuning import Trial, judge
from classtune.config import resolve, seconds_of
from classtune.data.reading.tables import table_from_rows
from classtune.errors import SettingsError
from classtune.jobs.train import Trained, train

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")


def trial(chose: float, controls: float, **values: Any) -> Trial:
    return Trial(values, np.full(40, chose), controls + np.linspace(-0.1, 0.1, 50))


def test_the_best_is_used_where_control_rows_gain_too_and_the_share_of_selection_is_said() -> None:
    found = judge([trial(0.5, 0.5), trial(0.45, 0.3, epochs=3), trial(0.4, 0.46, learning_rate=1e-3)], "m, 9 s")
    assert found.values == {"learning_rate": 1e-3}
    assert found.sentence == (
        "--tune: 3 settings of the tail of m, 9 s. The best (learning_rate = 0.001) lowers the log loss of the 40 rows "
        "that chose it by 0.100, from 0.500, and of 50 rows that the search never saw by 0.040 (± 0.000): 60 % of the "
        "gain is selection. It is used."
    )


def test_a_gain_that_is_all_selection_changes_nothing() -> None:
    found = judge([trial(0.5, 0.5), trial(0.4, 0.52, epochs=9)], "m")
    assert found.values == {}
    assert found.sentence.endswith("100 % of the gain is selection. The settings stay as they were.")
    assert judge([trial(0.5, 0.5), trial(0.6, 0.1, epochs=9)], "m").values == {}


def run(model: Path, count: int = 240, folder: Path | None = None, resume: bool = False, **told: Any) -> Trained:
    texts, labels = zip(*rows(count), strict=True)
    labels = tuple(label if place % 5 else "spam" for place, label in enumerate(labels))  # some are wrong
    settings = resolve(overrides={**SEVERAL, "model": str(model), "learning_rate": 3e-5, **told})
    return train(
        table_from_rows(texts, labels, name="rows"),
        settings,
        run_folder=folder,
        resume=resume,
        notify=lambda _: None,
        progress=lambda *_: None,
    )


def test_a_run_searches_within_training_rows_and_keeps_what_it_is_told(
    small_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, Any, dict[str, Any]]] = []

    def tried(backbone: Backbone, learn: Any, judged: Any, values: Any) -> Any:
        assert set(learn) | set(judged) <= set(backbone.material.splits.train)
        assert not set(backbone.material.groups[learn]) & set(backbone.material.groups[judged])
        seen.append((learn, judged, dict(values)))
        before = {name: value.clone() for name, value in backbone.network.classifier.state_dict().items()}
        logits = usual(backbone, learn, judged, values)
        assert all((value == before[name]).all() for name, value in backbone.network.classifier.state_dict().items())
        return logits

    monkeypatch.setattr(tuning, "tried", tried)
    clock = SimpleNamespace(perf_counter=itertools.count().__next__)  # a second whenever it is looked at
    monkeypatch.setattr("classtune.candidates.tuning.time", clock)
    trained = run(small_bert, 400, tmp_path / "run", tune="4s", validation=0.1)
    assert len(seen) == 4
    assert seen[0][2] == {}
    tried_settings = {"weight_decay", "label_smoothing"}  # what SEVERAL and the test tell stays
    assert all(set(values) == tried_settings for _, _, values in seen[1:])
    (note,) = [note for note in trained.result.notes if note.startswith("--tune: ")]
    assert f"{len(seen)} settings of the tail of {small_bert.name}" in note
    tuned = {key: getattr(trained.settings, key) for key in tried_settings}
    usual_values = {key: getattr(resolve(), key) for key in tried_settings}
    assert (tuned != usual_values) == note.endswith("It is used.")
    seen.clear()  # what a stopped run found, the one that goes on takes
    again = run(small_bert, 400, tmp_path / "run", resume=True, tune="4s", validation=0.1)
    assert not seen
    assert [note for note in again.result.notes if note.startswith("--tune: ")] == [note]


def test_few_rows_are_not_searched_by(small_bert: Path) -> None:
    (note,) = [one for one in run(small_bert, 60, tune="5s").result.notes if one.startswith("--tune: ")]
    assert note == f"--tune: nothing is searched for {small_bert.name}: 48 training rows are too few."


def test_a_time_that_is_too_short_for_two_trials_is_said(small_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []

    def counted(backbone: Backbone, *told: Any) -> Any:
        tried.append(told)
        return usual(backbone, *told)

    monkeypatch.setattr(tuning, "tried", counted)
    (note,) = [one for one in run(small_bert, 400, tune="0.01s").result.notes if one.startswith("--tune: ")]
    assert len(tried) == 1
    assert f"nothing is searched for {small_bert.name}: one trial takes " in note


def test_a_time_is_a_number_and_a_unit() -> None:
    assert [seconds_of(time) for time in ("90s", "10m", "1.5h")] == [90, 600, 5400]
    for wrong in ("10", "ten", "10 m", "-1m"):
        with pytest.raises(SettingsError, match=r"is no time\. Write it as 90s, 10m or 1h"):
            resolve(overrides={"tune": wrong})
    with pytest.raises(SettingsError, match="leave one out"):
        resolve(overrides={"tune": "1m", "effort": "fast"})
