"""What a run, a comparison, an audit and the tutorial found."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classtune.errors import counted
from classtune.screen.terminal import listed, say, short, show

if TYPE_CHECKING:
    from classtune.judging.figures import Figures
    from classtune.judging.metrics import Metric
    from classtune.judging.under_wishes import UnderWishes
    from classtune.result import Result

_OF_CLASSES = {"imbalance", "few-rows", "missing-labels"}  # findings that count classes, not rows


def show_training(result: Result) -> None:
    """What a run found: the data, what was chosen, every candidate on the test rows, the verdict."""
    audit, settings = result.data.audit, result.settings
    near = counted(audit.near_duplicates, "near copy", "near copies")
    copies = f"{counted(audit.duplicates, 'copy', 'copies')} of other rows, {near}"
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
        _show_wished(result.cross_validation.under_wishes)
    for note in result.notes:  # progress told them too, where it is shown and was kept
        if result.copies is None or note != result.copies.sentence:
            say(note)
    seconds = ", ".join(
        f"{step} {value:.0f} s" for step, value in result.timing.items() if step != "total" and value >= 0.5
    )
    say(f"{result.timing['total']:.0f} s in all" + (f" ({seconds})" if seconds else ""))
    if result.bundle:
        place = "texts/report.html" if result.keeps_texts else "report.html"
        say(f"bundle: {result.bundle}   report: {result.bundle}/{place}")


def show_next(bundle: Path) -> None:
    """What to do with a bundle that was just written: lines to copy."""
    folder = shlex.quote(str(bundle))
    say()
    say("what next (answer a table, answer over HTTP, choose texts to label):")
    say(f"  classtune predict {folder} new.csv -o answers.csv")
    say(f"  classtune serve {folder}")
    say(f"  classtune next {folder} pool.csv -n 50 -o to-label.csv")


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
    _show_wished(result.under_wishes)
    if result.copies:
        say(result.copies.sentence)
    if result.calibration:
        before, after = result.calibration.before, result.calibration.after
        say(
            f"calibration: {result.calibration.method}; error of the probabilities "
            f"{before.ece:.4f} before, {after.ece:.4f} after; "
            f"log loss {before.log_loss:.4f} before, {after.log_loss:.4f} after"
        )


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
    _show_wished(result.under_wishes)
    say(f"{result.timing['total']:.0f} s in all")


def show_scores(judged: Mapping[str, Figures]) -> None:
    """Test figures of several classifiers, side by side; of the first metric with the interval."""
    from classtune.judging.metrics import metrics_of

    metrics = metrics_of(next(iter(judged.values())))
    rows = [(name, *_scores(figures, metrics)) for name, figures in judged.items()]
    show(rows, ("on the test rows", *_score_names(metrics)))
    for name, figures in judged.items():
        if given := figures.answered:
            low, high = (100 * end for end in given.error_of_answered_ci95)
            say(
                f"{name}: the figures are of all rows, as if each were answered. {100 * given.answered:.1f} % of them "
                f"are, and {100 * given.error_of_answered:.1f} % of these wrongly (95 % interval {low:.1f} to "
                f"{high:.1f} %)."
            )


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


def _show_wished(under: UnderWishes | None) -> None:
    if under is not None:
        say()
        show_under_wishes(under)
        say()


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
    show(
        rows,
        (f"under your costs and class prior, {counted(under.rows, 'row')}", *(title for title, _ in given.values())),
    )


def show_audit(document: dict[str, Any]) -> None:
    """Each finding with its worst rows, what it does to the score and what to do."""
    classes = listed(f"{listed([label])} {count:,}" for label, count in document["classes"].items())
    size = f"{counted(document['rows'], 'row')}, {counted(len(document['classes']), 'class', 'classes')}"
    say(f"{document['name']}: {size}: {classes}")
    for finding in document["findings"]:
        say()
        say(_finding(finding["kind"], finding["count"], finding["share"]))
        for example in finding["examples"]:
            for line in _example(example, document.get("unit", "line")):
                say(f"    {line}")
        say(f"  What it does: {finding['effect']}")
        say(f"  What to do: {finding['advice']}")
    if not document["findings"]:
        say("Nothing was found.")
    if fixed := document.get("fixed"):
        done = ", ".join(f"{kind} {count:,}" for kind, count in fixed["done"].items()) or "nothing to mend"
        say()
        say(f"mended table: {fixed['table']}, {counted(fixed['rows'], 'row')}   changes: {fixed['changes']} ({done})")


def _example(example: Mapping[str, Any], unit: str) -> list[str]:
    """A row of a finding, and under it its pair and what it is to be compared with: another row, or the mended text."""
    facts = dict(example)
    texts = {key: facts.pop(key) for key in ("text", "pair", "other_text", "other_pair", "mended") if key in facts}
    place, other = f"{unit} {facts.pop('line')}", ""
    if "other_text" in texts:
        other = f"{unit} {facts.pop('other_line')}"
        other += f", label {listed([facts.pop('other_label')])}" if "other_label" in facts else ""
    place += "".join(f", {key.replace('_', ' ')} {listed([str(value)])}" for key, value in facts.items())
    names = {"text": place, "pair": "and", "other_text": other, "other_pair": "and", "mended": "mended"}
    width = max(len(names[key]) for key in texts) + 1
    return [f"{names[key] + ':':<{width}} {short(str(text))}" for key, text in texts.items()]


def _finding(kind: str, count: int, share: float) -> str:
    if kind in _OF_CLASSES:
        return f"{kind}: {counted(count, 'class', 'classes')}"
    return f"{kind}: {count:,} ({100 * share:.1f} %)"


def show_tutorial(document: dict[str, Any]) -> None:
    """The tutorial's rows beside its published figures."""
    from classtune.report.tutorial import HEADER, sentences, table

    say(f"model: {document['model']}" + (f" ({document['why']})" if document["why"] else ""))
    show(table(document), HEADER)
    say()
    for sentence in sentences(document):
        say(sentence)
    say(f"{document['seconds']:.0f} s in all   table and curves: {document['folder']}/tutorial.html")
