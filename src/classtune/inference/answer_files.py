"""Answers as a file: ``.csv``, ``.xlsx`` or ``.jsonl``, put in place when it is whole.

The columns of the table stay, in their order and as they are; after them come ``label`` (several are parted by ", ",
and it is empty where the answer is withheld), ``score`` (of the first) and each label's own, ``score:NAME``. These
names are the answer's: a column of the table that has one of them is called ``given:label``, ….
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from classtune.data.reading.tables import Table
from classtune.data.written import of_json, shown, write_delimited, write_json_lines
from classtune.errors import SettingsError, require
from classtune.files import check_file, new_file
from classtune.inference.predictor import Ranked, answer_columns, label_and_score

# Excel's own limits: rows below the heading, UTF-16 units of a cell, and whole numbers that it keeps to the digit.
EXCEL_ROWS = 1_048_575
EXCEL_CELL = 32_767
_EXCEL_WHOLE = 10**15
_NAMED = 5  # rows that are too long for a cell are named, up to so many


def check_output(path: Path, table: Table, *, force: bool = False) -> None:
    """Raise, before any work is done, where answers for this table cannot be written.

    force: see `check_file`. Raises SettingsError for the kind of file, BundleError for its place, UserError where an
    extra is not installed.
    """
    if path.suffix not in _WRITERS:
        raise SettingsError(f"-o {path}: predictions are written as .csv, .xlsx or .jsonl. Name such a file.")
    check_file(path, force=force, others=[table.name], flag="-o")
    if path.suffix == ".xlsx":
        require(f"-o {path}", "excel", "xlsxwriter")
    if path.suffix == ".xlsx" and (reason := too_much_for_excel(table)):
        raise SettingsError(f"-o {path}: {reason}. Name a .csv file.")


def too_much_for_excel(table: Table) -> str:
    """What of the table a sheet cannot hold; empty where it holds all of it."""
    if len(table.texts) > EXCEL_ROWS:
        return f"a sheet of Excel holds {EXCEL_ROWS:,} rows, and here are {len(table.texts):,}"
    long = sorted(
        {row for cells in _columns(table, ()).values() for row, cell in enumerate(cells) if _units(cell) > EXCEL_CELL}
    )
    places = [f"{table.name} {table.unit} {table.lines[row]}" for row in long[:_NAMED]]
    listed = ", ".join(places) + (", …" if len(long) > _NAMED else "")
    return f"a cell of Excel holds {EXCEL_CELL:,} characters, and longer ones are in {listed}" if long else ""


def write_predictions(
    path: Path,
    table: Table,
    predictions: Sequence[Ranked],
    labels: Sequence[str],
    *,
    escape_formulas: bool = False,
    force: bool = False,
) -> None:
    """A row a text. Raises BundleError where it cannot be written; what stood there stays.

    escape_formulas: in a .csv; see `write_delimited`. force: see `check_file`.
    """
    with new_file(path, force=force) as scratch:
        _WRITERS[path.suffix](scratch, _Answers(_columns(table, labels), predictions, labels, escape_formulas))


def _columns(table: Table, labels: Sequence[str]) -> Mapping[str, Sequence[Any]]:
    """What stays of the table, by the names it gets. The texts of a table without a header are called so."""
    if not table.columns:
        return {"text": table.texts}
    names = kept_columns(list(table.columns), table.text_column, taken_by(labels))
    return dict(zip(names, table.columns.values(), strict=True))


def taken_by(labels: Sequence[str]) -> set[str]:
    """What columns of answers are called, in files of any kind."""
    return {"scores", *answer_columns(labels)}


def kept_columns(names: Sequence[str], text: str, taken: Collection[str]) -> list[str]:
    """What a table's own columns are called beside columns that are added, which are called as ``taken`` says.

    text: the column of the texts; where the table has no header it is called so.
    """
    used, columns = set(taken), []
    for own in names:
        name = "text" if own == text and own.isdecimal() else own
        while name in used:
            name = f"given:{name}"
        used |= {name} - {""}
        columns.append(name)
    return columns


@dataclass(frozen=True)
class _Answers:
    columns: Mapping[str, Sequence[Any]]
    predictions: Sequence[Ranked]
    labels: Sequence[str]
    escape_formulas: bool

    def __iter__(self) -> Iterator[tuple[list[Any], str, float, dict[str, float]]]:
        """The table's cells of a row, its label, score, and scores."""
        for cells, ranked in zip(zip(*self.columns.values(), strict=True), self.predictions, strict=True):
            scores = {entry["label"]: entry["score"] for entry in ranked}
            yield list(cells), *label_and_score(ranked), {label: scores[label] for label in self.labels}

    @property
    def heading(self) -> list[str]:
        return [*self.columns, *answer_columns(self.labels)]


def _csv(path: Path, answers: _Answers) -> None:
    rows = ([*map(shown, cells), label, score, *scores.values()] for cells, label, score, scores in answers)
    write_delimited(path, chain([answers.heading], rows), escape_formulas=answers.escape_formulas)


def _json_lines(path: Path, answers: _Answers) -> None:
    write_json_lines(
        path,
        (
            dict(zip(answers.columns, cells, strict=True)) | {"label": label, "score": score, "scores": scores}
            for cells, label, score, scores in answers
        ),
    )


def _excel(path: Path, answers: _Answers) -> None:
    """Texts stay texts: whoever wrote one that begins with ``=`` gets no formula run."""
    from xlsxwriter import Workbook
    from xlsxwriter.exceptions import FileCreateError

    try:
        with Workbook(str(path), {"constant_memory": True}) as book:
            sheet = book.add_worksheet("answers")
            sheet.freeze_panes(1, 0)
            bold = book.add_format({"bold": True})
            for column, name in enumerate(answers.heading):
                sheet.write_string(0, column, name, bold)
            for row, (cells, label, score, scores) in enumerate(answers, start=1):
                for column, cell in enumerate([*cells, label, score, *scores.values()]):
                    value = of_json(cell)
                    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _EXCEL_WHOLE:
                        sheet.write_number(row, column, value)
                    else:
                        sheet.write_string(row, column, shown(value))
    except FileCreateError as error:
        raise (error.args[0] if isinstance(error.args[0], OSError) else OSError(str(error))) from error


def _units(cell: object) -> int:
    return len(shown(cell).encode("utf-16-le", "surrogatepass")) // 2


_WRITERS: dict[str, Callable[[Path, _Answers], None]] = {".csv": _csv, ".xlsx": _excel, ".jsonl": _json_lines}
