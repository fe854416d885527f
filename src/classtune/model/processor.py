"""The processor at hand: its name and instruction sets, by which libraries choose their arithmetic."""

from __future__ import annotations

import functools
import platform
from typing import Any

import torch


@functools.cache
def processor() -> dict[str, Any]:
    """``{"name": …, "instructions": [names of instruction sets]}``; the list is empty where torch cannot tell."""
    try:
        known = torch.cpu.get_capabilities()
    except (AttributeError, RuntimeError):  # an older torch, or a system that it cannot ask
        known = {}
    name = str(known.get("cpu_name") or platform.processor() or platform.machine())
    return {"name": name, "instructions": sorted(key for key, value in known.items() if value is True)}
