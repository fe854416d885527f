"""Nothing damaged is ever used, and what is wrong with a bundle is said in one message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from saved import edit, scores
from small import Run

from classtune.bundle import SCHEMA_VERSION
from classtune.errors import BundleError

pytest_plugins = ["bundle_fixtures"]


def remove(bundle: Path) -> None:
    (bundle / "tokenizer.json").unlink()


def change(bundle: Path) -> None:
    config = bundle / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace('"spam"', '"spam!"'), encoding="utf-8")


def truncate(bundle: Path) -> None:
    weights = bundle / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def add_pickle(bundle: Path) -> None:
    (bundle / "pytorch_model.bin").write_bytes(b"\x80\x04.")


def write_garbage(bundle: Path) -> None:
    (bundle / "classtune.json").write_bytes(b'{"schema_version": 1, "labels": ["ham"')


def forget_labels(bundle: Path) -> None:
    edit(bundle, lambda record: record.pop("labels"))


def swap_labels(bundle: Path) -> None:
    edit(bundle, lambda record: record["labels"].reverse())


def become_newer(bundle: Path) -> None:
    edit(bundle, lambda record: record.update(schema_version=SCHEMA_VERSION + 1))


def become_something_else(bundle: Path) -> None:
    (bundle / "classtune.json").write_text("[]", encoding="utf-8")


def score_otherwise(bundle: Path) -> None:
    edit(bundle, lambda record: record["golden"][1].update(scores=[0.25, 0.75]))


def not_a_bundle(bundle: Path) -> None:
    (bundle / "classtune.json").unlink()


def break_settings(bundle: Path) -> None:
    edit(bundle, lambda record: record["settings"].update(depth="some"))


DAMAGE: dict[Callable[[Path], None], str] = {
    remove: "tokenizer.json: is missing. Restore it",
    change: "config.json: was changed or truncated",
    truncate: "model.safetensors: was changed or truncated",
    add_pickle: "pytorch_model.bin: pickled files can run code and are never read. Delete it.",
    write_garbage: "classtune.json: is damaged",
    forget_labels: "classtune.json: is damaged",
    become_something_else: "classtune.json: is damaged",
    swap_labels: "config.json says ['ham', 'spam'], classtune.json says ['spam', 'ham']",
    become_newer: f"newer classtune (schema {SCHEMA_VERSION + 1}; this one reads {SCHEMA_VERSION}). Install a newer",
    score_otherwise: "the text 'URGENT! Call 0800 123 456",
    not_a_bundle: "holds no classtune.json. Name a folder that `classtune train` wrote.",
    break_settings: "classtune.json: its settings cannot be read",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_bundle_is_refused(damage: Callable[[Path], None], copy: Path, command: Run) -> None:
    damage(copy)
    for arguments in (["info", copy], ["predict", copy, "hello"]):
        ran = command(*arguments)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.startswith("classtune: ")
        assert DAMAGE[damage] in ran.err
        assert str(copy) in ran.err


def test_everything_wrong_with_its_files_comes_in_one_message(copy: Path, command: Run) -> None:
    for damage in (remove, change, truncate, add_pickle):
        damage(copy)
    ran = command("info", copy)
    assert all(DAMAGE[damage] in ran.err for damage in (remove, change, truncate, add_pickle))


def test_a_truncated_model_is_refused_even_unverified(copy: Path) -> None:
    truncate(copy)
    with pytest.raises(BundleError, match="the model cannot be read"):
        scores(copy, verify=False)
