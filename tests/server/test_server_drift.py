"""The server compares its latest answers with training, as metrics, and counts what people say was right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from small import QUICK, rows

from classtune.config import resolve
from classtune.data.reading.tables import table_from_rows
from classtune.jobs.train import train
from classtune.server.app import create_app
from classtune.server.drift import WINDOW
from classtune.server.page.actions import Page
from classtune.server.queued import QueuedRegistry
from classtune.server.registry import ModelRegistry
from classtune.server.settings import serve_settings

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")


def quiet(*_: object) -> None:
    """Nobody asked."""


@pytest.fixture(scope="module")
def bundle(small_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "sms"
    settings = resolve(overrides={**QUICK, "model": str(small_bert), "test": 0.25, "validation": 0.0})
    table = table_from_rows(*zip(*rows(400), strict=True), name="t")
    train(table, settings, notify=quiet, progress=quiet).save(folder)
    return folder


def metrics(client: TestClient) -> dict[str, float]:
    """Name with labels → value."""
    lines = client.get("/metrics").text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def ask(client: TestClient, texts: list[str]) -> None:
    assert client.post("/predict", json={"inputs": texts}).status_code == 200


def test_the_window_is_compared_with_training(bundle: Path) -> None:
    later = rows(3000)[400:]
    spam = [text for text, label in later if label == "spam"]
    with TestClient(create_app(ModelRegistry([bundle]), serve_settings({})), base_url="http://localhost") as client:
        assert not [name for name in metrics(client) if name.startswith("classtune_drift_alarm{")]
        ask(client, [text for text, _ in later[:300]])
        found = metrics(client)
        assert found['classtune_drift_texts{model="sms"}'] == 300
        figures = {re.search('figure="(.*?)"', name)[1] for name in found if "drift_alarm{" in name}  # type: ignore[index]
        assert figures == {"answers", "certainty", "unknown"}
        assert found['classtune_drift_alarm{figure="answers",model="sms"}'] == 0
        assert 0.3 < found['classtune_answer_share{label="spam",model="sms"}'] < 0.7
        assert 0.3 < found['classtune_answer_share_trained{label="spam",model="sms"}'] < 0.7
        for start in (0, 500):
            ask(client, spam[start : start + 500])
        found = metrics(client)
        assert found['classtune_drift_texts{model="sms"}'] == WINDOW  # the first 300 have left it
        assert found['classtune_drift_alarm{figure="answers",model="sms"}'] == 1
        assert found['classtune_drift_p_value{figure="answers",model="sms"}'] < 1e-6
        assert found['classtune_answer_share{label="spam",model="sms"}'] == 1


def test_copies_of_training_texts_are_not_counted(bundle: Path) -> None:
    with TestClient(create_app(ModelRegistry([bundle]), serve_settings({})), base_url="http://localhost") as client:
        ask(client, [text for text, _ in rows(400)])
        assert metrics(client)['classtune_drift_texts{model="sms"}'] == 100  # the test rows


def test_what_people_say_is_counted(bundle: Path, tmp_path: Path) -> None:
    registry = ModelRegistry([bundle])
    with TestClient(create_app(registry, serve_settings({})), base_url="http://localhost") as client:
        api = client.app.state.api  # type: ignore[attr-defined]
        page = Page(
            QueuedRegistry(registry, api.batcher, 30),
            tmp_path / "feedback.jsonl",
            lambda name, right: api.metrics.judged(name, right=right),
        )
        asked = {"bundle": "sms", "text": "see you", "answer": ["ham"], "multi": False}
        for right in ("ham", "ham", "spam"):
            page.keep(asked, [right])
        found = metrics(client)
        assert found['classtune_feedback_total{model="sms",right="yes"}'] == 2
        assert found['classtune_feedback_total{model="sms",right="no"}'] == 1
