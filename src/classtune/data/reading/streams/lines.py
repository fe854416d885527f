"""A text file that is read line by line, from the top as often as it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from classtune.data.reading.delimited import MOST_CHARACTERS, check_length, sep_line, without_end
from classtune.errors import DataError, SettingsError


@dataclass(frozen=True)
class Lines:
    """A text file line by line, ends kept; each loop starts from the top."""

    path: Path
    name: str
    encoding: str
    end: str

    def __iter__(self) -> Iterator[str]:
        number = 0
        try:
            with self.path.open(encoding=self.encoding, newline=self.end) as file:
                for number, line in enumerate(iter(lambda: file.readline(MOST_CHARACTERS), ""), 1):
                    check_length(self.name, number, line)
                    if "\0" in line:
                        raise DataError(f"{self.name} line {number}: a NUL byte, so this is binary, not text.")
                    yield _first(line) if number == 1 else line
        except UnicodeError as error:  # without a byte of its own where UTF-16 has no mark
            found = f"byte 0x{error.object[error.start]:02X}" if isinstance(error, UnicodeDecodeError) else "it"
            raise DataError(
                f"{self.name} soon after line {number}: {found} is not {self.encoding.upper()}. "
                "Pass --encoding cp1252 (Windows), or what it was saved in."
            ) from None
        except LookupError:
            raise SettingsError(f"--encoding {self.encoding!r} is unknown. Examples: utf-8, cp1252, utf-16.") from None
        except OSError as error:
            raise unreadable(self.name, error) from None


def unreadable(name: str, error: OSError) -> DataError:
    """The error of a file that the system does not let us read."""
    return DataError(f"{name}: cannot be read ({error.strerror or error}).")


def _first(line: str) -> str:
    """The first line without a mark; an empty one, so that the others keep their numbers, where it says ``sep=;``."""
    line = line.removeprefix("\ufeff")
    return line[len(without_end(line)) :] if sep_line(line) else line
