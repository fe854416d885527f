"""Web pages of other places, names that only point here, and bodies that a browser sends unasked are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from classtune.server.app import create_app
from classtune.server.registry import ModelRegistry
from classtune.server.settings import serve_settings

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")

HERE = "http://127.0.0.1:8080"
ELSEWHERE = "https://elsewhere.example"
QUESTION = {"inputs": "call now"}
KEY = {"Authorization": "Bearer k"}


@pytest.fixture(scope="module")
def registry(small_bundle: Path) -> ModelRegistry:
    return ModelRegistry([small_bundle])


def client_of(registry: ModelRegistry, *keys: str, **settings: Any) -> TestClient:
    return TestClient(create_app(registry, serve_settings(settings), keys), HERE, follow_redirects=False)


@pytest.fixture(scope="module")
def client(registry: ModelRegistry) -> Iterator[TestClient]:
    with client_of(registry) as made:
        yield made


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8080", "localhost:1", "LOCALHOST", "[::1]:8080"])
def test_without_keys_it_is_asked_by_this_machine_s_names(client: TestClient, host: str) -> None:
    assert client.post("/predict", json=QUESTION, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "elsewhere.example",
        "127.0.0.1.elsewhere.example",
        "localhost.",
        "",
        "[evil",
        "localhost:80@elsewhere.example",
        "[::1]elsewhere",
        "localhost:80:80",
    ],
)
def test_without_keys_no_other_name_opens_it(client: TestClient, host: str) -> None:
    """With DNS rebinding a page's own name points here, and the page reads what it is answered."""
    for path in ("/info", "/openapi.json", "/nowhere"):
        answer = client.get(path, headers={"Host": host})
        assert (answer.status_code, answer.json()["error_type"]) == (403, "forbidden")
    assert client.get("/health", headers={"Host": host}).status_code == 200  # who watches may ask by an address


def test_names_can_be_allowed_and_with_keys_any_will_do(registry: ModelRegistry) -> None:
    with client_of(registry, allow_host="Models.example, other.example:80, [fe80::1], fe80::2") as client:
        for host, status in (
            ("[FE80::1]:80", 200),
            ("[fe80::2]", 200),
            ("models.example:80", 200),
            ("other.example", 200),
            ("localhost", 200),
            ("x.example", 403),
        ):
            assert client.get("/info", headers={"Host": host}).status_code == status
    with client_of(registry, "k") as client:
        assert client.get("/info", headers={"Host": "any.example", **KEY}).status_code == 200


def test_pages_of_other_places_post_no_work(client: TestClient) -> None:
    for origin in (ELSEWHERE, "null", "http://127.0.0.1:8081", HERE.upper() + ".example"):
        answer = client.post("/predict", json=QUESTION, headers={"Origin": origin})
        assert (answer.status_code, answer.json()["error_type"]) == (403, "forbidden"), origin
        assert "access-control-allow-origin" not in answer.headers
    assert client.post("/predict", json=QUESTION, headers={"Origin": HERE}).status_code == 200


def test_bodies_that_are_not_said_to_be_json_are_refused(client: TestClient) -> None:
    body = b'{"inputs": "a"}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json", ""):
        answer = client.post("/predict", content=body, headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["error_type"]) == (415, "validation"), kind
    for kind in ("application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json"):
        assert client.post("/predict", content=body, headers={"Content-Type": kind}).status_code == 200


def test_nothing_redirects_to_a_host_of_the_client_s_choosing(registry: ModelRegistry) -> None:
    with client_of(registry, "k") as client:
        for path in ("/predict/", "/v1/classify/", "/info/"):
            answer = client.post(path, json=QUESTION, headers={"Host": "elsewhere.example", **KEY})
            assert answer.status_code == 404
            assert "location" not in answer.headers


def test_other_places_pages_can_be_allowed(registry: ModelRegistry) -> None:
    with client_of(registry, "k", cors=ELSEWHERE) as client:
        asking = {"Origin": ELSEWHERE, "Access-Control-Request-Method": "POST"}
        allowed = client.options("/predict", headers=asking | {"Access-Control-Request-Headers": "authorization"})
        assert allowed.status_code == 200  # a browser shows no key when it asks whether it may
        assert allowed.headers["access-control-allow-origin"] == ELSEWHERE
        answer = client.post("/predict", json=QUESTION, headers={"Origin": ELSEWHERE, **KEY})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, ELSEWHERE)
        assert client.post("/predict", json=QUESTION, headers={"Origin": ELSEWHERE}).status_code == 401
        third = client.post("/predict", json=QUESTION, headers={"Origin": "https://third.example", **KEY})
        assert third.status_code == 403
    with client_of(registry, cors="*") as client:
        answer = client.post("/predict", json=QUESTION, headers={"Origin": ELSEWHERE})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")


def test_every_path_that_is_read_can_be_looked_at(client: TestClient) -> None:
    for path in ("/health", "/ready", "/info", "/v1/models", "/metrics"):
        assert client.head(path).status_code == 200
