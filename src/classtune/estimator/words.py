"""What errors say in Python: parameters by their names, where the command line has flags."""

from __future__ import annotations

import re
from functools import partial

from classtune.config import Settings
from classtune.errors import reworded

# Flags that are no parameters of these names, or that stand in a sentence of their own.
_SENTENCES = (
    (re.compile(r"(Choose|Name it) with --text NAME\b.*"), "Choose with text=NAME."),
    (re.compile(r"--with\b"), "columns"),
    (re.compile(r"--set (\w+)="), r"\1="),
    (re.compile(r"--force\b"), "force=True"),
)
_FLAG = re.compile(r"--([a-z]+(?:-[a-z]+)*)")
_WORD = re.compile(r"\b(\w+)=([a-z]+)\b")


def in_python(said: str) -> str:
    """``Pass --set truncate=tail, or --force`` → ``Pass truncate="tail", or force=True``."""
    for sentence, here in _SENTENCES:
        said = sentence.sub(here, said)
    said = _WORD.sub(lambda found: f'{found[1]}="{found[2]}"' if found[1] in Settings.model_fields else found[0], said)
    return _FLAG.sub(lambda found: found[1].replace("-", "_"), said)


told_in_python = partial(reworded, in_python)
