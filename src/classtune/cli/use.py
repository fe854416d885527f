"""Commands that use a bundle: evaluate, predict, explain, info."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from classtune.cli import options
from classtune.cli.inputs import print_json, what_is_given
from classtune.cli.options import AsJson, BundleFolder, Data, Quiet, Run, takes
from classtune.data.reading.columns import TableFormat
from classtune.errors import SettingsError, counted


@takes(format=options.ROWS, wishes=options.USED_WISHES, run=options.RUN)
def evaluate(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR…", help="A bundle; or two, the old one and then the new one.")
    ],
    data: Data,
    *,
    at_least_as_good: Annotated[
        bool, typer.Option("--at-least-as-good", help="Exit code 1 unless the new bundle is as good as the old one.")
    ] = False,
    margin: Annotated[
        float, typer.Option(metavar="POINTS", help="With it: accuracy that the new bundle may have lost at most.")
    ] = 5.0,
    as_json: AsJson = False,
    quiet: Quiet = False,
    format: TableFormat,
    wishes: dict[str, Any],
    run: Run,
) -> None:
    """Judge a bundle on labelled rows, or two on the same rows."""
    from classtune.data.catalogue import open_data
    from classtune.inference.tables import as_trained, evaluate_bundle
    from classtune.jobs.side_by_side import evaluate_two, judged_by
    from classtune.screen.loop import show_two
    from classtune.screen.results import show_scores, show_under_wishes
    from classtune.screen.terminal import Screen, say

    _check_evaluated(folders, margin, gate=at_least_as_good)
    how: dict[str, Any] = {"runtime": run.runtime, "device": run.device}
    with Screen(quiet=quiet) as view:
        table = open_data(data, as_trained(format, *folders), notify=view.note, also=judged_by(folders))
        view.notes(table.notes)
        how |= {"notify": view.note, "progress": view.progress}
        if len(folders) == 2:
            two = evaluate_two(folders[0], folders[1], table, wishes, margin=margin, **how)
        else:
            one = evaluate_bundle(folders[0], table, wishes, **how)
    if as_json:
        print_json(two.document() if len(folders) == 2 else one.document())
    elif len(folders) == 2:
        show_two(two, gate=at_least_as_good)
    else:
        judged = {f"{folders[0]} on {table.name}, {counted(one.test.rows, 'row')}": one.test}
        if one.unseen is not None:
            judged[f"without those that it learned from, {counted(one.unseen.rows, 'row')}"] = one.unseen
        show_scores(judged)
        if one.under_wishes is not None:
            say()
            show_under_wishes(one.under_wishes)
    if at_least_as_good and not two.gate.passed:
        raise typer.Exit(1)


def _check_evaluated(folders: list[Path], margin: float, *, gate: bool) -> None:
    problems = []
    if not 0 <= margin <= 100:  # nan neither
        problems.append(f"--margin {margin:g}: points of accuracy, from 0 to 100.")
    if len(folders) > 2:
        problems.append(f"evaluate: {len(folders)} bundles. Give one, or two to compare, and then the table.")
    if gate and len(folders) < 2:
        problems.append("--at-least-as-good: as good as what? Give two bundles, the old one first, and then the table.")
    if problems:
        raise SettingsError(problems)


@takes(format=options.TEXTS, wishes=options.USED_WISHES, run=options.RUN)
def predict(
    folder: BundleFolder,
    texts: Annotated[
        list[str],
        typer.Argument(metavar="TEXT…|FILE…", help="Texts; or tables, folders, patterns; - reads standard input."),
    ],
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="OUT", help="A .csv, .xlsx or .jsonl file, or a folder for any number of rows."
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="Into a folder: local, or ray for a cluster.")] = "local",
    resume: Annotated[bool, typer.Option("--resume", help="Into a folder: go on with a run that was stopped.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file, or the answers in the folder, that are there already.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Into a folder: a text that cannot be answered is an error.")
    ] = False,
    escape_formulas: options.EscapeFormulas = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    format: TableFormat,
    wishes: dict[str, Any],
    run: Run,
) -> None:
    """Give each text its label and score."""
    from classtune.data.catalogue import open_data
    from classtune.data.reading.tables import table_from_rows
    from classtune.inference.bulk.job import predict_bulk
    from classtune.inference.tables import as_trained, predict_table
    from classtune.screen.answers import show_bulk, show_predictions
    from classtune.screen.terminal import Screen

    kind = what_is_given(texts, output)
    with Screen(quiet=quiet) as view:
        if kind != "texts":
            format = as_trained(format, folder)
        if kind == "shards":
            written = predict_bulk(
                folder,
                texts,
                Path(output or f"{folder}-predictions"),
                format=format,
                wishes=wishes,
                resume=resume,
                force=force,
                strict=strict,
                escape_formulas=escape_formulas,
                engine=engine,
                runtime=run.runtime,
                device=run.device,
                notify=view.note,
                progress=view.progress,
            )
            return print_json(written) if as_json else show_bulk(written)
        if kind == "table":
            table = open_data(texts[0], format, labelled=False, notify=view.note)
            view.notes(table.notes)
        else:
            table = table_from_rows(texts, name="the command's texts,")
        target = None if output is None else Path(output)
        predictions = predict_table(
            folder,
            table,
            wishes,
            target,
            force=force,
            escape_formulas=escape_formulas,
            runtime=run.runtime,
            device=run.device,
            notify=view.note,
            progress=view.progress,
        )
        if kind == "texts":
            trained = as_trained(format, folder)
            if trained.beside:
                view.note(f"Texts alone are answered as with empty cells in {', '.join(trained.beside)}: give a table.")
            if trained.pair is not None:
                view.note(f"This classifier reads pairs: what stands after a blank line is read as {trained.pair!r}.")
        if output is not None:
            view.note(f"{len(predictions):,} predictions written to {output}")
    if as_json:
        return print_json(predictions)
    return None if output is not None else show_predictions(table.texts, predictions)


def explain(
    folder: BundleFolder,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text whose label is to be explained.")],
    *,
    pair: Annotated[str | None, typer.Option(metavar="TEXT", help="The second text of a pair.")] = None,
    label: Annotated[str | None, typer.Option(help="Explain this label's score; unset: the answer's.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write the explanation as a page too.")] = None,
    force: options.Replace = False,
    as_json: AsJson = False,
) -> None:
    """Which words made the answer, and the nearest training texts."""
    from classtune.jobs.explain import explain_text
    from classtune.screen.answers import show_explanation

    explanation = explain_text(folder, text, label, html, pair=pair, force=force)
    return print_json(explanation) if as_json else show_explanation(explanation)


def info(folder: BundleFolder, as_json: AsJson = False) -> None:
    """What a bundle is: labels, depth, settings, test figures. Its files are verified."""
    from classtune.inference.predictor import load_predictor
    from classtune.screen.answers import show_bundle

    _, bundle = load_predictor(folder)
    if as_json:
        return print_json(bundle.record)
    return show_bundle(str(folder), bundle.record)
