"""The command line: parse, call, print. Exit codes: 0 done, 1 failed, 2 wrong usage, settings or data."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from classtune.errors import BundleError, ClasstuneError

if TYPE_CHECKING:
    from classtune.config import Settings
    from classtune.data.tables import Table, TableFormat

app = typer.Typer(
    help="Turn a pretrained language model into a text classifier you can trust.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

DEMO_TEXTS = [
    "WINNER! You have been chosen for a 900 pound prize. Call 09061701461 from a landline to claim it today.",
    "I'm running ten minutes late, please start without me and save me a seat",
]

# The tables that can be read, and how.
Data = Annotated[
    str, typer.Argument(metavar="DATA", help="A .csv .tsv .jsonl .parquet .xlsx file, - or a data set's name.")
]
TextColumn = Annotated[str | None, typer.Option("--text", help="Name of the column with the texts.")]
LabelColumn = Annotated[str | None, typer.Option("--label", help="Name of the column with the labels.")]
Encoding = Annotated[str | None, typer.Option(help="Encoding of the file, for instance latin-1.")]
Delimiter = Annotated[str | None, typer.Option(help="What separates columns: one character, or `tab`.")]
Quoting = Annotated[
    bool | None, typer.Option("--quoting/--no-quoting", help="Quotes group a cell, or are characters like others.")
]
NoHeader = Annotated[bool, typer.Option("--no-header", help="The first line is a row; columns are called 1, 2, …")]
Sheet = Annotated[str | None, typer.Option(help="Sheet of an Excel file.")]
DropUnlabelled = Annotated[bool, typer.Option("--drop-unlabelled", help="Leave out rows with an empty label.")]
DropEmpty = Annotated[bool, typer.Option("--drop-empty", help="Leave out rows with an empty text.")]
# The settings used most; --set takes any of docs/settings.md.
Model = Annotated[str | None, typer.Option(help="A name from `classtune models`, a Hub id, or a folder.")]
Recipe = Annotated[str | None, typer.Option(help="A recipe's name (default, llms-from-scratch …) or TOML file.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting of docs/settings.md; may be repeated."),
]
Depth = Annotated[str | None, typer.Option(help="Blocks kept: a number, all, or auto.")]
Trainable = Annotated[str | None, typer.Option(help="The last N blocks, head, all, or lora.")]
Pooling = Annotated[str | None, typer.Option(help="auto, last, first, mean, or last+mean.")]
Epochs = Annotated[str | None, typer.Option(help="Passes over the training rows, at most.")]
Seed = Annotated[str | None, typer.Option(help="The one seed of everything random.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, mps, or auto.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
BundleFolder = Annotated[Path, typer.Argument(metavar="DIR", help="A bundle that `classtune train` wrote.")]


@app.command()
def demo(
    *,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where it goes.")] = Path("demo"),
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fetch model and messages, train a spam filter, write its report, classify two sample messages."""
    from classtune import screen

    trained = _train("sms-spam", output, {}, None, _format(), quiet=quiet, force=True)
    predictions = trained.predictor.predict(DEMO_TEXTS)
    if as_json:
        return _print_json({**trained.result, "samples": predictions})
    screen.show_training(trained.result)
    screen.say()
    screen.show_predictions(DEMO_TEXTS, predictions)
    return None


