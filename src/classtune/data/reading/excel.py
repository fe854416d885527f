"""A sheet of Excel as a grid: its size is known before it is read, and cells without a value say why.

The reader lays out every cell between the first and the last one, so one cell far away would take all memory: the
sheets' XML is passed over first.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any
from xml.etree import ElementTree
from xml.parsers import expat

from classtune.data.reading.cells import Broken, as_text
from classtune.data.reading.columns import TableFormat, is_known
from classtune.data.reading.grid import Grid
from classtune.data.reading.headers import title_rows, with_names
from classtune.errors import DataError, counted, require

MOST_UNZIPPED = 1 << 29  # bytes of a workbook, unzipped
MOST_CELLS = 20_000_000  # of the rectangle that a sheet's cells span
_REFERENCE = re.compile(r"([A-Z]{1,3})(\d{1,7})")
_CHUNK = 1 << 18
_TRUE = ("1", "true")
_MOST_ROWS = 1 << 20  # that Excel has
_NO_RESULT = (
    "holds a formula whose result was never saved. Open the file in a spreadsheet program and save it, "
    "or save it as .csv"
)


@dataclass
class Sheet:
    """What a sheet's XML says before it is read. rows, columns: of its last cells, from 1."""

    rows: int = 0
    columns: int = 0
    cells: int = 0
    last: str = ""  # the cell farthest out
    broken: dict[tuple[int, int], Broken] = field(default_factory=dict)  # (row, column) from 0
    hidden_rows: set[int] = field(default_factory=set)
    hidden_columns: list[tuple[int, int]] = field(default_factory=list)  # first and last


def read_excel(name: str, data: bytes, table: TableFormat, *, labelled: bool) -> Grid:
    """The cells of the one sheet, or of the one that is named. Merged cells hold their value in each row.

    Raises DataError for workbooks that cannot be read, or are larger than the limits above.
    """
    require(name, "excel", "python_calamine")
    from python_calamine import CalamineError, SheetVisibleEnum, load_workbook

    looked_at = look_at(name, data)
    try:
        workbook = load_workbook(io.BytesIO(data))
        sheets = {sheet: workbook.get_sheet_by_name(sheet) for sheet in workbook.sheet_names}
    except CalamineError as error:
        raise DataError(f"{name}: cannot be read as Excel ({error}).{_rather(data)}") from None
    listed = ", ".join(map(repr, sheets))
    if table.sheet is not None and table.sheet not in sheets:
        raise DataError(f"{name}: no sheet is called {table.sheet!r}. It has: {listed}.")
    filled = [table.sheet] if table.sheet is not None else [sheet for sheet, cells in sheets.items() if cells.height]
    shown = {one.name for one in workbook.sheets_metadata if one.visible == SheetVisibleEnum.Visible}
    # On hidden sheets stand the lists that a program keeps.
    filled = [sheet for sheet in filled if sheet in shown] or filled
    if len(filled) > 1:
        raise DataError(f"{name}: has {len(filled)} sheets: {', '.join(map(repr, filled))}. Choose with --sheet NAME.")
    if not filled:
        raise DataError(f"{name}: the sheet is empty.")
    sheet = sheets[filled[0]]
    cells = [[_text(cell) for cell in row] for row in sheet.to_python(skip_empty_area=False)]
    seen = looked_at.get(filled[0], Sheet())
    for (row, column), broken in seen.broken.items():
        if row < len(cells) and column < len(cells[row]):
            cells[row][column] = broken
    merged = sheet.merged_cell_ranges or []
    notes = _fill_merged(cells, merged)
    numbered = [(row, number) for number, row in enumerate(cells, 1) if any(row)]
    if not numbered:
        raise DataError(f"{name}: the sheet is empty.")
    spanned = {first[0] + 1 for first, last in merged if last[1] > first[1]}
    above = _groups_of_names(numbered, spanned)
    top = above + title_rows([row for row, _ in numbered[above:]], table)
    if top:
        title = next(cell for cell in numbered[0][0] if cell)
        notes.append(f"what stands above the header is no part of the table: {title[:60]!r}.")
        numbered = numbered[top:]
    used = [column for column in range(len(cells[0])) if any(row[column] for row, _ in numbered)]
    notes += _hidden(seen, {number for _, number in numbered}, {column + 1 for column in used})
    rows = [[row[column] for column in used] for row, _ in numbered]
    if len(used) == 1 and labelled:
        raise DataError(f"{name}: the sheet has one column only: {rows[0][0][:60]!r}.")
    grid = with_names(rows, [number for _, number in numbered], table, labelled=labelled)
    grid.unit, grid.notes = "row", notes + grid.notes
    return grid


def _rather(data: bytes) -> str:
    """What a file that is no workbook is, by its first bytes."""
    if data.startswith(b"PK"):
        return " It is a zip file. If it holds a table, unpack it, or rename it to end in .zip."
    if not data.startswith(b"PK") and b"\0" not in data[:_CHUNK]:
        return " It is text: if it is a table, rename it to .csv."
    return ""


def _groups_of_names(numbered: list[tuple[list[str], int]], spanned: set[int]) -> int:
    """1 where a row of names of groups, with cells merged over several columns, stands above the row of names; or 0.

    spanned: numbers of rows with such cells.
    """
    if len(numbered) < 3 or numbered[0][1] not in spanned:
        return 0
    names = [cell for cell in numbered[1][0] if cell]
    return int(any(map(is_known, names)) and len(names) > sum(map(bool, numbered[0][0])))


