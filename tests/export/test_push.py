"""What goes to the Hub, and that no text of a table goes along unasked. No Hub is reached: its client is a stand-in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from classtune.bundle import RECORD
from classtune.errors import ClasstuneError, SettingsError
from classtune.export.push import push_bundle
from classtune.inference.predictor import load_predictor

pytest_plugins = ["bundle_fixtures"]

TEXTS = ["held_out.jsonl", "neighbours.jsonl", "neighbours.safetensors", "quotes.json", "report.html"]
QUOTING = ["rows.safetensors", *(f"texts/{name}" for name in TEXTS), "validation.safetensors"]


class Hub:
    """huggingface_hub's HfApi as far as it is used; keeps what it is given in a folder."""

    endpoint = "http://localhost/"

    def __init__(self, kept: Path) -> None:
        self.kept, self.made = kept, list[tuple[str, bool]]()

    def create_repo(self, repository: str, *, private: bool, exist_ok: bool) -> None:
        assert exist_ok
        self.made.append((repository, private))

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> None:
        assert repo_id == self.made[-1][0]
        assert commit_message
        shutil.copytree(folder_path, self.kept)


def silent(_: str) -> None:
    """Nobody asked."""


def quoted(folder: Path, bundle: Path) -> list[str]:
    """The table's texts that stand in any file of the folder."""
    kept = [bundle / "texts" / "neighbours.jsonl", bundle / "texts" / "held_out.jsonl"]
    lines = [line for path in kept for line in path.read_text(encoding="utf-8").splitlines()]
    texts = [json.loads(line)["text"].encode() for line in lines]
    held = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return [text.decode() for text in texts if any(text in content for content in held)]


def test_a_pushed_bundle_loads_and_holds_no_text_of_the_table(small_bundle: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(small_bundle, bundle)
    text = json.loads((bundle / "texts" / "neighbours.jsonl").read_text(encoding="utf-8").splitlines()[0])["text"]
    record = json.loads((bundle / RECORD).read_text(encoding="utf-8"))
    record["data"]["findings"] = [{"kind": "exact-duplicates", "examples": [{"line": 1, "text": text}]}]
    record["data"]["name"], record["notes"] = "/home/anna/mail.csv", ["3 rows of /home/anna/mail.csv are left out."]
    record["earlier"] = {"bundle": "/home/anna/v1", "accuracy": {"/home/anna/v1": 0.9}, "sentence": "/home/anna/v1 too"}
    (bundle / RECORD).write_text(json.dumps(record), encoding="utf-8")
    hub = Hub(tmp_path / "hub")
    done = push_bundle(bundle, "me/messages", notify=silent, api=hub)
    assert hub.made == [("me/messages", True)]
    assert done["url"] == "http://localhost/me/messages"
    assert sorted(done["left_out"]) == QUOTING
    assert done["files"] == {path.name: path.stat().st_size for path in hub.kept.iterdir()}
    assert quoted(bundle, bundle)
    assert quoted(hub.kept, bundle) == []
    pushed = json.loads((hub.kept / RECORD).read_text(encoding="utf-8"))
    assert "anna" not in json.dumps(pushed)
    assert (pushed["data"]["name"], pushed["notes"]) == ("mail.csv", ["3 rows of mail.csv are left out."])
    assert pushed["earlier"] == {"bundle": "v1", "accuracy": {"v1": 0.9}, "sentence": "v1 too"}
    assert "This folder holds texts" not in (hub.kept / "README.md").read_text(encoding="utf-8")
    asked = ["win a prize", "see you then"]
    pushed, ours = load_predictor(hub.kept)[0], load_predictor(bundle)[0]
    assert (pushed.probabilities(asked) == ours.probabilities(asked)).all()
    assert json.loads((bundle / RECORD).read_text(encoding="utf-8")) == record


def test_texts_go_along_when_they_are_asked_for(small_bundle: Path, tmp_path: Path) -> None:
    hub = Hub(tmp_path / "hub")
    done = push_bundle(small_bundle, "me/messages", public=True, with_texts=True, notify=silent, api=hub)
    assert hub.made == [("me/messages", False)]
    assert done["left_out"] == []
    for path in (path for path in small_bundle.rglob("*") if path.is_file()):
        assert (hub.kept / path.relative_to(small_bundle)).read_bytes() == path.read_bytes()


def test_a_dry_run_names_files_and_sizes_and_sends_nothing(small_bundle: Path, tmp_path: Path) -> None:
    hub, told = Hub(tmp_path / "hub"), list[str]()
    done = push_bundle(small_bundle, "me/messages", dry_run=True, notify=told.append, api=hub)
    assert hub.made == []
    assert done["url"] is None
    assert done["files"]["model.safetensors"] == (small_bundle / "model.safetensors").stat().st_size
    assert [line.split()[-1] for line in told[:-1]] == list(done["files"])
    assert told[-1].startswith(
        "left out, because they hold or tell of texts of the table: rows.safetensors, texts/held_out.jsonl"
    )


@pytest.mark.parametrize("name", ["", "messages", "../messages", "me/.", "me/a--b", "a/b/c", "me/\u00fc", "a b/c"])
def test_names_that_no_repository_has_are_refused_before_any_work(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"is no name of a repository\. Write OWNER/NAME"):
        push_bundle(tmp_path / "none", name, dry_run=True, notify=silent)


def test_what_the_hub_refuses_is_one_line(small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import LocalTokenNotFoundError

    with pytest.raises(SettingsError, match="'messages': is no name of a repository"):
        push_bundle(small_bundle, "messages", notify=silent)
    for raised, told in (
        (LocalTokenNotFoundError("no token"), "me/messages: nobody is logged in"),
        (ConnectionError("no route\nto host"), r"me/messages: was not uploaded \(no route\)"),
    ):
        hub: Any = Hub(tmp_path / "hub")

        def refuse(*_: Any, error: Exception = raised, **__: Any) -> None:
            raise error

        monkeypatch.setattr(hub, "create_repo", refuse)
        with pytest.raises(ClasstuneError, match=told):
            push_bundle(small_bundle, "me/messages", notify=silent, api=hub)


def test_a_damaged_bundle_is_not_pushed(small_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(small_bundle, tmp_path / "bundle")
    (tmp_path / "bundle" / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(ClasstuneError, match=r"model\.safetensors: is missing or was changed"):
        push_bundle(tmp_path / "bundle", "me/messages", notify=silent, api=Hub(tmp_path / "hub"))
