"""What a person sees of the loop after the first model: two versions side by side."""

from __future__ import annotations

from collections import Counter
from typing import Any

from classtune import screen

_SHOWN_CHANGES = 20


def show_two(document: dict[str, Any], *, gate: bool) -> None:
    """Two bundles on the same rows: figures, the paired test, the texts whose answer changed, and the gate's word."""
    rows, shared, name = document["data"]["rows"], document["shared_rows"], document["data"]["name"]
    screen.say(f"{name}: {rows:,} rows")
    for bundle, labels in document["labels_of_one_only"].items():
        if labels:
            screen.say(f"labels that only {bundle} has: {', '.join(labels)}")
    if shared < rows:
        screen.say(f"the figures are of the {shared:,} rows whose labels both have")
    screen.show_scores(document["test"])
    screen.say()
    screen.say(document["paired"]["sentence"])
    if shared < rows:
        screen.say(f"Of all {rows:,} rows, new labels too: {document['paired_all']['sentence']}")
    changed = document["changed"]
    if changed:
        kinds = Counter(change["kind"] for change in changed)
        screen.say()
        screen.say(
            f"{len(changed):,} answers changed ({', '.join(f'{count:,} {kind}' for kind, count in kinds.items())})"
        )
        cells = [
            [change[key] for key in ("kind", "label", "old", "new", "text")] for change in changed[:_SHOWN_CHANGES]
        ]
        screen.show_texts(("what", "label", "old answer", "new answer", "text"), cells)
        if len(changed) > _SHOWN_CHANGES:
            screen.say(f"… and {len(changed) - _SHOWN_CHANGES:,} more: --json has all")
    if gate:
        screen.say()
        screen.say(document["gate"]["sentence"])


def show_to_label(document: dict[str, Any]) -> None:
    """Which texts to label, and what to do with them."""
    chosen, output = document["chosen"], document["output"]
    known, copies = document["labelled_already"], document["copies"]
    screen.say(
        f"{document['pool']}: {document['rows']:,} texts, {known:,} labelled already, {copies:,} copies of others"
    )
    if output is None:
        cells = [[one["chosen"], ", ".join(one["suggested"]), f"{one['score']:.2f}", one["text"]] for one in chosen]
        screen.show_texts(("chosen", "suggested", "score", "text"), cells)
        return
    drawn = sum(one["chosen"] == "at random" for one in chosen)
    screen.say(f"{len(chosen):,} texts to label are in {output}; {drawn:,} of them were drawn at random")
