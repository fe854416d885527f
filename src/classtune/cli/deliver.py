"""Commands that put a bundle to use elsewhere: serve, export, push."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from classtune.cli import options
from classtune.cli.inputs import print_json
from classtune.cli.options import AsJson, BundleFolder, Quiet, takes
from classtune.data.reading.columns import TableFormat


@takes(settings=options.SERVE)
def serve(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR…", help="Bundles; requests choose one by its name.")],
    *,
    settings: dict[str, Any],
) -> None:
    """Answer over HTTP, and on a page in the browser.

    It speaks the dialects of Hugging Face's clients, Text Embeddings Inference and vLLM.
    """
    from classtune.server.server import serve as run
    from classtune.server.settings import serve_settings

    told = serve_settings(settings)
    if told.at_least_as_good is None:
        return run(folders, told)
    from classtune.jobs.gate import gate_of

    return run(folders, told, gate_of(told.at_least_as_good, folders))


@takes(format=options.TEXTS)
def export(
    folder: BundleFolder,
    *,
    to: Annotated[str, typer.Option(metavar="onnx|openvino|hf", help="What it shall run on.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="Folder to write.")],
    int8: Annotated[
        bool, typer.Option("--int8", help="Weights of 8 bits: smaller, ONNX also faster; refused if answers change.")
    ] = False,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Texts to compare both on; unset: those that the bundle keeps.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT; write even what changes answers.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    format: TableFormat,
) -> None:
    """Write a bundle for another runtime, proved to answer alike."""
    from classtune.data.catalogue import open_data
    from classtune.export.write import export_bundle
    from classtune.screen.answers import show_export
    from classtune.screen.terminal import Screen

    with Screen(quiet=quiet) as view:
        table = None if data is None else open_data(data, format, labelled=False, notify=view.note)
        result = export_bundle(folder, to, output, int8=int8, data=table, force=force, notify=view.note)
    return print_json(result) if as_json else show_export(result)


def push(
    folder: BundleFolder,
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository on the Hub.")],
    *,
    public: Annotated[bool, typer.Option("--public", help="For everybody to see; else private.")] = False,
    with_texts: Annotated[bool, typer.Option("--with-texts", help="Upload the texts that it keeps, too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be uploaded, and send nothing.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Upload a bundle to the Hugging Face Hub, without its texts."""
    from classtune.export.push import push_bundle
    from classtune.screen.answers import show_push
    from classtune.screen.terminal import Screen

    with Screen(quiet=quiet) as view:
        result = push_bundle(
            folder, repository, public=public, with_texts=with_texts, dry_run=dry_run, notify=view.note
        )
    return print_json(result) if as_json else show_push(result)
