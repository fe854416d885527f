"""Results of runs that never were, for what shows them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from classtune.config import resolve
from classtune.data.audit.audit import Audit, Finding
from classtune.data.dataset import DataFacts
from classtune.decisions.abstention import Abstention
from classtune.decisions.decisions import Decisions, Prior
from classtune.decisions.thresholds import Thresholds
from classtune.judging.comparison import Candidate, Comparison, side_by_side
from classtune.judging.figures import Answered, Bin, CalibrationFacts, Figures, Reliability
from classtune.judging.learning_curve import LearningCurve
from classtune.judging.metrics import judge
from classtune.judging.paired import verdict
from classtune.model.activations import TrunkFacts
from classtune.result import (
    ChosenClassifier,
    Curves,
    DepthFacts,
    Mistake,
    Result,
    TrainingFacts,
    Word,
)
from classtune.stats import wilson

EVIL = "<script>alert('x')</script>"


def result(labels: tuple[str, ...] = ("ham", "spam", EVIL), rows: int = 60) -> Result:
    """A run as the report needs it, without what a run can add."""
    rng, classes = np.random.default_rng(0), len(labels)
    truth = rng.integers(0, classes, rows)
    guesses = [rng.dirichlet(np.ones(classes), rows) + weight * np.eye(classes)[truth] for weight in (0.5, 0.2)]
    model, baseline = (judge(guess / guess.sum(axis=1, keepdims=True), truth, labels) for guess in guesses)
    right = [guess.argmax(axis=1) == truth for guess in guesses]
    audit = Audit(
        rows=rows * 5,
        classes=dict.fromkeys(labels, rows),
        duplicates=403,
        conflicting=2,
        near_duplicates=0,
        lengths={"tokens": {"median": 17, "p95": 41, "max": 512}},
        findings=[],
    )
    losses: dict[str, float | None] = {"tf-idf": 0.3, "last block": 0.2}
    return Result(
        bundle="out/spam",
        date="2026-11-28",
        task="one label a text",
        data=DataFacts("sms-spam", audit, cut=7, cut_tokens=4321),
        splits={"train": rows * 3, "validation": rows, "test": rows},
        cross_validated=False,
        labels=list(labels),
        chosen=ChosenClassifier("last block", {"last block": 1.0}, rows, 0.2, losses, "The classifier is last block."),
        networks=4,
        earlier=None,
        cross_validation=None,
        test=model,
        baseline=replace(baseline, name="TF-IDF + logistic regression"),
        verdict=verdict(*right, ms_per_text=30.0, baseline_ms_per_text=1.0),
        depth=DepthFacts(
            18, 30, 1000, 20_000, [{"depth": d, "score": 0.8 + d / 300, "se": 0.01} for d in range(1, 31)]
        ),
        trunk=TrunkFacts(5171, 120_000, 119_000, 31.5, False, "float32"),
        training=TrainingFacts(
            "last block",
            [
                {"epoch": float(e), "examples": e * 180, "step": e * 12, "train_loss": 1 / (e + 1)}
                | {"validation_loss": 1.1 / (e + 1), "train_accuracy": None, "validation_accuracy": None}
                for e in range(1, 5)
            ],
            best_epoch=3,
            epochs=4,
            stopped="3 epochs without a better validation loss",
        ),
        decisions=Decisions.plain(labels),
        comparison=None,
        copies=None,
        calibration=None,
        curves=None,
        learning_curve=None,
        mistakes=[Mistake(f"{EVIL} \0 \ud800 text", EVIL, "ham", 0.99)],
        settings=resolve(overrides={"model": "smollm2-135m", "epochs": 8, "learning_rate": 3e-4, "cache": True}),
        versions={"torch": "2.13.0"},
        notes=[f"a note {EVIL}"],
        hugging_face=True,
        keeps_texts=False,
        extensions={},
        metrics={},
        under_wishes=None,
        timing={"total": 75.2, "trunk": 31.5, "epochs": 12.0, "baseline": 2.5, "depth": 9.1},
    )


def candidates(rows: int) -> Comparison:
    """Six of them, from cheap to dear."""
    rng, right, found = np.random.default_rng(1), {}, []
    names = ("majority class", "one-line rule", "tf-idf", "frozen probe", "last block", "LoRA")
    for place, (name, share) in enumerate(zip(names, (0.4, 0.7, 0.9, 0.91, 0.97, 0.975), strict=True)):
        right[name] = rng.random(rows) < share
        hits = int(right[name].sum())
        values = {"accuracy": hits / rows, "macro_f1": 0.8, "log_loss": 0.3, "ece": 0.02}
        figures = Figures(values, {"accuracy": wilson(hits, rows)}, rows, name=name)
        found.append(Candidate(figures, 3.0**place, 5e-4 * 6**place, 10 ** (4 + place)))
    return side_by_side(found, right, chosen="last block", rule="texts with a prize are spam")


def full(labels: tuple[str, ...] = ("ham", "spam", EVIL), rows: int = 60) -> Result:
    """``result`` with all that a run can add: audit, comparison, calibration, decisions, curves, explanations."""
    found = result(labels, rows)
    assert found.test is not None
    bins = [Bin(0.5 + i / 30, 0.45 + i / 30, 4) for i in range(15)]
    examples = [{"line": 7 + i, "text": f"{EVIL} win \u202e prize", "label": labels[0]} for i in range(12)]
    findings = [
        Finding(kind, 403, 0.071, examples, "Each of them counts twice.", "Remove them with --fix.")
        for kind in ("exact-duplicates", "leak", "html-entities", "label-errors")
    ]
    recall = np.linspace(0, 1, 500)
    text = "URGENT!  You have won a £900 prize; call 09061701461 now, or see you at home for tea"
    spoken = [("URGENT!", 0.9), ("won", 0.3), ("prize", 0.5), ("home", -0.8), ("tea", -0.2)]
    words = [Word(word, text.index(word), text.index(word) + len(word), weight) for word, weight in spoken]
    told = "The validation rows allow no promise below 0.4 %."
    shares, k = (1 / len(labels),) * len(labels), len(labels)
    fact = {"label": labels[1], "wish": "precision", "wanted": 0.99, "threshold": 0.37, "reached": 0.994}
    fact |= {"ci95": [0.981, 0.999], "shown": False, "rows": 171}
    return replace(
        found,
        data=replace(found.data, audit=replace(found.data.audit, findings=findings)),
        test=replace(found.test, answered=Answered(0.9321, 0.0089, [0.004, 0.016])),
        notes=[*found.notes, told],
        mistakes=[*found.mistakes, Mistake(text, f"{labels[0]}, {labels[1]}", labels[1], 0.991, words)],
        comparison=candidates(rows),
        calibration=CalibrationFacts(
            "temperature",
            {"none": 0.31, "temperature": 0.22, "vector": 0.23, "isotonic": 0.25},
            before=Reliability(0.31, 0.051, bins),
            after=Reliability(0.22, 0.012, bins),
        ),
        decisions=Decisions(
            labels,
            prior=Prior(shares, tuple(share / 2 for share in shares)),
            thresholds=Thresholds(
                (None, *(0.37,) * (k - 1)),
                costs=tuple(tuple(float(10 * (i != j)) for j in range(k)) for i in range(k)),
                facts=(fact,),
            ),
            abstention=Abstention(
                *(0.01, 0.83, 300, 279, 0, 0.0098, 0.93, (0.91, 0.95), 299),
                sentence="It answers 93.0 % of texts; at most 1 % of these answers are wrong.",
            ),
            notes=(told,),
        ),
        learning_curve=LearningCurve(
            "tiny probe", [50, 100, 200], [0.2, 0.15, 0.11], [0.02, 0.02, 0.01], 250, 0.03, 0.01, "Twice as many rows …"
        ),
        curves=Curves(
            {
                label: {"precision": (1 - recall ** (4 + i % 9) / 2).tolist(), "recall": recall.tolist()}
                for i, label in enumerate(labels)
            },
            {"answered": recall.tolist(), "error": (recall**4 / 20).tolist()},
        ),
        keeps_texts=True,
    )


def multilabel() -> Result:
    """A run on a task where a text may have several labels."""
    found = full(("joy", "anger", "fear"))
    assert found.test is not None
    assert found.baseline is not None
    more = {"micro_f1": 0.61, "hamming_loss": 0.043}
    test, baseline = (replace(one, confusion=None, values=one.values | more) for one in (found.test, found.baseline))
    return replace(found, test=test, baseline=baseline, task="several labels a text")
