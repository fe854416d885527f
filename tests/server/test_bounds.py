"""What a request can cost: bodies made to be expensive are refused cheaply, and few long texts are cut at once."""

from __future__ import annotations

import json
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from classtune.errors import SettingsError
from classtune.inference.predictor import Items, Predictor
from classtune.server.app import create_app
from classtune.server.registry import ModelRegistry
from classtune.server.settings import serve_settings

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")

MANY = 100_000
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def client(small_bundle: Path) -> TestClient:
    return TestClient(create_app(ModelRegistry([small_bundle]), serve_settings({}), ()), "http://127.0.0.1")


# What is sent → its path, and what the answer says of it.
COSTLY: dict[str, tuple[str, Any, str]] = {
    "numbers": ("/predict", {"inputs": [1] * MANY}, "inputs: must be a text or a list of texts"),
    "numbers of vLLM": ("/classify", {"input": [1] * MANY}, "input: must be a text or a list of texts"),
    "lists of numbers": ("/predict", {"inputs": [[1]] * MANY}, "inputs: must be a text or a list of texts"),
    "a list of numbers in one": ("/predict", {"inputs": [[1] * MANY]}, "inputs: must be a text or a list of texts"),
    "pairs": ("/predict", {"inputs": [[]] * MANY}, "inputs[4]: not one text"),
    "fields": ("/classify", {"input": "a"} | {f"k{n}": 1 for n in range(MANY)}, "The body: has 100,001 names"),
    "some fields": ("/", {"inputs": "a"} | {f"k{n}": 1 for n in range(900)}, "And 880 more."),
    "columns": ("/predict", {"inputs": "a", "columns": {f"k{n}": 1 for n in range(MANY)}}, "columns: has 100,000"),
    "cells": ("/predict", {"inputs": "a", "columns": {"k": [{}] * MANY}}, "columns.k"),
}


@pytest.mark.parametrize("name", COSTLY)
def test_a_body_full_of_faults_is_refused_cheaply(name: str, client: TestClient) -> None:
    """An error for each took two gigabytes and a minute, in which nobody was answered, and answers of 48 MB."""
    path, document, told = COSTLY[name]
    body = json.dumps(document).encode()
    tracemalloc.start()
    try:
        answer = client.post(path, content=body, headers=JSON)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.status_code == 422
    assert told in answer.text
    assert len(answer.content) < 3000
    assert taken < 30_000_000


def test_two_long_texts_at_most_are_cut_into_tokens_at_once(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way = most = 0
    counting, items = threading.Lock(), Predictor.items

    def counted(self: Predictor, *told: Any, **named: Any) -> Items:
        nonlocal under_way, most
        with counting:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.05)
        try:
            return items(self, *told, **named)
        finally:
            with counting:
                under_way -= 1

    monkeypatch.setattr(Predictor, "items", counted)
    body = {"inputs": "win a prize " * 3000, "truncate": True}
    with client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/predict", json=body).status_code, range(8)))
    assert answers == [200] * 8
    assert most == 2


def test_no_server_takes_texts_of_gigabytes_of_tokens() -> None:
    with pytest.raises(SettingsError, match=r"--max-characters 1000001: .*less than or equal to 1000000"):
        serve_settings({"max_characters": 1_000_001})
