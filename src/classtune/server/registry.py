"""Bundles being served: each by its name, ready to answer, and replaced by a new version while it answers.

Knows nothing of HTTP; `batching` decides what is run together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from classtune.bundle import RECORD, ROWS, Bundle, columns_of, read_rows
from classtune.data.reading.columns import listed_names
from classtune.data.versions import Hashes
from classtune.errors import BundleError, ClasstuneError, SettingsError, did_you_mean
from classtune.explain.neighbours import Neighbours
from classtune.inference.own_thread import on_own_thread
from classtune.inference.predictor import Predictor, load_predictor
from classtune.inference.yardstick import FILE, Yardstick

# A file's name, size and time of change, for each file of a bundle.
Look = tuple[tuple[str, int, int], ...]
# From a folder to what answers; raises BundleError.
Load = Callable[[Path], tuple[Predictor, Bundle]]
# From the version that answers and a new one to a sentence on both; raises ClasstuneError for one not to be served.
Gate = Callable[["LoadedBundle", "LoadedBundle"], str]
# Called with what happened to a bundle: the event's name and its particulars.
Notify = Callable[..., None]


@dataclass(frozen=True, eq=False)
class LoadedBundle:
    """One version of a bundle. It never changes: a request begins and ends with the same one.

    version: of classtune.json, the beginning of its sha256. yardstick: what texts are compared with; learned: hashes of
    those that it learned from; None where it keeps none.
    """

    name: str
    folder: Path
    version: str
    predictor: Predictor
    record: dict[str, Any] = field(repr=False)
    neighbours: Neighbours | None = field(repr=False)
    yardstick: Yardstick | None = field(default=None, repr=False)
    learned: Hashes | None = field(default=None, repr=False)

    @property
    def beside(self) -> list[str]:
        """The columns that it reads beside a text."""
        return listed_names(columns_of(self.record).get("with") or "")

    @property
    def pair(self) -> str | None:
        """What the second texts are called, where it reads pairs."""
        name: str | None = columns_of(self.record).get("pair")
        return name

    @property
    def withholds(self) -> bool:
        """Whether a text can be given no answer because none is sure enough."""
        abstention = self.predictor.decisions.abstention
        return abstention is not None and abstention.threshold is not None


class ModelRegistry:
    """The bundles that are served, by name. The first one answers who names none."""

    def __init__(self, folders: Sequence[Path], *, load: Load = load_predictor, gate: Gate | None = None) -> None:
        """Load every bundle. Raises SettingsError for two of one name, BundleError with all that is wrong.

        gate: what a new version must pass in `refresh`.
        """
        self._read = load
        self._gate = gate
        folders = list(dict.fromkeys(folder.absolute() for folder in folders))
        twins = [folder for folder in folders if sum(folder.name == other.name for other in folders) > 1]
        if twins:
            raise SettingsError(
                f"{' and '.join(map(str, twins))}: would be served by one name, {twins[0].name!r}. Rename a folder."
            )
        self._bundles: dict[str, LoadedBundle] = {}
        self._looks: dict[str, Look] = {}  # the files at which each bundle was loaded, or last refused
        self._settling: dict[str, Look] = {}
        problems: list[str] = []
        for folder in folders:
            self._looks[folder.name] = _look(folder)
            try:
                self._bundles[folder.name] = self._load(folder)
            except ClasstuneError as error:
                problems += error.problems
        if problems:
            raise BundleError(problems)

    def __iter__(self) -> Iterator[LoadedBundle]:
        return iter(list(self._bundles.values()))

    def __getitem__(self, name: str | None) -> LoadedBundle:
        """Raises LookupError with a sentence for the user."""
        if name is None:
            return next(iter(self._bundles.values()))
        try:
            return self._bundles[name]
        except KeyError:
            raise LookupError(f"model {name!r} is not served here. {did_you_mean(name, self._bundles)}") from None

    def refresh(self, notify: Notify) -> None:
        """Look at every folder once; serve a new version where it is whole, else keep the old one.

        A folder is read when two looks in a row saw the same, so that nothing half copied is.
        """
        for old in self:
            look = _look(old.folder)
            settled = self._settling.get(old.name) == look
            self._settling[old.name] = look
            if look == self._looks[old.name] or not settled:
                continue
            self._looks[old.name] = look
            told: dict[str, str] = {}
            try:
                new = self._load(old.folder)
                if new.version != old.version and self._gate is not None:
                    told = {"gate": self._gate(old, new)}
            except ClasstuneError as error:
                notify("bundle_refused", model=old.name, keeps=old.version, error=str(error))
                continue
            if new.version != old.version:
                self._bundles[old.name] = new
                notify("bundle_swapped", model=old.name, version=new.version, replaced=old.version, **told)

    def _load(self, folder: Path) -> LoadedBundle:
        return on_own_thread(lambda: self._load_here(folder))

    def _load_here(self, folder: Path) -> LoadedBundle:
        predictor, bundle = self._read(folder)
        predictor.copy_weights()
        version = hashlib.sha256((folder / RECORD).read_bytes()).hexdigest()[:12]
        return LoadedBundle(
            folder.name,
            folder,
            version,
            predictor,
            bundle.record,
            Neighbours.load(folder),
            Yardstick.load(folder, len(bundle.labels)) if (folder / FILE).is_file() else None,
            read_rows(folder).learned if (folder / ROWS).is_file() else None,
        )


def _look(folder: Path) -> Look:
    """What a bundle's files look like from outside; empty where there are none."""
    try:
        return tuple(
            (path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns)
            for path in sorted(folder.rglob("*"))
            for status in [path.stat()]
        )
    except OSError:
        return ()
