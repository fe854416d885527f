"""The result document: what ``train --json`` prints, classtune.json keeps and the report draws."""

from __future__ import annotations

from typing import Any

import numpy as np

from classtune.config import Settings
from classtune.data.audit.copies import copied_letters
from classtune.data.dataset import Material
from classtune.decisions.abstention import risk_coverage
from classtune.decisions.decide import Decisions
from classtune.decisions.thresholds import precision_recall
from classtune.explain.attributions import attribute, words_of
from classtune.inference.predictor import Predictor
from classtune.jobs.rungs import TIMED_TEXTS, Rungs
from classtune.jobs.steps import Scores, seconds, versions
from classtune.judging.answers import judge_answers, right_rows
from classtune.judging.metrics import reliability
from classtune.judging.paired import verdict
from classtune.model.network import Network
from classtune.stats import wilson
from classtune.training.depth import DepthChoice
from classtune.training.loop import History

# What of the result a bundle's classtune.json keeps.
RECORDED = (
    "decisions",
    "networks",
    "keeps_texts",
    "data",
    "splits",
    "test",
    "baseline",
    "verdict",
    "depth",
    "trunk",
    "timing",
    "versions",
    "notes",
)
_SHOWN_MISTAKES = 10
_EXPLAINED_WORDS = 60  # a text is run once for each of its words


def result(
    network: Network,
    material: Material,
    settings: Settings,
    history: History,
    depth: DepthChoice,
    trunk: dict[str, Any] | None,
    decisions: Decisions,
) -> dict[str, Any]:
    """The result document of a run that was not tested, but for its timing."""
    record = decisions.record()
    return {
        "bundle": None,
        "task": "several labels a text" if material.multi else "one label a text",
        "data": material.data,
        "audit": {key: material.data[key] for key in ("rows", "findings")},
        "splits": material.splits.sizes(),
        "labels": material.labels,
        "test": None,
        "baseline": None,
        "verdict": None,
        "depth": {
            "kept": network.depth,
            "of": network.of,
            "texts": depth.texts,
            "tokens": depth.tokens,
            "curve": depth.curve,
        },
        "trunk": trunk,
        "training": {
            "history": history.points,
            "best_epoch": history.best_epoch,
            "epochs": history.epochs,
            "stopped": history.stopped,
        },
        "decisions": record,
        "ladder": None,
        "copies": None,
        "calibration": None,
        "curves": None,
        "mistakes": [],
        "settings": settings.model_dump(),
        "cut_texts": material.data["cut"],
        "cut_tokens": material.data["cut_tokens"],
        "versions": versions(),
        "notes": [*material.notes, *network.notes, *record["notes"]],
        "hugging_face": network.is_hugging_face,
    }


def names_of(material: Material, row: int) -> str:
    """The label of a row, or its labels."""
    truth = material.truth[row]
    if not material.multi:
        return material.labels[int(truth)]
    return ", ".join(label for label, has in zip(material.labels, truth, strict=True) if has)


