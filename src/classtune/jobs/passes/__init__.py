"""Processes beside this one that take a share of the pass: ranks of torchrun, or a Ray cluster."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from classtune.errors import SettingsError, did_you_mean
from classtune.jobs.passes.place import Place

if TYPE_CHECKING:
    from classtune.jobs.steps import Crew

ENGINES = ("local", "ray")


def check_engine(engine: str) -> None:
    """Raises SettingsError for a name that is not one of ENGINES, and for Ray where a launcher started ranks."""
    if engine not in ENGINES:
        raise SettingsError(f"--engine {engine}: is unknown. {did_you_mean(engine, ENGINES)}")
    if engine == "ray" and (of := Place.found().of) > 1:
        raise SettingsError(f"--engine ray: {of} processes were started, which share the pass. Leave one of them out.")


def crew_of(engine: str) -> AbstractContextManager[Crew | None]:
    """Who shares the pass while this lasts: a cluster, the ranks that a launcher started, or nobody."""
    if engine == "ray":
        from classtune.jobs.passes.on_ray import on_cluster

        return on_cluster()
    from classtune.jobs.passes.ranks import joined

    return joined()
