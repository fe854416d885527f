"""The result document: what ``train --json`` prints, classtune.json keeps and the report draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from classtune.candidates.backbone import Backbone
from classtune.candidates.blend import Choice
from classtune.config.areas import DecisionSettings
from classtune.data.audit.copies import copied_letters
from classtune.data.dataset import Material
from classtune.decisions.abstention import risk_coverage
from classtune.decisions.decide import Decisions
from classtune.decisions.thresholds import precision_recall
from classtune.explain.explanations import word_weights
from classtune.inference.predictor import Predictor
from classtune.jobs.contest import LEXICAL, TIMED_TEXTS, Contest, median_ms
from classtune.jobs.steps import Scores, versions
from classtune.judging.answers import OF_ANSWERED, judge_answers, right_rows
from classtune.judging.comparison import side_by_side
from classtune.judging.metrics import reliability
from classtune.judging.paired import verdict
from classtune.judging.under_wishes import judge_under_wishes
from classtune.stats import wilson

# What of the result a bundle's classtune.json keeps.
RECORDED = (
    "chosen",
    "decisions",
    "networks",
    "keeps_texts",
    "data",
    "splits",
    "earlier",
    "test",
    "baseline",
    "verdict",
    "trunk",
    "timing",
    "versions",
    "notes",
)
BASELINE = "TF-IDF + logistic regression"
SHIFTED = 0.01  # p of the difference between held-out and test accuracy, below which it is said
_SHOWN_MISTAKES = 10
_EXPLAINED_WORDS = 60  # a text is run once for each of its words

# From held-out logits [rows, labels] and wishes to decisions that are fitted on them.
Decide = Callable[[Scores, DecisionSettings], Decisions]


def result(contest: Contest, choice: Choice, main: Backbone | None, decisions: Decisions) -> dict[str, Any]:
    """The result document of a run that was not tested, but for its timing."""
    material, settings, record = contest.material, contest.settings, decisions.record()
    histories = {
        entry.name: entry.learned.history
        for entry in contest.entries
        if entry.learned is not None and entry.learned.history.points
    }
    trained = next((name for name in choice.members if name in histories), next(iter(histories), None))
    shown = histories[trained] if trained is not None else None
    depth = main.choice if main is not None else None
    settings = settings if main is None else main.settings
    notes = dict.fromkeys([*material.notes, *contest.notes, *_warnings(contest, choice), *record["notes"]])
    return {
        "bundle": None,
        "task": "several labels a text" if material.multi else "one label a text",
        "data": material.data,
        "audit": {key: material.data[key] for key in ("rows", "findings")},
        "splits": material.splits.sizes(),
        "cross_validated": contest.held_out.crossed,
        "labels": material.labels,
        "chosen": {
            "name": choice.name,
            "members": {name: part.weight for name, part in choice.members.items()},
            "held_out_rows": len(contest.held_out.rows),
            "held_out_loss": _mean(choice.blend_losses),
            "losses": {name: _mean(losses) for name, losses in choice.losses.items()},
            "sentence": _said_of_choice(contest, choice),
        },
        "networks": contest.compared,
        "earlier": None,
        "test": None,
        "baseline": None,
        "verdict": None,
        "depth": depth
        and {
            "kept": main.network.depth if main else depth.kept,
            "of": depth.of,
            "texts": depth.texts,
            "tokens": depth.tokens,
            "curve": depth.curve,
        },
        "trunk": main.store.facts() if main is not None and main.store is not None else None,
        "training": shown
        and {
            "candidate": trained,
            "history": shown.points,
            "best_epoch": shown.best_epoch,
            "epochs": shown.epochs,
            "stopped": shown.stopped,
        },
        "decisions": record,
        "comparison": None,
        "copies": None,
        "calibration": None,
        "curves": None,
        "mistakes": [],
        "settings": settings.model_dump(),
        "cut_texts": material.data.get("cut", 0),
        "cut_tokens": material.data.get("cut_tokens", 0),
        "versions": versions(),
        "notes": list(notes),
        "hugging_face": len(choice.members) == 1 and main is not None and main.network.is_hugging_face,
    }


def _mean(losses: Any) -> float | None:
    return float(losses.mean()) if len(losses) else None


def names_of(material: Material, row: int) -> str:
    """The label of a row, or its labels."""
    truth = material.truth[row]
    if not material.multi:
        return material.labels[int(truth)]
    return ", ".join(label for label, has in zip(material.labels, truth, strict=True) if has)


def judgement(
    contest: Contest,
    choice: Choice,
    logits: Scores,
    decide: Decide,
    decisions: Decisions,
    predictor: Predictor,
    wishes: DecisionSettings,
) -> dict[str, Any]:
    """What the test rows say of the classifier beside every candidate, and what a text costs each.

    logits: of the classifier for the test rows. decide: as the classifier's own probabilities are made, but without the
    user's wishes, so that like is compared with like; what the wishes do stands beside it, for both.
    """
    material = contest.material
    rows, labels = material.splits.test, material.labels
    truth, texts = material.truth[rows], [material.texts[row] for row in rows[:TIMED_TEXTS]]
    held_out, _ = contest.logits(choice)
    unwished = DecisionSettings(calibration=wishes.calibration)
    plain, raw = decide(held_out, unwished), Decisions.plain(labels, material.multi)
    uncalibrated, scores = raw.probabilities(logits), plain.probabilities(logits)
    judged, right = _judged(contest, decide, unwished)
    lexical = contest.entry(LEXICAL)
    parts = [contest.entry(name) for name in choice.members]
    if choice.name not in right:
        judged.append(
            {
                "name": choice.name,
                **judge_answers(plain, scores, truth),
                "train_seconds": sum(entry.train_seconds for entry in parts),
                "bytes": sum(entry.bytes for entry in parts),
                "cost": sum(entry.cost for entry in parts),
            }
        )
        right[choice.name] = right_rows(plain, scores, truth)
    chosen = next(one for one in judged if one["name"] == choice.name)
    if decisions.abstention is not None:  # how many texts get an answer, and how right those are
        withheld = judge_answers(decisions, decisions.probabilities(logits), truth)
        chosen |= {key: withheld[key] for key in OF_ANSWERED if key in withheld}
    chosen["ms_per_text"] = median_ms(lambda: predictor.probabilities(texts), len(texts))
    judged.sort(key=lambda one: one["cost"])
    baseline = next(one for one in judged if one["name"] == LEXICAL)
    ratio = chosen["ms_per_text"] / baseline["ms_per_text"]
    outcome = _verdict(contest, choice, judged, right, ratio)
    comparison = side_by_side(judged, right, chosen=choice.name)
    copied = copied_letters(
        [material.texts[row] for row in material.splits.train], [material.texts[row] for row in rows]
    )
    return {
        "test": _figures(chosen),
        "baseline": {"name": BASELINE, **_figures(baseline)},
        "verdict": {
            **outcome,
            "ms_per_text": chosen["ms_per_text"],
            "baseline_ms_per_text": baseline["ms_per_text"],
        },
        "comparison": comparison | {"rule": contest.rule},
        "under_wishes": judge_under_wishes(
            wishes,
            truth,
            {"the classifier": (decisions, logits), BASELINE: (decide(lexical.held_out, wishes), lexical.test)},
        ),
        "copies": _without_copies(copied, right[choice.name], right[LEXICAL], BASELINE),
        "calibration": {
            "method": plain.calibration.method,
            "candidates": plain.calibration.candidates,
            "before": _calibration_facts(raw, uncalibrated, truth),
            "after": _calibration_facts(raw, scores, truth),
        },
        "curves": {
            "precision_recall": precision_recall(scores, truth, labels),
            "risk_coverage": None if material.multi else risk_coverage(scores, truth),
        },
        "mistakes": _mistakes(material, decisions.probabilities(logits), predictor),
    }


def _judged(
    contest: Contest, decide: Decide, unwished: DecisionSettings
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Every candidate judged on the test rows by its calibrated probabilities, and which rows it had right."""
    material = contest.material
    truth = material.truth[material.splits.test]
    judged, right = [], {}
    for entry in contest.entries:
        simple = entry.kind in ("majority", "rule")
        plain = Decisions.plain(material.labels, material.multi) if simple else decide(entry.held_out, unwished)
        scores = plain.probabilities(entry.test)
        right[entry.name] = right_rows(plain, scores, truth)
        costs = {key: getattr(entry, key) for key in ("train_seconds", "ms_per_text", "bytes", "cost")}
        # The two that learn nothing to speak of come first, whatever their few multiplications are.
        costs["cost"] = -1.0 if entry.kind == "majority" else 0.0 if entry.kind == "rule" else costs["cost"]
        judged.append({"name": entry.name, **judge_answers(plain, scores, truth), **costs})
    return judged, right


