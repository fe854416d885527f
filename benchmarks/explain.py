"""Whether explanations name the words that matter: leave them out and see the score fall. And do both methods agree?

Test rows of sms-spam, as many spam as ham, with the bundle that train_sms.py writes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from common import Figure, main, note, sms_spam
from numpy.typing import NDArray
from train_sms import sms_network

from classtune.config import Settings
from classtune.data.dataset import prepare
from classtune.explain.attributions import STEPS
from classtune.explain.explanations import explain
from classtune.explain.words import without, words_of
from classtune.inference.predictor import Predictor, load_predictor

COUNTS = (1, 2, 3, 5)
SHOWN = 2  # the count whose fall is the figure: 3 words
RANDOM_ORDERS = 5


def measure(args: argparse.Namespace) -> list[Figure]:
    predictor, bundle = load_predictor(sms_network())
    material = prepare(sms_spam(), Settings(**bundle.record["settings"]))
    rng = np.random.default_rng(args.seed)
    test = rng.permutation(material.splits.test)
    of_label = [test[material.truth[test] == label][: args.texts // 2] for label in range(len(material.labels))]
    texts = [material.texts[row] for row in np.concatenate(of_label)]
    explained = []
    for number, text in enumerate(texts, start=1):
        explained.append(explain(predictor, text, steps=args.steps))
        if number % 10 == 0:
            note(f"{number} of {len(texts)} texts explained")
    ranked = {
        name: falls(predictor, texts, [np.array([word[key] for word in e["words"]]) for e in explained], COUNTS)
        for name, key in (("integrated gradients", "gradients"), ("occlusion", "weight"))
    }
    orders = [[rng.random(len(e["words"])) for e in explained] for _ in range(RANDOM_ORDERS)]
    ranked["random words"] = by_chance = np.mean([falls(predictor, texts, order, COUNTS) for order in orders], axis=0)
    figures = [
        Figure(f"fall of the score without 3 words: {name}", 100 * found[:, SHOWN].mean(), "pt", detail=detail)
        for name, found in ranked.items()
        for detail in [_detail(found, by_chance, [e["label"] for e in explained])]
    ]
    agreements = np.array([e["agreement"] for e in explained])
    gaps = np.array([e["completeness_gap"] for e in explained])
    share = 100 * float((agreements > 0.5).mean())
    detail = {
        "texts": len(texts),
        "mean_agreement": float(agreements.mean()),
        "gap_quantiles_50_90": np.quantile(gaps, [0.5, 0.9]).tolist(),
    }
    return [*figures, Figure("texts whose top 5 words mostly agree in sign", share, "%", 50, 90, detail)]


def falls(
    predictor: Predictor, texts: Sequence[str], weights: Sequence[NDArray[np.float64]], counts: Sequence[int]
) -> NDArray[np.float64]:
    """How far each label's probability falls when the words of largest weight are left out [texts, counts].

    weights: of each text's words. One word is always left. (Samek et al., 2017; "comprehensiveness" of DeYoung et al.,
    2020.)
    """
    shorter = []
    for text, of_words in zip(texts, weights, strict=True):
        words, order = words_of(text), np.argsort(-of_words, kind="stable")
        shorter += [without(text, [words[i] for i in order[: min(count, len(words) - 1)]]) for count in counts]
    before = predictor.probabilities(texts)
    after = predictor.probabilities(shorter).reshape(len(texts), len(counts), -1)
    rows, chosen = np.arange(len(texts)), before.argmax(1)
    result: NDArray[np.float64] = before[rows, chosen][:, None] - after[rows, :, chosen]
    return result


def _detail(found: NDArray[np.float64], by_chance: NDArray[np.float64], labels: list[str]) -> dict[str, Any]:
    """Mean falls by count of words, what they are above chance with a 95 % interval, and by label."""
    more = found - by_chance
    half = 1.96 * more.std(0, ddof=1) / np.sqrt(len(more))
    return {
        "words": COUNTS,
        "fall": found.mean(0).tolist(),
        "above_random": more.mean(0).tolist(),
        "above_random_ci95": np.stack([more.mean(0) - half, more.mean(0) + half], 1).tolist(),
        "by_label": {name: found[np.array(labels) == name].mean(0).tolist() for name in sorted(set(labels))},
    }


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--texts", type=int, default=200, help="texts, half of each label")
    parser.add_argument("--steps", type=int, default=STEPS, help="points of the path, at most")
    parser.add_argument("--seed", type=int, default=123)


if __name__ == "__main__":
    main(__doc__, measure, options)
