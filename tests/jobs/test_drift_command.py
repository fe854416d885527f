"""A bundle keeps numbers that tell whether texts have changed; whatever the classifier is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import QUICK, Run, rows, write_csv

from classtune.bundle import load_bundle, read_rows
from classtune.config import resolve
from classtune.data.reading.tables import table_from_rows
from classtune.data.versions import hashes
from classtune.errors import BundleError
from classtune.inference.yardstick import FILE, Yardstick
from classtune.jobs.drift import drift
from classtune.jobs.train import train

pytest_plugins = ["bundle_fixtures"]
pytestmark = pytest.mark.usefixtures("single_thread")


def quiet(*_: object) -> None:
    """Nobody asked."""


@pytest.fixture(scope="module", params=["network", "lexical"])
def bundle(request: pytest.FixtureRequest, small_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with 100 test rows, of either kind."""
    folder = tmp_path_factory.mktemp("drift") / str(request.param)
    told: dict[str, Any] = {"keep": "tf-idf", "effort": "fast", "split_by": "exact", "depth": "all"}
    told = {
        **(told if request.param == "lexical" else QUICK),
        "model": str(small_bert),
        "test": 0.25,
        "validation": 0.0,
    }
    texts, labels = zip(*rows(400), strict=True)
    train(table_from_rows(texts, labels, name="t"), resolve(overrides=told), notify=quiet, progress=quiet).save(folder)
    return folder


def test_like_texts_raise_no_alarm_and_others_do(bundle: Path, tmp_path: Path, command: Run) -> None:
    same = write_csv(tmp_path / "same.csv", [*rows(400)[:20], *rows(600)[400:]])
    ran = command("drift", bundle, same, "--check")
    assert ran.code == 0, ran.out
    assert "Nothing has changed beyond noise: 2" in ran.out
    assert "texts that are copies of training texts are left out: " in ran.err
    spam = [row for row in rows(900)[400:] if row[1] == "spam"]
    more = command("drift", bundle, write_csv(tmp_path / "spam.csv", spam), "--check")
    assert more.code == 1
    assert "Changed beyond noise" in more.out
    assert "'spam' is" in more.out
    foreign = write_csv(tmp_path / "foreign.csv", [(f"bonjour, où est la gare numéro {n} ?", "ham") for n in range(80)])
    document = command("drift", bundle, foreign, "--json").document
    alarms = {change["name"] for change in document["measures"] if change["alarm"]}
    assert "unknown" in alarms
    assert document["alarm"]
    assert {change["name"] for change in document["measures"]} == {"certainty", "unknown"} | (
        {"distance"} if load_bundle(bundle).main is not None else set()
    )


def test_numbers_and_no_texts_are_kept_and_come_back(bundle: Path) -> None:
    content = (bundle / FILE).read_bytes().decode("latin-1")
    assert not [text for text, _ in rows(400) if text in content]
    yardstick = Yardstick.load(bundle, 2)
    record = load_bundle(bundle).record
    assert yardstick.reference.rows == record["splits"]["test"] >= 100
    assert yardstick.reference.counts.sum() == yardstick.reference.rows
    known, half, none = yardstick.unknown(["win a prize, call now", "win xyzzy", "..."])
    assert (known, half) == (0, 0.5)
    assert none == 1


def test_a_bundle_that_keeps_nothing_or_is_damaged_says_so(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="keeps nothing to compare texts with"):
        Yardstick.load(tmp_path, 2)
    with pytest.raises(BundleError, match="other sizes"):
        Yardstick.load(bundle, 3)
    (tmp_path / FILE).write_bytes(b"no tensors")
    with pytest.raises(BundleError, match="what texts are compared with"):
        Yardstick.load(tmp_path, 2)


def test_held_out_rows_are_compared_with_as_they_would_be_seen(bundle: Path) -> None:
    """The bundle's own held-out rows, seen anew, are what it keeps: training and use measure alike."""
    texts = [text for text, _ in rows(400)]
    test = np.isin(hashes(texts), read_rows(bundle).test)
    document = drift(
        bundle, table_from_rows([t for t, k in zip(texts, test, strict=True) if k]), notify=quiet, progress=quiet
    )
    assert document["reference_rows"] == test.sum()
    for change in document["measures"]:
        assert change["now"] == pytest.approx(change["then"], abs=1e-4)
    for change in document["labels"]:
        assert change["now"] == change["then"]


@pytest.mark.parametrize(("share", "measured"), [(0.25, 50), (0.05, 10), (0.0, 0)])
def test_a_small_table_compares_what_it_can(share: float, measured: int, small_bert: Path, tmp_path: Path) -> None:
    """Held-out rows of cross-validation only count: their words are known, so texts like them would look unlike."""
    told = {"keep": "tf-idf", "effort": "fast", "split_by": "exact", "depth": "all", "test": share}
    texts, labels = zip(*rows(200), strict=True)
    settings = resolve(overrides={**told, "model": str(small_bert)})
    train(table_from_rows(texts, labels, name="t"), settings, notify=quiet, progress=quiet).save(tmp_path / "b")
    reference = Yardstick.load(tmp_path / "b", 2).reference
    assert (reference.rows, reference.measured) == (200, measured)
    later = table_from_rows([text for text, _ in rows(400)[200:]], name="later")
    document = drift(tmp_path / "b", later, notify=quiet, progress=quiet)
    assert not document["alarm"], document["sentence"]
    assert [one["name"] for one in document["measures"]] == (["certainty", "unknown"] if measured >= 30 else [])
