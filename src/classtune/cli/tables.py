"""Commands that look at data and models: audit, models, datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from classtune.cli import options
from classtune.cli.inputs import print_json
from classtune.cli.options import AsJson, Data, Quiet, takes
from classtune.data.reading.columns import TableFormat, listed_names
from classtune.errors import SettingsError


@takes(format=options.ROWS)
def audit(
    data: Data,
    *,
    validation: options.Validation = None,
    test: options.Test = None,
    beside: options.With = None,
    pair: options.Pair = None,
    model: options.Model = None,
    fix: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write a mended table (.csv or .jsonl) and what was done to it.")
    ] = None,
    force: options.Replace = False,
    escape_formulas: options.EscapeFormulas = False,
    label_errors: Annotated[
        bool, typer.Option("--label-errors", help="Also look for wrong labels, with the model's help; takes a minute.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    format: TableFormat,
) -> None:
    """What is wrong with a table of labelled texts; how to mend it."""
    from dataclasses import replace

    from classtune.data.catalogue import open_data
    from classtune.jobs.audit import audit_table, check_fixed, check_mendable, write_fixed
    from classtune.screen.results import show_audit
    from classtune.screen.terminal import Screen

    features = tuple(dict.fromkeys(listed_names(beside or "")))
    format = replace(format, lenient=True, beside=features, pair=pair, keep=fix is not None)
    if fix is not None:
        if pair is not None:
            raise SettingsError("--fix with --pair: a mended table has one text column. Leave one of them out.")
        check_fixed(fix, [name for name in (data, validation, test) if name is not None], force=force)
    with Screen(quiet=quiet) as view:
        table = open_data(data, format, notify=view.note)
        if fix is not None:
            check_mendable(table)
        parts = {
            name: open_data(file, format, notify=view.note)
            for name, file in (("validation", validation), ("test", test))
            if file is not None
        }
        view.notes([note for read in (table, *parts.values()) for note in read.notes])
        document = audit_table(
            table, parts, model=model, label_errors=label_errors, notify=view.note, progress=view.progress
        )
        if fix is not None:
            document["fixed"] = write_fixed(fix, table, force=force, escape_formulas=escape_formulas)
    return print_json(document) if as_json else show_audit(document)


def models(as_json: AsJson = False) -> None:
    """Models known by name; any Hub id or folder works as well."""
    from classtune.screen.terminal import show
    from classtune.sources import models

    rows = [
        {"name": m.name, "parameters": m.parameters, "licence": m.licence, "description": m.description}
        for m in models().values()
    ]
    if as_json:
        return print_json(rows)
    return show([[f"{v:,}" if isinstance(v, int) else str(v) for v in row.values()] for row in rows], list(rows[0]))


def datasets(as_json: AsJson = False) -> None:
    """Data sets known by name; any table works as well."""
    from classtune.screen.terminal import show
    from classtune.sources import datasets

    rows = [{"name": d.name, "licence": d.licence, "description": d.description} for d in datasets().values()]
    if as_json:
        return print_json(rows)
    return show([list(row.values()) for row in rows], list(rows[0]))
