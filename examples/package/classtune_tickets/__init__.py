"""A package that brings a data set and a model by name: afterwards `classtune train our-tickets --model our-model`."""

from pathlib import Path

from classtune.sources import DataFile, DatasetSource, Hub, Local, ModelSource

FILE = Local(Path(__file__).parent / "tickets.csv")


def sources() -> list[ModelSource | DatasetSource]:
    """Wheel and Url are fetched and checked by sha256, Hub by the Hub's client; Local lies in this package."""
    columns = {"text": "text", "label": "topic"}
    file = DataFile("package", FILE, rows=6, delimiter=",", quoting=True, columns=None, **columns)
    return [
        ModelSource("our-model", "the model that our team agreed on", "MIT", 22_700_000, Hub("our-team/our-model")),
        DatasetSource("our-tickets", "tickets of our support team", "CC0-1.0", (file,)),
    ]
