"""Answers as a file: ``.csv``, ``.xlsx`` or ``.jsonl``, put in place when it is whole."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from classtune.errors import BundleError, SettingsError
from classtune.serving.predictor import Ranked, answer_of

# Excel's own limits: rows below the heading, UTF-16 units of a cell.
EXCEL_ROWS = 1_048_575
EXCEL_CELL = 32_767
_NAMED = 5  # texts that are too long for a cell are named, up to so many


@dataclass(frozen=True)
class _Answer:
    """label: several are parted by ", ", and it is empty where the answer is withheld; score: of the first one."""

    text: str
    label: str
    score: float
    scores: dict[str, float]

    def cells(self, labels: Sequence[str]) -> list[str | float]:
        return [self.text, self.label, self.score, *(self.scores[label] for label in labels)]


def check_output(path: Path, texts: Sequence[str], places: Sequence[str]) -> None:
    """Raise, before any work is done, where answers for these texts cannot be written.

    places: what error messages call each text. Raises SettingsError for the kind of file, BundleError for its folder.
    """
    if path.suffix not in _WRITERS:
        raise SettingsError(f"-o {path}: predictions are written as .csv, .xlsx or .jsonl. Name such a file.")
    if not path.parent.is_dir():
        raise BundleError(f"-o {path}: there is no folder {path.parent}. Make it, or name another place.")
    if path.suffix == ".xlsx" and not fits_excel(texts):
        long = [place for place, text in zip(places, texts, strict=True) if _units(text) > EXCEL_CELL]
        named = ", ".join(long[:_NAMED]) + (", …" if len(long) > _NAMED else "")
        reason = f"a cell of Excel holds {EXCEL_CELL:,} characters, and longer are: {named}" if long else (
            f"a sheet of Excel holds {EXCEL_ROWS:,} rows, and here are {len(texts):,}"
        )  # fmt: skip
        raise SettingsError(f"-o {path}: {reason}. Name a .csv file.")


def fits_excel(texts: Sequence[str]) -> bool:
    """Whether a sheet holds a row for each of these texts, and a cell each whole text."""
    return len(texts) <= EXCEL_ROWS and all(_units(text) <= EXCEL_CELL for text in texts)


def write_predictions(path: Path, texts: Sequence[str], predictions: Sequence[Ranked], labels: Sequence[str]) -> None:
    """One row a text: text, label, score, then the score of each label (an object of them in ``.jsonl``).

    Raises BundleError where it cannot be written; what stood there stays.
    """
    scratch = path.with_name(f".{path.name}.part")
    try:
        _WRITERS[path.suffix](scratch, _answers(texts, predictions), labels)
        os.replace(scratch, path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise BundleError(f"{path}: cannot be written ({error.strerror}). Name another place.") from error


def _answers(texts: Sequence[str], predictions: Sequence[Ranked]) -> Iterator[_Answer]:
    for text, ranked in zip(texts, predictions, strict=True):
        scores = {entry["label"]: entry["score"] for entry in ranked}
        answer = answer_of(ranked)
        yield _Answer(text, ", ".join(answer), scores[answer[0]] if answer else ranked[0]["score"], scores)


def _heading(labels: Sequence[str]) -> list[str]:
    return ["text", "label", "score", *(f"score:{label}" for label in labels)]


def _csv(path: Path, answers: Iterable[_Answer], labels: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_heading(labels))
        writer.writerows(answer.cells(labels) for answer in answers)


def _json_lines(path: Path, answers: Iterable[_Answer], labels: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for answer in answers:
            file.write(json.dumps(vars(answer), ensure_ascii=False) + "\n")


def _excel(path: Path, answers: Iterable[_Answer], labels: Sequence[str]) -> None:
    """Texts stay texts: whoever wrote one that begins with ``=`` gets no formula run."""
    from xlsxwriter import Workbook
    from xlsxwriter.exceptions import FileCreateError

    try:
        with Workbook(str(path), {"constant_memory": True}) as book:
            sheet = book.add_worksheet("answers")
            sheet.freeze_panes(1, 0)
            sheet.set_column(0, 0, 80)
            bold = book.add_format({"bold": True})
            for column, name in enumerate(_heading(labels)):
                sheet.write_string(0, column, name, bold)
            for row, answer in enumerate(answers, start=1):
                for column, cell in enumerate(answer.cells(labels)):
                    (sheet.write_string if isinstance(cell, str) else sheet.write_number)(row, column, cell)
    except FileCreateError as error:
        raise (error.args[0] if isinstance(error.args[0], OSError) else OSError(str(error))) from error


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


_WRITERS: dict[str, Callable[[Path, Iterable[_Answer], Sequence[str]], None]] = {
    ".csv": _csv,
    ".xlsx": _excel,
    ".jsonl": _json_lines,
}
