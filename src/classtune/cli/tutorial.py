"""The command that runs the tutorial's rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from classtune.cli import options
from classtune.cli.inputs import print_json
from classtune.cli.options import AsJson, Quiet
from classtune.data.reading.columns import TableFormat


def tutorial(
    data: Annotated[
        str, typer.Argument(metavar="[DATA]", help="Another table of two classes in the place of the messages.")
    ] = "sms-spam",
    *,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where rows and tables go.")],
    rows: Annotated[
        str | None, typer.Option(metavar="1,3-5", help="Which rows; unset: all that the model can follow.")
    ] = None,
    model: options.Model = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the rows that stand in DIR.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Measure the rows that stand in DIR again.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run the nineteen rows of the tutorial that it grew from.

    They stand beside its published figures.
    """
    from classtune.config import resolve
    from classtune.data.catalogue import open_data
    from classtune.jobs.tutorial.rows import RECIPE, parse_rows
    from classtune.screen.results import show_tutorial
    from classtune.screen.terminal import Screen

    numbers = None if rows is None else parse_rows(rows)
    with Screen(quiet=quiet) as view:
        table = open_data(data, TableFormat(quoting=resolve(RECIPE).quoting), notify=view.note)
        view.note("loading torch and transformers")
        from classtune.jobs.tutorial.job import run_tutorial

        document = run_tutorial(
            table,
            output,
            rows=numbers,
            model=model,
            resume=resume,
            force=force,
            notify=view.note,
            progress=view.progress,
        )
    return print_json(document) if as_json else show_tutorial(document)
