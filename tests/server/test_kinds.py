"""Whatever a classifier is, TF-IDF alone or a blend of several models, it is served like a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from small import rows

from classtune.candidates.blend import Choice, Weight, choose
from classtune.config import resolve
from classtune.data.reading.tables import table_from_rows
from classtune.jobs.train import train
from classtune.server.app import create_app
from classtune.server.page.actions import Page
from classtune.server.queued import QueuedRegistry
from classtune.server.registry import ModelRegistry
from classtune.server.settings import serve_settings

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")

TEXTS = ["win a prize, call now 77 today", "see you at 77 then, mate", "hello", "call " * 12]


@pytest.fixture(scope="module", params=["lexical", "blend"])
def registry(
    request: pytest.FixtureRequest, small_bert: Path, tmp_path_factory: pytest.TempPathFactory
) -> ModelRegistry:
    """A bundle that is no single network, under the name of its kind."""
    folder = tmp_path_factory.mktemp("kinds") / str(request.param)
    told: dict[str, Any] = {"depth": "all", "epochs": 1, "least_steps": 10, "batch_size": 8, "model": str(small_bert)}
    told |= {"effort": "best", "split_by": "exact"}
    texts, labels = zip(*rows(80), strict=True)
    table = table_from_rows(texts, labels, name="rows")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "lexical":
            told["keep"] = "tf-idf"
        else:
            patch.setattr("classtune.jobs.contest.choose", _all_of_them)
        train(table, resolve(overrides=told), notify=_silent, progress=_silent).save(folder)
    return ModelRegistry([folder])


def _silent(*_: object) -> None:
    pass


def _all_of_them(options: Sequence[Any], truth: Any, **_: Any) -> Choice:
    """Every candidate with the same weight, whatever the rows would choose."""
    found = choose(options, truth)
    members = {option.name: Weight(1 / len(options), found.scales[option.name]) for option in options}
    return replace(found, members=members)


def test_both_dialects_give_pythons_scores(registry: ModelRegistry) -> None:
    predictor = registry[None].predictor
    expected = predictor.probabilities(TEXTS)
    with TestClient(create_app(registry, serve_settings({})), "http://127.0.0.1") as client:
        told = client.post("/predict", json={"inputs": TEXTS, "truncate": True}).json()
        classified = client.post("/classify", json={"input": TEXTS, "truncate_prompt_tokens": -1}).json()["data"]
        task = client.post("/", json={"inputs": TEXTS, "parameters": {"truncation": True}}).json()
        raw = client.post("/predict", json={"inputs": TEXTS[0], "raw_scores": True}).json()
    for number, row in enumerate(expected):
        scores = {entry["label"]: entry["score"] for entry in told[number]}
        assert [scores[label] for label in predictor.labels] == pytest.approx(list(row), abs=1e-6)
        assert classified[number]["probs"] == pytest.approx(list(row), abs=1e-6)
        assert classified[number]["label"] == told[number][0]["label"] == task[number][0]["label"]
    logits = predictor.logits(TEXTS[:1])[0]
    by_label = {entry["label"]: entry["score"] for entry in raw}
    assert [by_label[label] for label in predictor.labels] == pytest.approx(list(logits), abs=1e-6)


def test_it_says_what_is_served(registry: ModelRegistry) -> None:
    bundle = registry[None]
    with TestClient(create_app(registry, serve_settings({})), "http://127.0.0.1") as client:
        told = client.get("/info").json()
        assert client.get("/v1/models").json()["data"][0]["id"] == bundle.name
        assert client.get("/ready").json()["models"] == {bundle.name: bundle.version}
    (model,) = told["models"]
    assert told["max_input_length"] == model["max_input_length"] == bundle.predictor.limit
    assert model["classifier"] == bundle.record["classifier"]
    assert (model["depth"] is None) == (bundle.name == "lexical")


def test_a_text_that_holds_no_word_is_refused_and_not_answered(registry: ModelRegistry) -> None:
    with TestClient(create_app(registry, serve_settings({})), "http://127.0.0.1") as client:
        answer = client.post("/predict", json={"inputs": ["a", " "]})
    assert (answer.status_code, "inputs[1]: the text is empty" in answer.text) == (422, True)


def test_the_page_answers_and_explains(registry: ModelRegistry) -> None:
    with TestClient(create_app(registry, serve_settings({}))) as client:
        batcher = client.app.state.api.batcher  # type: ignore[attr-defined]
        page = Page(QueuedRegistry(registry, batcher, 30), None)
        name = registry[None].name
        shown, asked = page.classify(name, TEXTS[0])
        why = page.why(asked)
    assert asked["answer"][0] in shown
    assert "Which words speak for" in why
    assert "prize" in why
    assert page.examples(name)
