"""What a person sees of the loop after the first model: two versions side by side."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING, Any

from classtune.errors import counted
from classtune.judging.drift import MEASURES
from classtune.screen.results import show_scores, show_under_wishes
from classtune.screen.terminal import listed, say, show, show_texts

if TYPE_CHECKING:
    from classtune.jobs.side_by_side import TwoBundles

_SHOWN_CHANGES = 20


def show_two(two: TwoBundles, *, gate: bool) -> None:
    """Two bundles on the same rows: figures, the paired test, the texts whose answer changed, and the gate's word."""
    say(f"{two.name}: {counted(two.rows, 'row')}")
    for bundle, labels in two.labels_of_one_only.items():
        if labels:
            say(f"labels that only {bundle} has: {listed(labels)}")
    if two.shared_rows < two.rows:
        say(f"the figures are of the {counted(two.shared_rows, 'row')} whose labels both have")
    show_scores(two.test)
    if two.under_wishes is not None:
        say()
        show_under_wishes(two.under_wishes)
    say()
    say(two.paired.sentence)
    if two.shared_rows < two.rows:
        say(f"Of all {two.rows:,} rows, new labels too: {two.paired_all.sentence}")
    if two.paired_new is not None:
        say(f"On the {counted(two.paired_new.rows, 'row')} that neither learned from: {two.paired_new.sentence}")
    if two.changed:
        kinds = Counter(change.kind for change in two.changed)
        say()
        listed_kinds = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
        say(f"{counted(len(two.changed), 'answer')} changed ({listed_kinds})")
        cells = [
            [change.kind, change.label, change.old, change.new, change.text] for change in two.changed[:_SHOWN_CHANGES]
        ]
        show_texts(("what", "label", "old answer", "new answer", "text"), cells)
        if len(two.changed) > _SHOWN_CHANGES:
            say(f"… and {len(two.changed) - _SHOWN_CHANGES:,} more: --json has all")
    if gate:
        say()
        say(two.gate.sentence)


def show_to_label(document: dict[str, Any]) -> None:
    """Which texts to label next."""
    known, copies = document["labelled_already"], document["copies"]
    say(f"{_pool(document)}, {known:,} labelled already, {counted(copies, 'copy', 'copies')} of others")
    _show_chosen(document)


def show_started(document: dict[str, Any]) -> None:
    """Which texts to label first, and what to do with them."""
    say(f"{_pool(document)}, {counted(document['copies'], 'copy', 'copies')} of others")
    _show_chosen(document)
    say(
        f"This is no classifier yet: {document['model']} has compared texts with the names of the labels, and guesses. "
        "Read each text and write its label."
    )
    if document["output"]:
        output, pool = (shlex.quote(document[name]) for name in ("output", "pool"))
        say(f"Then: classtune train {output} -o first")
        say(f"      classtune next first {pool} -o more.csv")


def _pool(document: dict[str, Any]) -> str:
    return f"{document['pool']}: {counted(document['rows'], 'text')}"


def _show_chosen(document: dict[str, Any]) -> None:
    chosen, output = document["chosen"], document["output"]
    if output is None:
        cells = [[one["chosen"], ", ".join(one["suggested"]), f"{one['score']:.2f}", one["text"]] for one in chosen]
        show_texts(("chosen", "suggested", "score", "text"), cells)
        return
    drawn = sum(one["chosen"] == "at random" for one in chosen)
    say(f"{output}: {counted(len(chosen), 'text')} to label, {drawn:,} of them drawn at random")


def show_drift(document: dict[str, Any]) -> None:
    """Each figure then and now, and what changed beyond noise."""
    rows = []
    for change in document["labels"]:
        low, high = (100 * end for end in change["difference_ci95"])
        then, now = (f"{100 * change[key]:.1f} %" for key in ("then", "now"))
        rows.append((f"answers {change['name']}", then, now, f"{low:+.1f} to {high:+.1f} points", change))
    for change in document["measures"]:
        low, high = change["difference_ci95"]
        name = MEASURES[change["name"]]
        rows.append((name, f"{change['then']:.3f}", f"{change['now']:.3f}", f"{low:+.3f} to {high:+.3f}", change))
    cells = [(*row, f"{change['p_value']:.2g}", "changed" if change["alarm"] else "") for *row, change in rows]
    show(cells, ("figure", "then", "now", "difference, 95 %", "p", ""))
    say()
    say(document["sentence"])
