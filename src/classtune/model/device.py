"""Where a model runs, by its name in the settings."""

from __future__ import annotations

import torch

from classtune.errors import SettingsError


def device_of(wanted: str) -> torch.device:
    """``cpu``, ``cuda``, ``cuda:1``, ``mps`` …; ``auto``: a graphics processor where there is one.

    Raises SettingsError for one that cannot be used here.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        return torch.empty(0, device=wanted).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise SettingsError(
            f"device = {wanted!r}: cannot be used here ({reason}). Leave it out, or pass cpu."
        ) from None
