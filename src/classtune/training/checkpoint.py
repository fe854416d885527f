"""Checkpoints: after each epoch everything that a resumed run needs, in safetensors and JSON, replaced in one step."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from classtune.errors import BundleError, writing


class Checkpoint:
    """A run folder beside the bundle that is being made: ``<bundle>.run/``.

    identity: what must be equal for the checkpoint to be this run's (settings, data, versions).
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder = folder
        self.identity = identity

    @property
    def _file(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    def exists(self) -> bool:
        return self._file.exists()

    def check(self) -> dict[str, Any]:
        """What the checkpoint says of its run. Raises BundleError if it belongs to another one."""
        with safe_open(str(self._file), "pt") as file:
            state: dict[str, Any] = json.loads(file.metadata()["state"])
        differing = [key for key, value in self.identity.items() if state["identity"].get(key) != value]
        if differing:
            raise BundleError(
                f"{self.folder}: the interrupted run had other {', '.join(differing)}. "
                "Give the same command again with --resume, or leave --resume out to start anew."
            )
        return state

    def save(
        self, trained: dict[str, nn.Parameter], best: dict[str, Tensor], optimizer: torch.optim.Optimizer, history: Any
    ) -> None:
        """Keep weights, best weights, the optimizer's moments and the history; an older checkpoint is replaced."""
        tensors = {f"now/{name}": p.detach() for name, p in trained.items()}
        tensors |= {f"best/{name}": value for name, value in best.items()}
        for name, parameter in trained.items():
            for key, value in optimizer.state[parameter].items():
                if isinstance(value, Tensor):  # a moment that is not used is None
                    tensors[f"optimizer/{key}/{name}"] = value
        state = json.dumps({"identity": self.identity, "history": history})
        with self._replacing(self._file) as scratch:
            save_file({name: t.contiguous() for name, t in tensors.items()}, str(scratch), {"state": state})

    def load(
        self, trained: dict[str, nn.Parameter], best: dict[str, Tensor], optimizer: torch.optim.Optimizer
    ) -> dict[str, Any] | None:
        """Put back what `save` kept and return its history; None where there is nothing."""
        if not self.exists():
            return None
        state = self.check()
        place = {name: index for index, name in enumerate(trained)}
        moments: dict[int, dict[str, Tensor]] = {}
        with safe_open(str(self._file), "pt") as file, torch.no_grad():
            for entry in file.keys():  # noqa: SIM118 - not a dictionary
                kind, _, name = entry.partition("/")
                value = file.get_tensor(entry)
                if kind == "now":
                    trained[name].copy_(value)
                elif kind == "best":
                    best[name].copy_(value)
                else:
                    key, _, name = name.partition("/")
                    moments.setdefault(place[name], {})[key] = value
        # The optimizer itself puts each on the device where it wants it.
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        history: dict[str, Any] = state["history"]
        return history

    def remember(self, name: str, value: Any) -> None:
        """Keep the result of a step for a resumed run."""
        with self._replacing(self.folder / f"{name}.json") as scratch:
            scratch.write_text(json.dumps({"identity": self.identity, "value": value}), encoding="utf-8")

    def recall(self, name: str) -> Any:
        """What `remember` kept of the same run, or None."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            return None
        kept = json.loads(path.read_text(encoding="utf-8"))
        return kept["value"] if kept["identity"] == self.identity else None

    @contextlib.contextmanager
    def _replacing(self, file: Path) -> Iterator[Path]:
        """A place to write to that takes the file's place once it is whole. Raises BundleError."""
        scratch = file.with_suffix(".part")
        try:
            with writing(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                yield scratch
                os.replace(scratch, file)
        finally:
            scratch.unlink(missing_ok=True)

    def discard(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
