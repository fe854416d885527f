"""From text to rows of cells: delimiters, quotes and line numbers. Knows no files and not which column means what.

Line numbers are those of an editor, also after cells that span lines.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, islice, zip_longest
from typing import Literal

from classtune.data.reading.columns import TableFormat, is_known
from classtune.data.reading.faults import Faults
from classtune.data.reading.grid import Grid
from classtune.data.reading.headers import title_rows, with_names
from classtune.errors import DataError, SettingsError, counted

DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}
SNIFFED_LINES = 500
MOST_CHARACTERS = 1 << 27  # of a line: ten texts of the longest that are read
_SEP = re.compile(r'"?sep=(.)"?[,;\t]*', re.IGNORECASE)
_END = "end of table\n"  # a line of our own after the last: whatever swallows it has left a quote open


def split_lines(text: str) -> list[str]:
    """Lines with their ends: ``\\n`` or ``\\r\\n``, or ``\\r`` in a file that has no other."""
    end = "\n" if "\n" in text else "\r"
    lines = [line + end for line in text.split(end)]
    if lines[-1] == end:
        lines.pop()
    return lines


def check_length(name: str, number: int, line: str) -> None:
    """Raise DataError for a line that no row is: cutting it into cells would take gigabytes and minutes."""
    if len(line) >= MOST_CHARACTERS:
        raise DataError(
            f"{name} line {number}: has {MOST_CHARACTERS:,} characters or more, and is read no further. "
            "Write a row a line."
        )


def without_end(line: str) -> str:
    """The line without its end."""
    return line.removesuffix("\n").removesuffix("\r")


def sep_line(line: str) -> str | None:
    """The delimiter that a first line ``sep=;`` names, as Excel reads and writes it."""
    match = _SEP.fullmatch(without_end(line))
    return match[1] if match else None


def fitted(row: list[str], header: Sequence[str]) -> list[str]:
    """The row with as many cells as the header, where what is too much or missing is empty in both."""
    width = len(header)
    if len(row) > width and not any(cell.strip() for cell in row[width:]):
        return row[:width]
    if len(row) < width and not any(name.strip() for name in header[len(row) :]):
        return [*row, *header[len(row) :]]
    return row


@dataclass(frozen=True)
class DelimitedRows:
    """The rows of delimited text, each with the line that it starts on; blank lines hold none.

    Each loop reads ``lines`` from the top: those of a list, or of a file that is too large for one. It raises DataError
    for quotes that do not pair up. quoting: None reads quotes strictly, so that no stray one swallows rows.
    """

    name: str
    lines: Iterable[str]
    delimiter: str
    quoting: bool | None

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        return self._unquoted() if self.quoting is False else self._quoted()

    def settled(self) -> tuple[DelimitedRows, list[str]]:
        """The rows once it is settled what quotes are, and notes.

        Not told, we read them strictly. Tab-separated files are often written without quoting: where the strict reading
        fails, and each line has as many tabs, quotes are text. Raises DataError where both readings are possible.
        """
        if self.quoting is not None or self.delimiter != "\t":
            return self, []
        bare = replace(self, quoting=False)
        if len({len(row) for _, row in bare}) != 1:
            return self, []
        try:
            starts = zip_longest((line for line, _ in bare), (line for line, _ in self))
            inside = min((line for line, start in starts if line != start), default=None)
        except DataError:
            return bare, ["quotes are read as part of the texts, because they do not pair up (--no-quoting)."]
        if inside is not None:
            raise DataError(
                f"{self.name} line {inside}: is a row, or part of a quoted cell that opens above it. "
                "Pass --no-quoting if quotes are part of the texts, else --quoting."
            )
        return self, []

    def _unquoted(self) -> Iterator[tuple[int, list[str]]]:
        cut = ((number, without_end(line)) for number, line in enumerate(self.lines, 1))
        return ((number, line.split(self.delimiter)) for number, line in cut if line)

    def _quoted(self) -> Iterator[tuple[int, list[str]]]:
        end = iter([_END])
        with closing(line for line in self.lines) as lines:  # else an error that is kept keeps the file open
            reader = csv.reader(chain(lines, end), delimiter=self.delimiter, strict=self.quoting is None)
            start, row, following = 1, list[str](), 1  # lines where the row, and the one after it, starts
            try:
                for cells in reader:
                    if row:  # the last row of all must be our own, so each waits for the next
                        yield start, row
                    start, row, following = following, cells, reader.line_num + 1
                if row == [without_end(_END)]:
                    return
            except csv.Error as error:
                start = following
                if "new-line" in str(error):
                    where = f"{self.name} line {reader.line_num}"
                    raise DataError(f"{where}: a carriage return in a cell without quotes. Remove it.") from None
                if "limit" in str(error):
                    raise DataError(
                        f"{self.name} line {start}: a quote that opens here, or soon after, is not closed for "
                        f"{csv.field_size_limit():,} characters. Double the quotes, or pass --no-quoting."
                    ) from None
        raise self._left_open(start, reader.line_num, ended=next(end, None) is None)

    def _left_open(self, start: int, last: int, *, ended: bool) -> DataError:
        """What is wrong with the row that starts on a line and cannot be read any more on the ``last``."""
        # What is open when the last line begins is the cell with the quote: it reaches back as many lines as it holds.
        broken = list(csv.reader(islice(self.lines, start - 1, last - 1), delimiter=self.delimiter))
        opened = last - (broken[0][-1].count("\n") or broken[0][-1].count("\r")) if broken else start
        fault = "is never closed" if ended else f"is closed on line {last} in the middle of a cell"
        return DataError(
            f"{self.name} line {opened}: a quote that opens here {fault}. Double the quotes, or pass --no-quoting."
        )


def read_delimited(
    name: str, lines: list[str], encoding: str, table: TableFormat, *, suffix: str, labelled: bool
) -> Grid:
    """Rows of equal width; those of another are reported in ``Grid.problems``. ``suffix``: the file's, as a hint.

    Raises DataError when the lines are not in columns or their quotes do not pair up, SettingsError for a delimiter
    that cannot be one.
    """
    csv.field_size_limit(max(csv.field_size_limit(), sum(map(len, lines))))  # a process-wide setting: only ever raised
    named = sep_line(lines[0])
    if named is not None:
        lines = [lines[0][len(without_end(lines[0])) :], *lines[1:]]  # an empty line: the others keep their numbers
    delimiter = given_delimiter(table.delimiter) or named or sniff(lines, suffix, table.quoting)[0]
    if delimiter is None and labelled:
        first = lines[0].strip()[:60]
        raise DataError(f"{name} line 1: no comma, tab, semicolon or bar makes columns of {first!r}. Pass --delimiter.")
    separator = delimiter or ("\t" if suffix == ".tsv" else ",")
    settled, notes = DelimitedRows(name, lines, separator, table.quoting).settled()
    starts, rows = list[int](), list[list[str]]()
    for start, row in settled:
        starts.append(start)
        rows.append(row)
    if not rows:
        raise DataError(f"{name}: the file is empty.")
    if top := title_rows(rows, table):
        title = next((cell for cell in rows[0] if cell.strip()), "")
        notes = [*notes, f"what stands above the header is no part of the table: {title[:60]!r}."]
        rows, starts = rows[top:], starts[top:]
    rows = [fitted(row, rows[0]) for row in rows]
    width = len(rows[0])
    called = DELIMITERS.get(separator, repr(separator))
    if width == 1 and labelled:
        first = rows[0][0][:60]
        raise DataError(f"{name} line {starts[0]}: no {called} makes columns of {first!r}. Pass another --delimiter.")
    faults = Faults(name, "line")
    for row, start in zip(rows, starts, strict=True):
        if len(row) != width:
            many = f"{counted(len(row), 'field')}, the first line has {width}"
            faults.add(start, f"{many}. Quote cells that hold a {called}, or pass --delimiter.")
    problems = faults.problems()
    if problems:
        kept = [position for position, row in enumerate(rows) if len(row) == width]
        rows, starts = [rows[position] for position in kept], [starts[position] for position in kept]
    grid = with_names(rows, starts, table, labelled=labelled)
    grid.encoding, grid.delimiter, grid.problems = encoding, separator, problems
    grid.notes = notes + grid.notes
    return grid


def given_delimiter(delimiter: str | None) -> str | None:
    """The character that ``--delimiter`` means. Raises SettingsError for what cannot be one."""
    delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter or "", delimiter)
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n\0'):
        raise SettingsError(f"--delimiter {delimiter!r}: must be one character, or tab.")
    return delimiter


def sniff(lines: list[str], suffix: str, quoting: bool | None = None) -> tuple[str | None, bool]:
    """The delimiter that cuts most rows into as many fields as the first (2 or more), and whether it does so for all.

    Known names settle a draw, then the suffix.
    """
    sample = [line.replace("\r", "") for line in lines[:SNIFFED_LINES]]
    quotes: Literal[0, 3] = csv.QUOTE_NONE if quoting is False else csv.QUOTE_MINIMAL
    ranked = []
    for delimiter in sorted(DELIMITERS, key=lambda delimiter: (delimiter == "\t") != (suffix == ".tsv")):
        try:
            rows = [row for row in csv.reader(sample, delimiter=delimiter, quoting=quotes) if row]
        except csv.Error:  # a cell longer than any: whoever reads the rows says where it opens
            continue
        rows = rows[:-1] if len(lines) > len(sample) else rows  # the last may be cut
        rows = rows[title_rows(rows, TableFormat()) :]
        rows = [fitted(row, rows[0]) for row in rows]
        if rows and len(rows[0]) > 1:
            agreeing = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
            ranked.append((agreeing, sum(map(is_known, rows[0])), delimiter))
    agreeing, _, best = max(ranked, key=lambda entry: entry[:2], default=(0.0, 0, None))
    return best, agreeing == 1


def are_bare_texts(lines: list[str], suffix: str, table: TableFormat) -> bool:
    """Whether lines that are to be predicted are a text each: nothing asks for columns, and nothing shows any."""
    if table.delimiter or table.text or table.header:
        return False
    return suffix == ".txt" or not _clearly_delimited(lines)


def _clearly_delimited(lines: list[str]) -> bool:
    """Whether lines that may be bare texts are a table: known names in line 1, or tabs, and rows of one width."""
    delimiter, agreeing = sniff(lines, "")
    first = next(line for line in lines if line.strip()).strip()
    if delimiter is None:
        return is_known(first)
    return agreeing and (delimiter == "\t" or any(map(is_known, first.split(delimiter))))
