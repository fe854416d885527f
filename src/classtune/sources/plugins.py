"""Models and data sets that other installed packages bring, through the entry-point group ``classtune``.

A package says in its pyproject.toml::

    [project.entry-points.classtune]
    mine = "my_package:sources"

``sources`` is a list of `ModelSource` and `DatasetSource`, or a function that gives one.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable
from importlib import metadata

from classtune.sources.registry import DATASETS, MODELS, DatasetSource, ModelSource

GROUP = "classtune"

Source = ModelSource | DatasetSource


def models() -> dict[str, ModelSource]:
    """Every model that has a name here: those of classtune, then those of other packages."""
    return {**MODELS, **{item.name: item for item in brought() if isinstance(item, ModelSource)}, **MODELS}


def datasets() -> dict[str, DatasetSource]:
    """Every data set that has a name here: those of classtune, then those of other packages."""
    return {**DATASETS, **{item.name: item for item in brought() if isinstance(item, DatasetSource)}, **DATASETS}


@functools.cache
def brought() -> tuple[Source, ...]:
    """What other packages bring. One that cannot be loaded, or takes a name that is taken, is left out with a warning:
    a package that has nothing to do with the work at hand must not stop it.
    """
    sources: dict[str, Source] = {}
    for entry in metadata.entry_points(group=GROUP):
        package = entry.dist.name if entry.dist else entry.value
        try:
            loaded: Iterable[Source] | Callable[[], Iterable[Source]] = entry.load()
            items = list(loaded() if callable(loaded) else loaded)
        except Exception as error:
            _warn(package, entry.name, f"failed: {type(error).__name__}: {error}")
            continue
        for item in items:
            if not isinstance(item, ModelSource | DatasetSource):
                _warn(package, entry.name, f"gave a {type(item).__name__}, not a ModelSource or DatasetSource")
            elif item.name in MODELS or item.name in DATASETS or item.name in sources:
                _warn(package, entry.name, f"brings {item.name!r}, a name that is taken")
            else:
                sources[item.name] = item
    return tuple(sources.values())


def _warn(package: str, name: str, what: str) -> None:
    warnings.warn(f"The entry point {name!r} of the package {package!r} {what}. It is left out.", stacklevel=3)
