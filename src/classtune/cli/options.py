"""What commands can be told: single options, and groups of options that several commands share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from classtune.data.reading.columns import TableFormat
from classtune.errors import SettingsError
from classtune.server.options import DECLARED

Data = Annotated[
    str, typer.Argument(metavar="DATA", help="A table (.csv .tsv .json .jsonl .parquet .xlsx), - or a data set's name.")
]
BundleFolder = Annotated[Path, typer.Argument(metavar="DIR", help="A bundle that `classtune train` wrote.")]
Validation = Annotated[str | None, typer.Option(metavar="FILE", help="Validation rows, used as they are.")]
Test = Annotated[str | None, typer.Option(metavar="FILE", help="Test rows, used as they are.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Replace = Annotated[bool, typer.Option("--force", help="Replace a file that is there already.")]
EscapeFormulas = Annotated[
    bool, typer.Option("--escape-formulas", help="In .csv: ' before cells that a spreadsheet would run as a formula.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]

Model = Annotated[str | None, typer.Option(help="A name from `classtune models`, a Hub id, or a folder.")]
Recipe = Annotated[str | None, typer.Option(help="A recipe's name (default, llms-from-scratch …) or TOML file.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting of docs/settings.md; may be repeated."),
]
Effort = Annotated[str | None, typer.Option(help="fast (no fine-tuning), balanced, or best (every backbone).")]
Keep = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Ship this candidate. All are compared; with --effort fast none is fine-tuned."),
]
MaxMs = Annotated[str | None, typer.Option("--max-ms", help="Most milliseconds that a text may take here.")]
Tune = Annotated[
    str | None, typer.Option(metavar="10m", help="Search fine-tuning's settings for so long (extra: tune).")
]
HuggingFace = Annotated[
    bool, typer.Option("--hugging-face", help="One network in Hugging Face's own form and nothing else.")
]
Depth = Annotated[str | None, typer.Option(help="Blocks kept: a number, all, or auto.")]
Trainable = Annotated[str | None, typer.Option(help="The last N blocks, head, all, or lora.")]
Pooling = Annotated[str | None, typer.Option(help="auto, last, first, mean, or last+mean.")]
Epochs = Annotated[str | None, typer.Option(help="Passes over the training rows, at most.")]
Seed = Annotated[str | None, typer.Option(help="The one seed of everything random.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, mps, or auto.")]
Runtime = Annotated[str, typer.Option(help="torch, or onnx or openvino where DIR is exported for it.")]
RunDevice = Annotated[str, typer.Option("--device", help="Where torch runs: cpu, cuda, mps, or auto.")]
With = Annotated[
    str | None, typer.Option("--with", metavar="A,B", help="Columns that are features of their own beside the text.")
]
Pair = Annotated[
    str | None, typer.Option("--pair", metavar="COLUMN", help="A second text of each row; both are read as a pair.")
]
SplitBy = Annotated[
    str | None,
    typer.Option(metavar="exact|near|COLUMN", help="What never crosses a split: copies, near copies, a column."),
]

TextColumn = Annotated[
    str | None, typer.Option("--text", metavar="NAME|A,B", help="The column of the texts; several are joined.")
]
Encoding = Annotated[str | None, typer.Option(help="Encoding of the file, for instance latin-1.")]
Delimiter = Annotated[str | None, typer.Option(help="What separates columns: one character, or `tab`.")]
Quoting = Annotated[
    bool | None, typer.Option("--quoting/--no-quoting", help="Quotes group a cell, or are characters like others.")
]
NoHeader = Annotated[bool, typer.Option("--no-header", help="The first line is a row; columns are called 1, 2, …")]
Sheet = Annotated[str | None, typer.Option(help="Sheet of an Excel file.")]
DropEmpty = Annotated[bool, typer.Option("--drop-empty", help="Leave out rows with an empty text.")]
LabelColumn = Annotated[str | None, typer.Option("--label", help="Name of the column with the labels.")]
DropUnlabelled = Annotated[bool, typer.Option("--drop-unlabelled", help="Leave out rows with an empty label.")]
LabelSeparator = Annotated[
    str | None, typer.Option(metavar="CHARACTER", help="Texts have several labels, separated by this in their cell.")
]
LabelColumns = Annotated[
    str | None, typer.Option(metavar="A,B,…", help="Texts have several labels: a column of 1 and 0 for each.")
]

Shares = list[str] | None
DeployPrior = Annotated[
    Shares, typer.Option(metavar="LABEL=SHARE", help="Share of a label where it will be used; may be repeated.")
]
UsedPrior = Annotated[
    Shares,
    typer.Option(
        "--deploy-prior", metavar="LABEL=SHARE", help="Share of a label among these texts; `estimate`: by the texts."
    ),
]
Cost = Annotated[
    str | None, typer.Option(metavar="fn=10,fp=1", help="What mistakes cost; the answer costs least on average.")
]
Precision = Annotated[Shares, typer.Option(metavar="LABEL=SHARE", help="Least precision of a label; may be repeated.")]
Recall = Annotated[Shares, typer.Option(metavar="LABEL=SHARE", help="Least recall of a label; may be repeated.")]
MaxError = Annotated[
    float | None,
    typer.Option(metavar="SHARE", help="Answer only where the error stays below this, with 95 % confidence."),
]


@dataclass(frozen=True)
class Flags:
    """Options that several commands share: name → annotation and default, and what is made of their values."""

    options: Mapping[str, tuple[Any, Any]]
    build: Callable[..., Any]


@dataclass(frozen=True)
class GivenSettings:
    """A recipe, and the settings that the command line gives over it."""

    recipe: str | None
    values: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """What runs a bundle's model, and where; see `classtune.inference.runtimes.load_exported`."""

    runtime: str
    device: str


