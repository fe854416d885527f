"""The commands with the real default model on real messages."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from classtune.errors import SourceError

pytestmark = pytest.mark.slow
DATA = Path(os.environ.get("CLASSTUNE_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
MESSAGES = DATA / "sms_spam" / "SMSSpamCollection"
TEXTS = ["WINNER! Call 09061701461 now to claim your 900 pound prize", "I'm ten minutes late, start without me"]


def classtune(*arguments: object) -> Any:
    """What a command prints, as JSON. Nothing may be fetched any more."""
    done = subprocess.run(
        [sys.executable, "-m", "classtune", *map(str, arguments), "--json"],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "CLASSTUNE_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """300 messages to train on and 200 others; a third of both are spam."""
    if not MESSAGES.exists():
        pytest.skip(f"no messages in {MESSAGES} (set CLASSTUNE_TEST_DATA)")
    lines = [line.split("\t", 1) for line in MESSAGES.read_text(encoding="utf-8").splitlines()]
    distinct = list({text: (text, label) for label, text in lines}.values())
    spam = [line for line in distinct if line[1] == "spam"]
    ham = [line for line in distinct if line[1] == "ham"]
    folder = tmp_path_factory.mktemp("tables")
    for name, chosen in (("train", [*spam[:100], *ham[:200]]), ("new", [*spam[100:166], *ham[200:334]])):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *chosen])
    return folder / "train.csv", folder / "new.csv"


@pytest.fixture(scope="module")
def trained(tables: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The bundle and the result document."""
    from classtune.model.gguf import converted
    from classtune.sources import fetch_model

    try:
        folder = fetch_model("smollm2-135m")
    except SourceError as error:
        pytest.skip(f"the default model cannot be had: {error}")
    converted(next(folder.glob("*.gguf")))
    bundle = tmp_path_factory.mktemp("bundles") / "bundle"
    told = ["--model", "smollm2-135m", "--hugging-face", "--effort", "best", "--set", "probe_tokens=4000"]
    result = classtune("train", tables[0], "-o", bundle, *told, "--set", "epochs=3", "--set", "least_steps=40")
    return bundle, result


@pytest.fixture(scope="module")
def tickets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 made-up rows of four classes, as small a table as people begin with."""
    asked = {
        "billing": [
            "I was charged twice for order {}",
            "the invoice {} shows a wrong total",
            "refund payment {} please",
        ],
        "shipping": ["my parcel {} has not arrived", "where is package {}", "delivery {} is a week late"],
        "login": ["I cannot sign in, error {}", "the reset mail for account {} never comes", "code {} is refused"],
        "praise": ["order {} was perfect", "great service on case {}", "ticket {} was solved in no time"],
    }
    ends = ["thanks", "this is urgent", "please help me", "since Monday", "again", "could you look", "on my phone"]
    lines = []
    for number in range(200):
        label = list(asked)[number % 4]
        text = asked[label][number // 4 % 3].format(1000 + 37 * number)
        lines.append((f"{text}, {ends[number % 7]} {ends[number // 7 % 7]}", label))
    path = tmp_path_factory.mktemp("tickets") / "tickets.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *lines])
    return path


def test_a_small_easy_table_is_learned_by_the_defaults(tickets: Path, tmp_path: Path) -> None:
    """The fault: 240 such rows ended at 50 to 67 % where a probe on the same states had all right."""
    result = classtune("train", tickets, "-o", tmp_path / "bundle")
    assert result["test"]["accuracy"] >= 0.95
    assert min(scores["recall"] for scores in result["test"]["per_label"].values()) > 0.8
    assert result["test"]["log_loss"] < 0.2
    (ranked,) = classtune("predict", tmp_path / "bundle", "why was payment 99 charged twice")
    assert ranked[0]["label"] == "billing"


def test_eight_rows_a_class_train_to_something_sensible(tickets: Path, tmp_path: Path) -> None:
    with tickets.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    for name, chosen in (("few", rows[1:33]), ("others", rows[101:])):
        with (tmp_path / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([rows[0], *chosen])
    result = classtune("train", tmp_path / "few.csv", "--test", tmp_path / "others.csv", "-o", tmp_path / "bundle")
    assert result["cross_validated"]
    assert result["test"]["accuracy"] > 0.85
    assert any("more labelled rows will help" in note for note in result["notes"])


def test_training_is_better_than_the_most_common_class(trained: tuple[Path, dict[str, Any]]) -> None:
    bundle, result = trained
    test = result["test"]
    assert test["rows"] == result["splits"]["test"] == 60
    assert test["accuracy"] > 40 / 60 + 0.1
    depth = result["depth"]
    assert depth["kept"] < depth["of"] == 30
    assert result["hugging_face"]
    assert json.loads((bundle / "config.json").read_text(encoding="utf-8"))["num_hidden_layers"] == depth["kept"]
    assert result["trunk"]["texts"] <= 300
    assert result["trunk"]["tokens"] <= 1.02 * result["trunk"]["distinct_tokens"]


def test_it_classifies_texts_it_never_saw(trained: tuple[Path, dict[str, Any]], tables: tuple[Path, Path]) -> None:
    bundle = trained[0]
    prize, late = ({e["label"]: e["score"] for e in ranked} for ranked in classtune("predict", bundle, *TEXTS))
    assert prize["spam"] > late["spam"] + 0.1
    judged = classtune("evaluate", bundle, tables[1])["test"]
    with tables[1].open(encoding="utf-8", newline="") as file:
        shares = Counter(row["label"] for row in csv.DictReader(file))
    assert judged["rows"] == 200
    assert judged["accuracy"] > max(shares.values()) / 200 + 0.15


def test_transformers_alone_gives_the_same_calibrated_scores(trained: tuple[Path, dict[str, Any]]) -> None:
    from transformers import pipeline

    from classtune.inference.predictor import load_predictor

    predictor, _ = load_predictor(trained[0])
    classify = pipeline("text-classification", model=str(trained[0]), top_k=None, device="cpu")
    for ours, theirs in zip(predictor.probabilities(TEXTS), classify(TEXTS, batch_size=2), strict=True):
        scores = {entry["label"]: entry["score"] for entry in theirs}
        assert dict(zip(predictor.labels, ours, strict=True)) == pytest.approx(scores, abs=1e-4)


def test_info_knows_where_it_came_from(trained: tuple[Path, dict[str, Any]]) -> None:
    record = classtune("info", trained[0])
    assert record["settings"]["model"] == "smollm2-135m"
    assert record["labels"] == ["ham", "spam"]
    assert record["test"] == trained[1]["test"]
