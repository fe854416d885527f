"""Commands that learn from a table: demo, train, compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from classtune.cli import options
from classtune.cli.inputs import print_json
from classtune.cli.options import AsJson, Data, GivenSettings, Quiet, takes
from classtune.data.reading.columns import TableFormat, listed_names
from classtune.errors import BundleError

if TYPE_CHECKING:
    from classtune.config import Settings
    from classtune.data.reading.tables import Table
    from classtune.jobs.train import Trained
    from classtune.screen.terminal import Screen

DEMO_TEXTS = [
    "WINNER! You have been chosen for a 900 pound prize. Call 09061701461 from a landline to claim it today.",
    "I'm running ten minutes late, please start without me and save me a seat",
]


def demo(
    *,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where it goes.")] = Path("demo"),
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train a spam filter on messages that are fetched, and try it.

    Fetches model and messages, trains, writes the report, and classifies two sample messages.
    """
    from classtune.screen.answers import show_predictions
    from classtune.screen.results import show_training
    from classtune.screen.terminal import Screen, say

    with Screen(quiet=quiet) as view:
        rows = _Rows("sms-spam", TableFormat(), GivenSettings(None, {}), view)
        trained = _train(rows, output, view, force=_is_demo(rows, output), resume=False)
    predictions = trained.predictor.predict(DEMO_TEXTS)
    if as_json:
        return print_json({**trained.result.document(), "samples": predictions})
    show_training(trained.result)
    say()
    return show_predictions(DEMO_TEXTS, predictions)


@takes(format=options.ROWS, settings=options.SETTINGS, wishes=options.WISHES)
def train(
    data: Data,
    *,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Where the bundle goes; unset: DATA-classifier."),
    ] = None,
    validation: options.Validation = None,
    test: options.Test = None,
    beside: options.With = None,
    pair: options.Pair = None,
    add: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="More rows, or feedback: its labels hold; may be repeated."),
    ] = None,
    before: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="The version before: its test rows test again, and both compare."),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option("--cv", metavar="FOLDS", help="Judge on every row, by so many trainings more; no test rows."),
    ] = None,
    track: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Tell mlflow, tensorboard, wandb or trackio of the run.")
    ] = None,
    engine: Annotated[str, typer.Option(help="What runs the frozen blocks: local, or ray for a cluster.")] = "local",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the bundle that stands in DIR.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    format: TableFormat,
    settings: GivenSettings,
    wishes: dict[str, Any],
) -> None:
    """Train a classifier on a table of labelled texts.

    It is written as a bundle: a folder that every other command takes.
    """
    from classtune.jobs.passes import check_engine
    from classtune.jobs.passes.place import Place
    from classtune.screen.results import show_next, show_training
    from classtune.screen.terminal import Screen
    from classtune.tracking import tracker_names

    place = Place.found()
    if place.rank:
        from classtune.jobs.passes.other_rank import serve

        return serve()
    check_engine(engine)
    resume = resume or place.restarted
    target = output or Path(f"{Path(data).stem if data != '-' else 'stdin'}-classifier")
    trackers = tracker_names(track)
    with Screen(quiet=quiet) as view:
        settings = GivenSettings(settings.recipe, {**settings.values, **wishes})
        rows = _Rows(data, format, settings, view, validation, test, beside, pair, add=add or (), before=before)
        trained = _train(rows, target, view, force=force, resume=resume, folds=folds, trackers=trackers, engine=engine)
    if as_json:
        return print_json(trained.result.document())
    show_training(trained.result)
    return show_next(target)