def judgement(
    material: Material, logits: Scores, rungs: Rungs, predictor: Predictor, train_seconds: float
) -> dict[str, Any]:
    """What the test rows say of the model and of the cheaper rungs, and what a text costs each."""
    rows, labels, decisions = material.splits.test, material.labels, predictor.decisions
    truth, texts = material.truth[rows], [material.texts[row] for row in rows[:TIMED_TEXTS]]
    plain = Decisions.plain(labels, material.multi)
    uncalibrated, scores = plain.probabilities(logits), decisions.probabilities(logits)
    cost = 1e3 * seconds(lambda: predictor.probabilities(texts)) / len(texts)
    baseline, name = rungs.baseline, "language model"
    size = 4 * sum(parameter.numel() for parameter in predictor.network.classifier.parameters())
    costs = {"train_seconds": train_seconds, "ms_per_text": cost}
    test = rungs.add(name, scores, **costs, size=size, decisions=decisions)
    right, beside_right = rungs.right[name], rungs.right[baseline["name"]]
    ratio = cost / baseline["ms_per_text"]
    outcome = verdict(test, baseline, right, beside_right, cost_ratio=ratio)
    copied = copied_letters(
        [material.texts[row] for row in material.splits.train], [material.texts[row] for row in rows]
    )
    return {
        "test": _figures(test),
        "baseline": {"name": baseline["name"], **_figures(baseline)},
        "verdict": {**outcome, "ms_per_text": cost, "baseline_ms_per_text": baseline["ms_per_text"]},
        "ladder": rungs.climbed(),
        "copies": _without_copies(copied, right, beside_right, baseline["name"]),
        "calibration": {
            "method": decisions.calibration.method,
            "candidates": decisions.calibration.candidates,
            "before": _calibration_facts(plain, uncalibrated, truth),
            "after": _calibration_facts(plain, scores, truth),
        },
        "curves": {
            "precision_recall": precision_recall(scores, truth, labels),
            "risk_coverage": None if material.multi else risk_coverage(scores, truth),
        },
        "mistakes": _mistakes(material, scores, predictor),
    }


def _figures(rung: dict[str, Any]) -> dict[str, Any]:
    """What `judge` found of a rung, without its costs."""
    return {key: value for key, value in rung.items() if key not in ("name", "train_seconds", "ms_per_text", "bytes")}


def _without_copies(copied: Any, right: Any, baseline_right: Any, name: str) -> dict[str, Any] | None:
    """The score on the test rows whose letters stand in no training text, beside that on all; None without copies."""
    if not copied.any():
        return None
    fresh = ~copied
    rows, model, baseline = int(fresh.sum()), int(right[fresh].sum()), int(baseline_right[fresh].sum())
    if not rows:
        return None
    return {
        "copied": int(copied.sum()),
        "rows": rows,
        "accuracy": model / rows,
        "accuracy_ci95": wilson(model, rows),
        "baseline_accuracy": baseline / rows,
        "baseline_accuracy_ci95": wilson(baseline, rows),
        "sentence": f"{copied.sum():,} of {len(copied):,} test texts are in the training rows when only letters count: "
        f"{100 * right.mean():.2f} % are right on all, {100 * model / rows:.2f} % on the {rows:,} others "
        f"({name}: {100 * baseline_right.mean():.2f} % and {100 * baseline / rows:.2f} %).",
    }


def _calibration_facts(plain: Decisions, scores: Scores, truth: Any) -> dict[str, Any]:
    judged = judge_answers(plain, scores, truth)
    return {"log_loss": judged["log_loss"], "ece": judged["ece"], "bins": reliability(scores, truth)}


def _mistakes(material: Material, scores: Scores, predictor: Predictor) -> list[dict[str, Any]]:
    """The test rows that the model got wrong with the most confidence, with the words that misled it."""
    rows = material.splits.test
    truth = material.truth[rows]
    answers = predictor.decisions.answers(scores)
    given = answers.any(1) | material.multi
    wrong = np.flatnonzero(given & ~right_rows(predictor.decisions, scores, truth))
    guess = np.where(answers, scores, -1.0).argmax(1)
    worst = wrong[np.argsort(-scores[wrong, guess[wrong]], kind="stable")][:_SHOWN_MISTAKES]
    mistakes = []
    for index in worst:
        text = material.texts[rows[index]]
        words = []
        if len(words_of(text)) <= _EXPLAINED_WORDS:
            found = attribute(predictor.network, text, int(guess[index]), "occlusion", run=predictor.whole)
            words = [
                {"word": word.text, "start": word.start, "end": word.end, "weight": float(weight)}
                for word, weight in zip(found.pieces, found.weights, strict=True)
            ]
        mistakes.append(
            {
                "text": text,
                "truth": names_of(material, rows[index]),
                "label": ", ".join(np.array(material.labels)[answers[index]]),
                "score": float(scores[index, guess[index]]),
                "words": words,
            }
        )
    return mistakes
