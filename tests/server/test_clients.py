"""Clients of others work without a workaround: Hugging Face's in Python and in JavaScript, SageMaker's, Prometheus'."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from classtune.inference.predictor import Predictor
from classtune.server.app import create_app
from classtune.server.registry import ModelRegistry
from classtune.server.settings import serve_settings

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")

PACKAGE = "@huggingface/inference"
PLACES = [Path(place) for place in os.environ.get("NODE_PATH", "").split(os.pathsep) if place]
PLACES.append(Path(__file__).parents[2] / "node_modules")
PROGRAM = """
const [modules, url, text] = process.argv.slice(1);
const { InferenceClient } = require(modules + "/@huggingface/inference");
const client = new InferenceClient();
const ask = (parameters) => client.textClassification({ endpointUrl: url, inputs: text, parameters });
Promise.all([{}, { top_k: 1 }, { function_to_apply: "none" }].map(ask))
  .then(([all, one, none]) => console.log(JSON.stringify({ all, one, none })));
"""
TEXT = "win a prize, call now 7 today"
KEY = "a-key"
BEARER = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def registry(small_bundle: Path) -> ModelRegistry:
    return ModelRegistry([small_bundle])


@pytest.fixture(scope="module")
def predictor(registry: ModelRegistry) -> Predictor:
    return registry[None].predictor


@contextlib.contextmanager
def serving(registry: ModelRegistry, *keys: str) -> Iterator[str]:
    """The address of a server on a port of this machine."""
    import uvicorn

    config = uvicorn.Config(create_app(registry, serve_settings({}), keys), log_config=None)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        deadline = time.monotonic() + 30
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)


def client_of(registry: ModelRegistry, *keys: str, **settings: Any) -> TestClient:
    app = create_app(registry, serve_settings(settings), keys)
    return TestClient(app, "http://127.0.0.1", headers=BEARER if keys else {}, follow_redirects=False)


def expected(predictor: Predictor) -> dict[str, float]:
    return {entry["label"]: entry["score"] for entry in predictor.predict([TEXT])[0]}


def test_hugging_face_s_python_client(registry: ModelRegistry, predictor: Predictor) -> None:
    with serving(registry, KEY) as url:
        client = InferenceClient(url, token=KEY)
        answer = client.text_classification(TEXT)
        assert {each.label: each.score for each in answer} == pytest.approx(expected(predictor), abs=1e-6)
        assert answer[0].score > answer[1].score
        assert [each.label for each in client.text_classification(TEXT, top_k=1)] == [answer[0].label]
        logits = predictor.logits([TEXT])[0]
        for name, scores in (
            ("none", logits),
            ("sigmoid", 1 / (1 + np.exp(-logits))),
            ("softmax", predictor.probabilities([TEXT])[0]),
        ):
            changed = client.text_classification(TEXT, function_to_apply=name)  # type: ignore[arg-type]
            by_label = {each.label: each.score for each in changed}
            assert [by_label[label] for label in predictor.labels] == pytest.approx(list(scores), abs=1e-5), name
        with pytest.raises(HfHubHTTPError, match="401"):
            InferenceClient(url, token="wrong").text_classification(TEXT)


def test_hugging_face_s_javascript_client(registry: ModelRegistry, predictor: Predictor) -> None:
    modules = next((place for place in PLACES if (place / PACKAGE).is_dir()), None)
    if (node := shutil.which("node")) is None or modules is None:
        pytest.skip(f"{PACKAGE} is not here: npm install --no-save {PACKAGE}, or name its folder in NODE_PATH")
    with serving(registry) as url:
        command = [node, "-e", PROGRAM, str(modules), url, TEXT]
        shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    answers = json.loads(shown.stdout)
    assert {each["label"]: each["score"] for each in answers["all"]} == pytest.approx(expected(predictor), abs=1e-6)
    assert answers["one"] == answers["all"][:1]
    by_label = {each["label"]: each["score"] for each in answers["none"]}
    assert [by_label[label] for label in predictor.labels] == pytest.approx(list(predictor.logits([TEXT])[0]), abs=1e-5)


def test_sagemaker_s_routes(registry: ModelRegistry, predictor: Predictor) -> None:
    with client_of(registry, KEY) as client:
        assert client.get("/ping", headers={"Authorization": ""}).status_code == 200
        one = client.post("/invocations", json={"inputs": TEXT, "parameters": {"top_k": 1}})
        ((entry,),) = one.json()
        assert entry["score"] == pytest.approx(max(expected(predictor).values()), abs=1e-6)
        assert len(client.post("/invocations", json={"inputs": [TEXT, "see you"]}).json()) == 2


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/", {"inputs": "a", "parameters": {"topk": 1}}, "topk"),
        ("/", {"inputs": "a", "parameters": {"top_k": 0}}, "top_k"),
        ("/", {"inputs": "a", "parameters": {"function_to_apply": "tanh"}}, "function_to_apply"),
        ("/", {"inputs": "a", "options": {}}, "options"),
        ("/predict", {"inputs": "a", "truncation_direction": "Left"}, "truncation_direction"),
        ("/classify", {"input": "a", "truncate_prompt_tokens": 10}, "truncate_prompt_tokens: 10"),
        ("/classify", {"input": "a", "use_activation": True, "softmax": False}, "names of one thing"),
        ("/classify", {"input": "a", "priority": 3}, "priority"),
        ("/classify", {"input": "a", "add_special_tokens": False}, "add_special_tokens"),
    ],
)
def test_no_parameter_is_ignored(registry: ModelRegistry, path: str, body: Any, message: str) -> None:
    with client_of(registry) as client:
        answer = client.post(path, json=body)
    assert answer.status_code == 422
    assert message in answer.text


@pytest.mark.parametrize("name", ["use_activation", "activation", "softmax"])
def test_every_name_that_vllm_has_had_for_logits(registry: ModelRegistry, predictor: Predictor, name: str) -> None:
    with client_of(registry) as client:
        (raw,) = client.post("/classify", json={"input": TEXT, name: False}).json()["data"]
        (plain,) = client.post("/classify", json={"input": TEXT, name: True}).json()["data"]
    assert raw["probs"] == pytest.approx(list(predictor.logits([TEXT])[0]), abs=1e-6)
    assert plain["probs"] == pytest.approx(list(predictor.probabilities([TEXT])[0]), abs=1e-6)


def test_a_browser_at_the_root_is_sent_to_the_page_and_others_are_not(registry: ModelRegistry) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    with client_of(registry, page=True) as client:
        sent = client.get("/", headers=browser)
        assert (sent.status_code, sent.headers["location"]) == (307, "page/")
        assert client.get("/").json()["model_id"] == "llama"
    with client_of(registry) as client:
        assert client.get("/", headers=browser).json()["model_id"] == "llama"
    with client_of(registry, KEY, page=True) as client:
        asked = client.get("/", headers=browser | {"Authorization": ""})
        assert (asked.status_code, asked.headers["www-authenticate"][:5]) == (401, "Basic")
        assert client.get("/", headers=browser, auth=("anna", KEY)).status_code == 307
        refused = client.post("/", json={"inputs": "a"}, auth=("anna", KEY))
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")


def test_prometheus_gets_what_it_asks_for(registry: ModelRegistry) -> None:
    with client_of(registry) as client:
        client.get("/health")
        plain = client.get("/metrics")
        assert plain.headers["content-type"].startswith("text/plain; version=")
        open_metrics = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert open_metrics.text.endswith("# EOF\n")
    for text in (plain.text, open_metrics.text):
        assert "classtune_requests_total{" in text
        assert "_created" not in text
