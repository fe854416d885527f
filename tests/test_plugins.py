"""Models and data sets that another package brings: found by their names like those of classtune."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small import Run, rows, write_csv

from classtune.data.catalogue import open_data
from classtune.data.reading.tables import TableFormat
from classtune.errors import SourceError
from classtune.sources import datasets, fetch_dataset, fetch_model, models, plugins

pytest_plugins = ["bundle_fixtures"]

PACKAGE = """
from pathlib import Path
from classtune.sources import DataFile, DatasetSource, Local, ModelSource

HERE = Path(__file__).parent
MODEL = ModelSource("our-llama", "a model of ours", "MIT", 1, Local(HERE / "model"))
FILE = DataFile("package", Local(HERE / "messages.csv"), rows=60, delimiter=",", quoting=True, columns=None,
    text="text", label="label")

def sources():
    return [MODEL, DatasetSource("our-messages", "messages of ours", "CC0", (FILE,))]
"""

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package with an entry point where Python finds both."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def place(code: str, target: str = "our_package:sources") -> Path:
        (tmp_path / "our_package.py").write_text(code, encoding="utf-8")
        facts = tmp_path / "our_package-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: our-package\nVersion: 1.0\n", encoding="utf-8")
        (facts / "entry_points.txt").write_text(f"[classtune]\nmine = {target}\n", encoding="utf-8")
        plugins.brought.cache_clear()
        sys.modules.pop("our_package", None)
        return tmp_path

    yield place
    sys.modules.pop("our_package", None)
    plugins.brought.cache_clear()


def test_a_packages_model_and_data_set_are_known_by_name(install: Install, small_llama: Path, command: Run) -> None:
    place = install(PACKAGE)
    (place / "model").symlink_to(small_llama, target_is_directory=True)
    write_csv(place / "messages.csv", rows())
    assert fetch_model("our-llama") == place / "model"
    assert len(open_data("our-messages", TableFormat()).texts) == 60
    assert "our-llama" in command("models").out
    assert "our-messages" in command("datasets").out
    assert "smollm2-135m" in models()
    assert "sms-spam" in datasets()


def test_what_the_package_should_have_brought_and_did_not(install: Install) -> None:
    install(PACKAGE)
    with pytest.raises(SourceError, match=r"our-llama: .*not a model"):
        fetch_model("our-llama")
    with pytest.raises(SourceError, match=r"messages\.csv: is missing\. Install the package"):
        fetch_dataset("our-messages")


@pytest.mark.parametrize(
    ("code", "target", "fault"),
    [
        ("raise OSError('broken')", "our_package:sources", "failed: OSError: broken"),
        ("", "our_package:nothing", "failed: AttributeError"),
        ("sources = [1]", "our_package:sources", "gave a int, not a ModelSource"),
        (
            "from classtune.sources import MODELS\nsources = MODELS.values",
            "our_package:sources",
            "a name that is taken",
        ),
    ],
)
def test_a_broken_package_stops_nothing(install: Install, code: str, target: str, fault: str) -> None:
    install(code, target)
    with pytest.warns(UserWarning, match=f"'mine' of the package 'our-package' .*{fault}"):
        assert "smollm2-135m" in models()
