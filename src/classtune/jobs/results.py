"""From a contest and its choice to the result: what ``train --json`` prints, classtune.json keeps, the report draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from classtune.candidates.backbone import Backbone
from classtune.candidates.blend import Choice
from classtune.candidates.folds import judged_by_all
from classtune.config.areas import DecisionSettings
from classtune.data.audit.copies import copied_letters
from classtune.data.audit.in_force import in_force
from classtune.decisions.abstention import risk_coverage
from classtune.decisions.decisions import Decisions
from classtune.decisions.thresholds import precision_recall
from classtune.inference.predictor import Predictor
from classtune.jobs.contest import Contest
from classtune.jobs.entries import median_ms
from classtune.jobs.mistakes import confident_mistakes
from classtune.jobs.steps import Scores, versions
from classtune.judging import held_out
from classtune.judging.answers import judge_answers, right_by_logits, right_rows
from classtune.judging.comparison import LEXICAL, LEXICAL_IN_WORDS, MAJORITY, Candidate, in_words, side_by_side
from classtune.judging.copies import without_copies
from classtune.judging.figures import CalibrationFacts, Figures, Reliability
from classtune.judging.last_word import last_word, shift
from classtune.judging.metrics import MOST_IN_MATRIX, reliability
from classtune.judging.paired import Verdict
from classtune.judging.under_wishes import judge_under_wishes
from classtune.report.curves import MOST_LINES
from classtune.result import ChosenClassifier, Curves, DepthFacts, Result, TrainingFacts
from classtune.stats import BoolArray
from classtune.training.extensions import Extensions

# From held-out logits [rows, labels] and wishes to decisions that are fitted on them.
Decide = Callable[[Scores, DecisionSettings], Decisions]


def result(
    contest: Contest, choice: Choice, main: Backbone | None, decisions: Decisions, extensions: Extensions
) -> Result:
    """The result of a run that was not tested, but for its timing and the caller's own metrics."""
    material = contest.material
    notes = dict.fromkeys([*material.notes, *contest.notes, *_warnings(contest, choice, decisions), *decisions.notes])
    return Result(
        bundle=None,
        date=datetime.now(UTC).date().isoformat(),
        task="several labels a text" if material.multi else "one label a text",
        data=replace(material.data, audit=in_force(material.data.audit, contest.settings)),
        splits=material.splits.sizes(),
        cross_validated=contest.held_out.crossed,
        labels=material.labels,
        chosen=ChosenClassifier(
            name=choice.name,
            members={name: part.weight for name, part in choice.members.items()},
            held_out_rows=choice.rows,
            held_out_loss=_number(choice.loss),
            losses={name: _number(loss) for name, loss in choice.losses.items()},
            sentence=_said_of_choice(contest, choice),
        ),
        networks=contest.compared,
        earlier=None,
        cross_validation=None,
        test=None,
        baseline=None,
        verdict=None,
        depth=_depth(main),
        trunk=main.passed if main is not None else None,
        training=_training(contest, choice),
        decisions=decisions,
        comparison=None,
        copies=None,
        calibration=None,
        curves=None,
        learning_curve=None,
        mistakes=[],
        settings=contest.settings if main is None else main.settings,
        versions=versions(),
        notes=list(notes),
        hugging_face=len(choice.members) == 1 and main is not None and main.network.is_hugging_face,
        keeps_texts=contest.settings.keep_texts,
        extensions=extensions.names(),
        metrics={},
        under_wishes=None,
        timing={},
    )


def _number(loss: float) -> float | None:
    return None if np.isnan(loss) else loss


def _depth(main: Backbone | None) -> DepthFacts | None:
    """How many blocks of the main network were kept; None where that was not asked, or there is none."""
    if main is None or main.choice is None:
        return None
    chosen = main.choice
    return DepthFacts(main.network.depth, chosen.of, chosen.texts, chosen.tokens, chosen.curve)


def _training(contest: Contest, choice: Choice) -> TrainingFacts | None:
    """How the member that was trained went, or, where none was, the first candidate; None where none was trained."""
    trained = [entry for entry in contest.entries if entry.learned is not None and entry.learned.history.points]
    shown = next((entry for entry in trained if entry.name in choice.members), next(iter(trained), None))
    if shown is None or shown.learned is None:
        return None
    history = shown.learned.history
    return TrainingFacts(shown.name, history.points, history.best_epoch, history.epochs, history.stopped)