def _hidden(sheet: Sheet, rows: set[int], columns: set[int]) -> list[str]:
    """That rows and columns which are read are hidden from who looks at the sheet."""
    hidden = {
        "row": len(rows & sheet.hidden_rows),
        "column": sum(any(first <= column <= last for first, last in sheet.hidden_columns) for column in columns),
    }
    told = [counted(count, f"hidden {what}") for what, count in hidden.items() if count]
    return [f"{' and '.join(told)}: read as the others are. Delete what is not meant to be here."] if told else []


def _text(cell: Any) -> str:
    """A cell as text: Excel keeps every number as a float, so 1 and 1.0 are one cell."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else as_text(cell)


def _fill_merged(cells: list[list[str]], ranges: Any) -> list[str]:
    """The value of cells that are merged over several rows, written into each of them."""
    over_rows = [(first, last) for first, last in ranges if last[0] > first[0]]
    for (top, column), (bottom, _) in over_rows:
        for row in range(top + 1, min(bottom, len(cells) - 1) + 1):
            if top < len(cells) and column < len(cells[row]) and not cells[row][column]:
                cells[row][column] = cells[top][column]
    return [f"{len(over_rows):,} merged cells: each of their rows is read with their value."] if over_rows else []


def look_at(name: str, data: bytes) -> Mapping[str, Sheet]:
    """The sheets by name, passed over without laying them out. Raises DataError where one is beyond the limits."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MOST_UNZIPPED:
                raise _too_large(name)
            sheets = {}
            for sheet, path in _sheets(archive).items():
                with archive.open(path) as file:
                    sheets[sheet] = _pass_over(name, file)
    except (zipfile.BadZipFile, KeyError, ElementTree.ParseError, expat.ExpatError, NotImplementedError):
        return {}  # whatever is wrong with it, the reader says better
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
        raise DataError(f"{name}: cannot be read as Excel ({error}).") from None
    for sheet, size in sheets.items():
        if size.rows * size.columns > MOST_CELLS:
            raise DataError(
                f"{name}: the sheet {sheet!r} reaches to cell {size.last} and has {size.cells:,} cells; at most "
                f"{MOST_CELLS:,} are read, empty ones among them. Delete what stands far out, or save it as .csv."
            )
    return sheets


def _too_large(name: str) -> DataError:
    return DataError(f"{name}: is larger than {MOST_UNZIPPED >> 20:,} MB when it is unzipped. Save it as .csv.")


def _sheets(archive: zipfile.ZipFile) -> dict[str, str]:
    """Path in the archive of each sheet, by its name."""
    links = {
        link.get("Id"): posixpath.normpath(posixpath.join("xl", link.get("Target", ""))).removeprefix("/")
        if not link.get("Target", "").startswith("/")
        else link.get("Target", "")[1:]
        for link in _small(archive, "xl/_rels/workbook.xml.rels")
    }
    paths = {}
    for element in _small(archive, "xl/workbook.xml").iter():
        if element.tag.endswith("}sheet"):
            link = next((value for key, value in element.attrib.items() if key.endswith("}id")), None)
            if links.get(link) in archive.namelist():
                paths[element.get("name", "")] = links[link]
    return paths


def _small(archive: zipfile.ZipFile, path: str) -> ElementTree.Element:
    with archive.open(path) as file:
        return ElementTree.fromstring(file.read(1 << 24))


def _pass_over(name: str, file: IO[bytes]) -> Sheet:
    """Counts cells, and finds the last one, formulas without a result and cells that hold an error."""
    sheet = Sheet()
    row = column = 0
    kind, inside, formula, value = "", False, False, ""

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal row, column, kind, inside, formula, value
        if tag == "row":
            row, column = int(attributes.get("r", row + 1)), 0
            if attributes.get("hidden") in _TRUE and row <= _MOST_ROWS:
                sheet.hidden_rows.add(row)
        elif tag == "col" and attributes.get("hidden") in _TRUE:
            sheet.hidden_columns.append((int(attributes.get("min", 0)), int(attributes.get("max", 0))))
        elif tag == "c":
            column += 1
            match = _REFERENCE.fullmatch(attributes.get("r", ""))
            if match:
                row, column = int(match[2]), _number(match[1])
            kind, formula, value = attributes.get("t", ""), False, ""
            sheet.cells += 1
            if row > sheet.rows or column > sheet.columns:
                sheet.last = attributes.get("r", f"row {row}")
            sheet.rows, sheet.columns = max(sheet.rows, row), max(sheet.columns, column)
        elif tag == "f":
            formula = True
        elif tag == "v":
            inside = True

    def text(data: str) -> None:
        nonlocal value
        if inside and len(value) < 40:
            value += data

    def end(tag: str) -> None:
        nonlocal inside
        if tag == "v":
            inside = False
        elif tag == "c" and (kind == "e" or (formula and not value)) and sheet.rows * sheet.columns <= MOST_CELLS:
            reason = f"holds the error {value}. Mend it" if kind == "e" and value else _NO_RESULT
            sheet.broken[row - 1, column - 1] = Broken(value or "=", reason)

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    read = 0
    while chunk := file.read(_CHUNK):
        read += len(chunk)
        if read > MOST_UNZIPPED:  # its own account of its size was wrong
            raise _too_large(name)
        parser.Parse(chunk)
    parser.Parse(b"", True)
    return sheet


def _number(letters: str) -> int:
    """A → 1, Z → 26, AA → 27."""
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - 64
    return number
