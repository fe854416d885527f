"""Columns beside the text (`--with`), from the table to every way of asking: one answer, whoever asks."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from small import Run, one_thread
from written import written_as

from classtune.data.reading.cells import RowText, cells_beside
from classtune.data.reading.columns import TableFormat
from classtune.data.reading.isolated import read_upload
from classtune.data.reading.tables import Table, read_table
from classtune.explain.explanations import explain
from classtune.explain.words import without, words_of
from classtune.inference.predictor import load_predictor
from classtune.inference.tables import as_trained
from classtune.server.app import create_app
from classtune.server.batching import Batcher
from classtune.server.queued import QueuedRegistry
from classtune.server.registry import ModelRegistry
from classtune.server.settings import serve_settings

pytest_plugins = ["bundle_fixtures"]

HEADER = ["product", "text", "price", "label"]
QUICK = ["--effort", "fast", "--split-by", "exact", "--depth", "all"]
OTHER = {"card": "app", "app": "card"}


def lines(count: int = 60) -> list[list[str]]:
    """The product tells the label, the text hardly anything."""
    kinds = (("card", "billing"), ("app", "login"))
    return [[kinds[n % 2][0], f"please help me with number {n}", str(n % 7), kinds[n % 2][1]] for n in range(count)]


def write(path: Path, rows: list[list[str]], header: list[str] = HEADER) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture(scope="module")
def bundle(small_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose classifier reads both."""
    from classtune.config import resolve
    from classtune.jobs.train import train

    folder = tmp_path_factory.mktemp("beside")
    format = TableFormat(beside=("product", "price"))
    table = read_table(write(folder / "t.csv", lines()), format)
    settings = resolve(overrides={"model": str(small_bert), "effort": "fast", "split_by": "exact", "depth": "all"})
    with pytest.MonkeyPatch.context() as patch, one_thread():
        patch.setattr("classtune.jobs.contest.choose", columns_and_network)
        train(table, settings, notify=lambda _: None, progress=lambda *_: None).save(folder / "bundle")
    return folder / "bundle"


def columns_and_network(options: Any, truth: Any, **_: Any) -> Any:
    from classtune.candidates.blend import Choice, Weight, choose

    found = choose(options, truth)
    names = [option.name for option in options if option.name == "columns" or "probe" in option.name]
    return Choice({name: Weight(0.5, 1.0) for name in names}, found.scales, found.losses, found.loss, found.rows)


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """Every text twice, with either product; columns in another order."""
    rows = [[price, text, product] for product, text, price, _ in lines(8)]
    rows += [[price, text, OTHER[product]] for price, text, product in rows]
    return write(tmp_path / "later.csv", rows, ["price", "text", "product"])


def answered(bundle: Path, path: Path) -> tuple[Table, Any]:
    table = read_table(path, as_trained(TableFormat(), bundle), labelled=False)
    return table, load_predictor(bundle)[0].probabilities(table.texts)


def test_train_weighs_the_columns_like_any_candidate(small_bert: Path, tmp_path: Path, command: Run) -> None:
    told = ["train", write(tmp_path / "t.csv", lines()), "-o", tmp_path / "b", "--model", small_bert, *QUICK]
    document = command(*told, "--with", "product, price", "--json").document
    figures = {one["name"]: one["accuracy"] for one in document["comparison"]["candidates"]}
    assert figures["columns"] == 1.0
    assert document["chosen"]["name"] == "columns"
    assert document["data"]["columns"] == {"text": "text", "label": "label", "with": "product,price"}
    assert "columns beside the text" in command("info", tmp_path / "b").out
    ran = command(*told, "--with", "product", "--hugging-face", "--force", "--json")
    assert "columns" in {one["name"] for one in ran.document["comparison"]["candidates"]}
    assert "probe" in ran.document["chosen"]["name"]
    ran = command(*told, "--with", "label,nothing", "--force")
    assert (ran.code, "no column is called 'nothing' (--with)" in ran.err) == (2, True)
    assert (
        "--label and --with both name 'label'" in command(*told, "--label", "label", "--with", "label", "--force").err
    )


