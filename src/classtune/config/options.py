"""Settings as a command line says them, for advice that can be typed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any


def as_options(settings: Mapping[str, Any]) -> str:
    """What settings wish for, as a command line says it; "" where nothing was wished for."""
    words: list[str] = []
    for name in ("cost", "max_error"):
        if settings.get(name):
            words += [f"--{name.replace('_', '-')}", str(settings[name])]
    for name in ("deploy_prior", "precision", "recall"):
        for label, share in (settings.get(name) or {}).items():
            words += [f"--{name.replace('_', '-')}", f"{label}={share:g}"]
    return shlex.join(words)