@app.command()
def train(
    data: Data,
    *,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Where the bundle goes; unset: DATA-classifier."),
    ] = None,
    validation: Annotated[str | None, typer.Option(metavar="FILE", help="Validation rows, used as they are.")] = None,
    test: Annotated[str | None, typer.Option(metavar="FILE", help="Test rows, used as they are.")] = None,
    model: Model = None,
    recipe: Recipe = None,
    assignments: Assignments = None,
    depth: Depth = None,
    trainable: Trainable = None,
    pooling: Pooling = None,
    epochs: Epochs = None,
    seed: Seed = None,
    device: Device = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    quoting: Quoting = None,
    no_header: NoHeader = False,
    sheet: Sheet = None,
    drop_unlabelled: DropUnlabelled = False,
    drop_empty: DropEmpty = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the bundle that stands in DIR.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train a classifier on a table of labelled texts and write it as a bundle."""
    from classtune import screen
    from classtune.config import parse_assignments, parse_value

    flags = {
        "model": model,
        "depth": depth,
        "trainable": trainable,
        "pooling": pooling,
        "epochs": epochs,
        "seed": seed,
        "device": device,
    }
    told = {
        name: value if name == "model" else parse_value(value) for name, value in flags.items() if value is not None
    }
    if quoting is not None:
        told["quoting"] = quoting
    format = _format(
        text=text,
        label=label,
        encoding=encoding,
        delimiter=delimiter,
        header=False if no_header else None,
        sheet=sheet,
        drop_unlabelled=drop_unlabelled,
        drop_empty=drop_empty,
    )
    target = output or Path(f"{Path(data).stem if data != '-' else 'stdin'}-classifier")
    trained = _train(
        data,
        target,
        {**parse_assignments(assignments or []), **told},
        recipe,
        format,
        validation=validation,
        test=test,
        quiet=quiet,
        force=force,
        resume=resume,
    )
    if as_json:
        return _print_json(trained.result)
    return screen.show_training(trained.result)


@app.command()
def evaluate(
    folder: BundleFolder,
    data: Data,
    *,
    text: TextColumn = None,
    label: LabelColumn = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    quoting: Quoting = None,
    no_header: NoHeader = False,
    sheet: Sheet = None,
    drop_unlabelled: DropUnlabelled = False,
    drop_empty: DropEmpty = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Judge a bundle on labelled rows."""
    from classtune import screen
    from classtune.serving.tables import evaluate_bundle

    format = _format(
        text=text,
        label=label,
        encoding=encoding,
        delimiter=delimiter,
        quoting=quoting,
        header=False if no_header else None,
        sheet=sheet,
        drop_unlabelled=drop_unlabelled,
        drop_empty=drop_empty,
    )
    with screen.Screen(quiet=quiet) as view:
        table = _read(data, format, view)
        result = evaluate_bundle(folder, table, progress=view.progress)
    if as_json:
        return _print_json(result)
    return screen.show_scores({f"{folder} on {table.name}, {result['test']['rows']:,} rows": result["test"]})


