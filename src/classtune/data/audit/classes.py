"""Checks of an audit that look at labels: names written in several ways, rare classes, classes too small to judge, and
labels that only training or only a given part has."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from classtune.data.audit.findings import SHOWN, Finding, Rows, percent
from classtune.data.splits import fold
from classtune.errors import counted
from classtune.stats import Z95

_LARGEST_SHARE, _LARGEST_RATIO = 0.8, 10
_TYPO_LENGTH, _TYPO_RATIO, _TYPO_LABELS = 5, 0.02, 2000  # with more labels the column is no label
_RECALL, _WITHIN = 0.9, 0.1  # a class has enough test rows where a recall of 0.9 is known to within 0.1
_NAMED = 10  # labels in a sentence


def spellings(names: Mapping[str, int]) -> dict[str, str]:
    """Label names that differ from a commoner one only by case, spaces, separators, quotes, or Unicode form → that one.

    names: rows of each. Names that differ by ``+``, ``#`` or digits are different: C and C++, 1.5 and 1-5.
    """
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if name.strip():
            alike[_spelt(name)].append(name)
    best = {key: max(same, key=lambda name: names[name]) for key, same in alike.items()}  # of equals, the first
    return {name: best[key] for key, same in alike.items() for name in same if name != best[key]}


def label_names(rows: Rows) -> Iterator[Finding]:
    """Labels that are one label written in several ways."""
    effect = "Each spelling is a class of its own: rows are taught as different that are alike."
    for kind, variants, advice in (
        ("label-spelling", spellings(rows.classes), "Write them alike, or let `--fix OUT` do it."),
        ("label-typo", _typos(rows.classes), "If they are one class, write them alike; otherwise leave them."),
    ):
        first = rows.first_with_label(variants)
        ordered = sorted(variants, key=lambda name: -rows.classes[name])
        examples = [
            rows.example(first[name]) | {"label": name, "other_label": variants[name], "rows": rows.classes[name]}
            for name in ordered[:SHOWN]
        ]
        count = sum(rows.classes[name] for name in ordered)
        if ordered:
            yield Finding(kind, count, count / rows.count, examples, effect, advice, {"labels": len(ordered)})


_SEPARATORS = re.compile(r"(?<=[^\W\d_])[\s_./-]+(?=\w)|(?<=\w)[\s_./-]+(?=[^\W\d_])")


def _spelt(name: str) -> str:
    """What spellings of a label share."""
    return _SEPARATORS.sub(" ", fold(name).strip(" \"'`.,;:")) or fold(name)


def _typos(names: Mapping[str, int]) -> dict[str, str]:
    """Rare labels that are one letter off a common one → the common one.

    Names one letter apart share a form with at most one letter left out, so no name is compared with every other.
    """
    forms: dict[str, list[str]] = defaultdict(list)
    long = [name for name in names if len(name) >= _TYPO_LENGTH] if len(names) <= _TYPO_LABELS else []
    for name in long:
        for form in {name, *(name[:place] + name[place + 1 :] for place in range(len(name)))}:
            forms[form].append(name)
    typos = {}
    for common, *rest in (sorted(same, key=lambda name: -names[name]) for same in forms.values() if len(same) > 1):
        for name in rest:
            differ = Counter(common.casefold()) - Counter(name.casefold())
            differ += Counter(name.casefold()) - Counter(common.casefold())
            if (
                names[name] <= _TYPO_RATIO * names[common]
                and all(map(str.isalpha, differ))
                and _spelt(name) != _spelt(common)
            ):
                typos[name] = common
    return typos


def balance(rows: Rows) -> Iterator[Finding]:
    """Classes that are rare beside the largest, and classes too small to be judged."""
    if len(rows.classes) < 2:
        return
    (largest, most), *_, (smallest, least) = rows.classes.items()
    first = rows.first_with_label(rows.classes)

    def finding(kind: str, names: list[str], effect: str, advice: str, **detail: Any) -> Finding:
        names = sorted(names, key=lambda name: rows.classes[name])
        examples = [rows.example(first[name]) | {"label": name, "rows": rows.classes[name]} for name in names[:SHOWN]]
        return Finding(kind, len(names), len(names) / len(rows.classes), examples, effect, advice, detail)

    rare = [name for name, count in rows.classes.items() if count * _LARGEST_RATIO <= most]
    if most >= _LARGEST_SHARE * rows.count or rare:
        hidden = (
            f"always answering {largest!r} is right in {percent(most / rows.count)} of rows, so accuracy says little"
            if most >= _LARGEST_SHARE * rows.count
            else "never answering a rare class hardly lowers the accuracy"
        )
        yield finding(
            "imbalance",
            rare or [smallest],
            f"{largest!r} has {most:,} rows, {smallest!r} {least:,}: {hidden}.",
            "Read macro F1 and the recall of each class; `--set class_weights=balanced` makes rare classes count more.",
            ratio=most / least,
        )
    needed, share = rows_for_recall(_WITHIN), rows.test_share
    tested = {name: count * share for name, count in rows.classes.items()}
    if "test" in rows.parts and (labels := rows.parts["test"][1]) is not None:
        tested = dict.fromkeys(rows.classes, 0.0) | {name: float(count) for name, count in Counter(labels).items()}
    few = [name for name in rows.classes if tested[name] < needed] if any(tested.values()) else []
    if few and rows.label_sets is None:
        fewest = min(few, key=lambda name: tested[name])
        in_all = f" ({math.ceil(needed / share):,} rows in all, at a test share of {percent(share)})" if share else ""
        known = 100 * recall_margin(max(1, round(tested[fewest])))
        yield finding(
            "few-rows",
            few,
            f"{fewest!r} has about {tested[fewest]:.0f} test rows: a measured recall of 90 % is then uncertain by "
            f"{known:.0f} points either way.",
            f"Collect more rows, or merge classes: {needed} test rows of a class{in_all} tell its recall to within 10 "
            "points.",
            needed=needed,
        )


def of_one_side(rows: Rows) -> Iterator[Finding]:
    """Labels that a given part has and training lacks, and the other way round."""
    for part, (texts, *_) in rows.parts.items():
        given = rows.classes_of(part)
        unknown = {label: count for label, count in given.items() if label not in rows.classes}
        if not rows.classes or not given:
            continue
        if unknown:
            first = rows.first_with_label(unknown, part)
            count = sum(unknown.values())
            yield Finding(
                "unknown-labels",
                count,
                count / len(texts),
                [
                    rows.example(first[name], part) | {"part": part, "label": name, "rows": unknown[name]}
                    for name in list(unknown)[:SHOWN]
                ],
                f"No training row has {_with_counts(unknown, part)}. What was not taught is never answered: such rows "
                "can only count as wrong.",
                "Add training rows of each, write the label as training does, or leave these rows out.",
                {"part": part, "labels": unknown},
            )
        if missing := {label: count for label, count in rows.classes.items() if label not in given}:
            first = rows.first_with_label(missing)
            undone = {
                "test": "how well they are answered is not measured",
                "validation": "calibration, thresholds and the choice among candidates are made without them",
            }
            yield Finding(
                "missing-labels",
                len(missing),
                len(missing) / len(rows.classes),
                [rows.example(first[name]) | {"label": name, "rows": missing[name]} for name in list(missing)[:SHOWN]],
                f"No {part} row has {_with_counts(missing, 'training')}: {undone.get(part, 'they are not looked at')}.",
                f"Add {part} rows of each.",
                {"part": part, "labels": missing},
            )


def _with_counts(counts: Mapping[str, int], where: str) -> str:
    shown = [f"{label!r} ({counted(count, f'{where} row')})" for label, count in counts.items()]
    more = f" and {len(shown) - _NAMED:,} more labels" * (len(shown) > _NAMED)
    return ", ".join(shown[:_NAMED]) + more


def recall_margin(rows: int) -> float:
    """Half the width of Wilson's 95 % interval (1927) for a recall of 0.9 measured on so many test rows; 0 to 0.5."""
    spread = _RECALL * (1 - _RECALL) / rows + Z95**2 / (4 * rows**2)
    return Z95 / (1 + Z95**2 / rows) * math.sqrt(spread)


def rows_for_recall(within: float) -> int:
    """Test rows of a class that tell a recall of 0.9 to within this much (0 to 0.5), with 95 % confidence."""
    rows = 1
    while recall_margin(rows) > within:
        rows += 1
    return rows