def judge_run(
    result: Result,
    contest: Contest,
    choice: Choice,
    logits: Scores,
    decide: Decide,
    predictor: Predictor,
    wishes: DecisionSettings,
) -> None:
    """Have the test rows say what they can of the classifier beside every candidate, and what a text costs each.

    logits: of the classifier for the test rows. decide: as the classifier's own probabilities are made. Candidates are
    compared without the user's wishes, like with like; what the wishes do stands beside it, for both.
    """
    material, decisions = contest.material, result.decisions
    rows, labels = material.splits.test, material.labels
    truth = material.truth[rows]
    held_out_logits, _ = contest.logits(choice)
    plainly = _plainly(decide, wishes)
    plain, raw = plainly(held_out_logits), Decisions.plain(labels, material.multi)
    uncalibrated, scores = raw.probabilities(logits), plain.probabilities(logits)
    candidates, right, costs = _candidates(contest, plainly)
    lexical = contest.entry(LEXICAL)
    if choice.name not in right:
        parts = [contest.entry(name) for name in choice.members]
        candidates[choice.name] = Candidate(
            replace(judge_answers(plain, scores, truth), name=choice.name),
            train_seconds=sum(entry.train_seconds for entry in parts),
            ms_per_text=0.0,
            bytes=sum(entry.bytes for entry in parts),
        )
        costs[choice.name] = sum(entry.cost for entry in parts)
        right[choice.name] = right_rows(plain, scores, truth)
    ms = median_ms(lambda timed: predictor.probabilities([material.texts[row] for row in timed]), material)
    chosen = candidates[choice.name] = replace(candidates[choice.name], ms_per_text=ms)
    ordered = sorted(candidates.values(), key=lambda one: costs[one.name])
    result.comparison = side_by_side(ordered, right, chosen=choice.name, rule=contest.rule)
    result.test = replace(chosen.figures, name="")
    if decisions.abstention is not None:  # how many texts get an answer, and how right those are
        withheld = judge_answers(decisions, decisions.probabilities(logits), truth)
        result.test = replace(result.test, answered=withheld.answered)
    result.baseline = replace(candidates[LEXICAL].figures, name=LEXICAL_IN_WORDS)
    result.verdict = _last_word(contest, choice, candidates, right)
    its_own = decide(lexical.held_out, wishes)
    sides = {"the classifier": (decisions, logits), LEXICAL_IN_WORDS: (its_own, lexical.test)}
    result.under_wishes = judge_under_wishes(
        decisions, truth, {name: (own, own.probabilities(scored)) for name, (own, scored) in sides.items()}
    )
    copied = copied_letters(
        [material.texts[row] for row in contest.held_out.final], [material.texts[row] for row in rows]
    )
    result.copies = without_copies(copied, right[choice.name], right[LEXICAL], LEXICAL_IN_WORDS)
    if result.copies is not None:
        result.notes.append(result.copies.sentence)
    result.calibration = CalibrationFacts(
        plain.calibration.method,
        plain.calibration.candidates,
        before=_reliability(raw, uncalibrated, truth),
        after=_reliability(raw, scores, truth),
    )
    coverage = None if material.multi else risk_coverage(scores, truth)
    result.curves = Curves(_precision_recall(result.test, scores, truth), coverage)
    result.mistakes = confident_mistakes(material, decisions.probabilities(logits), predictor)


def _precision_recall(test: Figures, scores: Scores, truth: Any) -> dict[str, dict[str, list[float]]]:
    """A curve for each label that test rows have; of many labels only those that are drawn, the ones of lowest F1."""
    labels = list(test.per_label)
    if len(labels) <= MOST_IN_MATRIX:
        return precision_recall(scores, truth, labels)
    tested = [place for place, label in enumerate(labels) if test.per_label[label].support]
    worst = sorted(tested, key=lambda place: test.per_label[labels[place]].f1)[:MOST_LINES]
    holds = truth[:, worst] if truth.ndim == 2 else truth[:, None] == worst
    return precision_recall(scores[:, worst], holds, [labels[place] for place in worst])


