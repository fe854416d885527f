"""What /openapi.json says agrees with what is answered, tried by schemathesis on cases of its own making."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from classtune.server.app import create_app
from classtune.server.registry import ModelRegistry
from classtune.server.settings import serve_settings

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed (pip install schemathesis)")

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")

CASES = 30  # an operation, beside those that its coverage asks for


@pytest.fixture(scope="module")
def described(small_bundle: Path) -> Iterator[Any]:
    app = create_app(ModelRegistry([small_bundle]), serve_settings({"allow_host": "testserver"}))
    yield schemathesis.openapi.from_asgi("/openapi.json", app)
    app.state.api.batcher.stop(10)


schema = schemathesis.pytest.from_fixture("described")


@schema.parametrize()  # type: ignore[untyped-decorator]
@settings(max_examples=CASES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_answers_are_as_they_are_described(case: Any) -> None:
    # Which texts a model can read is not said in a schema, so that a well-formed question may be refused.
    case.call_and_validate(excluded_checks=[schemathesis.checks.positive_data_acceptance])
