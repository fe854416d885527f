"""What `classtune audit` does: look at a table, with the model's tokenizer where it is at hand, and mend it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from classtune.config import Progress, backbone_names, resolve
from classtune.data.audit.audit import Finding, audit_rows
from classtune.data.audit.cleaning import Cleaned, clean_rows
from classtune.data.audit.findings import Part
from classtune.data.near import near_groups
from classtune.data.reading.cells import is_blank
from classtune.data.reading.columns import listed_names
from classtune.data.reading.tables import Table
from classtune.data.splits import Rows, linked
from classtune.data.written import write_json_lines, write_rows
from classtune.errors import SettingsError, SourceError
from classtune.files import check_file, new_file
from classtune.jobs import steps
from classtune.jobs.steps import Notify
from classtune.sources import fetch_model
from classtune.stats import softmax

_SUSPECTS = 20  # shown of the rows whose labels look wrong
_READ_TOKENS = 256  # of each text, to judge its label
_PROBED_SHARE = 0.6  # of the blocks: the middle of a network classifies better than its end


def audit_table(
    table: Table,
    parts: Mapping[str, Table],
    *,
    model: str | None,
    label_errors: bool,
    notify: Notify,
    progress: Progress,
) -> dict[str, Any]:
    """What is wrong with a table that was read leniently: the document of ``audit --json``.

    parts: given validation and test tables by name, whose texts should not stand in the table.
    model: whose tokens the lengths are counted in; None: the default model, if it is in the cache.
    label_errors: also look for wrong labels by cross-validated probes on the model's states.
    """
    name = backbone_names(resolve(overrides={} if model is None else {"model": model}))[0]
    lengths, limit = None, None
    if model is not None or _is_cached(name):
        lengths, limit = _token_lengths(table, name, notify)
    else:
        notify(f"lengths in tokens are not checked: {name} is not fetched yet. Pass --model to fetch it.")
    known = set(chain.from_iterable(table.label_sets or [table.labels or []]))
    parts = {name: part.with_known(known) for name, part in parts.items()}
    groups = near_groups([*table.texts, *chain.from_iterable(part.texts for part in parts.values())], progress=progress)
    audit = audit_rows(
        table.texts,
        table.labels,
        table.lines,
        parts={name: Part(part.texts, part.labels, part.lines, part.label_sets) for name, part in parts.items()},
        label_sets=table.label_sets,
        groups=groups,
        token_lengths=lengths,
        limit=limit,
        progress=progress,
    )
    if label_errors:
        audit.add([_label_errors(table, groups[: len(table.texts)], name, notify, progress)])
    return {"name": table.name, "unit": table.unit, **audit.document()}


def check_fixed(path: Path, inputs: Sequence[str], *, force: bool) -> None:
    """Raise, before any work is done, where the mended table cannot be written.

    inputs: the tables that are read, which none replaces. force: the two files may take the place of others.
    """
    if path.suffix not in (".csv", ".jsonl"):
        raise SettingsError(f"--fix {path}: a mended table is written as .csv or .jsonl. Name such a file.")
    for file in (path, _actions_of(path)):
        check_file(file, force=force, others=inputs, flag="--fix")


def check_mendable(table: Table) -> None:
    """Raise SettingsError for a table that cannot be mended."""
    if table.labels is None or table.label_sets is not None:
        raise SettingsError("--fix: mends tables with one label a text. Leave it out.")


def write_fixed(path: Path, table: Table, *, force: bool = False, escape_formulas: bool = False) -> dict[str, Any]:
    """Write the mended table, all its columns, and beside it what was done to which line. Raises BundleError, and
    SettingsError as `check_mendable` does.

    Gives the two paths, the rows that are left and how many changes there were of each kind. force: see `check_fixed`;
    escape_formulas: see `write_rows`.
    """
    check_mendable(table)
    assert table.labels is not None
    cleaned = clean_rows(table.texts, table.labels, table.lines)
    actions = _actions_of(path)
    with new_file(path, force=force) as table_scratch, new_file(actions, force=force) as actions_scratch:
        columns = _mended_columns(table, cleaned)
        rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
        write_rows(table_scratch, path.suffix, columns, rows, escape_formulas=escape_formulas)
        write_json_lines(actions_scratch, cleaned.actions)
    kinds = [str(action["action"]) for action in cleaned.actions]
    return {
        "table": str(path),
        "changes": str(actions),
        "rows": len(cleaned.texts),
        "done": {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
    }


def _actions_of(path: Path) -> Path:
    """Where it is told what was done to which line."""
    return path.with_name(f"{path.stem}.changes.jsonl")


def _mended_columns(table: Table, cleaned: Cleaned) -> dict[str, Sequence[Any]]:
    """Cells by column of the rows that are left: the table's own, its texts and labels mended.

    Several text columns have become one, and a table without a header gets names that are found again.
    """
    text, label = table.text_column, table.label_column or "label"
    parts = [text] if text in table.columns else listed_names(text)
    called = {text: "text", label: "label"} if all(map(str.isdecimal, [*table.columns, text, label])) else {}
    mended = {called.get(text, text): cleaned.texts, called.get(label, label): cleaned.labels or []}
    columns: dict[str, Sequence[Any]] = {}
    for name, cells in table.columns.items():
        if name in parts:
            columns.setdefault(called.get(text, text), cleaned.texts)
        else:
            columns[called.get(name, name)] = [cells[row] for row in cleaned.rows]
    return columns | mended


def _is_cached(model: str) -> bool:
    try:
        fetch_model(model, offline=True)
    except SourceError:
        return False
    return True


def _token_lengths(table: Table, model: str, notify: Notify) -> tuple[Any, int]:
    """Tokens of each text [rows], and how many the model takes."""
    from classtune.model.backbone import load_tokenizer

    tokenizer, limit = load_tokenizer(fetch_model(model, notify=notify))
    lengths = np.empty(len(table.texts), dtype=np.int64)
    for start in range(0, len(lengths), 10_000):  # a million texts' tokens at once would be gigabytes
        ids = tokenizer(table.texts[start : start + 10_000], verbose=False)["input_ids"]
        lengths[start : start + len(ids)] = [len(item) for item in ids]
    return lengths, limit


def _label_errors(table: Table, groups: Rows, model: str, notify: Notify, progress: Progress) -> Finding:
    """Rows whose label the model's states speak against, the most doubtful first.

    groups: equal for copies and near copies [rows], none of which is judged by a probe that saw another.
    """
    from classtune.data.audit.label_errors import find_label_errors
    from classtune.model.activations import Distinct
    from classtune.model.pooled import pooled_states
    from classtune.training.probe import out_of_sample

    if table.labels is None or table.label_sets is not None:
        raise SettingsError("--label-errors: needs one label a text. Leave it out.")
    labels = sorted(set(table.labels))
    rows = np.array([row for row, text in enumerate(table.texts) if not is_blank(text) and table.labels[row].strip()])
    settings = resolve(overrides={"model": model, "max_tokens": _READ_TOKENS, "pooling": "mean"})
    network = steps.load_network(labels, settings, multi=False, notify=notify)
    network.cut(round(_PROBED_SHARE * network.of))
    ids = network.encoder.encode([table.texts[row] for row in rows])
    states = pooled_states(network, ids, progress=lambda done, total: progress("states", done, total))
    number = {label: place for place, label in enumerate(labels)}
    truth = np.array([number[table.labels[row]] for row in rows])
    alike = linked(groups[rows], Distinct.of(ids).of_row)  # longer texts that begin alike are read alike
    probabilities = softmax(out_of_sample(states, truth, seed=settings.seed, groups=alike))
    found = find_label_errors(probabilities, truth, labels)
    return Finding(
        kind="label-errors",
        count=len(found),
        share=len(found) / max(1, len(table.texts)),
        examples=[
            {
                "line": table.lines[rows[suspect["row"]]],
                "text": table.texts[rows[suspect["row"]]][:200],
                "label": suspect["label"],
                "suggested": suspect["suggested"],
            }
            for suspect in found[:_SUSPECTS]
        ],
        effect="Wrong labels teach the classifier mistakes, and in test rows they count its right answers as wrong.",
        advice="Look at these rows, the most doubtful first, and correct those that are wrong.",
    )
