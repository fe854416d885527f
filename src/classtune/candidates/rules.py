"""The two classifiers that need no learning to speak of: the majority class, and the best rule of one line.

What they get right is what a score is worth before any model: on the tutorial's messages one line about digits equals
its headline accuracy. A rule is a small decision tree over plain features of the raw text, and is told in words.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from classtune.data.folds import FOLDS, deal, part_of_each
from classtune.errors import DataError
from classtune.stats import FloatArray, IntArray

# A rule that needs more leaves than this is no longer one line.
MOST_LEAVES = 6
MOST_ROWS = 20_000  # more do not change a few questions, and take minutes
CURRENCY = "$£€¥₹₽₩"
# Longer ones first, so that none hides another.
QUESTION_WORDS = ("who", "what", "when", "where", "why", "which", "how many", "how much", "how")

_START = re.compile(rf"(?i)\s*({'|'.join(QUESTION_WORDS).replace(' ', chr(92) + 's+')})\b")
_LINK = re.compile(r"(?i)\bhttps?://|\bwww\.")


def _capitals(text: str) -> float:
    """Capitals among the letters, in per cent."""
    letters = sum(map(str.isalpha, text))
    return 100 * sum(map(str.isupper, text)) / letters if letters else 0.0


# What is counted, by what one of it is called and what several are.
_COUNTS: dict[tuple[str, str], Callable[[str], float]] = {
    ("character", "characters"): len,
    ("word", "words"): lambda text: len(text.split()),
    ("digit", "digits"): lambda text: sum(map(str.isdigit, text)),
    ("link", "links"): lambda text: len(_LINK.findall(text)),
    ("exclamation mark", "exclamation marks"): lambda text: text.count("!"),
    ("question mark", "question marks"): lambda text: text.count("?"),
    ("currency sign", "currency signs"): lambda text: sum(map(text.count, CURRENCY)),
}

NO_WORD = len(_COUNTS) + 1 + len(QUESTION_WORDS)


@dataclass(frozen=True)
class RuleBaseline:
    """A fitted rule; made by ``fit_rule``. ``sentence`` tells it: "4 or more digits means spam, anything else ham"."""

    name: ClassVar[str] = "one-line rule"
    sentence: str
    tree: Any
    shares: FloatArray  # [nodes of the tree, classes]

    def probabilities(self, texts: Sequence[str]) -> FloatArray:
        """Class probabilities (n, k): the shares of the training rows to which the same part of the rule applied."""
        if not len(texts):
            return np.empty((0, self.shares.shape[1]))
        shares: FloatArray = self.shares[self.tree.apply(plain_features(texts))]
        return shares


@dataclass(frozen=True)
class MajorityBaseline:
    """The same answer to every text; made by ``fit_majority``."""

    name: ClassVar[str] = "majority class"
    shares: FloatArray  # [classes]

    def probabilities(self, texts: Sequence[str]) -> FloatArray:
        """Class probabilities (n, k): the classes' shares of the training rows, whatever the text."""
        return np.tile(self.shares, (len(texts), 1))


def fit_majority(truth: IntArray | npt.NDArray[np.bool_], classes: Sequence[str]) -> MajorityBaseline:
    """The shares of the named ``classes`` among training rows: ``truth`` (n,) class numbers, or (n, k) labels set.

    Raises DataError where there is no row.
    """
    if not len(truth):
        raise DataError("training rows: there are none. Give rows of at least two classes.")
    one_hot = truth if truth.ndim == 2 else np.eye(len(classes))[truth]
    return MajorityBaseline(np.asarray(one_hot.mean(axis=0), dtype=np.float64))


