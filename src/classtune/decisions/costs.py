"""What mistakes cost, as the user writes it: a small language, and the answers of least expected cost.

Costs need no rows: the answer of least expected cost follows from the probabilities (Elkan 2001).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from classtune.decisions.thresholds import Thresholds
from classtune.errors import SettingsError, did_you_mean
from classtune.stats import FloatArray, Floats

# fn and fp alone are those of the rarer of two labels only where it has at most this share of the training rows.
CLEARLY_RARER = 0.4
_GRAMMAR = "Write fn=10,fp=1, or spam:fn=10,fp=1, or spam>ham=10,ham>spam=1 (true label > given label)."


def by_cost(cost: str, labels: Sequence[str], prior: FloatArray, *, multi: bool = False) -> Thresholds:
    """Thresholds of least expected cost. ``prior`` (k,): shares of the labels in training.

    The text is a list of: ``fn=N`` and ``fp=N``, the cost of missing a label and of giving it wrongly, of the label
    named before (``spam:fn=10,fp=1`` or ``positive=spam,fn=10,fp=1``), of the one of two labels that is clearly rarer,
    or of every label of a multi-label task; and ``TRUE>GIVEN=N``, the cost of one mistake (``*``: any label). A mistake
    that is not named costs 1, a right answer 0; what comes later wins. Raises SettingsError with every problem of the
    text.
    """
    problems: list[str] = []
    notes: list[str] = []
    missed, claimed = np.ones(len(labels)), np.ones(len(labels))
    matrix = 1 - np.eye(len(labels))
    about, rest = _positive(cost.strip(), labels)
    for item in re.split(r"(?<=[\d.])\s*,\s*", rest):
        name, equals, number = (part.strip() for part in item.rpartition("="))
        value = _cost(number) if equals else None
        if value is None:
            problems.append(f"--cost {item!r}: must end in = and a number of 0 or more. {_GRAMMAR}")
            continue
        true, arrow, given = (part.strip() for part in name.partition(">"))
        label, _, kind = (part.strip() for part in name.rpartition(":"))
        if arrow:
            wrong = [side for side in (true, given) if side != "*" and side not in labels]
            problems += [f"--cost {item!r}: no such label {side!r}. {did_you_mean(side, labels)}" for side in wrong]
            if multi:
                problems.append(f"--cost {item!r}: texts have many labels here. Write LABEL:fn=N,fp=N.")
            elif true == given != "*":
                problems.append(f"--cost {item!r}: a right answer costs nothing. Name two labels.")
            elif not wrong:
                matrix[_places(true, labels)[:, None], _places(given, labels)] = value
        elif kind not in {"fn", "fp"}:
            problems.append(f"--cost {item!r}: says neither fn, fp nor a mistake. {_GRAMMAR}")
        elif label and label not in labels:
            problems.append(f"--cost {item!r}: no such label {label!r}. {did_you_mean(label, labels)}")
        else:
            about = label or about
            if about is None and len(labels) == 2 and not multi and prior.min() <= CLEARLY_RARER:
                about = labels[int(np.argmin(prior))]
                notes.append(f"--cost: fn and fp are those of {about!r}, the rarer label in training.")
            if about is None and not multi:
                alike = ", neither of which is clearly rarer" if len(labels) == 2 else ""
                problems.append(
                    f"--cost {item!r}: of which of the {len(labels)} labels{alike}? Write LABEL:fn=N,fp=N, or put "
                    "positive=LABEL before."
                )
                continue
            places = _places(about or "*", labels)
            (missed if kind == "fn" else claimed)[places] = value
            if kind == "fn":
                matrix[places, :] = value
            else:
                matrix[:, places] = value
    np.fill_diagonal(matrix, 0.0)
    if not problems and not (np.all(missed + claimed > 0) if multi else matrix.any()):
        problems.append(f"--cost {cost!r}: every mistake is free. Give one of them a cost.")
    if problems:
        raise SettingsError(problems)
    if multi:
        return _of_each_label(missed, claimed)
    if len(labels) == 2:
        bound = matrix[0, 1] / (matrix[0, 1] + matrix[1, 0])
        notes.append(f"--cost: {labels[1]!r} is the answer where its probability is {bound:.3g} or more.")
    return Thresholds((None,) * len(labels), tuple(map(tuple, matrix.tolist())), notes=tuple(notes))


def _of_each_label(missed: Floats, claimed: Floats) -> Thresholds:
    """Several labels a text: each is given where that costs less on average than leaving it out."""
    least = claimed / (claimed + missed)
    return Thresholds(tuple(least.tolist()), tuple(zip(missed.tolist(), claimed.tolist(), strict=True)))


def _cost(number: str) -> float | None:
    try:
        value = float(number)
    except ValueError:
        return None
    return value if 0 <= value < math.inf else None


def _positive(cost: str, labels: Sequence[str]) -> tuple[str | None, str]:
    """The label that ``positive=LABEL,`` at the beginning names, and the rest. Raises SettingsError."""
    if not (key := re.match(r"positive\s*=\s*", cost)):
        return None, cost
    rest = cost[key.end() :]
    for label in sorted(labels, key=len, reverse=True):  # a label may begin with another, and hold commas
        if found := re.match(re.escape(label) + r"\s*,\s*", rest):
            return label, rest[found.end() :]
    name = rest.partition(",")[0].strip()
    if name in labels:
        raise SettingsError(f"--cost {cost!r}: says nothing of costs. {_GRAMMAR}")
    raise SettingsError(f"--cost {cost!r}: no such label {name!r}. {did_you_mean(name, labels)}")


def _places(label: str, labels: Sequence[str]) -> npt.NDArray[np.int64]:
    return np.arange(len(labels)) if label == "*" else np.array([list(labels).index(label)])