def _said_of_choice(contest: Contest, choice: Choice) -> str:
    """What was chosen, and why, in two sentences."""
    if contest.settings.keep is not None:
        return f"The classifier is {choice.name}, as asked."
    if len(choice.losses) < 2:
        return f"The classifier is {choice.name}: nothing else was compared."
    how = "by cross-validation" if contest.held_out.crossed else "on validation rows"
    rivals = {name: float(losses.mean()) for name, losses in choice.losses.items() if [name] != list(choice.members)}
    next_best = min(rivals, key=rivals.__getitem__)
    loss = float(choice.blend_losses.mean())
    why = "has the lowest log loss" if loss <= rivals[next_best] else "is as good as any within noise, and costs less"
    among = f"of {len(choice.losses)} candidates and their blends"
    said = [f"The classifier is {choice.name}: {among} it {why} {how} ({loss:.3f})."]
    said.append(f"Next comes {next_best} alone ({rivals[next_best]:.3f}).")
    if LEXICAL in rivals and next_best != LEXICAL:
        said.append(f"TF-IDF alone has {rivals[LEXICAL]:.3f}.")
    return " ".join(said)


def _verdict(
    contest: Contest, choice: Choice, judged: list[dict[str, Any]], right: dict[str, Any], ratio: float
) -> dict[str, Any]:
    """The classifier against TF-IDF, and against what loses to nothing: one voice."""
    found = {one["name"]: one for one in judged}
    chosen, lexical, majority = found[choice.name], found[LEXICAL], found["majority class"]
    outcome = verdict(chosen, lexical | {"name": BASELINE}, right[choice.name], right[LEXICAL], cost_ratio=ratio)
    if list(choice.members) == [LEXICAL]:
        errors = outcome["model_errors"]
        outcome["sentence"] = (
            f"{BASELINE} is enough here, and is what was saved: {errors:,} error{'s' * (errors != 1)} on "
            f"{chosen['rows']:,} test texts."
        )
    if chosen["accuracy"] < majority["accuracy"]:
        outcome["sentence"] += (
            f" Do not use it as it is: always giving the most common label is right more often "
            f"({100 * majority['accuracy']:.1f} % against {100 * chosen['accuracy']:.1f} %)."
        )
    if shift := _shift(contest, choice, right[choice.name]):
        outcome["sentence"] += f" {shift}"
    return outcome