@takes(format=options.ROWS, settings=options.SETTINGS)
def compare(
    data: Data,
    *,
    validation: options.Validation = None,
    test: options.Test = None,
    beside: options.With = None,
    pair: options.Pair = None,
    full: Annotated[bool, typer.Option("--full", help="Also fine-tune every block; takes minutes to hours.")] = False,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Where to write the picture of accuracy over cost.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Where to write the comparison as a page.")
    ] = None,
    force: options.Replace = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    format: TableFormat,
    settings: GivenSettings,
) -> None:
    """All candidates side by side, and which one `train` would choose."""
    from classtune.files import check_file
    from classtune.screen.results import show_comparison
    from classtune.screen.terminal import Screen

    inputs = [name for name in (data, validation, test) if name is not None]
    for flag, file, other in (("--report", report, picture), ("--picture", picture, None)):
        if file is not None:
            check_file(file, force=force, others=[*inputs, *([other] if other else [])], flag=flag)
    with Screen(quiet=quiet) as view:
        rows = _Rows(data, format, settings, view, validation, test, beside, pair)
        view.note("loading torch and transformers")
        from classtune.jobs import compare as job

        result = job.compare(
            rows.table,
            rows.settings,
            validation=rows.validation,
            test=rows.test,
            full=full,
            notify=view.note,
            progress=view.progress,
        )
        if report is not None:
            job.write_comparison(report, result, force=force)
            view.note(f"report: {report}")
        if picture is not None:
            job.write_picture(picture, result, force=force)
            view.note(f"picture: {picture}")
    return print_json(job.document(result)) if as_json else show_comparison(result)


class _Rows:
    """The tables of a run, read, and its settings."""

    def __init__(
        self,
        data: str,
        format: TableFormat,
        settings: GivenSettings,
        view: Screen,
        validation: str | None = None,
        test: str | None = None,
        beside: str | None = None,
        pair: str | None = None,
        add: Sequence[str] = (),
        before: Path | None = None,
    ) -> None:
        from classtune.config import resolve
        from classtune.data.catalogue import open_data
        from classtune.data.dataset import label_problems

        values = dict(settings.values)
        if format.quoting is not None:
            values["quoting"] = format.quoting
        self.settings: Settings = resolve(settings.recipe, values)
        group = self.settings.split_by if self.settings.split_by not in ("exact", "near") else None
        features = tuple(dict.fromkeys(listed_names(beside or "")))
        format = replace(format, quoting=self.settings.quoting, group=group, beside=features, pair=pair)
        self.before = before
        if before is not None:
            from classtune.inference.tables import as_trained

            format = as_trained(format, before)
        self.table: Table = open_data(data, format, notify=view.note)
        self.added = [open_data(each, _of_another_file(format, each), notify=view.note) for each in add]

        def given(name: str | None) -> Table | None:
            if name is None:
                return None
            labels = sorted({label for part in (self.table, *self.added) for row in part.row_labels for label in row})
            return open_data(name, format, notify=view.note, also=lambda part: label_problems(part, self.table, labels))

        self.validation, self.test = given(validation), given(test)


def _of_another_file(format: TableFormat, name: str) -> TableFormat:
    """For a file beside the table, such as the server's feedback: its columns may be called otherwise, and what is told
    of the table's own file does not hold for it."""
    return TableFormat(
        label_separator=format.label_separator,
        beside=format.beside,
        pair=format.pair,
        may_lack=name.endswith(".jsonl"),
        drop_unlabelled=format.drop_unlabelled,
        drop_empty=format.drop_empty,
        preferred_text=format.text or format.preferred_text,
        preferred_label=format.label or format.preferred_label,
        preferred_separator=format.preferred_separator,
        preferred_label_columns=format.label_columns or format.preferred_label_columns,
    )


def _is_demo(rows: _Rows, output: Path) -> bool:
    """Whether a bundle of the demo stands there, which it may make again. Raises BundleError for any other."""
    from classtune.bundle import RECORD, read_record

    if not (output / RECORD).exists():
        return False
    record = read_record(output)
    if (record.get("data") or {}).get("name") != rows.table.name or record["settings"] != rows.settings.model_dump():
        raise BundleError(f"{output}: holds a bundle that is not the demo's. Name a new folder: -o DIR.")
    return True


def _train(rows: _Rows, output: Path, view: Screen, **told: Any) -> Trained:
    view.note("loading torch and transformers")
    from classtune.jobs.to_folder import train_to_folder

    return train_to_folder(
        output,
        rows.table,
        rows.settings,
        added=rows.added,
        before=rows.before,
        validation=rows.validation,
        test=rows.test,
        notify=view.note,
        progress=view.progress,
        **told,
    )