def fit_rule(
    texts: Sequence[str],
    truth: IntArray,
    *,
    classes: Sequence[str],
    seed: int,
    groups: IntArray | None = None,
) -> RuleBaseline:
    """The rule of one line that tells n texts' class numbers (n,) apart best. Same input, same rule.

    One question where there are two ``classes`` (their names); else as many leaves, up to the number of classes and
    six, as 5-fold cross-validated accuracy asks for (the fewest within one standard error of the best: Breiman,
    Friedman, Olshen & Stone, *Classification and Regression Trees*, 1984, section 3.4.3).
    Of more than MOST_ROWS rows it learns from a part of each class.
    Raises DataError where the rows hold fewer than two classes.
    """
    from sklearn.tree import DecisionTreeClassifier

    if (found := len(np.unique(truth))) < 2:
        raise DataError(f"training rows: {found} class among {len(texts):,} rows. Give rows of at least two classes.")
    if len(texts) > MOST_ROWS:
        taught = part_of_each(truth, MOST_ROWS / len(texts), seed=seed, groups=groups)
        texts, truth = [texts[row] for row in taught], truth[taught]
        groups = None if groups is None else groups[taught]
    features = plain_features(texts)

    def fitted(rows: Any, leaves: int) -> Any:
        tree = DecisionTreeClassifier(max_leaf_nodes=leaves, random_state=seed)
        return tree.fit(features[rows], truth[rows])

    every = np.arange(len(truth))
    sizes = range(2, min(found, MOST_LEAVES) + 1)
    leaves = 2
    if len(sizes) > 1 and len(truth) >= 2 * FOLDS:
        fold = deal(truth, FOLDS, seed=seed, groups=groups)
        parts = [(every[fold != number], fold == number) for number in np.unique(fold)]
        scores = np.array(
            [[fitted(rows, size).score(features[held], truth[held]) for rows, held in parts] for size in sizes]
        )
        mean, best = scores.mean(axis=1), int(scores.mean(axis=1).argmax())
        enough = mean >= mean[best] - scores[best].std(ddof=1) / math.sqrt(FOLDS)
        leaves = sizes[int(enough.argmax())]
    tree = fitted(every, leaves)
    inner = tree.tree_
    shares = np.zeros((inner.node_count, len(classes)))
    # One row's worth of the overall shares keeps a pure leaf from claiming to be certain.
    rows = inner.n_node_samples[:, None]
    shares[:, tree.classes_] = (inner.value[:, 0] * rows + inner.value[0, 0]) / (rows + 1)
    return RuleBaseline(_sentence(inner, shares, classes), tree, shares)


def plain_features(texts: Sequence[str]) -> FloatArray:
    """What one can see in n texts without reading them (n, 17): counts, capitals in %, the first words (0, 1)."""
    rows = []
    for text in texts:
        found = _START.match(text)
        word = " ".join(found[1].lower().split()) if found else ""
        asked = [float(word == known) for known in QUESTION_WORDS]
        rows.append([*(count(text) for count in _COUNTS.values()), _capitals(text), *asked])
    return np.array(rows, dtype=np.float64)


def _sentence(tree: Any, shares: FloatArray, classes: Sequence[str]) -> str:
    """The rule in words, its parts to be read in order; the class of the most rows comes last, as "anything else".

    Parts about a first word stand before all others, so these need not say which first words they are not about.
    """
    leaves: list[tuple[int, int, str]] = []  # the first word it is about (or past the last), class, conditions
    rows = np.zeros(len(classes))

    def walk(node: int, bounds: dict[int, tuple[float, float]]) -> None:
        left, right = int(tree.children_left[node]), int(tree.children_right[node])
        if left >= 0:
            feature, cut = int(tree.feature[node]), float(tree.threshold[node])
            low, high = bounds.get(feature, (-math.inf, math.inf))
            walk(left, {**bounds, feature: (low, cut)})
            walk(right, {**bounds, feature: (cut, high)})
            return
        label = int(shares[node].argmax())
        rows[label] += tree.n_node_samples[node]
        said = [_condition(feature, *ends) for feature, ends in sorted(bounds.items(), reverse=True)]
        words = [feature for feature, (_, high) in bounds.items() if feature > len(_COUNTS) and high == math.inf]
        first = min(words, default=NO_WORD)
        leaves.append((first, label, " and ".join(filter(None, said))))

    walk(0, {})
    rest = int(rows.argmax())
    said_of = [leaf for leaf in sorted(leaves) if leaf[0] < NO_WORD or leaf[1] != rest]
    told = [
        f"{', or '.join(said for _, _, said in part)} means {classes[label]}"
        for label, part in itertools.groupby(said_of, key=lambda leaf: leaf[1])
    ]
    return f"{'; '.join(told)}, anything else {classes[rest]}" if told else f"always {classes[rest]}"


def _condition(feature: int, low: float, high: float) -> str:
    """One feature above ``low`` and at most ``high``, in words; nothing for a first word that it is not."""
    counts = list(_COUNTS)
    if feature > len(counts):
        word = QUESTION_WORDS[feature - len(counts) - 1]
        return f"starting with {word!r}" if high == math.inf else ""
    if feature == len(counts):
        ends = [f"more than {low:.0f} %" if low > -math.inf else "", f"at most {high:.0f} %" if high < math.inf else ""]
        return f"{' and '.join(filter(None, ends))} capitals"
    one, many = counts[feature]
    least, most = (math.floor(low) + 1 if low > -math.inf else 0), (math.floor(high) if high < math.inf else None)
    if most is None:
        return f"{least:,} or more {many}"
    if most == least:
        return f"{'no' if most == 0 else f'exactly {most:,}'} {one if most == 1 else many}"
    return f"{least:,} to {most:,} {many}" if least else f"{most:,} or fewer {many}"
