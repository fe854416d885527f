"""Texts to be labelled, as files: a table, or what Label Studio, doccano and Argilla import."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from classtune.data.reading.columns import listed_names
from classtune.data.reading.tables import Table
from classtune.data.written import write_rows
from classtune.errors import SettingsError, did_you_mean
from classtune.files import check_file, new_file

AT_RANDOM = "at random"


@dataclass(frozen=True)
class LabelCells:
    """How labels are written in a table: as in the table that a bundle learned from, so that it reads what is filled
    in. columns: for a person to fill in; ``label``, or one a label. separator: between several in a cell.
    """

    columns: tuple[str, ...] = ("label",)
    separator: str = ", "

    @classmethod
    def of_bundle(cls, columns: Mapping[str, Any]) -> Self:
        """columns: see `classtune.bundle.columns_of`."""
        flags = tuple(listed_names(columns.get("label_columns") or ""))
        return cls(flags or cls.columns, columns.get("label_separator") or cls.separator)

    @property
    def added(self) -> tuple[str, ...]:
        """Columns that a table has after the pool's own."""
        return (*self.columns, "suggested", "score", "chosen")


@dataclass(frozen=True)
class ToLabel:
    """A text to be labelled. cells: its row in the pool, by column. suggested, score: what the classifier would answer,
    and how probable it finds that, 0 … 1 (of label names: how alike). chosen: why it is here, or AT_RANDOM."""

    text: str
    line: int
    cells: dict[str, Any]
    suggested: list[str]
    score: float
    chosen: str

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "line": self.line,
            "text": self.text,
            "suggested": self.suggested,
            "score": self.score,
            "chosen": self.chosen,
        }


def check_form(path: Path | None, form: str, tables: Sequence[Table], *, force: bool) -> None:
    """Raise, before any work is done, where the form is none or the file cannot be written: SettingsError, BundleError.

    path: None where nothing is written. tables: what is read, which the file never replaces. force: it may take the
    place of another file.
    """
    if form not in FORMS:
        raise SettingsError(f"--form {form!r} is unknown. {did_you_mean(form, FORMS)}")
    if path is None:
        return
    _, suffixes = FORMS[form]
    if path.suffix not in suffixes:
        raise SettingsError(f"-o {path}: {form} is written as {' or '.join(suffixes)}. Name such a file.")
    check_file(path, force=force, others=[table.name for table in tables], flag="-o")


def write_to_label(
    path: Path,
    texts: Sequence[ToLabel],
    form: str,
    *,
    labels: LabelCells,
    force: bool,
    escape_formulas: bool = False,
) -> None:
    """Write the file; what stood there stays where it cannot. Raises BundleError.

    texts: one or more. labels: see `LabelCells`. escape_formulas: see `write_rows`.
    """
    row_of, _ = FORMS[form]
    rows = [row_of(one, labels) for one in texts]
    with new_file(path, force=force) as scratch:
        write_rows(scratch, path.suffix, [*rows[0]], rows, escape_formulas=escape_formulas)


def _row(one: ToLabel, labels: LabelCells) -> dict[str, Any]:
    """The pool's own cells, and the columns that are added."""
    told = {"suggested": labels.separator.join(one.suggested), "score": round(one.score, 4), "chosen": one.chosen}
    return one.cells | dict.fromkeys(labels.columns, "") | told


def _label_studio(one: ToLabel, _: LabelCells) -> dict[str, Any]:
    """A task with a prediction for ``<Choices name="label" toName="text">`` of ``<Text name="text">``."""
    result = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": one.suggested}}
    data = {"text": one.text, "chosen": one.chosen, "line": one.line}
    return {"data": data, "predictions": [{"model_version": "classtune", "score": one.score, "result": [result]}]}


def _doccano(one: ToLabel, labels: LabelCells) -> dict[str, Any]:
    """A line without an annotation: doccano would take a suggestion for the answer of a person."""
    suggested = labels.separator.join(one.suggested)
    return {"text": one.text, "label": [], "suggested": suggested, "score": one.score, "chosen": one.chosen}


def _argilla(one: ToLabel, _: LabelCells) -> dict[str, Any]:
    """A record as ``dataset.records.from_json`` reads it: a text field ``text``, a question ``label``."""
    value: Any = one.suggested if len(one.suggested) != 1 else one.suggested[0]
    suggestions = {"label": {"value": value, "score": one.score, "agent": "classtune"}} if one.suggested else {}
    record = {"id": f"line-{one.line}", "fields": {"text": one.text}, "metadata": {"chosen": one.chosen}}
    return record | {"suggestions": suggestions, "responses": {}, "vectors": {}}


# Form → what becomes of a text, and the kinds of files that hold it.
FORMS: dict[str, tuple[Callable[[ToLabel, LabelCells], dict[str, Any]], tuple[str, ...]]] = {
    "table": (_row, (".csv", ".jsonl")),
    "label-studio": (_label_studio, (".json",)),
    "doccano": (_doccano, (".jsonl",)),
    "argilla": (_argilla, (".json",)),
}
