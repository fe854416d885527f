"""Every error that classtune raises on purpose.

    ClasstuneError            exit code 1: the work failed
    ├── Interrupted           stopped by Ctrl-C; what was finished is kept (exit code 1)
    └── UserError             exit code 2: the user can mend it
        ├── SettingsError     a flag, a recipe or a setting
        ├── DataError         a table, its columns, its texts or labels
        ├── SourceError       a model or data set that could not be found, fetched or verified
        ├── BundleError       a saved classifier that is missing, damaged or cannot be written
        └── NotFittedError    an estimator that was asked before it was fitted (see estimator/)

A message says what, where, got and do:
``train.csv line 42: the label is empty. Fill it in, or pass --drop-unlabelled.``
An error may carry many problems; they are shown together, so that nobody mends a file one run at a time.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

SHOWN_PROBLEMS = 20


class ClasstuneError(Exception):
    """Base of all errors of this library; the command line prints it without a traceback."""

    exit_code = 1

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: list[str] = [problems] if isinstance(problems, str) else list(problems)
        shown = self.problems[:SHOWN_PROBLEMS]
        hidden = len(self.problems) - len(shown)
        super().__init__("\n".join([*shown, f"… and {hidden:,} more like these."] if hidden else shown))


class Interrupted(ClasstuneError):
    """The user stopped the work."""


class UserError(ClasstuneError):
    """Something that the user can mend."""

    exit_code = 2


class SettingsError(UserError):
    """A setting has an unknown name or an impossible value."""


class DataError(UserError):
    """A table cannot be used as it is."""


class SourceError(UserError):
    """A model or data set cannot be found, fetched or verified."""


class BundleError(UserError):
    """A bundle cannot be read or written."""


def require(what: str, extra: str, *modules: str) -> None:
    """Raise UserError where a module of an extra is not installed; see `missing_extra`."""
    if problem := missing_extra(what, extra, *modules):
        raise UserError(problem)


def missing_extra(what: str, extra: str, *modules: str) -> str:
    """Which top-level modules are not installed, with the command that installs them; empty where all are there.

    what: the part of classtune that needs them, as the user asked for it: ``--engine ray``. Nothing is imported.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    verb = "is" if len(missing) == 1 else "are"
    return f'{what}: {", ".join(missing)} {verb} not installed. pip install "classtune[{extra}]"' if missing else ""


# Each control character as its picture; line ends and tabs stay. Those above ASCII have none.
_PICTURES = {code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A)}
_PICTURES |= {0x7F: 0x2421, **dict.fromkeys(range(0x80, 0xA0), 0xFFFD)}
# Those that `json` leaves as they are, for text within JSON.
C1_ESCAPES = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}


def printable(text: str) -> str:
    """Text for a terminal: nothing in it moves the cursor, changes colours or titles, or answers a query."""
    return text.translate(_PICTURES)


@contextlib.contextmanager
def writing(place: Path) -> Iterator[None]:
    """Errors of the file system, and of what writes through other languages, as a BundleError that names ``place``."""
    try:
        yield
    except ClasstuneError:
        raise
    except Exception as error:
        # safetensors, tokenizers and NumPy ("… requested and … written") give no number.
        full = any(sign in str(error) for sign in ("No space left", "os error 28", "requested and"))
        if full or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise BundleError(f"{place}: the disk is full. Free some space, or name another place.") from error
        if not isinstance(error, OSError) and "os error" not in str(error).lower():
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise BundleError(f"{place}: cannot be written ({reason}). Name another place.") from error


@contextlib.contextmanager
def reading(place: Path, what: str = "", advice: str = "Restore it, or train the classifier again.") -> Iterator[None]:
    """Whatever reading a file raises as one BundleError that names it. what: ``the model``, ``the tokenizer``, …

    The libraries below raise anything for a damaged file, down to panics that are no Exception.
    """
    try:
        yield
    except ClasstuneError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        text = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]
        reason = f"{type(error).__name__}: {text}" if not isinstance(error, OSError | ValueError) else text
        subject = f"{what} cannot be read" if what else "cannot be read"
        raise BundleError(f"{place}: {subject} ({(reason or type(error).__name__)[:300]}). {advice}") from error


@contextlib.contextmanager
def reworded(in_other_words: Callable[[str], str]) -> Iterator[None]:
    """Errors that the user can mend, said for people who know no flags of the command line."""
    try:
        yield
    except UserError as error:
        problems = [in_other_words(problem) for problem in error.problems]
        if problems == error.problems:
            raise
        raise type(error)(problems) from error


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 row``, ``1,200 rows``. many: of ``one`` where it has no s: ``2 copies``."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence that offers the nearest known name, or the list of them: ``Did you mean 'epochs'?``"""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(names)}."
