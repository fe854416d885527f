"""Members of a bundle that are damaged, of another bundle, or made to do harm: one error that names the place."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from test_hostile import HUGE, PICKLE, RAN, sign, sparse

from classtune.errors import BundleError
from classtune.inference.predictor import load_predictor

pytest_plugins = ["bundle_fixtures"]

LEXICAL = "members/{}-lexical"
TERMS, NUMBERS = "vocabulary.json", "weights.safetensors"
Change = Callable[[Path, Path], Any]  # of a bundle and its lexical member's folder


@pytest.fixture
def copy(small_blend: tuple[Any, Path], tmp_path: Path) -> Path:
    """A blend of TF-IDF and two networks to tamper with."""
    return Path(shutil.copytree(small_blend[1], tmp_path / "bundle"))


def lexical_of(record: dict[str, Any]) -> dict[str, Any]:
    (member,) = (one for one in record["members"] if one["kind"] == "lexical")
    found: dict[str, Any] = member
    return found


def terms(change: Callable[[dict[str, Any]], Any]) -> Change:
    def edit(bundle: Path, member: Path) -> None:
        known = json.loads((member / TERMS).read_text(encoding="utf-8"))
        (member / TERMS).write_text(json.dumps(change(known)), encoding="utf-8")
        sign(bundle)

    return edit


def numbers(change: Callable[[dict[str, Any]], Any], **labels: list[str]) -> Change:
    def edit(bundle: Path, member: Path) -> None:
        with safe_open(str(member / NUMBERS), "numpy") as file:
            tensors, told = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
        change(tensors)
        (member / NUMBERS).unlink()
        save_file(tensors, member / NUMBERS, told | {name: json.dumps(value) for name, value in labels.items()})
        sign(bundle)

    return edit


def record(change: Callable[[dict[str, Any]], Any]) -> Change:
    return lambda bundle, member: sign(bundle, change)


def told(**values: Any) -> Change:
    return record(lambda known: lexical_of(known).update(values))


def put(name: str, content: bytes) -> Change:
    def change(bundle: Path, member: Path) -> None:
        (member / name).write_bytes(content)
        sign(bundle)

    return change


def swap(name: str, make: Callable[[Path], Any]) -> Change:
    def change(bundle: Path, member: Path) -> None:
        (member / name).unlink()
        make(member / name)

    return change


def gone(bundle: Path, member: Path) -> None:
    shutil.rmtree(member)
    sign(bundle)


def nothing(_: Any) -> None:
    """Only the labels change."""


# What is done → what the error must name.
HOSTILE: dict[str, tuple[Change, str]] = {
    "gone": (lambda b, m: shutil.rmtree(m), f"{TERMS}: is missing"),
    "gone and signed": (
        gone,
        "lexical: the lexical member cannot be read (No such",
    ),
    "no terms": (terms(lambda known: {}), "its terms and its numbers do not fit"),
    "terms a list": (terms(list), "the lexical member cannot be read"),
    "terms in lists": (terms(lambda known: {k: [["a"]] * len(v) for k, v in known.items()}), "lexical member cannot"),
    "terms of nothing": (terms(lambda known: {k: [None] * len(v) for k, v in known.items()}), "lexical member cannot"),
    "one term": (terms(lambda known: {k: ["a"] * len(v) for k, v in known.items()}), "lexical member cannot"),
    "terms turned": (terms(lambda known: {k: v[::-1] for k, v in known.items()}), "scores otherwise than when it was"),
    "unknown cut": (terms(lambda known: {"x": known["words"], "characters": []}), "lexical member cannot be read"),
    "a million terms": (terms(lambda known: known | {"words": [str(i) for i in range(10**6)]}), "do not fit"),
    "nested terms": (put(TERMS, b"[" * 200_000), "the lexical member cannot be read"),
    "terms no text": (put(TERMS, b"\xff\xfe"), "the lexical member cannot be read"),
    "terms a pipe": (swap(TERMS, os.mkfifo), f"{TERMS}: cannot be read (is no regular file)"),
    "terms a folder": (swap(TERMS, os.mkdir), f"{TERMS}: cannot be read (is no regular file)"),
    "terms a link": (swap(TERMS, lambda path: path.symlink_to("/etc/hostname")), f"{TERMS}' leads out of it"),
    "weights a pipe": (swap(NUMBERS, os.mkfifo), f"{NUMBERS}: cannot be read (is no regular file)"),
    "64 GB of nothing": (swap(NUMBERS, sparse), f"{NUMBERS}: cannot be read (says that it has"),
    "weights a pickle": (put(NUMBERS, PICKLE), "the lexical member cannot be read"),
    "huge header": (put(NUMBERS, HUGE), "the lexical member cannot be read"),
    "changed": (lambda b, m: (m / TERMS).write_text("{}"), f"{TERMS}: was changed or truncated"),
    "no numbers": (numbers(lambda t: t["coefficients"].fill(np.nan)), "a weight is no number"),
    "whole numbers": (numbers(lambda t: t.update(intercept=np.zeros(2, np.int64))), "a weight is no number"),
    "without limit": (numbers(lambda t: t["idf.words"].fill(np.inf)), "a weight is no number"),
    "far too large": (numbers(lambda t: t["coefficients"].fill(3e38)), "scores otherwise than when it was saved"),
    "no idf": (numbers(lambda t: t.pop("idf.words")), "the lexical member cannot be read"),
    "flat": (numbers(lambda t: t.update(coefficients=t["coefficients"].ravel())), "do not fit"),
    "intercept too wide": (numbers(lambda t: t.update(intercept=np.zeros((2, 2), np.float32))), "do not fit"),
    "more labels": (
        numbers(lambda t: t.update({n: np.concatenate([t[n], t[n]]) for n in ("coefficients", "intercept")})),
        "or not its labels",
    ),
    "other labels": (numbers(nothing, labels=["spam", "ham"]), "its labels are ['spam', 'ham'], those of the bundle"),
    "labels of nothing": (numbers(nothing, labels=[]), "its labels are [], those of the bundle"),
    "up": (told(folder="../members"), "is no name of a file in it"),
    "absolute": (told(folder="/etc"), "is no name of a file in it"),
    "another folder": (told(folder="texts"), "texts: the lexical member cannot be read"),
    "the root": (told(folder=""), "its members have no folder of their own"),
    "no folder": (told(folder=None), "its members have no folder of their own"),
    "no name": (told(name=3), "its members have no name of their own"),
    "one name": (record(lambda r: [one.update(name="x") for one in r["members"]]), "have no name of their own"),
    "unknown kind": (told(kind="evil"), "a member is of an unknown kind, 'evil'"),
    "said to be a network": (told(kind="network"), "classtune.json: "),
    "a thousand times": (record(lambda r: r.update(members=r["members"] * 1000)), "have no name of their own"),
    "none": (record(lambda r: r.update(members=[])), "the shares of its members do not make a whole"),
    "a word": (record(lambda r: r.update(members="lexical")), "classtune.json: is damaged"),
    "numbers": (record(lambda r: r.update(members=[1, 2])), "classtune.json: is damaged"),
    **{
        f"{share} {value}": (told(**{share: value}), f"classtune.json: is damaged ({reason}")
        for share in ("weight", "scale")
        for value, reason in ((float("nan"), "the share of its"), (float("inf"), "the share of its"), (-1, "the share"))
    },
    "weight too large": (told(weight=7), "the shares of its members do not make a whole"),
    "weight a word": (told(weight="x"), "classtune.json: is damaged"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_member_is_refused_with_the_place_named(
    name: str, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, said = HOSTILE[name]
    (member,) = copy.glob(LEXICAL.format("*"))
    change(copy, member)
    monkeypatch.chdir(copy.parent)
    with pytest.raises(BundleError) as raised:
        load_predictor(copy)
    assert said in str(raised.value)
    assert str(copy) in str(raised.value)
    assert not (copy.parent / RAN).exists()