def test_a_table_is_read_by_the_names_of_its_columns(bundle: Path, later: Path) -> None:
    _, scores = answered(bundle, later)
    card = [product == "card" for _, _, product in csv.reader(later.read_text(encoding="utf-8").splitlines()[1:])]
    for one, other, is_card in zip(scores[:8, 0], scores[8:, 0], card[:8], strict=True):  # equal texts
        assert (one > other) == is_card


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_shards_answer_as_the_table_does(suffix: str, bundle: Path, later: Path, tmp_path: Path, command: Run) -> None:
    table, scores = answered(bundle, later)
    path = written_as(suffix, table, tmp_path)
    for again in (["--force"], ["--resume"]):
        assert command("predict", bundle, path, "-o", f"{tmp_path}/out/", *again).code == 0
    (shard,) = (tmp_path / "out").glob(f"*{suffix}")
    found = read_table(shard, TableFormat(text="text"), labelled=False).columns["score:billing"]
    assert [float(score) for score in found] == pytest.approx(scores[:, 0].tolist(), abs=1e-6)


def test_a_table_without_the_columns_is_refused_and_a_text_alone_is_told(
    bundle: Path, tmp_path: Path, command: Run
) -> None:
    bare = write(tmp_path / "bare.csv", [["help"]], ["text"])
    for where in ("answers.csv", "answers/"):
        ran = command("predict", bundle, bare, "-o", f"{tmp_path}/{where}")
        assert ran.code == 2
        assert "no column is called 'product' (--with)" in ran.err
        assert "no column is called 'price' (--with)" in ran.err
    ran = command("predict", bundle, "help")
    assert ran.code == 0
    assert "Texts alone are answered as with empty cells in product, price: give a table." in ran.err


def test_http_takes_cells_with_the_texts(bundle: Path, later: Path) -> None:
    table, scores = answered(bundle, later)
    client = TestClient(create_app(ModelRegistry([bundle]), serve_settings({}), ()), "http://127.0.0.1")
    assert client.get("/info").json()["models"][0]["columns"] == ["product", "price"]
    columns = {name: table.columns[name] for name in ("product", "price")}
    for path in ("/predict", "/"):
        answer = client.post(path, json={"inputs": table.texts, "columns": columns}).json()
        found = [next(one["score"] for one in ranked if one["label"] == "billing") for ranked in answer]
        assert found == pytest.approx(scores[:, 0].tolist(), abs=1e-6)
    one = client.post("/predict", json={"inputs": "help", "columns": {"product": "card", "price": 3}})
    assert one.json()[0]["label"] == "billing"
    assert client.post("/predict", json={"inputs": "help"}).status_code == 200  # as with empty cells
    wrong = {"inputs": ["a", "b"], "columns": {"produkt": "card", "price": [1]}}
    refused = client.post("/predict", json=wrong)
    assert refused.status_code == 422
    assert "columns.produkt: this classifier reads no such column. Did you mean 'product'?" in refused.text
    assert "columns.price: 1 cell for 2 texts. Send one a text." in refused.text


def test_an_upload_brings_its_cells_along(bundle: Path, later: Path) -> None:
    table, _ = answered(bundle, later)
    uploaded = read_upload(later, as_trained(TableFormat(), bundle))
    assert [text.cells for text in uploaded.texts] == [text.cells for text in table.texts]  # type: ignore[attr-defined]


def test_leaving_words_out_leaves_the_cells(bundle: Path, later: Path) -> None:
    """Else every word would seem to be what the cells are."""
    table, scores = answered(bundle, later)
    predictor, _ = load_predictor(bundle)
    explanation = explain(predictor, table.texts[0])
    assert explanation["score"] == pytest.approx(float(scores[0].max()), abs=1e-6)
    shorter = without(table.texts[0], words_of(table.texts[0])[:2])
    assert (shorter, cells_beside(shorter)) == ("me with number 0", {"product": "card", "price": "0"})