def _plainly(decide: Decide, wishes: DecisionSettings) -> Callable[[Scores], Decisions]:
    """Decisions on held-out logits without the user's wishes. A promised error takes rows from those that fit the
    probabilities: the figures are then of probabilities that as few rows have fitted, as those are that ship."""
    if wishes.max_error is None:
        return lambda logits: decide(logits, DecisionSettings(calibration=wishes.calibration))
    return lambda logits: decide(logits, wishes).untold()


def _candidates(
    contest: Contest, plainly: Callable[[Scores], Decisions]
) -> tuple[dict[str, Candidate], dict[str, BoolArray], dict[str, float]]:
    """By name: every candidate judged on the test rows by its calibrated probabilities; which rows it had right; and
    its cost, by which the comparison is sorted."""
    material = contest.material
    truth = material.truth[material.splits.test]
    candidates, right, costs = {}, {}, {}
    for entry in contest.entries:
        simple = entry.kind in ("majority", "rule")
        plain = Decisions.plain(material.labels, material.multi) if simple else plainly(entry.held_out)
        scores = plain.probabilities(entry.test)
        figures = replace(judge_answers(plain, scores, truth), name=entry.name)
        candidates[entry.name] = Candidate(figures, entry.train_seconds, entry.ms_per_text, entry.bytes)
        right[entry.name] = right_rows(plain, scores, truth)
        # The two that learn nothing to speak of come first, whatever their few multiplications are.
        costs[entry.name] = -1.0 if entry.kind == "majority" else 0.0 if entry.kind == "rule" else entry.cost
    return candidates, right, costs


def _last_word(
    contest: Contest, choice: Choice, candidates: Mapping[str, Candidate], right: Mapping[str, BoolArray]
) -> Verdict:
    """What to think of the classifier, after the test rows."""
    chosen, lexical, majority = (candidates[name] for name in (choice.name, LEXICAL, MAJORITY))
    outcome = last_word(chosen, lexical, majority, right[choice.name], right[LEXICAL])
    if contest.material.multi:
        return outcome
    differs = shift(right_by_logits(*_of_held_out(contest, choice)), right[choice.name])
    return replace(outcome, sentence=f"{outcome.sentence} {differs}".rstrip())


def _said_of_choice(contest: Contest, choice: Choice) -> str:
    if contest.settings.keep is not None:
        return f"The classifier is {in_words(choice.name)}, as asked."
    rows = None if contest.held_out.crossed else choice.rows
    return held_out.said_of_choice(choice.name, list(choice.members), choice.loss, choice.losses, rows=rows)


def _warnings(contest: Contest, choice: Choice, decisions: Decisions) -> list[str]:
    """What the held-out rows show that the user should know before trusting the classifier."""
    material = contest.material
    logits, truth = _of_held_out(contest, choice)
    if not len(truth):
        return []
    labels = material.labels
    given = decisions.answers(decisions.probabilities(logits)) if material.multi else logits.argmax(1)
    answered, taught = (held_out.have(rows, len(labels)) for rows in (given, material.truth[material.splits.train]))
    notes = list(held_out.on_labels(answered, truth, labels, taught))
    probes = {entry.name.removesuffix(" probe"): entry for entry in contest.entries if entry.kind == "probe"}
    for entry in contest.entries:
        probe = probes.get(entry.name.rpartition(" ")[0])
        if entry.kind == "tail" and entry.name in choice.members and probe is not None:
            rows = judged_by_all([entry.held_out, probe.held_out])
            tail, its_probe = (right_by_logits(one.held_out[rows], contest.truth[rows]) for one in (entry, probe))
            notes += held_out.on_tail(entry.name, tail, its_probe)
    return [*notes, *held_out.on_rows(len(material.splits.train), len(material.labels))]


def _of_held_out(contest: Contest, choice: Choice) -> tuple[Scores, Any]:
    """Logits of the choice for the rows that judged every member of it, and their truth."""
    logits, _ = contest.logits(choice)
    rows = judged_by_all([logits])
    return logits[rows], contest.truth[rows]


def _reliability(plain: Decisions, scores: Scores, truth: Any) -> Reliability:
    values = judge_answers(plain, scores, truth).values
    return Reliability(values["log_loss"], values["ece"], reliability(scores, truth))
