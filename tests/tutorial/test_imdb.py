"""The tutorial's second task: the reviews in their layout, its split, and the recipes for decoders and encoders."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small import Run

from classtune import sources
from classtune.config import recipes
from classtune.data.catalogue import load_dataset
from classtune.data.reading.folders import read_folders
from classtune.data.reading.tables import Table, TableFormat
from classtune.data.splits import tutorial_imdb_split
from classtune.errors import DataError, SourceError

pytest_plugins = ["bundle_fixtures", "gpt2_fixture"]

DATA = Path(os.environ.get("CLASSTUNE_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
SAMPLE = DATA / "imdb_sample"
WORDS = {"pos": "a fine film that I gladly saw", "neg": "dull and far too long to sit through"}


def reviews(count: int) -> dict[str, bytes]:
    """Files of the layout, ``count`` in each of the four folders; names that sort as text and not as numbers."""
    return {
        f"{part}/{label}/{number}_{9 if label == 'pos' else 2}.txt": f"{WORDS[label]}, {part} {number}".encode()
        for part in ("train", "test")
        for label in ("pos", "neg")
        for number in range(7, 7 + count)
    }


def lay_out(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def pack(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {**files, "train/unsup/0_0.txt": b"unlabelled", "README": b"see the paper"}.items():
            entry = tarfile.TarInfo(f"aclImdb/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLASSTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLASSTUNE_OFFLINE", "1")
    monkeypatch.delenv("CLASSTUNE_DATA", raising=False)


def as_the_tutorial_reads(folder: Path) -> tuple[Any, list[Any]]:
    """Its table, and its three parts, by pandas."""
    rows = [
        (path.read_text(encoding="utf-8"), label)
        for part in ("test", "train")
        for label in ("pos", "neg")
        for path in sorted((folder / part / label).iterdir(), key=lambda path: path.name)
    ]
    table = pd.DataFrame(rows, columns=["text", "label"])
    shuffled = table.sample(frac=1, random_state=123).reset_index(drop=True)
    shuffled = shuffled.sample(frac=1, random_state=123).reset_index(drop=True)
    first, second = int(len(rows) * 0.7), int(len(rows) * 0.7) + int(len(rows) * 0.1)
    return table, [shuffled[:first], shuffled[first:second], shuffled[second:]]


def test_rows_and_split_are_the_tutorials_own(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "aclImdb", reviews(25))
    table, parts = as_the_tutorial_reads(folder)
    for path in (folder, pack(tmp_path / "packed.tar.gz", reviews(25))):
        ours = read_folders(path, "imdb")
        assert (ours.texts, ours.labels) == (table["text"].tolist(), table["label"].tolist())
    splits = tutorial_imdb_split(ours.texts, ours.labels or [], seed=123)
    for rows, part in zip((splits.train, splits.validation, splits.test), parts, strict=True):
        assert [ours.texts[row] for row in rows] == part["text"].tolist()


def test_the_whole_set_is_cut_as_the_tutorial_says() -> None:
    names = ["pos", "neg"] * 25_000
    assert tutorial_imdb_split(names, names).sizes() == {"train": 35_000, "validation": 5_000, "test": 10_000}


def test_the_published_archive_is_checked_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small archive pinned in the place of the published one, fetched from a file."""
    archive = pack(tmp_path / "web" / "aclImdb_v1.tar.gz", reviews(3))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    known = sources.DATASETS["imdb"]
    url = sources.Url(archive.as_uri(), digest, archive.stat().st_size)
    file = type(known.files[0])(**{**known.files[0].__dict__, "source": url})
    monkeypatch.setitem(sources.DATASETS, "imdb", type(known)(**{**known.__dict__, "files": (file,)}))
    monkeypatch.delenv("CLASSTUNE_OFFLINE")
    told: list[str] = []
    table = load_dataset("imdb", TableFormat(), notify=told.append)
    assert len(table.texts) == 12
    assert told[-1].endswith("holds 12 of the set's 50,000 texts")
    monkeypatch.setenv("CLASSTUNE_DATA", str(tmp_path / "own"))
    pack(tmp_path / "own" / "imdb" / "aclImdb_v1.tar.gz", reviews(4))
    with pytest.raises(SourceError, match=r"aclImdb_v1\.tar\.gz: its sha256 is .*, expected .* unset CLASSTUNE_DATA"):
        load_dataset("imdb", TableFormat())


@pytest.mark.parametrize("below", ["imdb", "imdb/aclImdb"])
def test_a_folder_of_the_layout_is_taken(below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path / below, reviews(3))
    monkeypatch.setenv("CLASSTUNE_DATA", str(tmp_path))
    assert len(load_dataset("imdb", TableFormat()).texts) == 12


