"""What errors say in Python: parameters by their names, where the command line has flags."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from classtune.config import Settings
from classtune.errors import UserError

_SETTING = re.compile(r"--set (\w+)=")
_FLAG = re.compile(r"--([a-z]+(?:-[a-z]+)*)")
_WORD = re.compile(r"\b(\w+)=([a-z]+)\b")


def in_python(said: str) -> str:
    """``Pass --set truncate=tail, or --force`` → ``Pass truncate="tail", or force=True``."""
    said = _SETTING.sub(r"\1=", said).replace("--force", "force=True")
    said = _WORD.sub(lambda found: f'{found[1]}="{found[2]}"' if found[1] in Settings.model_fields else found[0], said)
    return _FLAG.sub(lambda found: found[1].replace("-", "_"), said)


@contextlib.contextmanager
def told_in_python() -> Iterator[None]:
    """Errors that the user can mend, in Python's words."""
    try:
        yield
    except UserError as error:
        problems = [in_python(problem) for problem in error.problems]
        if problems == error.problems:
            raise
        raise type(error)(problems) from error