def takes(**groups: Flags) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command with parameters of these names gets a group's options in the place of each."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        own = [
            parameter.replace(annotation=hints[name])
            for name, parameter in inspect.signature(command).parameters.items()
            if name not in groups
        ]
        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for group in groups.values()
            for name, (annotation, default) in group.options.items()
        ]
        # What a command can be told comes before how it prints.
        last = [parameter for parameter in own if parameter.name in ("as_json", "quiet")]
        first = [parameter for parameter in own if parameter not in last]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            built = {
                name: group.build(**{option: values.pop(option) for option in group.options})
                for name, group in groups.items()
            }
            command(**values, **built)

        # typer has no groups of parameters; it reads a command's options from its signature. So here, and nowhere
        # else, a signature is written by hand.
        parameters = [*first, *shared, *last]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _format(
    *, no_header: bool, label_separator: str | None = None, label_columns: str | None = None, **options: Any
) -> TableFormat:
    columns = tuple(name.strip() for name in (label_columns or "").split(",") if name.strip())
    if label_columns is not None and not columns:
        raise SettingsError(f"--label-columns {label_columns!r}: names no column.")
    return TableFormat(
        header=False if no_header else None, label_separator=label_separator, label_columns=columns, **options
    )


def _settings(*, recipe: str | None, assignments: list[str] | None, **flags: str | bool | None) -> GivenSettings:
    from classtune.config import parse_assignments, parse_value

    verbatim = ("model", "split_by", "device", "keep", "effort", "tune")
    values = {
        name: parse_value(value) if isinstance(value, str) and name not in verbatim else value
        for name, value in flags.items()
        if value is not None and value is not False
    }
    return GivenSettings(recipe, {**parse_assignments(assignments or []), **values})


def _wishes(
    *, deploy_prior: Shares, cost: str | None, precision: Shares, recall: Shares, max_error: float | None
) -> dict[str, Any]:
    """Only what was told, as settings have it; ``estimate`` in place of shares stays the word."""
    estimate = [item.strip() for item in deploy_prior or []] == ["estimate"]
    values = {
        "deploy_prior": "estimate" if estimate else _shares("--deploy-prior", deploy_prior),
        "cost": cost,
        "precision": _shares("--precision", precision),
        "recall": _shares("--recall", recall),
        "max_error": max_error,
    }
    return {name: value for name, value in values.items() if value not in (None, {})}


def _wishes_of_training(**options: Any) -> dict[str, Any]:
    wishes = _wishes(**options)
    if wishes.get("deploy_prior") == "estimate":
        raise SettingsError(
            "--deploy-prior estimate: needs texts from where the classifier will be used, and training has none. Name "
            "the shares, --deploy-prior spam=0.134, or pass it to `predict` or `evaluate`."
        )
    return wishes


def _shares(flag: str, items: Shares) -> dict[str, float]:
    """``["spam=0.1", "ham=0.9"]`` → shares by label. Raises SettingsError with every item that is not so."""
    problems, shares = [], {}
    for item in items or []:
        label, equals, share = item.rpartition("=")
        if label.strip() in shares:
            problems.append(f"{flag} {item!r}: the label has a share already. Give one.")
        try:
            shares[label.strip()] = float(share)
        except ValueError:
            equals = ""
        if not equals:
            problems.append(f"{flag} {item!r}: got no share. Write LABEL=SHARE, such as spam=0.134.")
    if problems:
        raise SettingsError(problems)
    return shares


def _those_set(**options: Any) -> dict[str, Any]:
    """Only the options that the command line sets."""
    return {name: value for name, value in options.items() if value is not None and value is not False}


_TEXTS: dict[str, tuple[Any, Any]] = {
    "text": (TextColumn, None),
    "encoding": (Encoding, None),
    "delimiter": (Delimiter, None),
    "quoting": (Quoting, None),
    "no_header": (NoHeader, False),
    "sheet": (Sheet, None),
    "drop_empty": (DropEmpty, False),
}
_DECISIONS: dict[str, tuple[Any, Any]] = {
    "cost": (Cost, None),
    "precision": (Precision, None),
    "recall": (Recall, None),
    "max_error": (MaxError, None),
}
TEXTS = Flags(_TEXTS, _format)
ROWS = Flags(
    {
        **_TEXTS,
        "label": (LabelColumn, None),
        "label_separator": (LabelSeparator, None),
        "label_columns": (LabelColumns, None),
        "drop_unlabelled": (DropUnlabelled, False),
    },
    _format,
)
SETTINGS = Flags(
    {
        "model": (Model, None),
        "recipe": (Recipe, None),
        "assignments": (Assignments, None),
        "effort": (Effort, None),
        "keep": (Keep, None),
        "max_ms": (MaxMs, None),
        "tune": (Tune, None),
        "hugging_face": (HuggingFace, False),
        "depth": (Depth, None),
        "trainable": (Trainable, None),
        "pooling": (Pooling, None),
        "epochs": (Epochs, None),
        "seed": (Seed, None),
        "device": (Device, None),
        "split_by": (SplitBy, None),
    },
    _settings,
)
RUN = Flags({"runtime": (Runtime, "torch"), "device": (RunDevice, "auto")}, Run)
SERVE = Flags(
    {
        name: (Annotated[bool, typer.Option(f"--{name}", help=help)], False)
        if default is False
        else (Annotated[str | None, typer.Option(help=help, show_default=str(default or "") or False)], None)
        for name, (default, help) in DECLARED.items()
    },
    _those_set,
)
WISHES = Flags({"deploy_prior": (DeployPrior, None), **_DECISIONS}, _wishes_of_training)
USED_WISHES = Flags({"deploy_prior": (UsedPrior, None), **_DECISIONS}, _wishes)
