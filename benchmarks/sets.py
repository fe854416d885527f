"""The labelled data sets that figures are measured on, as their files hold them; a missing one is skipped."""

from __future__ import annotations

from pathlib import Path

from common import needs

from classtune.data.reading.tables import Table, TableFormat, read_table, table_from_rows

Parts = tuple[Table, Table | None, Table | None]  # training, validation and test rows as they are given


def trec() -> Parts:
    """Six classes of questions; the fine label after the colon is not used."""
    folder = needs("trec/train_5500.label", "trec/TREC_10.label") / "trec"

    def read(name: str, shown: str) -> Table:
        # Not splitlines: latin-1 has a character that it takes for the end of a line.
        lines = [line for line in (folder / name).read_text(encoding="latin-1").split("\n") if line]
        parts = [line.partition(" ") for line in lines]
        return table_from_rows(
            [text for _, _, text in parts], [label.partition(":")[0] for label, _, _ in parts], name=shown
        )

    return read("train_5500.label", "TREC-6"), None, read("TREC_10.label", "TREC-6 test")


def emotion() -> Parts:
    """TweetEval's four emotions."""
    return _tweeteval("emotion")


def irony() -> Parts:
    """TweetEval's irony."""
    return _tweeteval("irony")


def offensive() -> Parts:
    """TweetEval's offensive language."""
    return _tweeteval("offensive")


def _tweeteval(name: str) -> Parts:
    folder = needs(f"tweeteval/{name}/train_text.txt") / "tweeteval" / name
    lines = (folder / "mapping.txt").read_text(encoding="utf-8").split("\n")
    return _side_by_side(folder, f"tweet {name}", dict(line.split("\t") for line in lines if line))


def italian() -> Parts:
    """XLM-T's Italian tweets: negative, neutral, positive."""
    folder = needs("xlmt_sentiment/italian/train_text.txt") / "xlmt_sentiment" / "italian"
    return _side_by_side(folder, "Italian tweets", {"0": "negative", "1": "neutral", "2": "positive"})


def _side_by_side(folder: Path, name: str, labels: dict[str, str]) -> Parts:
    """Texts and label numbers in files of their own."""

    def read(part: str, shown: str) -> Table:
        texts, numbers = (
            (folder / f"{part}_{kind}.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
            for kind in ("text", "labels")
        )
        return table_from_rows(texts, [labels[number.strip()].strip() for number in numbers], name=shown)

    return read("train", name), read("val", f"{name} validation"), read("test", f"{name} test")


def banking77() -> Parts:
    """77 intents of a bank's customers."""
    folder = needs("banking77/train.csv", "banking77/test.csv") / "banking77"
    return read_table(folder / "train.csv"), None, read_table(folder / "test.csv")


def imdb() -> Parts:
    """2,000 long reviews to train on and 2,000 to test."""
    folder = needs("imdb_sample/train.jsonl", "imdb_sample/test.jsonl") / "imdb_sample"
    return read_table(folder / "train.jsonl"), None, read_table(folder / "test.jsonl")


def goemotions() -> Parts:
    """28 emotions, several a text."""
    folder = needs("goemotions/train.tsv", "goemotions/labels.txt") / "goemotions"
    names = (folder / "labels.txt").read_text(encoding="utf-8").split()
    format = TableFormat(header=False, text="1", label="2", label_separator=",", delimiter="tab", quoting=False)

    def read(part: str) -> Table:
        table = read_table(folder / f"{part}.tsv", format)
        sets = [[names[int(number)] for number in row] for row in table.label_sets or []]
        return table_from_rows(table.texts, sets, name=f"goemotions {part}")

    return read("train"), read("dev"), read("test")
