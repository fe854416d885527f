"""Over HTTP: the same scores as in Python, in the words of two dialects, and a clear refusal of everything else."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from small import LIMIT, rows

from classtune.decisions.abstention import Abstention
from classtune.decisions.decisions import Decisions
from classtune.decisions.thresholds import Thresholds
from classtune.errors import BundleError, SettingsError
from classtune.inference.predictor import Predictor, load_predictor
from classtune.server.app import create_app
from classtune.server.middleware import log
from classtune.server.registry import ModelRegistry
from classtune.server.settings import serve_settings

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")

TEXTS = ["a", *(text for text, _ in rows(9)), "é" * 40, "🎉 שלום", "win " * 30, "tab\tand\nline"]
JSON = {"Content-Type": "application/json"}
URL = "http://127.0.0.1"
KEY = "a-key-that-nobody-guesses"


@pytest.fixture(scope="module")
def predictor(small_bundle: Path) -> Predictor:
    return load_predictor(small_bundle)[0]


@pytest.fixture(scope="module")
def registry(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelRegistry:
    """The bundle, and a copy of it called `other`."""
    other = tmp_path_factory.mktemp("served") / "other"
    shutil.copytree(small_bundle, other)
    return ModelRegistry([small_bundle, other])


def client_of(registry: ModelRegistry, *keys: str, **told: Any) -> TestClient:
    return TestClient(create_app(registry, serve_settings(told), keys), URL, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def client(registry: ModelRegistry) -> Iterator[TestClient]:
    with client_of(registry) as made:
        yield made


def deciding(registry: ModelRegistry, decisions: Decisions) -> ModelRegistry:
    """A registry whose bundle decides otherwise."""
    first = registry[None]
    predictor = Predictor(first.predictor.network, first.predictor.labels, decisions)
    made: ModelRegistry = object.__new__(ModelRegistry)
    made._bundles = {first.name: replace(first, predictor=predictor)}
    return made


def scores(ranked: list[dict[str, Any]], labels: list[str]) -> list[float]:
    found = {entry["label"]: entry["score"] for entry in ranked}
    return [found[label] for label in labels]


def test_both_dialects_give_pythons_scores(client: TestClient, predictor: Predictor) -> None:
    expected = predictor.probabilities(TEXTS)
    told = client.post("/predict", json={"inputs": TEXTS}).json()
    assert np.abs([scores(ranked, predictor.labels) for ranked in told] - expected).max() < 1e-6
    assert [[entry["label"] for entry in ranked] for ranked in told] == [
        [entry["label"] for entry in ranked] for ranked in predictor.predict(TEXTS)
    ]
    document = client.post("/v1/classify", json={"model": "llama", "input": TEXTS}).json()
    assert np.abs([item["probs"] for item in document["data"]] - expected).max() < 1e-6
    assert [item["label"] for item in document["data"]] == [ranked[0]["label"] for ranked in told]


def test_whatever_runs_together_the_scores_are_the_same(client: TestClient, predictor: Predictor) -> None:
    expected = predictor.probabilities(TEXTS)

    def ask(number: int) -> list[float]:
        answer = client.post("/predict", json={"inputs": TEXTS[number % len(TEXTS)]})
        return scores(answer.json(), predictor.labels)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(4 * len(TEXTS))))
    assert np.abs(np.array(found) - np.tile(expected, (4, 1))).max() < 1e-6


def test_text_embeddings_inferences_forms(client: TestClient, predictor: Predictor) -> None:
    one = client.post("/predict", json={"inputs": "call now", "truncate": True})
    assert one.status_code == 200
    assert [list(entry) for entry in one.json()] == [["label", "score"]] * 2
    assert client.post("/predict", json={"inputs": ["call now"]}).json() == [one.json()]
    assert client.post("/predict", json={"inputs": [["call now"]]}).json() == [one.json()]
    raw = client.post("/predict", json={"inputs": "call now", "raw_scores": True}).json()
    assert scores(raw, predictor.labels) == pytest.approx(predictor.logits(["call now"])[0], abs=1e-6)


def test_vllms_form(client: TestClient, predictor: Predictor) -> None:
    document = client.post("/classify", json={"model": "other", "input": "call now", "user": "me"}).json()
    assert list(document) == ["id", "object", "created", "model", "data", "usage"]
    assert document["id"].startswith("classify-")
    assert (document["object"], document["model"]) == ("list", "other")
    (item,) = document["data"]
    assert list(item) == ["index", "label", "probs", "num_classes"]
    raw = client.post("/classify", json={"input": "call now", "use_activation": False}).json()["data"][0]
    assert raw["probs"] == pytest.approx(predictor.logits(["call now"])[0], abs=1e-6)
    assert raw["label"] == item["label"]
    assert (item["index"], item["num_classes"], sum(item["probs"])) == (0, 2, pytest.approx(1))
    assert document["usage"] == {
        "prompt_tokens": len("call now"),
        "total_tokens": len("call now"),
        "completion_tokens": 0,
        "prompt_tokens_details": None,
    }
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["llama", "other"]


@pytest.mark.parametrize(
    ("body", "status", "kind", "message"),
    [
        ({"inputs": [["a", "b"], ["c"]]}, 422, "tokenizer", r"inputs\[0\]: not one text.*no pairs"),
        ({"inputs": ["good", " ", ""]}, 422, "tokenizer", r"inputs\[2\]: the text is empty"),
        ({"inputs": []}, 400, "empty", "list is empty"),
        ({"inputs": 3}, 422, "validation", "inputs: must be a text or a list of texts"),
        ({"input": "a"}, 422, "validation", "inputs: field required"),
        ({"inputs": "a", "raw_scores": "yes"}, 422, "validation", "raw_scores: .*valid boolean"),
        ([], 422, "validation", "must be a JSON object"),
        ({"inputs": "a", "model": "lama"}, 404, "not_found", "'lama' is not served here. Did you mean 'llama'"),
        ({"inputs": ["a"] * 17}, 413, "validation", "17 texts, and 16 are taken"),
        ({"inputs": ["a", "b" * 501]}, 413, "validation", r"inputs\[1\]: 501 characters, and 500 are taken"),
        ({"inputs": ["ab", "b" * (LIMIT + 1)]}, 413, "validation", rf"inputs\[1\]: .*more than {LIMIT} tokens"),
        ({"inputs": ["b" * 499] * 5}, 413, "validation", "larger than 2,000 bytes"),
    ],
)
def test_what_cannot_be_answered_is_refused_clearly(
    registry: ModelRegistry, body: Any, status: int, kind: str, message: str
) -> None:
    with client_of(registry, max_texts=16, max_characters=500, max_body=2000) as client:
        answer = client.post("/predict", json=body)
    assert (answer.status_code, answer.json()["error_type"]) == (status, kind)
    assert list(answer.json()) == ["error", "error_type"]
    assert re.search(message, answer.json()["error"]), answer.json()


def test_bodies_that_are_no_json_or_grow_under_way(registry: ModelRegistry) -> None:
    with client_of(registry, max_body=100) as client:
        for body in (b"{inputs", b"\xff\xfe", b'{"inputs": "\\ud800"}', b""):
            answer = client.post("/predict", content=body, headers=JSON)
            assert answer.status_code == 422, body
            assert answer.json()["error_type"] in ("validation", "tokenizer")
        unannounced = client.post("/predict", content=(b" " * 40 for _ in range(4)), headers=JSON)
        assert unannounced.status_code == 413


def test_vllms_errors_routes_and_methods(client: TestClient) -> None:
    answer = client.post("/v1/classify", json={"input": [1, 2]})
    assert answer.status_code == 422
    assert answer.json()["error"] == {
        "message": "input: must be a text or a list of texts. Send strings.",
        "type": "validation",
        "param": None,
        "code": 422,
    }
    wrong = client.get("/predict")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert client.post("/health").headers["allow"] == "GET, HEAD"
    assert client.get("/docs").status_code == 404
    assert client.get("/nowhere").json() == {"error": "Not Found", "error_type": "not_found"}


def test_long_texts_are_cut_only_when_that_is_asked_for(client: TestClient, predictor: Predictor) -> None:
    long = "see you there " * 40
    assert client.post("/predict", json={"inputs": long}).status_code == 413
    cut = client.post("/predict", json={"inputs": long, "truncate": True}).json()
    assert scores(cut, predictor.labels) == pytest.approx(predictor.probabilities([long[:LIMIT]])[0], abs=1e-6)
    vllm = client.post("/classify", json={"input": long, "truncate_prompt_tokens": -1}).json()
    assert vllm["usage"]["prompt_tokens"] == LIMIT
    assert client.post("/classify", json={"input": long, "truncate_prompt_tokens": 8}).status_code == 422


def test_a_withheld_answer(registry: ModelRegistry, predictor: Predictor) -> None:
    never = Abstention(0.1, 1.1, 60, 0, 0, None, 0.0, (0.0, 0.1), 20, "No text is sure enough.")
    decisions = replace(predictor.decisions, abstention=never)
    with client_of(deciding(registry, decisions)) as client:
        ranked = client.post("/predict", json={"inputs": "call now"}).json()
        assert [entry["answer"] for entry in ranked] == [False, False]
        assert sum(entry["score"] for entry in ranked) == pytest.approx(1)
        (item,) = client.post("/classify", json={"input": "call now"}).json()["data"]
        assert item["label"] is None
        assert sum(item["probs"]) == pytest.approx(1)
        assert client.get("/info").json()["models"][0]["withholds_answers"]
        measured = client.get("/metrics").text
        assert 'classtune_abstentions_total{model="llama"} 2.0' in measured
        assert "classtune_labels_total{" not in measured


def test_several_labels_a_text(registry: ModelRegistry, predictor: Predictor) -> None:
    decisions = replace(Decisions.plain(predictor.labels, multi=True), thresholds=Thresholds((0.0, 0.0)))
    with client_of(deciding(registry, decisions)) as client:
        (item,) = client.post("/classify", json={"input": "call now"}).json()["data"]
    assert sorted(item["labels"]) == sorted(predictor.labels)
    assert item["label"] == ", ".join(item["labels"])


def test_keys_open_everything_but_the_watchers_paths(registry: ModelRegistry) -> None:
    with client_of(registry, "another", KEY) as client:
        for path in ("/health", "/ready"):
            assert client.get(path).status_code == 200
        for path in ("/info", "/metrics", "/openapi.json", "/v1/models", "/nowhere"):
            assert client.get(path).status_code == 401
        wrong = ("", "Bearer", "Bearer ", "Bearer wrong", f"Basic {KEY}", KEY, f"Bearer {KEY}x", "Bearer " + KEY[:-1])
        for shown in wrong:
            answer = client.post("/predict", json={"inputs": "a"}, headers={"Authorization": shown})
            assert answer.status_code == 401, shown
            assert answer.json()["error_type"] == "unauthorized"
            assert answer.headers["www-authenticate"] == "Bearer"
            assert KEY not in answer.text
        for shown in (f"Bearer {KEY}", f"bearer {KEY}", "Bearer another"):
            assert client.post("/predict", json={"inputs": "a"}, headers={"Authorization": shown}).status_code == 200


def test_a_password_opens_what_browsers_see_and_nothing_else(registry: ModelRegistry) -> None:
    with client_of(registry, KEY) as client:
        asked = client.get("/nowhere").headers["www-authenticate"]
        assert asked.startswith("Basic realm=")
        assert client.get("/nowhere", auth=("anna", KEY)).status_code == 404  # let in
        for name, password in (("anna", KEY[:-1]), ("anna", ""), (KEY, "")):
            assert client.get("/nowhere", auth=(name, password)).status_code == 401
        assert client.get("/nowhere", headers={"Authorization": "Basic no-base64!"}).status_code == 401
        refused = client.post("/predict", json={"inputs": "a"}, auth=("anna", KEY))
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        for origin, status in ((URL, 404), ("http://elsewhere.example", 403), ("null", 403)):
            assert client.get("/nowhere", auth=("anna", KEY), headers={"Origin": origin}).status_code == status


def test_request_ids_go_through_and_odd_ones_are_replaced(
    client: TestClient, capfd: pytest.CaptureFixture[str]
) -> None:
    told = client.post("/classify", json={"input": "secret words"}, headers={"X-Request-Id": "mine-7"})
    assert told.headers["x-request-id"] == "mine-7"
    assert told.json()["id"] == "classify-mine-7"
    odd = client.get("/nowhere", headers={"X-Request-Id": "a b" * 200}).headers["x-request-id"]
    assert len(odd) == 32
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["request_id"] for line in lines] == ["mine-7", odd]
    assert lines[0].items() >= {"event": "request", "path": "/classify", "status": 200, "texts": 1}.items()
    assert lines[0]["ms"] > 0
    assert "secret" not in json.dumps(lines)


def test_lines_of_the_log_stay_whole_whichever_threads_write_them(capfd: pytest.CaptureFixture[str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: log("event", number=number), range(2000)))
    numbers = [json.loads(line)["number"] for line in capfd.readouterr().err.splitlines()]
    assert sorted(numbers) == list(range(2000))


class Stuck(Predictor):
    """A model that is busy until it is told to go on, or fails."""

    go = threading.Event()
    busy = threading.Event()
    error: Exception | None = None

    def __init__(self, predictor: Predictor) -> None:
        vars(self).update(vars(predictor))

    def run(self, ids: Any) -> Any:
        self.busy.set()
        assert self.go.wait(10)
        if self.error:
            raise self.error
        return super().run(ids)


@pytest.fixture
def stuck(registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch) -> ModelRegistry:
    first = registry[None]
    made: ModelRegistry = object.__new__(ModelRegistry)
    made._bundles = {first.name: replace(first, predictor=Stuck(first.predictor))}
    monkeypatch.setattr(Stuck, "go", threading.Event())
    monkeypatch.setattr(Stuck, "busy", threading.Event())
    return made


def test_a_full_queue_and_a_request_that_takes_too_long(stuck: ModelRegistry) -> None:
    with client_of(stuck, queue=2, max_texts=2, timeout=2) as client, ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(client.post, "/predict", json={"inputs": ["a", "b"]})]
        assert Stuck.busy.wait(10)  # the model has the first; of the others one can wait
        asked += [pool.submit(client.post, "/predict", json={"inputs": ["a", "b"]}) for _ in range(3)]
        answers = [answer.result() for answer in asked]
        assert sorted(answer.status_code for answer in answers) == [429, 429, 504, 504]
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["error_type"] == "overloaded"
        assert refused.headers["retry-after"] == "1"
        late = next(answer for answer in answers if answer.status_code == 504)
        assert late.json() == {
            "error": "Not done in 2 seconds. Send fewer texts, or later.",
            "error_type": "timeout",
        }
        Stuck.go.set()
        codes = (client.post("/predict", json={"inputs": "a"}).status_code for _ in range(500))
        assert 200 in codes  # once the model has thrown away what nobody waits for any more
        assert "classtune_queue_texts 0.0" in client.get("/metrics").text


def test_a_model_that_fails(
    stuck: ModelRegistry, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Stuck.go.set()
    monkeypatch.setattr(Stuck, "error", RuntimeError("secret words of the inside"))
    with client_of(stuck) as client:
        answer = client.post("/predict", json={"inputs": "a"})
        assert (answer.status_code, answer.json()["error_type"]) == (424, "backend")
        assert answer.json()["error"].startswith("inputs: the model failed on it.")
        assert "secret" not in answer.text
        assert client.get("/health").status_code == 200
    assert "secret words of the inside" in capfd.readouterr().err


def test_a_slow_body_is_given_up(registry: ModelRegistry) -> None:
    app = create_app(registry, serve_settings({"timeout": 0.2}))
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(5)
        raise AssertionError("waited for the body")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/predict",
        "raw_path": b"/predict",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("test", 80),
        "root_path": "",
    }
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 504


def test_info_ready_metrics_and_the_description(
    client: TestClient, registry: ModelRegistry, predictor: Predictor
) -> None:
    info = client.get("/info").json()
    assert info["model_id"] == "llama"
    assert info["model_type"]["classifier"]["id2label"] == {"0": predictor.labels[0], "1": predictor.labels[1]}
    assert (info["max_input_length"], info["auto_truncate"], info["max_client_batch_size"]) == (LIMIT, False, 1024)
    assert [model["name"] for model in info["models"]] == ["llama", "other"]
    assert client.get("/ready").json() == {"ready": True, "models": {each.name: each.version for each in registry}}
    client.post("/predict", json={"inputs": ["a", "b"], "model": "other"})
    measured = client.get("/metrics").text
    for name in ("requests_total", "request_seconds_bucket", "batch_texts_count", "labels_total", "queue_texts"):
        assert f"\nclasstune_{name}" in measured, name
    assert 'path="other",status="404"' in measured  # paths that are not ours share one name
    document = client.get("/openapi.json").json()
    assert {"/predict", "/classify", "/v1/classify", "/info", "/ready"} <= set(document["paths"])
    schema = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["inputs"]
    assert set(document["paths"]["/predict"]["post"]["responses"]) >= {"200", "413", "422", "424", "429"}


def test_it_is_not_ready_while_it_stops(registry: ModelRegistry) -> None:
    app = create_app(registry, serve_settings({}))
    with TestClient(app, URL) as client:
        assert client.get("/ready").status_code == 200
        app.state.api.stopping = True
        assert client.get("/ready").status_code == 503
        assert client.get("/health").status_code == 200


def test_two_bundles_of_one_name_and_all_that_is_wrong_at_once(small_bundle: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "llama").mkdir(parents=True)
    with pytest.raises(SettingsError, match="one name, 'llama'"):
        ModelRegistry([tmp_path / "a" / "llama", tmp_path / "b" / "llama"])
    with pytest.raises(BundleError) as caught:
        ModelRegistry([small_bundle, tmp_path / "missing", tmp_path / "a"])
    assert len(caught.value.problems) == 2
