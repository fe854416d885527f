"""Texts to be labelled, as files: a table, or what Label Studio, doccano and Argilla import."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from classtune.data.reading.tables import Table
from classtune.data.written import of_json, shown, write_delimited, write_json_lines
from classtune.errors import SettingsError, did_you_mean
from classtune.files import check_file, new_file

# What a file says beside the pool's own columns; ``label`` is for a person to fill in.
COLUMNS = ("label", "suggested", "score", "chosen")
AT_RANDOM = "at random"


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
    if path.suffix not in FORMS[form]:
        raise SettingsError(f"-o {path}: {form} is written as {' or '.join(FORMS[form])}. Name such a file.")
    check_file(path, force=force, others=[table.name for table in tables], flag="-o")


def write_to_label(
    path: Path, texts: Sequence[ToLabel], form: str, *, force: bool, escape_formulas: bool = False
) -> None:
    """Write the file; what stood there stays where it cannot. Raises BundleError.

    escape_formulas: of a .csv; see `write_delimited`.
    """
    write = FORMS[form][path.suffix]
    with new_file(path, force=force) as scratch:
        (partial(_csv, escape_formulas=escape_formulas) if write is _csv else write)(scratch, texts)


def _rows(texts: Sequence[ToLabel]) -> list[dict[str, Any]]:
    """The pool's own cells, and the columns of COLUMNS."""
    return [
        one.cells
        | {"label": "", "suggested": ", ".join(one.suggested), "score": round(one.score, 4), "chosen": one.chosen}
        for one in texts
    ]


def _csv(path: Path, texts: Sequence[ToLabel], *, escape_formulas: bool = False) -> None:
    rows = _rows(texts)
    cells = ([shown(cell) for cell in row.values()] for row in rows)
    write_delimited(path, [[*rows[0]], *cells], escape_formulas=escape_formulas)


def _json(path: Path, document: Any) -> None:
    text = json.dumps(of_json(document), ensure_ascii=False, indent=1, default=shown)
    path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace", newline="\n")


def _label_studio(path: Path, texts: Sequence[ToLabel]) -> None:
    """Tasks, each with a prediction for ``<Choices name="label" toName="text">`` of ``<Text name="text">``."""
    tasks = []
    for one in texts:
        result = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": one.suggested}}
        data = {"text": one.text, "chosen": one.chosen, "line": one.line}
        tasks.append(
            {"data": data, "predictions": [{"model_version": "classtune", "score": one.score, "result": [result]}]}
        )
    _json(path, tasks)


def _doccano(path: Path, texts: Sequence[ToLabel]) -> None:
    """Lines without an annotation: doccano would take a suggestion for the answer of a person."""
    write_json_lines(
        path,
        [
            {
                "text": one.text,
                "label": [],
                "suggested": ", ".join(one.suggested),
                "score": one.score,
                "chosen": one.chosen,
            }
            for one in texts
        ],
    )


def _argilla(path: Path, texts: Sequence[ToLabel]) -> None:
    """Records as ``dataset.records.from_json`` reads them: a text field ``text``, a question ``label``."""
    records = []
    for one in texts:
        value: Any = one.suggested if len(one.suggested) != 1 else one.suggested[0]
        suggestions = {"label": {"value": value, "score": one.score, "agent": "classtune"}} if one.suggested else {}
        records.append(
            {"id": f"line-{one.line}", "fields": {"text": one.text}, "metadata": {"chosen": one.chosen}}
            | {"suggestions": suggestions, "responses": {}, "vectors": {}}
        )
    _json(path, records)


_Writer = Callable[[Path, Sequence[ToLabel]], None]
# Form → suffix → what writes it.
FORMS: dict[str, dict[str, _Writer]] = {
    "table": {".csv": _csv, ".jsonl": lambda path, texts: write_json_lines(path, _rows(texts))},
    "label-studio": {".json": _label_studio},
    "doccano": {".jsonl": _doccano},
    "argilla": {".json": _argilla},
}