def test_two_versions_read_the_columns_of_both(bundle: Path, small_bert: Path, tmp_path: Path, command: Run) -> None:
    """Cells go by name: a version that reads fewer columns, or in another order, gets its own."""
    table = write(tmp_path / "t.csv", lines())
    told = ["train", table, "--model", small_bert, *QUICK, "--with", "price,product", "--from", bundle]
    ran = command(*told, "-o", tmp_path / "next", "--json")
    assert ran.document["earlier"]["accuracy"] == {str(bundle): 1.0, "this version": 1.0}
    command("train", table, "-o", tmp_path / "plain", "--model", small_bert, *QUICK)
    two = command("evaluate", bundle, tmp_path / "plain", table, "--json").document
    assert two["test"][str(bundle)]["accuracy"] == 1.0


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_classifier_in_python_reads_the_columns_of_a_data_frame(
    library: str, small_bert: Path, tmp_path: Path
) -> None:
    from sklearn.base import clone

    import classtune

    frames = pytest.importorskip(library, reason=f"{library} is not installed: pip install {library}")
    rows: list[dict[str, Any]] = [
        {**dict(zip(HEADER, row, strict=True)), "price": number % 7} for number, row in enumerate(lines())
    ]
    frame = frames.DataFrame(rows)
    told = {"effort": "fast", "split_by": "exact", "depth": "all", "model": str(small_bert)}
    classifier = clone(classtune.TextClassifier(text="text", columns=["product", "price"], **told))
    with one_thread():
        classifier.fit(frame, frame["label"])
        assert classifier.result_["data"]["columns"]["with"] == "product,price"
        assert classifier.score(frame, frame["label"]) == 1.0
        classifier.save(tmp_path / "bundle")
        loaded = classtune.load(tmp_path / "bundle")
        swapped = frames.DataFrame([row | {"product": OTHER[row["product"]]} for row in rows])
        assert (loaded.predict(swapped) != loaded.predict(frame)).all()
        assert loaded.predict_proba(frame) == pytest.approx(classifier.predict_proba(frame), abs=1e-6)
        assert loaded.predict(["help"]).shape == (1,)  # as with empty cells
        with pytest.raises(classtune.DataError, match=r"no column is called 'price' \(columns\)"):
            loaded.predict(frame[["text", "product"]])
    with pytest.raises(classtune.DataError, match=r"has no columns, such as 'price' \(columns\). Give a data frame"):
        classtune.TextClassifier(columns="product,price").fit(["a", "b"], ["x", "y"])
    with pytest.raises(classtune.DataError, match="Choose with text=NAME"):
        classtune.TextClassifier().fit(frames.DataFrame({"text": ["a", "b"], "title": ["c", "d"]}), ["x", "y"])


def test_feedback_brings_the_cells_that_it_has(bundle: Path, small_bert: Path, tmp_path: Path, command: Run) -> None:
    feedback = tmp_path / "feedback.jsonl"
    told = [{"text": "please help me with number 0", "label": "login", "product": "card", "price": 0}]
    told += [{"text": f"what about {n}", "label": "login", "product": "web"} for n in range(8)]
    told += [{"text": "please help me with number 1", "label": "billing"}]
    feedback.write_text("".join(json.dumps(row) + "\n" for row in told), encoding="utf-8")
    table = write(tmp_path / "t.csv", lines())
    ran = command(
        *["train", table, "-o", tmp_path / "next", "--model", small_bert, *QUICK, "--with", "product,price"],
        *["--add", feedback, "--keep", "columns"],
    )
    assert ran.code == 0, ran.err
    assert f"{feedback}: 8 new texts; 2 of {table}, which gets another label in 2 rows." in ran.err
    asked = write(tmp_path / "later.csv", [["anything", "web", ""]], ["text", "product", "price"])
    assert command("predict", tmp_path / "next", asked, "--json").document[0][0]["label"] == "login"


def test_the_page_s_queue_keeps_rows_apart_that_differ_beside_the_text(bundle: Path) -> None:
    batcher = Batcher(room=64)
    (queued,) = QueuedRegistry(ModelRegistry([bundle]), batcher, 20)
    texts = [RowText("please help me", {"product": product, "price": "1"}) for product in ("card", "app", "card")]
    found = queued.probabilities(texts, places=["a", "b", "c"])
    batcher.stop(20)
    assert found == pytest.approx(load_predictor(bundle)[0].probabilities(texts), abs=1e-6)
    assert found[0, 0] > 10 * found[1, 0]
