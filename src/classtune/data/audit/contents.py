"""Checks of an audit that look at single texts: empty, damaged, foreign, constant, too long."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np

from classtune.data.audit.damage import REPLACEMENT, damages, repair
from classtune.data.audit.findings import Finding, Numbers, Rows, percent, shorten
from classtune.data.audit.languages import script
from classtune.data.reading.cells import is_blank

_CONSTANT_SHARE = 0.05  # of the rows, from which one text is more than a common answer
_GIVEAWAY_CHARACTERS, _GIVEAWAY_SHARE, _GIVEAWAY_ROWS = 12, 0.9, 20
_SAMPLE = 200
_TELLING_SHARE, _TELLING_ROWS = 0.3, 20  # what a class has more often than the others; rows of it
_BEFORE_DAMAGE = 60  # characters shown


def empties(rows: Rows) -> Iterator[Finding]:
    yield from rows.finding(
        "empty-text",
        np.flatnonzero(rows.blank),
        "Nothing can be learned from them: `train` refuses them.",
        "Fill them in, or pass `--drop-empty`; `--fix OUT` drops them.",
    )
    if rows.marks is not None:
        yield from rows.finding(
            "empty-label",
            np.flatnonzero(rows.mark_numbers < 0) if rows.label_sets is None else [],  # no label at all may be meant
            "They cannot teach or test anything: `train` refuses them.",
            "Fill them in, or pass `--drop-unlabelled`; `--fix OUT` drops them.",
        )
    short = [row for row, text in enumerate(rows.texts) if not is_blank(text) and sum(map(str.isalnum, text[:40])) < 2]
    yield from rows.finding(
        "very-short",
        short,
        "With no word in them only the share of each class can be guessed.",
        "Look whether they were meant to be here.",
    )


def damage(rows: Rows) -> Iterator[Finding]:
    """Damage that can be mended, and characters that are lost."""
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(rows.texts):
        for kind in damages(text):
            rows_of[kind].append(row)
        if REPLACEMENT in text:
            rows_of["lost-characters"].append(row)
    for kind, damaged in rows_of.items():
        for finding in rows.finding(kind, damaged, *_DAMAGE[kind]):
            for example, row in zip(finding.examples, damaged, strict=False):
                text, mended = rows.texts[row], repair(rows.texts[row])[0]
                if kind == "lost-characters":
                    mended = text.replace(REPLACEMENT, "")
                differs = (place for place, pair in enumerate(zip(text, mended, strict=False)) if len(set(pair)) > 1)
                start = max(0, next(differs, len(mended)) - _BEFORE_DAMAGE)
                cut = "…" if start else ""
                example["text"] = shorten(cut + text[start:])
                example.pop("pair", None)  # the damage may be in either
                if kind != "lost-characters":
                    example["mended"] = shorten(cut + mended[start:])
            yield finding


_MENDED = "`--fix OUT` writes a mended table. Texts that are classified later must be mended in the same way."
_DAMAGE = {
    "mojibake": ("Letters read in a wrong encoding are noise to the model, and may give a class away.", _MENDED),
    "html-entities": ("The model reads `&amp;` as a word; a sign of one source may give a class away.", _MENDED),
    "html-tags": ("Tags take tokens from the text and tell of its source rather than its meaning.", _MENDED),
    "control-characters": ("Characters nobody sees split words: the model reads other words than people do.", _MENDED),
    "lost-characters": ("What stood in place of � is lost.", "Read the table again from its source, as UTF-8."),
}


def scripts(rows: Rows) -> Iterator[Finding]:
    scripts_of = [script(text) for text in rows.texts]
    mix = Counter(name for name in scripts_of if name)
    if len(mix) < 2:
        return
    main, _ = mix.most_common(1)[0]
    yield from rows.finding(
        "language-mix",
        [row for row, name in enumerate(scripts_of) if name and name != main],
        f"Most texts are in {main} letters; too few others to learn from them, and the score hides how they fare.",
        "Name a model that knows these languages, or train a classifier for each.",
        scripts=dict(mix.most_common()),
    )


def constants(rows: Rows) -> Iterator[Finding]:
    """One text that is much of the table."""
    filled, numbers = rows.filled, rows.numbers[rows.filled]
    if rows.count >= _GIVEAWAY_ROWS and len(numbers):
        commonest = int(np.bincount(numbers).argmax())
        same = filled[numbers == commonest]
        if len(same) >= _CONSTANT_SHARE * rows.count:
            yield from rows.finding(
                "constant-text",
                same,
                f"One text is {percent(len(same) / rows.count)} of the rows: the score is mostly that of this text.",
                "Look whether it stands for a missing text. `--fix OUT` keeps one copy.",
            )


def giveaways(rows: Rows) -> Iterator[Finding]:
    """Beginnings or ends that nearly all texts of a class have, and few of the others."""
    if len(rows.classes) < 2 or rows.label_sets is not None:
        return
    filled = rows.filled[rows.mark_numbers[rows.filled] >= 0]
    in_order = filled[np.argsort(rows.mark_numbers[filled], kind="stable")]
    starts = np.flatnonzero(np.diff(rows.mark_numbers[in_order], prepend=-1))
    for mine in np.split(in_order, starts[1:]):
        if len(mine) < _GIVEAWAY_ROWS:
            continue
        name = rows.mark_names[rows.mark_numbers[mine[0]]]
        others = _sample(filled, 10 * _SAMPLE)
        others = others[rows.mark_numbers[others] != rows.mark_numbers[mine[0]]]
        for place, cut in (("start", slice(_GIVEAWAY_CHARACTERS)), ("end", slice(-_GIVEAWAY_CHARACTERS, None))):
            ends = Counter(rows.distinct[rows.numbers[row]][cut] for row in _sample(mine, _SAMPLE))
            end, times = ends.most_common(1)[0]
            if times < _GIVEAWAY_SHARE * ends.total():
                continue
            having = [row for row in mine if rows.distinct[rows.numbers[row]][cut] == end]
            elsewhere = sum(rows.distinct[rows.numbers[row]][cut] == end for row in others)
            if len(having) >= _GIVEAWAY_SHARE * len(mine) and elsewhere <= (1 - _GIVEAWAY_SHARE) * len(others):
                yield from rows.finding(
                    "giveaway",
                    having,
                    f"Nearly all texts of {name!r} {place} with {end!r}: the model learns that and nothing else.",
                    "Remove it from the texts, unless texts to be classified later have it too.",
                )


def telling_blanks(rows: Rows) -> Iterator[Finding]:
    """Blanks that nobody sees, and that the texts of one class have far more often than the others."""
    if len(rows.classes) < 2 or rows.label_sets is not None:
        return
    filled = rows.filled[rows.mark_numbers[rows.filled] >= 0]
    marks, names = rows.mark_numbers[filled], rows.mark_names
    counts = np.bincount(marks, minlength=len(names))
    widest: tuple[float, Numbers, str] = (_TELLING_SHARE, filled[:0], "")
    for what, has in _BLANKS.items():
        having = np.array([has(rows.texts[row]) is not None for row in filled], dtype=bool)
        of_class = np.bincount(marks[having], minlength=len(names))
        own = of_class / np.maximum(counts, 1)
        others = (having.sum() - of_class) / np.maximum(len(filled) - counts, 1)
        gap = np.where(counts >= _TELLING_ROWS, own - others, 0)
        mark = int(gap.argmax())
        if gap[mark] >= widest[0]:
            shares = (
                f"{percent(own[mark])} of the texts of {names[mark]!r} {what}, {percent(others[mark])} of the others"
            )
            widest = gap[mark], filled[having & (marks == mark)], shares
    yield from rows.finding(
        "telling-blanks",
        widest[1],
        f"{widest[2]}: a trace of how the table was made. A score on rows of the same table may be that of the trace.",
        "classtune folds blanks unless `blanks = keep`. Remove them before another program learns from the table.",
    )


_BLANKS = {
    "end in two blanks or more": re.compile(r"\s\s\Z").search,
    "end in a blank": re.compile(r"\S\s\Z").search,
    "begin with a blank": re.compile(r"\A\s").search,
    "hold several blanks side by side": re.compile(r"\S[^\S\n]{2,}\S").search,
}


def _sample(rows: Numbers, most: int) -> Numbers:
    """About ``most`` of the rows, evenly."""
    return rows[:: max(1, len(rows) // most)]


def long(rows: Rows) -> Iterator[Finding]:
    if rows.token_lengths is None or rows.limit is None:
        return
    over = np.flatnonzero(rows.token_lengths > rows.limit)
    lost = int((rows.token_lengths[over] - rows.limit).sum())
    yield from rows.finding(
        "too-long",
        over[np.argsort(-rows.token_lengths[over], kind="stable")],
        f"The model takes {rows.limit:,} tokens: {percent(lost / max(1, rows.token_lengths[over].sum()))} of these "
        "texts would not be read.",
        f"Cut them with `--set max_tokens={rows.limit}`, keep both ends with `--set truncate=both`, or read all of "
        "them with `--set long_texts=windows`.",
        tokens_lost=lost,
    )
