"""A training whose bundle goes into a folder: no other run writes there meanwhile, and one that was stopped goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from classtune.bundle import REPORT, check_target
from classtune.config import Settings
from classtune.data.reading.tables import Table
from classtune.errors import BundleError
from classtune.files import claimed
from classtune.jobs.next_version import train_next
from classtune.jobs.passes import crew_of
from classtune.jobs.steps import Notify
from classtune.jobs.train import Trained
from classtune.tracking import Tracking
from classtune.training.checkpoint import EPOCHS, Checkpoint
from classtune.training.extensions import Extensions


def train_to_folder(
    output: Path,
    table: Table,
    settings: Settings,
    *,
    force: bool,
    resume: bool,
    trackers: Sequence[str] = (),
    engine: str = "local",
    notify: Notify,
    **told: Any,
) -> Trained:
    """`train_next`, and its bundle in ``output``. Until that stands, what is trained is kept in ``output.run``.

    force: replace a bundle that stands there. resume: go on with what is kept. trackers: of `tracker_names`. engine:
    see `crew_of`. Raises what `train_next` raises, BundleError where the bundle cannot be written, UserError for a
    tracker that cannot begin.
    """
    check_target(output, force=force)
    run_folder = Path(f"{output}.run")
    facts = {"data": table.name, "rows": len(table.texts), **settings.model_dump()}
    with (
        claimed(output, notify),
        crew_of(engine) as crew,
        Tracking(trackers, output.name, facts, notify) as tracking,
    ):
        check_target(output, force=force)
        if resume and trackers:
            tracking.replay(run_folder / EPOCHS)
        trained = train_next(
            table,
            settings,
            run_folder=run_folder,
            resume=resume,
            extensions=Extensions(on_epoch=tracking.epoch if trackers else None),
            crew=crew,
            notify=notify,
            **told,
        )
        try:
            trained.save(output, force=force)
        except BundleError as error:
            kept = f"The training is kept in {run_folder}: mend that and give the same command with --resume."
            raise BundleError([*error.problems, kept]) from error
        Checkpoint(run_folder, {}).discard()
        tracking.finish(trained.result, output / REPORT)
    return trained