def _shift(contest: Contest, choice: Choice, right: Any) -> str:
    """A sentence where held-out and test rows disagree beyond noise; "" where they do not."""
    from scipy.stats import fisher_exact

    truth = contest.material.truth[contest.held_out.rows]
    if not len(truth) or not len(right) or contest.material.multi:
        return ""
    held_out, rows = _right(contest.logits(choice)[0], truth), len(truth)
    tested = int(right.sum())
    p = float(fisher_exact([[held_out, rows - held_out], [tested, len(right) - tested]]).pvalue)
    if p >= SHIFTED or held_out / rows <= tested / len(right):
        return ""
    return (
        f"It is right on {100 * held_out / rows:.1f} % of the held-out rows and on {100 * tested / len(right):.1f} % "
        "of the test rows, beyond noise: the test rows differ from those it learned from, and so may the texts "
        "to come. Label some of those, and train again with them."
    )


def _warnings(contest: Contest, choice: Choice) -> list[str]:
    """What the held-out rows show that the user should know before trusting the classifier."""
    material = contest.material
    notes: list[str] = []
    truth = material.truth[contest.held_out.rows]
    if not len(truth):
        return notes
    held_out, _ = contest.logits(choice)
    if not material.multi:
        taught = np.bincount(material.truth[material.splits.train], minlength=len(material.labels)) > 0
        present = np.bincount(truth, minlength=len(material.labels))
        given = np.bincount(held_out.argmax(1), minlength=len(material.labels))
        if never := [material.labels[i] for i in np.flatnonzero(taught & (present > 0) & (given == 0))]:
            notes.append(f"Never answered on {len(truth):,} held-out rows, though taught: {_listed(never)}.")
        if few := [material.labels[i] for i in np.flatnonzero(taught & (present == 0))]:
            notes.append(
                f"No held-out row has {_listed(few)}: how well they are told apart is unknown, and calibration and "
                "choice were made without them."
            )
    probes = {entry.name.removesuffix(" probe"): entry for entry in contest.entries if entry.kind == "probe"}
    for entry in contest.entries:
        probe = probes.get(entry.name.rpartition(" ")[0])
        if entry.kind == "tail" and entry.name in choice.members and probe is not None:
            ours, its = (_right(one.held_out, truth) for one in (entry, probe))
            if ours < its:
                notes.append(f"{entry.name} is right on {ours:,} held-out rows, its own probe on {its:,}.")
    least = material.splits.sizes()["train"] / max(1, len(material.labels))
    if least < 20:
        notes.append(
            f"{len(material.splits.train):,} training rows for {len(material.labels)} labels are few: more labelled "
            "rows will help more than any setting."
        )
    return notes


def _right(logits: Scores, truth: Any) -> int:
    """How many rows have the class, or every label, right."""
    return int((logits.argmax(1) == truth).sum() if truth.ndim == 1 else ((logits > 0) == truth).all(1).sum())


def _listed(labels: list[str], most: int = 5) -> str:
    names = ", ".join(map(repr, labels[:most]))
    return names + (f" and {len(labels) - most:,} more" if len(labels) > most else "")


def _figures(candidate: dict[str, Any]) -> dict[str, Any]:
    """What `judge` found of a candidate, without its costs."""
    costs = ("name", "train_seconds", "ms_per_text", "bytes", "cost")
    return {key: value for key, value in candidate.items() if key not in costs}


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
        if len(text.split()) <= _EXPLAINED_WORDS:
            words = [
                {"word": word.text, "start": word.start, "end": word.end, "weight": float(weight)}
                for word, weight in word_weights(predictor, text, int(guess[index]))
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
