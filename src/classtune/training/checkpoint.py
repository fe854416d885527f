"""Checkpoints: after each epoch everything that a resumed run needs, in safetensors and JSON, replaced in one step.

What is read again is proved first: a file that a power failure tore is made anew, as if it had never been there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from classtune.errors import BundleError, writing
from classtune.files import check_regular, clear_leftovers, replacing, sha256

MARKER = "classtune-run.json"
EPOCHS = "epochs.jsonl"  # a line an epoch of every training of the run, for whoever watches it
_STEP_BYTES = 1 << 28
# The only files that are ever removed: what stands beside them in the folder is somebody's.
_OURS = re.compile(
    r"classtune-run\.json|epochs\.jsonl|(checkpoint|activations)[\w.-]*\.(safetensors|npy)|[\w.-]+\.step\.(json|npy)"
)


class Checkpoint:
    """A run folder beside the bundle that is being made: ``<bundle>.run/``.

    identity: what must be equal for the checkpoint to be this run's (settings, data, weights, versions).
    notify: told of files that are damaged and made again. name: of the part of the run, such as one of its trainings.
    """

    def __init__(
        self,
        folder: Path,
        identity: dict[str, Any],
        notify: Callable[[str], None] = lambda line: None,
        name: str = "",
    ) -> None:
        self.folder = folder
        self.identity = identity
        self.notify = notify
        self.name = name

    def part(self, name: str, **identity: str) -> Checkpoint:
        """The checkpoint of a part of the run. identity: what must be equal for it beside what must be for the run."""
        named = "-".join(filter(None, [self.name, re.sub(r"[^\w.-]", "_", name)]))
        return Checkpoint(self.folder, self.identity | identity, self.notify, named)

    def named(self, file: str) -> str:
        """The name of a file of this part: ``activations.npy`` → ``activations-minilm-l6.npy``."""
        stem, dot, suffix = file.partition(".")
        return f"{stem}{'-' + self.name if self.name else ''}{dot}{suffix}"

    def place(self, file: str) -> Path:
        """Where a file of this part stands."""
        return self.folder / self.named(file)

    @property
    def _file(self) -> Path:
        return self.place("checkpoint.safetensors")

    def exists(self) -> bool:
        return self._file.exists()

    def begin(self, *, resume: bool) -> None:
        """Make the folder ready: empty, or (``resume``) as the stopped run of the same identity left it.

        Raises BundleError, and removes nothing, where the folder is not a run's, or to resume is another run's.
        """
        if not self.folder.exists():
            return
        clear_leftovers(self.folder, MARKER)  # a run may have been killed before there was one
        if not self.folder.is_dir() or (any(self.folder.iterdir()) and not (self.folder / MARKER).exists()):
            raise BundleError(
                f"{self.folder}: is where a stopped run would be kept, and holds what this classtune did not write. "
                "Move it away, or name another output."
            )
        if resume:
            kept = self._read_json(self.folder / MARKER)
            if kept is not None:
                self._refuse_other(kept)
            clear_leftovers(self.folder)
        else:
            self.discard()

    def save(
        self, trained: dict[str, nn.Parameter], best: dict[str, Tensor], optimizer: torch.optim.Optimizer, history: Any
    ) -> None:
        """Keep weights, best weights, the optimizer's moments and the history; an older checkpoint is replaced."""
        tensors = {f"now/{name}": p.detach() for name, p in trained.items()}
        tensors |= {f"best/{name}": value for name, value in best.items()}
        for name, parameter in trained.items():
            for key, value in optimizer.state[parameter].items():
                tensors[f"optimizer/{key}/{name}"] = value
        tensors = {name: value.contiguous() for name, value in tensors.items()}
        state = json.dumps({"identity": self.identity, "history": history, "sha256": _digest(tensors)})
        with self.replacing(self._file.name) as scratch:
            save_file(tensors, str(scratch), {"state": state})

    def load(
        self, trained: dict[str, nn.Parameter], best: dict[str, Tensor], optimizer: torch.optim.Optimizer
    ) -> dict[str, Any] | None:
        """Put back what `save` kept and return its history; None where there is nothing, or nothing whole.

        Raises BundleError for a checkpoint of another run.
        """
        if not self.exists():
            return None
        try:
            check_regular(self._file)
            with safe_open(str(self._file), "pt") as file:
                state: dict[str, Any] = json.loads(file.metadata()["state"])
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - no dictionary
            if _digest(tensors) != state["sha256"]:
                raise ValueError("its sha256 is another")
        except Exception:  # whatever reading a torn file raises
            self.notify(f"{self._file}: is damaged; the training starts with its first epoch again.")
            return None
        self._refuse_other(state)
        place = {name: index for index, name in enumerate(trained)}
        moments: dict[int, dict[str, Tensor]] = {}
        with torch.no_grad():
            for entry, value in tensors.items():
                kind, _, name = entry.partition("/")
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

    def remember(
        self, name: str, value: Any, *, file: str | None = None, write: Callable[[Path], object] | None = None
    ) -> None:
        """Keep the result of a step for a resumed run. file: what belongs to it, which ``write`` writes."""
        digest = None
        if file is not None and write is not None:
            with self.replacing(self.named(file)) as scratch:
                write(scratch)
            digest = sha256(self.place(file))
        with self.replacing(self.named(f"{name}.step.json")) as scratch:
            document = {"identity": self.identity, "value": value, "file": digest}
            scratch.write_text(json.dumps(document), encoding="utf-8")

    def recall(self, name: str, *, file: str | None = None) -> Any:
        """What `remember` kept of the same run, or None; also where its file is missing or not as it was."""
        kept = self._read_json(self.place(f"{name}.step.json"))
        if kept is None or kept.get("identity") != self.identity:
            return None
        if file is not None:
            path = self.place(file)
            if kept.get("file") is None or not path.is_file():
                return None
            if sha256(path) != kept["file"]:
                self.notify(f"{path}: is damaged and is made again.")
                return None
        return kept.get("value")

    def log(self, point: dict[str, Any]) -> None:
        """A line of EPOCHS, once the epoch's checkpoint is on the disk: whoever resumes does not write it again."""
        path = self.folder / EPOCHS
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(point) + "\n")

    @contextlib.contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """A place to write to that takes a file's place once it is whole and on the disk. Raises BundleError."""
        if not _OURS.fullmatch(name):
            raise ValueError(f"{name!r} would not be removed with the run: see _OURS")
        with writing(self.folder):
            if not (self.folder / MARKER).exists():
                with replacing(self.folder / MARKER) as scratch:
                    scratch.write_text(json.dumps({"identity": self.identity}), encoding="utf-8")
            with replacing(self.folder / name) as scratch:
                yield scratch

    def discard(self) -> None:
        """Remove what runs wrote here, and the folder if nothing else is in it."""
        if not (self.folder / MARKER).exists():
            return
        clear_leftovers(self.folder)
        for path in sorted(self.folder.iterdir(), key=lambda path: path.name == MARKER):  # it goes last
            if _OURS.fullmatch(path.name) and path.is_file():
                path.unlink()
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _refuse_other(self, kept: Mapping[str, Any]) -> None:
        if differing := _differing(self.identity, kept.get("identity") or {}):
            raise BundleError(
                f"{self.folder}: the interrupted run had other {', '.join(differing)}. "
                "Give the same command again with --resume, or leave --resume out to start anew."
            )

    def _read_json(self, path: Path) -> dict[str, Any] | None:
        """None where there is no such file, or it is torn."""
        if not path.exists():
            return None
        try:
            check_regular(path, _STEP_BYTES)
            kept = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            kept = None
        if not isinstance(kept, dict):
            self.notify(f"{path}: is damaged and is made again.")
            return None
        return kept


def _differing(now: Mapping[str, Any], was: Mapping[str, Any]) -> list[str]:
    """What is not as it was, by name; of settings and versions in brackets which of them."""
    found = []
    for key, value in now.items():
        before = was.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping) and value != before:
            names = sorted(name for name in value.keys() | before.keys() if value.get(name) != before.get(name))
            found.append(f"{key} ({', '.join(names)})")
        elif value != before:
            found.append(key)
    return found


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}\n".encode())
        digest.update(tensors[name].detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