@app.command()
def predict(
    folder: BundleFolder,
    texts: Annotated[
        list[str], typer.Argument(metavar="TEXT…|FILE", help="Texts, or one table; - reads standard input.")
    ],
    *,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="OUT", help="Write a .csv or .jsonl file.")
    ] = None,
    text: TextColumn = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    quoting: Quoting = None,
    no_header: NoHeader = False,
    sheet: Sheet = None,
    drop_empty: DropEmpty = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Give each text its label and score."""
    from classtune import screen
    from classtune.data.tables import table_from_rows
    from classtune.serving.tables import predict_table

    format = _format(
        text=text,
        encoding=encoding,
        delimiter=delimiter,
        quoting=quoting,
        header=False if no_header else None,
        sheet=sheet,
        drop_empty=drop_empty,
    )
    with screen.Screen(quiet=quiet) as view:
        if len(texts) == 1 and _is_table(texts[0]):
            table = _read(texts[0], format, view, labelled=False)
        else:
            table = table_from_rows(texts, name="the command's texts,")
        predictions = predict_table(folder, table, output, progress=view.progress)
        if output is not None:
            view.note(f"{len(predictions):,} predictions written to {output}")
    if as_json:
        return _print_json(predictions)
    return None if output is not None else screen.show_predictions(table.texts, predictions)


@app.command()
def info(folder: BundleFolder, as_json: AsJson = False) -> None:
    """What a bundle is: labels, depth, settings, test figures. Its files are verified."""
    from classtune import screen
    from classtune.serving.predictor import load_predictor

    _, bundle = load_predictor(folder)
    record, tokens, depth = bundle.record, bundle.record["tokens"], bundle.record["depth"]
    if as_json:
        return _print_json(record)
    facts = {
        "labels": ", ".join(record["labels"]),
        "backbone": f"{record['settings']['model']}, {depth['kept']} of {depth['of']} blocks",
        "pooling": record["pooling"],
        "text limit": f"{tokens['limit']:,} tokens; longer texts are {'cut' if tokens['cut'] else 'refused'}",
        "transformers.pipeline": "same scores" if record["hugging_face"] else "no: read by classtune only",
        "test accuracy": _accuracy(record["test"]),
        "baseline": _accuracy(record["baseline"]),
        "files": f"{len(record['sha256'])}, unchanged since they were written",
    }
    return screen.show(list(facts.items()), (str(folder), ""))


@app.command()
def models(as_json: AsJson = False) -> None:
    """Models known by name; any Hub id or folder works as well."""
    from classtune import screen
    from classtune.sources import MODELS

    rows = [
        {"name": m.name, "parameters": m.parameters, "licence": m.licence, "description": m.description}
        for m in MODELS.values()
    ]
    if as_json:
        return _print_json(rows)
    return screen.show(
        [[f"{v:,}" if isinstance(v, int) else str(v) for v in row.values()] for row in rows], list(rows[0])
    )


@app.command()
def datasets(as_json: AsJson = False) -> None:
    """Data sets known by name; any table works as well."""
    from classtune import screen
    from classtune.sources import DATASETS

    rows = [{"name": d.name, "licence": d.licence, "description": d.description} for d in DATASETS.values()]
    if as_json:
        return _print_json(rows)
    return screen.show([list(row.values()) for row in rows], list(rows[0]))


def main() -> None:
    """The `classtune` command."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    try:
        app()
    except ClasstuneError as error:
        print(f"classtune: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == 130:  # typer's code for Ctrl-C
            sys.exit("classtune: stopped.")
        raise
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _train(
    data: str,
    output: Path,
    told: dict[str, Any],
    recipe: str | None,
    format: TableFormat,
    *,
    validation: str | None = None,
    test: str | None = None,
    quiet: bool = False,
    force: bool = False,
    resume: bool = False,
) -> Any:
    from dataclasses import replace

    from classtune import screen
    from classtune.config import resolve

    settings: Settings = resolve(recipe, told)
    format = replace(format, quoting=settings.quoting)
    with screen.Screen(quiet=quiet) as view:
        table = _read(data, format, view)
        given = [None if name is None else _read(name, format, view) for name in (validation, test)]
        view.note("loading torch and transformers")
        from classtune import workflow
        from classtune.bundle import check_target

        check_target(output, force=force)
        run_folder = Path(f"{output}.run")
        trained = workflow.train(
            table,
            settings,
            validation=given[0],
            test=given[1],
            run_folder=run_folder,
            resume=resume,
            notify=view.note,
            progress=view.progress,
        )
        try:
            trained.save(output)
        except BundleError as error:
            kept = f"The training is kept in {run_folder}: mend that and give the same command with --resume."
            raise BundleError([*error.problems, kept]) from error
        workflow.discard_run(run_folder)
    return trained


def _read(data: str, format: TableFormat, view: Any, *, labelled: bool = True) -> Table:
    from classtune.data.catalogue import open_data

    return open_data(data, format, labelled=labelled, stdin=sys.stdin.buffer, notify=view.note)


def _format(**told: Any) -> TableFormat:
    from classtune.data.columns import TableFormat

    return TableFormat(**told)


def _is_table(text: str) -> bool:
    """Whether `predict` is given no text but a table: standard input, a file, or the name of one that is missing."""
    from classtune.data.formats import KINDS

    try:
        return text == "-" or Path(text).is_file() or (Path(text).suffix in KINDS and len(text.split()) == 1)
    except OSError:  # too long for a path: it is a text
        return False


def _accuracy(scores: dict[str, Any] | None) -> str:
    if scores is None:
        return "not tested"
    low, high = scores["accuracy_ci95"]
    return f"{100 * scores['accuracy']:.2f} % (95 % interval {100 * low:.2f} to {100 * high:.2f})"


def _print_json(document: Any) -> None:
    print(json.dumps(document, ensure_ascii=False, allow_nan=False))


if __name__ == "__main__":
    main()