def test_offline_without_a_copy_it_says_what_to_do() -> None:
    with pytest.raises(SourceError, match=r"put aclImdb_v1\.tar\.gz of https://ai\.stanford\.edu/"):
        load_dataset("imdb", TableFormat())


# -- damaged and foreign ones


def test_all_that_is_wrong_with_a_folder_comes_at_once(tmp_path: Path) -> None:
    files = {name: content for name, content in reviews(3).items() if not name.startswith("test/neg")}
    files |= {f"train/neg/{name}.txt": b"text" for name in ("notes", "a", "b", "c", "d", "e", "f")}
    files |= {"train/pos/1_8.txt": "caf\u00e9".encode("latin-1"), "test/pos/1_8.txt": b" \n"}
    with pytest.raises(DataError) as caught:
        read_folders(lay_out(tmp_path / "reviews", files), "imdb")
    told = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 4
    assert "test/pos/1_8.txt is empty." in told
    assert "train/pos/1_8.txt is not UTF-8." in told
    assert "test/neg holds no review. The set has the folders train/pos, train/neg, test/pos and test/neg." in told
    assert "train/neg/e.txt and 2 more is no review of the set: their files are called NUMBER_STARS.txt." in told


def test_damaged_and_foreign_archives(tmp_path: Path) -> None:
    whole = pack(tmp_path / "whole.tar.gz", reviews(40)).read_bytes()
    (tmp_path / "short.tar.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.tar.gz").write_bytes(b"<html>404</html>")
    (tmp_path / "broken.tar.gz").write_bytes(whole[:400] + bytes(400) + whole[800:])
    for name in ("short", "text", "broken"):
        with pytest.raises(DataError, match=rf"{name}\.tar\.gz: damaged, or not an archive of the reviews"):
            read_folders(tmp_path / f"{name}.tar.gz", "imdb")
    foreign = tmp_path / "foreign.tar.gz"
    with tarfile.open(foreign, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("novels/one.txt"))
    with pytest.raises(DataError, match="train/pos, train/neg, test/pos and test/neg"):
        read_folders(foreign, "imdb")


# -- training


@pytest.mark.parametrize("recipe", ["imdb-decoder", "imdb-encoder"])
def test_the_recipes_train(
    recipe: str,
    gpt2: Callable[[str], Path],
    backbone_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: Run,
) -> None:
    lay_out(tmp_path / "imdb", reviews(10))
    monkeypatch.setenv("CLASSTUNE_DATA", str(tmp_path))
    model = gpt2("gpt2") if recipe == "imdb-decoder" else backbone_folder("distilbert")
    told = ("train", "imdb", "--recipe", recipe, "--model", model, "-o", tmp_path / "out")
    limit = () if recipe == "imdb-decoder" else ("--set", "max_tokens=60")  # of so small a model
    result = command(*told, *limit, "--json").document
    assert result["splits"] == {"train": 28, "validation": 4, "test": 8}
    assert result["training"]["history"][-1]["step"] == 3  # full batches of one epoch
    assert result["trunk"] is None
    assert result["calibration"]["method"] == "none"
    assert recipes()["imdb-decoder"]["padding"] == recipes()["imdb-encoder"]["max_tokens"] == 256


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """The sample of 4,000 reviews, laid out as the set is."""
    if not SAMPLE.is_dir():
        pytest.skip(f"no reviews in {SAMPLE} (set CLASSTUNE_TEST_DATA)")
    for part in ("train", "test"):
        lines = (SAMPLE / f"{part}.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n")
        for number, row in enumerate(map(json.loads, lines)):
            stars = 9 if row["label"] == "pos" else 2
            lay_out(tmp_path / "imdb", {f"{part}/{row['label']}/{number}_{stars}.txt": row["text"].encode()})
    return tmp_path


def test_the_sample_is_read_and_split(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLASSTUNE_DATA", str(sample))
    told: list[str] = []
    table: Table = load_dataset("imdb", TableFormat(), notify=told.append)
    assert (len(table.texts), (table.labels or []).count("pos")) == (4_000, 2_000)
    assert told == [f"imdb: {sample / 'imdb'} holds 4,000 of the set's 50,000 texts"]
    _, parts = as_the_tutorial_reads(sample / "imdb")
    splits = tutorial_imdb_split(table.texts, table.labels or [])
    assert [table.texts[row] for row in splits.test] == parts[2]["text"].tolist()
    assert splits.sizes() == {"train": 2_800, "validation": 400, "test": 800}
