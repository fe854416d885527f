"""Checks of an audit that look for copies: within the rows, across given parts, and under several labels."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from classtune.data.audit.findings import SHOWN, Finding, Numbers, Rows, percent, shown_text, under_several
from classtune.data.reading.cells import is_blank
from classtune.data.splits import fold

_NO_LETTERS = re.compile(r"[\W\d_]+")


def leaks(rows: Rows) -> Iterator[Finding]:
    """Rows of each part whose text stands in training: after folding; nearly, or in its letters alone."""
    start = rows.count
    for part, (texts, *_) in rows.parts.items():
        numbers = rows.numbers[start : start + len(texts)]
        start += len(texts)
        filled = [row for row, text in enumerate(texts) if not is_blank(text)]
        letters = {row: _letters(rows.distinct[numbers[row]]) for row in filled}
        wanted, known = set(letters.values()) - {""}, dict[str, int]()
        for number in np.flatnonzero(rows.first_of_number < rows.count).tolist():
            if (only_letters := _letters(rows.distinct[number])) in wanted:
                known.setdefault(only_letters, int(rows.first_of_number[number]))
        exact, near, verbatim = dict[int, int](), dict[int, int](), set[str]()
        for row in filled:
            first = int(rows.first_of_number[numbers[row]])
            first_near = min(int(rows.first_of_group[rows.groups[numbers[row]]]), known.get(letters[row], rows.count))
            if first < rows.count:
                exact[row] = first
            elif first_near < rows.count:
                near[row] = first_near
        copied = np.isin(rows.numbers[: rows.count], numbers[list(exact)])
        verbatim = {rows.texts[row] for row in np.flatnonzero(copied).tolist()}
        same_letters = {row for row in filled if letters[row] in known}
        yield from _leak(
            rows,
            "leak",
            part,
            exact,
            "Nothing to do in `train`: such training rows are left out. To mend the files, remove them from either.",
            verbatim=sum(texts[row] in verbatim for row in exact),
            same_letters=len(same_letters),
        )
        yield from _leak(
            rows,
            "near-leak",
            part,
            near,
            "Leave --validation and --test out and let `--split-by near` keep near copies in one part.",
            same_letters=len(same_letters & near.keys()),
        )


def copied_letters(texts: Sequence[str], others: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Whether each of ``others`` is one of ``texts`` when only letters count (n,); one without letters is none."""
    known = {_letters(fold(text)) for text in texts} - {""}
    return np.array([_letters(fold(text)) in known for text in others], dtype=np.bool_)


def _leak(rows: Rows, kind: str, part: str, origin: dict[int, int], advice: str, **detail: Any) -> Iterator[Finding]:
    """origin: the first training row that each leaked row of the part repeats."""
    if not origin:
        return
    examples = [
        rows.example(row, part) | {"part": part, "other_line": rows.line(source), **_other_text(rows.texts[source])}
        for row, source in list(origin.items())[:SHOWN]
    ]
    share = len(origin) / len(rows.parts[part][0])
    how = "are" if kind == "leak" else "are nearly"
    effect = f"{percent(share)} of {part} {how} texts seen in training: they raise the score without any understanding."
    yield Finding(kind, len(origin), share, examples, effect, advice, {"part": part, **detail})


def copies(rows: Rows) -> Iterator[Finding]:
    """Extra copies of an earlier text, after folding and nearly; the most repeated first."""
    filled = rows.filled
    numbers = rows.numbers[filled]
    extra = filled[rows.first_of_number[numbers] != filled]
    times = np.bincount(numbers, minlength=len(rows.distinct))
    if len(extra):
        yield Finding(
            "exact-duplicates",
            len(extra),
            len(extra) / rows.count,
            [
                rows.example(row, other_line=rows.line(rows.first_of_number[number]), copies=int(times[number]))
                for row, number in _worst(extra, rows.numbers[extra], times)
            ],
            "A copy in another part of a split would be remembered, not understood, and raise the score.",
            "Nothing to do: copies are kept in one part. `--fix OUT` writes a table without them.",
        )
    firsts = rows.near_copies
    groups = rows.groups[rows.numbers[firsts]]
    sizes = 1 + np.bincount(groups, minlength=len(rows.first_of_group))
    if len(firsts):
        yield Finding(
            "near-duplicates",
            len(firsts),
            len(firsts) / rows.count,
            [
                rows.example(
                    row,
                    other_line=rows.line(rows.first_of_group[group]),
                    **_other_text(rows.texts[rows.first_of_group[group]]),
                    copies=int(sizes[group]),
                )
                for row, group in _worst(firsts, groups, sizes)
            ],
            "A near copy in another part of a split is easier than a new text and raises the score.",
            "Keep them in one part with `--split-by near`, the default.",
            {"largest_group": int(sizes[groups].max())},
        )


def _worst(rows: Numbers, keys: Numbers, sizes: Numbers) -> list[tuple[int, int]]:
    """(row, key) of the first row found of each of the largest keys."""
    largest, first = np.unique(keys, return_index=True)
    places = first[np.argsort(-sizes[largest], kind="stable")][:SHOWN]
    return [(int(rows[place]), int(keys[place])) for place in places]


def conflicts(rows: Rows) -> Iterator[Finding]:
    """Equal and nearly equal texts under several labels; the cells beside them are equal, too."""
    usable = rows.filled[rows.mark_numbers[rows.filled] >= 0]
    own = rows.numbers[: rows.count]
    numbers, marks = rows.told_apart(own)[usable], rows.mark_numbers[usable]
    exact = np.isin(numbers, rows.conflicting)
    groups = rows.told_apart(rows.groups[own])[usable]
    near = np.isin(groups, under_several(groups, marks)) & ~np.isin(groups, groups[exact])
    for kind, keys, chosen, effect in (
        ("conflicting-labels", numbers, exact, "No classifier can be right on both: this bounds the best score."),
        ("near-conflicts", groups, near, "Either the difference matters or a label is wrong: such rows teach noise."),
    ):
        rows_of: dict[int, list[int]] = defaultdict(list)
        for key, place in zip(keys[chosen].tolist(), np.flatnonzero(chosen).tolist(), strict=True):
            rows_of[key].append(place)
        examples = []
        for places in sorted(rows_of.values(), key=len, reverse=True)[:SHOWN]:
            other = next(place for place in places if marks[place] != marks[places[0]])
            one = int(usable[places[0]])
            seen = {"other_line": rows.line(one), "other_label": rows.mark_names[marks[places[0]]]}
            examples.append(rows.example(int(usable[other])) | seen | _other_text(rows.texts[one]))
        if examples:
            yield Finding(
                kind,
                int(chosen.sum()),
                int(chosen.sum()) / rows.count,
                examples,
                effect,
                "Decide on one label for each. `--fix OUT` keeps the majority's and drops what has none."
                if kind == "conflicting-labels"
                else "Look at them, and mend the label that is wrong.",
                {"texts": len(rows_of)},
            )


def _other_text(text: str) -> dict[str, str]:
    """The text of the other row, as `shown_text` has it."""
    return {f"other_{name}": shown for name, shown in shown_text(text).items()}


def _letters(folded: str) -> str:
    return _NO_LETTERS.sub("", folded)
