"""Which of several processes this is, as torchrun and accelerate tell it. Imports nothing heavy: every command asks."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """rank: 0 … of - 1. here: how many of the processes share this machine; number: its place among those.
    restarted: whether the launcher started all of them again after one was lost."""

    rank: int = 0
    of: int = 1
    here: int = 1
    number: int = 0
    restarted: bool = False

    @classmethod
    def found(cls) -> Place:
        """The only one, where no launcher says otherwise."""
        if not {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
            return cls()
        return cls(
            rank=int(os.environ["RANK"]),
            of=int(os.environ["WORLD_SIZE"]),
            here=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
            number=int(os.environ.get("LOCAL_RANK", "0")),
            restarted=os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0",
        )
