"""The command line: parse, call, print. Exit codes: 0 done, 1 failed, 2 wrong usage, settings or data."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from typing import Annotated

import typer

from classtune.cli.deliver import export, push, serve
from classtune.cli.learn import compare, demo, train
from classtune.cli.loop import drift, next_texts, start
from classtune.cli.streams import standard_streams
from classtune.cli.tables import audit, datasets, models
from classtune.cli.tutorial import tutorial
from classtune.cli.unknown import Command
from classtune.cli.use import evaluate, explain, info, predict
from classtune.errors import ClasstuneError, UserError, printable
from classtune.jobs.passes.place import Place

# What the file system says of a place that was named, whoever looks there first.
_OF_A_PLACE = {errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EROFS}

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        print(f"classtune {metadata.version('classtune')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Turn a pretrained language model into a text classifier you can trust."""


for command in (
    *(demo, start, audit, train, compare, evaluate, predict, explain, info),
    *(serve, export, push, models, datasets, tutorial),
):
    app.command(cls=Command)(command)
app.command("next", cls=Command)(next_texts)
app.command(cls=Command)(drift)


def main() -> None:
    """The `classtune` command."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    with standard_streams() as output_is_lost:
        try:
            _run()
        except ClasstuneError as error:
            print(printable(f"classtune: {error}"), file=sys.stderr)
            sys.exit(error.exit_code)
        except SystemExit as end:
            if end.code == 130:  # typer's code for Ctrl-C
                sys.exit("classtune: stopped.")
            raise
        except Exception as error:
            if isinstance(error, OSError) and output_is_lost():
                if not isinstance(error, BrokenPipeError):  # else its reader has gone, and wants no word
                    print(f"classtune: standard output: cannot be written ({error.strerror}).", file=sys.stderr)
            elif isinstance(error, OSError) and error.errno in _OF_A_PLACE and error.filename is not None:
                place = f"classtune: {os.fsdecode(error.filename)}: {error.strerror}. Name another place."
                print(printable(place), file=sys.stderr)
                sys.exit(UserError.exit_code)
            else:
                print(printable(_unexpected(error)), file=sys.stderr)
            sys.exit(1)


def _run() -> None:
    """The command, to the last byte that it prints. Raises what it raises, and SystemExit in the end."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"sklearn\b")  # whoever trains cannot mend what they say
        _refuse_ranks()
        try:
            app()
        except SystemExit as end:
            if not end.code:
                sys.stdout.flush()
            raise


def _refuse_ranks() -> None:
    """A launcher of several processes would run any command but `train` several times over."""
    place = Place.found()
    if place.of > 1 and sys.argv[1:2] != ["train"]:
        if place.rank:
            sys.exit(UserError.exit_code)
        raise UserError(f"{place.of} processes were started: only `classtune train` takes several. Start one.")


def _unexpected(error: Exception) -> str:
    """One line about what nobody foresaw; the traceback goes to a file, for whoever mends it."""
    import tempfile
    import traceback

    reason = str(error).strip().partition("\n")[0][:300]
    line = (
        f"classtune: an unexpected {type(error).__name__} ({reason})."
        if reason
        else (f"classtune: an unexpected {type(error).__name__}.")
    )
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="classtune-error-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError:  # no place for it
        return f"{line} This is a fault of classtune: please report it."
    return f"{line} This is a fault of classtune: please report it with the traceback in {file.name}."
