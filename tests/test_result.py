"""The result document: which keys it has, and that a bundle's record is a part of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small import SEVERAL, rows

from classtune.config import resolve
from classtune.data.reading.tables import table_from_rows
from classtune.jobs import more_rows
from classtune.jobs.train import train
from classtune.judging import metrics
from classtune.judging.judged import Judged
from classtune.report.page import model_card, write_report
from classtune.report.plots import percent
from classtune.result import RECORDED, Result
from classtune.screen.results import show_comparison, show_training

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")

# Every key of `train --json`: programs read them.
KEYS = Path(__file__).with_name("result_keys.txt").read_text(encoding="utf-8").split()
# Objects whose keys are names of the run's own: labels, candidates. And those whose keys are told elsewhere.
NAMED = {"versions", "timing", "per_label", "classes", "lengths", "members", "losses", "trained", "deployed"}
NAMED |= {"precision_recall", "candidates", "classifiers"}
LEAVES = {"examples", "detail", "settings", "folded"}


def tree(value: Any, path: str = "", name: str = "") -> set[str]:
    """The paths of all values: ``data.findings[].kind``; ``*`` for names of the run's own."""
    if isinstance(value, dict) and value and name not in LEAVES:
        inner = [(f"{path}.{'*' if name in NAMED else key}".lstrip("."), key, part) for key, part in value.items()]
        return set().union(*(tree(part, place, key) for place, key, part in inner))
    if isinstance(value, list) and value and isinstance(value[0], dict) and name not in LEAVES:
        return set().union(*(tree(part, f"{path}[]") for part in value))
    return {path}


@pytest.fixture(scope="module")
def found(small_bert: Path) -> Result:
    """A run that finds something to say of everything."""
    lines = [(text, label if row % 9 else "ham") for row, (text, label) in enumerate(rows(120))]  # some are wrong
    texts, labels = zip(*[*lines, *lines[:20]], strict=True)
    told = {"keep": f"{small_bert.name} tail", "depth": "auto", "cost": "spam:fn=5", "deploy_prior": {"spam": 0.1}}
    settings = resolve(overrides={**SEVERAL, **told, "model": str(small_bert)})
    table = table_from_rows(texts, labels, name="rows")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(more_rows, "LEAST_ROWS", 50)
        return train(table, settings, notify=lambda _: None, progress=lambda *_: None).result


def test_the_keys_are_those_that_programs_read(found: Result) -> None:
    assert sorted(tree(found.document())) == sorted(KEYS)


def test_the_record_of_a_bundle_is_a_part_of_it(found: Result) -> None:
    document = found.document()
    assert found.record() == {"settings": document["settings"]} | {key: document[key] for key in RECORDED}


def test_a_metric_is_one_row(
    small_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever adds one to the table finds it in the JSON, on the screen, in the report and in the model card."""

    def worst_recall(rows: Judged) -> float:
        right, support, _ = rows.by_label
        return float((right / support.clip(1)).min())

    extra = metrics.Metric("worst_recall", "recall of the worst class", "share", "higher", worst_recall)
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, extra))
    texts, labels = zip(*rows(60), strict=True)
    settings = resolve(overrides={**SEVERAL, "model": str(small_bert), "effort": "fast"})
    table = table_from_rows(texts, labels, name="rows")
    result = train(table, settings, notify=lambda _: None, progress=lambda *_: None).result
    document = result.document()
    recalls = [row["recall"] for row in document["test"]["per_label"].values()]
    assert document["test"]["worst_recall"] == min(recalls)
    assert all("worst_recall" in one for one in document["comparison"]["candidates"])
    show_training(result)
    assert capsys.readouterr().out.count("recall of the worst class") == 1
    show_comparison(result)
    assert capsys.readouterr().out.count("recall of the worst class") == 1
    write_report(tmp_path / "report.html", result)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("recall of the worst class") == 2  # among the test figures, and in the comparison
    assert f"| recall of the worst class | {percent(min(recalls))} |" in model_card(result)


def test_without_quotes_no_text_of_the_table_is_left(found: Result) -> None:
    assert "win a prize" in json.dumps(found.document())
    assert found.mistakes
    assert "win a prize" not in json.dumps(found.without_quotes().document())
