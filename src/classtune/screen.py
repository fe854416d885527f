"""What a person sees: progress bars on standard error, results as plain tables on standard output."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from classtune.errors import printable

if TYPE_CHECKING:
    from classtune.judging.figures import Figures
    from classtune.judging.metrics import Metric
    from classtune.judging.under_wishes import UnderWishes
    from classtune.result import Result

STAGES = {
    "depth": ("choosing the depth", "blocks"),
    "words": ("learning words", "texts"),
    "trunk": ("trunk", "tokens"),
    "epochs": ("training", "texts"),
    "test": ("testing", "texts"),
    "predict": ("predicting", "texts"),
    "audit": ("auditing", "checks"),
    "near copies": ("finding near copies", "texts"),
    "states": ("reading", "texts"),
}


# Where there is no terminal, a line of how far a stage is comes as often as this.
SECONDS_BETWEEN_LINES = 30.0


class _Rate(ProgressColumn):
    """Units done a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {task.fields['unit']}/s" if speed else "", style="progress.data.speed")


class _Console(Console):
    """A terminal that runs nothing of what it shows: control characters in labels, texts and names are pictures."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


class Screen:
    """Progress of one command. Used as a context manager; ``quiet`` shows nothing but errors."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = _Console(stderr=True, quiet=quiet, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description:<18}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            _Rate(),
            TimeRemainingColumn(),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
            speed_estimate_period=120,  # seconds; some stages tell rarely
        )
        self._tasks: dict[str, TaskID] = {}
        self._lines: dict[str, float] = {}  # when the last line of a stage was written, in seconds

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def note(self, line: str) -> None:
        """A line of progress."""
        self.console.print(line, markup=False, soft_wrap=True)

    def notes(self, lines: Iterable[str]) -> None:
        """Lines of progress."""
        for line in lines:
            self.note(line)

    def progress(self, stage: str, done: int, total: int) -> None:
        """How far a stage is; where there is no terminal, a line when it starts and every half minute."""
        name, unit = STAGES[stage]
        now = self._progress.get_time()
        if stage not in self._tasks:
            self._tasks[stage], self._lines[stage] = self._progress.add_task(name, total=total, unit=unit), now
            if not self.console.is_terminal:
                self.note(f"{name}: {total:,} {unit}")
        self._progress.update(self._tasks[stage], completed=done)
        if not self.console.is_terminal and done < total and now - self._lines[stage] >= SECONDS_BETWEEN_LINES:
            self._lines[stage] = now
            left = self._progress.tasks[self._tasks[stage]].time_remaining
            self.note(f"{name}: {100 * done / total:.0f} %" + ("" if left is None else f", about {left:.0f} s left"))


