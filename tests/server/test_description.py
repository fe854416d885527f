"""What /openapi.json says agrees with what is answered, tried by schemathesis on cases of its own making."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from test_clients import serving

from classtune.server.registry import ModelRegistry

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")

# For each operation that takes a body, beside those that its coverage asks for: five do.
CASES = 20


@pytest.mark.skipif(
    find_spec("schemathesis") is None, reason='schemathesis is not installed (pip install -e ".[test]")'
)
def test_answers_are_as_they_are_described(small_bundle: Path, tmp_path: Path) -> None:
    with serving(ModelRegistry([small_bundle])) as url:
        options = ["--phases", "coverage,fuzzing", "--max-examples", str(CASES), "--generation-deterministic"]
        # How many tokens a model takes is not said in a schema, so that a well-formed question may be refused.
        options += ["--exclude-checks", "positive_data_acceptance", "--no-color"]
        program = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", *options]
        done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=300, cwd=tmp_path)
    shown = done.stdout[-20_000:] + done.stderr
    assert done.returncode == 0, shown
    assert "Unresolvable" not in done.stdout, shown  # what cannot be looked up is not tried
    cases = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert cases is not None, shown
    assert cases[1] == cases[2]
    assert int(cases[1]) >= 100
