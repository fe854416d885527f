"""What a bundle is, what it answers and why, and what becomes of it elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from classtune.config.options import as_options
from classtune.decisions.decisions import Decisions
from classtune.errors import counted
from classtune.screen.terminal import console, listed, say, show, show_texts


def show_predictions(texts: Sequence[str], predictions: Sequence[Sequence[dict[str, Any]]]) -> None:
    """The answer to each text with its score; where it is withheld, the label that is likeliest."""
    rows = []
    for text, ranked in zip(texts, predictions, strict=True):
        given = [entry for entry in ranked if entry.get("answer", True)][: None if "answer" in ranked[0] else 1]
        label = ", ".join(entry["label"] for entry in given) if given else f"no answer ({ranked[0]['label']}?)"
        rows.append((label, f"{(given or ranked)[0]['score']:.4f}", text))
    show_texts(("label", "score", "text"), rows)


def show_explanation(explanation: dict[str, Any]) -> None:
    """The words tinted by what they add, and the nearest training texts."""
    from classtune.explain.explanations import as_text

    out = console()
    out.print(Text.from_ansi(as_text(explanation, color=out.is_terminal)), soft_wrap=True)


def show_bulk(written: dict[str, Any]) -> None:
    """What was answered, and where it lies."""
    say(
        f"{counted(written['rows'], 'row')} in {counted(len(written['files']), 'file')} of {written['output']}, "
        f"{written['seconds']:.0f} s, {written['rows_per_second']:,.0f} rows a second"
    )
    if written["problems"]:
        say(f"{counted(written['problems'], 'row')} without an answer: {written['output']}/problems.jsonl says why")


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
        "labels": listed(record["labels"]) + (" (several a text)" if decisions.get("multi") else ""),
        **({"trained": record["date"]} if "date" in record else {}),
        "classifier": record.get("classifier", "one network"),
        **backbone,
        **({"columns beside the text": beside} if (beside := _columns(record).get("with")) else {}),
        **({"pairs": f"{_columns(record).get('text')} and {pair}"} if (pair := _columns(record).get("pair")) else {}),
        **({"asked for": asked} if (asked := as_options(record["settings"])) else {}),
        "transformers.pipeline": _in_pipeline(record),
        "calibration": f"{folded['method']}, in the weights" if folded else calibration.get("method", "none"),
        # Bundles of an earlier classtune say "neighbours".
        "holds texts of the table": "yes" if record.get("keeps_texts", record.get("neighbours")) else "no",
        "test accuracy": _accuracy(record["test"]),
        **(
            {"by cross-validation": _accuracy(crossed["figures"])}
            if (crossed := record.get("cross_validation"))
            else {}
        ),
        "baseline": _accuracy(record["baseline"]),
        "files": f"{len(record['sha256'])}, unchanged since they were written",
    }
    show(list(facts.items()), (name, ""))
    for note in decisions.get("notes", []):
        say(note)


def _columns(record: dict[str, Any]) -> dict[str, Any]:
    """Where a bundle's table had its texts, labels, and columns beside them."""
    return (record.get("data") or {}).get("columns") or {}


def _in_pipeline(record: dict[str, Any]) -> str:
    """What transformers alone makes of a bundle."""
    if not record["hugging_face"]:
        return "no: read by classtune only"
    known = record.get("decisions")
    lacking = Decisions.from_record(record["labels"], known).not_in_weights if known else ""
    return f"the network's scores, without {lacking}" if lacking else "same scores"


def _accuracy(scores: dict[str, Any] | None) -> str:
    if scores is None:
        return "not tested"
    low, high = scores["accuracy_ci95"]
    return f"{100 * scores['accuracy']:.2f} % (95 % interval {100 * low:.2f} to {100 * high:.2f})"


def show_export(result: dict[str, Any]) -> None:
    """What was written, and how well it agrees with the bundle."""
    size = sum(result["files"].values())
    say(f"{result['output']}: {result['to']}, {result['precision']}, {size / 1e6:,.1f} MB")


def show_push(result: dict[str, Any]) -> None:
    """What was uploaded, or would be."""
    size = sum(result["files"].values())
    done = "would be uploaded to" if result["dry_run"] else "uploaded to"
    say(f"{len(result['files']):,} files, {size / 1e6:,.1f} MB, {done} {result['url'] or result['repository']}")