def show(rows: Sequence[Sequence[str]], header: Sequence[str]) -> None:
    """A table on standard output; numbers (columns after the first) stand right."""
    table = Table(*header, box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    console().print(table)


def console() -> Console:
    """Standard output, as wide as its lines where it is no terminal."""
    return _Console(
        file=sys.stdout, highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200, markup=False
    )


def say(line: str = "") -> None:
    """A line of the result."""
    console().print(line, markup=False, soft_wrap=True)


def show_training(result: Result) -> None:
    """What a run found: the data, what was chosen, every candidate on the test rows, the verdict."""
    audit, settings = result.data.audit, result.settings
    copies = f"{audit.duplicates:,} copies of other rows, {audit.near_duplicates:,} near copies"
    say(f"{result.data.name}: {audit.rows:,} rows, {len(audit.classes)} classes, {copies}")
    for finding in audit.findings:
        say(f"  {_finding(finding.kind, finding.count, finding.share)}")
    kept = settings.split_by
    together = {"near": "copies and near copies kept together", "exact": "copies kept together"}
    how = f" ({together.get(kept, f'rows alike in {kept} kept together')})"
    crossed = result.cross_validated
    parts = ", ".join(
        f"{size:,} {part}" for part, size in result.splits.items() if size or part != "validation" or not crossed
    )
    say(f"split: {parts}{how if settings.split == 'grouped' else ''}")
    if crossed:
        say("cross-validation in place of a validation split: every training row was judged in turn")
    say(result.chosen.sentence)
    if depth := result.depth:
        model = Path(settings.model).name
        say(f"depth: {depth.kept} of {depth.of} blocks of {model} kept, {settings.pooling} pooling")
    _show_test(result)
    if result.learning_curve:
        say(result.learning_curve.sentence)
    if result.earlier:
        say(result.earlier.sentence)
    if result.cross_validation:
        say(result.cross_validation.sentence)
    for note in result.decisions.notes:
        say(note)
    seconds = ", ".join(
        f"{step} {value:.0f} s" for step, value in result.timing.items() if step != "total" and value >= 0.5
    )
    say(f"{result.timing['total']:.0f} s in all ({seconds})")
    if result.bundle:
        place = "texts/report.html" if result.keeps_texts else "report.html"
        say(f"bundle: {result.bundle}   report: {result.bundle}/{place}")


def show_next(bundle: Path) -> None:
    """What to do with a bundle that was just written: lines to copy."""
    folder = shlex.quote(str(bundle))
    say()
    say("what next:")
    say(f"  classtune predict {folder} new.csv -o answers.csv          # or a text in quotes")
    say(f"  classtune serve {folder}                                   # answers over HTTP")
    say(f"  classtune next {folder} pool.csv -n 50 -o to-label.csv     # which texts to label next")


def _show_test(result: Result) -> None:
    """What the test rows said; nothing where there were none."""
    if comparison := result.comparison:
        say()
        others = {one.name: one.figures for one in reversed(comparison.candidates)}
        show_scores({f"{comparison.recommended} (chosen)": others.pop(comparison.recommended), **others})
        if comparison.rule:
            say(f"the one-line rule: {comparison.rule}")
    if result.verdict:
        say()
        say(result.verdict.sentence)
    if result.under_wishes:
        say()
        show_under_wishes(result.under_wishes)
    if result.copies:
        say(result.copies.sentence)
    if result.calibration:
        before, after = result.calibration.before, result.calibration.after
        say(
            f"calibration: {result.calibration.method}; error of the probabilities "
            f"{before.ece:.4f} before, {after.ece:.4f} after; "
            f"log loss {before.log_loss:.4f} before, {after.log_loss:.4f} after"
        )


def show_audit(document: dict[str, Any]) -> None:
    """Each finding with its worst rows, what it does to the score and what to do."""
    classes = ", ".join(f"{label} {count:,}" for label, count in list(document["classes"].items())[:_SHOWN_CLASSES])
    more = f" and {len(document['classes']) - _SHOWN_CLASSES:,} more" * (len(document["classes"]) > _SHOWN_CLASSES)
    say(f"{document['name']}: {document['rows']:,} rows, {len(document['classes']):,} classes: {classes}{more}")
    for finding in document["findings"]:
        say()
        say(_finding(finding["kind"], finding["count"], finding["share"]))
        for example in finding["examples"]:
            facts = {key: value for key, value in example.items() if key not in ("line", "text")}
            told = "".join(f", {key.replace('_', ' ')} {value}" for key, value in facts.items())
            say(f"    {document.get('unit', 'line')} {example['line']}{told}: {_short(str(example['text']))}")
        say(f"  What it does: {finding['effect']}")
        say(f"  What to do: {finding['advice']}")
    if not document["findings"]:
        say("Nothing was found.")
    if fixed := document.get("fixed"):
        done = ", ".join(f"{kind} {count:,}" for kind, count in fixed["done"].items()) or "nothing to mend"
        say()
        say(f"mended table: {fixed['table']}, {fixed['rows']:,} rows   changes: {fixed['changes']} ({done})")


def show_comparison(result: Result) -> None:
    """The candidates side by side, cheapest first, and which one was chosen."""
    from classtune.judging.metrics import metrics_of

    assert result.comparison is not None
    assert result.verdict is not None
    metrics = metrics_of(result.comparison.candidates[0].figures)
    rows = [
        (
            one.name,
            *_scores(one.figures, metrics),
            "" if one.against is None else f"{one.against.p_value:.2g}",
            f"{one.train_seconds:.1f} s",
            f"{one.ms_per_text:.3g}",
            f"{one.bytes / 1e6:,.1f} MB",
        )
        for one in result.comparison.candidates
    ]
    names = (*_score_names(metrics), "p against the line above", "training", "ms per text", "size")
    show(rows, ("on the test rows", *names))
    if result.comparison.rule:
        say(f"the one-line rule: {result.comparison.rule}")
    say()
    say(result.chosen.sentence)
    say(result.verdict.sentence)
    say(f"{result.timing['total']:.0f} s in all")


def show_tutorial(document: dict[str, Any]) -> None:
    """The tutorial's rows beside its published figures."""
    from classtune.report.tutorial import HEADER, sentences, table

    say(f"model: {document['model']}" + (f" ({document['why']})" if document["why"] else ""))
    show(table(document), HEADER)
    say()
    for sentence in sentences(document):
        say(sentence)
    say(f"{document['seconds']:.0f} s in all   table and curves: {document['folder']}/tutorial.html")


def show_explanation(explanation: dict[str, Any]) -> None:
    """The words tinted by what they add, and the nearest training texts."""
    from classtune.explain.explanations import as_text

    out = console()
    out.print(Text.from_ansi(as_text(explanation, color=out.is_terminal)), soft_wrap=True)


def show_bundle(name: str, record: dict[str, Any]) -> None:
    """What a bundle is."""
    tokens, depth, decisions = record["tokens"], record["depth"], record.get("decisions") or {}
    backbone = {}
    if tokens:
        long = "read in windows" if tokens.get("windows") else "cut" if tokens["cut"] else "refused"
        backbone = {
            "backbone": f"{record['settings']['model']}, {depth['kept']} of {depth['of']} blocks",
            "pooling": record["pooling"],
            "text limit": f"{tokens['limit']:,} tokens; longer texts are {long}",
        }
    calibration = decisions.get("calibration") or {}
    folded = calibration.get("folded")
    facts = {
        "labels": ", ".join(record["labels"]),
        "classifier": record.get("classifier", "one network"),
        **backbone,
        **({"columns beside the text": beside} if (beside := _columns(record).get("with")) else {}),
        "transformers.pipeline": _in_pipeline(record["hugging_face"], calibration),
        "calibration": f"{folded['method']}, in the weights" if folded else calibration.get("method", "none"),
        # Bundles of an earlier classtune say "neighbours".
        "holds texts of the table": "yes" if record.get("keeps_texts", record.get("neighbours")) else "no",
        "test accuracy": _accuracy(record["test"]),
        "baseline": _accuracy(record["baseline"]),
        "files": f"{len(record['sha256'])}, unchanged since they were written",
    }
    show(list(facts.items()), (name, ""))
    for note in decisions.get("notes", []):
        say(note)


def _columns(record: dict[str, Any]) -> dict[str, Any]:
    """Where a bundle's table had its texts, labels, and columns beside them."""
    return (record.get("data") or {}).get("columns") or {}


def show_scores(judged: Mapping[str, Figures]) -> None:
    """Test figures of several classifiers, side by side; of the first metric with the interval."""
    from classtune.judging.metrics import metrics_of

    metrics = metrics_of(next(iter(judged.values())))
    rows = [(name, *_scores(figures, metrics)) for name, figures in judged.items()]
    show(rows, ("on the test rows", *_score_names(metrics)))


def _score_names(metrics: Sequence[Metric]) -> list[str]:
    first, *others = (metric.name for metric in metrics)
    return [first, "95 % interval", *others]


def _scores(figures: Figures, metrics: Sequence[Metric]) -> list[str]:
    """What stands below _score_names."""
    first, *others = (
        f"{100 * figures.values[metric.key]:.2f} %"
        if metric.format == "percent"
        else f"{figures.values[metric.key]:.4f}"
        for metric in metrics
    )
    low, high = figures.accuracy_ci95
    return [first, f"{100 * low:.2f} to {100 * high:.2f}", *others]


def show_under_wishes(under: UnderWishes) -> None:
    """Test figures under the user's costs and class priors; a figure that nothing was asked for is left out."""
    figures = {
        "accuracy": ("accuracy", "{:.2%}"),
        "weighted_accuracy": ("weighted to the class prior in production", "{:.2%}"),
        "expected_cost": ("expected cost of a text", "{:.4f}"),
    }
    sides = {name: vars(one) for name, one in under.classifiers.items()}
    given = {key: row for key, row in figures.items() if any(one[key] is not None for one in sides.values())}
    rows = [
        (
            name,
            *("" if one[key] is None else form.format(one[key]).replace("%", " %") for key, (_, form) in given.items()),
        )
        for name, one in sides.items()
    ]
    show(rows, ("under your costs and class prior", *(title for title, _ in given.values())))


def show_predictions(texts: Sequence[str], predictions: Sequence[Sequence[dict[str, Any]]]) -> None:
    """The answer to each text with its score; where it is withheld, the label that is likeliest."""
    rows = []
    for text, ranked in zip(texts, predictions, strict=True):
        given = [entry for entry in ranked if entry.get("answer", True)][: None if "answer" in ranked[0] else 1]
        label = ", ".join(entry["label"] for entry in given) if given else f"no answer ({ranked[0]['label']}?)"
        rows.append((label, f"{(given or ranked)[0]['score']:.4f}", text))
    show_texts(("label", "score", "text"), rows)


def show_bulk(written: dict[str, Any]) -> None:
    """What was answered, and where it lies."""
    say(
        f"{written['rows']:,} rows in {len(written['files']):,} files of {written['output']}, "
        f"{written['seconds']:.0f} s, {written['rows_per_second']:,.0f} rows a second"
    )
    if written["problems"]:
        say(f"{written['problems']:,} rows have no answer: {written['output']}/problems.jsonl says why")


def show_export(result: dict[str, Any]) -> None:
    """What was written, and how well it agrees with the bundle."""
    size = sum(result["files"].values())
    say(f"{result['output']}: {result['to']}, {result['precision']}, {size / 1e6:,.1f} MB")


def show_push(result: dict[str, Any]) -> None:
    """What was uploaded, or would be."""
    size = sum(result["files"].values())
    done = "would be uploaded to" if result["dry_run"] else "uploaded to"
    say(f"{len(result['files']):,} files, {size / 1e6:,.1f} MB, {done} {result['url'] or result['repository']}")


_SHOWN_CLASSES = 12


def show_texts(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table that ends in texts, each on a line and cut: nothing in it is markup."""
    table = Table(*header, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(_short(cell)) for cell in row))
    console().print(table)


_OF_CLASSES = {"imbalance", "few-rows"}  # findings that count classes, not rows


def _finding(kind: str, count: int, share: float) -> str:
    if kind in _OF_CLASSES:
        return f"{kind}: {count:,} class{'es' * (count != 1)}"
    return f"{kind}: {count:,} ({100 * share:.1f} %)"


def _in_pipeline(hugging_face: bool, calibration: dict[str, Any]) -> str:
    """What transformers alone makes of a bundle."""
    if not hugging_face:
        return "no: read by classtune only"
    return "same scores, uncalibrated" if calibration.get("method", "none") != "none" else "same scores"


def _accuracy(scores: dict[str, Any] | None) -> str:
    if scores is None:
        return "not tested"
    low, high = scores["accuracy_ci95"]
    return f"{100 * scores['accuracy']:.2f} % (95 % interval {100 * low:.2f} to {100 * high:.2f})"


def _short(text: str, limit: int = 120) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
