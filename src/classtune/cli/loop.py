"""Commands of the loop round a classifier: which texts to label, first and next, and whether texts have changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from classtune.cli import options
from classtune.cli.inputs import print_json
from classtune.cli.options import AsJson, BundleFolder, Quiet, takes
from classtune.data.reading.columns import TableFormat
from classtune.errors import SettingsError

Pool = Annotated[str, typer.Argument(metavar="POOL", help="A table of texts without labels; its columns are kept.")]
Count = Annotated[int, typer.Option("-n", "--count", help="How many texts.")]
ToLabelFile = Annotated[
    Path | None,
    typer.Option(
        "-o", "--output", metavar="OUT", help="File for the person who labels: .csv or .jsonl (or see --form)."
    ),
]
Form = Annotated[
    str, typer.Option(metavar="FORM", help="table, label-studio (.json), doccano (.jsonl), argilla (.json).")
]
AtRandom = Annotated[
    float, typer.Option("--at-random", metavar="SHARE", help="Share that is drawn at random, and marked so.")
]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The one seed of everything random.")]


@takes(format=options.TEXTS)
def next_texts(
    folder: BundleFolder,
    pool: Pool,
    *,
    count: Count = 50,
    output: ToLabelFile = None,
    form: Form = "table",
    force: options.Replace = False,
    escape_formulas: options.EscapeFormulas = False,
    at_random: AtRandom = 0.1,
    labelled: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Texts that were labelled since: never chosen; may be repeated."),
    ] = None,
    seed: Seed = 123,
    as_json: AsJson = False,
    quiet: Quiet = False,
    format: TableFormat,
) -> None:
    """Which texts to label next, so that few labels teach much."""
    from classtune.data.catalogue import open_data
    from classtune.inference.tables import as_trained
    from classtune.jobs.next import label_next
    from classtune.screen.loop import show_to_label
    from classtune.screen.terminal import Screen

    with Screen(quiet=quiet) as view:
        table = open_data(pool, as_trained(format, folder), labelled=False, notify=view.note)
        others = [
            open_data(each, as_trained(TableFormat(drop_empty=True), folder), labelled=False, notify=view.note)
            for each in labelled or ()
        ]
        view.notes(table.notes)
        document = label_next(
            folder,
            table,
            count,
            output,
            form=form,
            force=force,
            escape_formulas=escape_formulas,
            at_random=at_random,
            labelled=others,
            seed=seed,
            notify=view.note,
            progress=view.progress,
        )
    return print_json(document) if as_json else show_to_label(document)


@takes(format=options.TEXTS)
def start(
    pool: Pool,
    *,
    labels: Annotated[
        list[str],
        typer.Option(
            metavar="A,B,…", help="Names of the labels; or `A: what it means`, repeated; or a file of such lines."
        ),
    ],
    count: Count = 50,
    output: ToLabelFile = None,
    form: Form = "table",
    force: options.Replace = False,
    escape_formulas: options.EscapeFormulas = False,
    at_random: AtRandom = 0.1,
    model: Annotated[str, typer.Option(help="The encoder that compares texts and names.")] = "minilm-l6",
    seed: Seed = 123,
    as_json: AsJson = False,
    quiet: Quiet = False,
    format: TableFormat,
) -> None:
    """Which texts to label first, by the names of the labels alone.

    This makes no classifier yet.
    """
    from classtune.data.catalogue import open_data
    from classtune.jobs.start import label_first, read_labels
    from classtune.screen.loop import show_started
    from classtune.screen.terminal import Screen

    names = read_labels(labels)
    with Screen(quiet=quiet) as view:
        table = open_data(pool, format, labelled=False, notify=view.note)
        view.notes(table.notes)
        told: dict[str, Any] = {"form": form, "force": force, "at_random": at_random, "model": model, "seed": seed}
        told |= {"escape_formulas": escape_formulas, "notify": view.note, "progress": view.progress}
        document = label_first(table, names, count, output, **told)
    return print_json(document) if as_json else show_started(document)


@takes(format=options.TEXTS)
def drift(
    folder: BundleFolder,
    data: Annotated[
        str, typer.Argument(metavar="TABLE", help="Texts of late, such as a day's; labels are not looked at.")
    ],
    *,
    check: Annotated[bool, typer.Option("--check", help="Exit code 1 where something has changed.")] = False,
    false_alarms: Annotated[
        float, typer.Option(metavar="SHARE", help="Chance of any alarm where nothing has changed.")
    ] = 0.01,
    as_json: AsJson = False,
    quiet: Quiet = False,
    format: TableFormat,
) -> None:
    """Whether texts have changed since training, beyond noise."""
    from classtune.data.catalogue import open_data
    from classtune.inference.tables import as_trained
    from classtune.jobs import drift as job
    from classtune.screen.loop import show_drift
    from classtune.screen.terminal import Screen

    if not 0 < false_alarms < 1:
        raise SettingsError(f"--false-alarms {false_alarms:g}: lies between 0 and 1. Write 0.01 for one look in 100.")
    with Screen(quiet=quiet) as view:
        table = open_data(data, as_trained(format, folder), labelled=False, notify=view.note)
        view.notes(table.notes)
        document = job.drift(folder, table, false_alarms=false_alarms, notify=view.note, progress=view.progress)
    if as_json:
        print_json(document)
    else:
        show_drift(document)
    if check and document["alarm"]:
        raise typer.Exit(1)
