"""A bundle over a table: predictions to a file, and figures on labelled rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classtune.bundle import Bundle, columns_of, learned_rows, read_record, read_validation
from classtune.config import Progress
from classtune.config.areas import DecisionSettings
from classtune.data.reading.columns import TableFormat, listed_names
from classtune.data.reading.tables import Table
from classtune.data.splits import copies_in_words
from classtune.decisions.decide import decide
from classtune.decisions.decisions import Decisions
from classtune.decisions.prior import estimate_prior
from classtune.errors import BundleError, DataError, SettingsError
from classtune.inference.answer_files import check_output, write_predictions
from classtune.inference.predictor import Ranked
from classtune.inference.runtimes import load_exported
from classtune.judging.answers import judge_answers
from classtune.judging.figures import Figures
from classtune.judging.under_wishes import UnderWishes, beside_plain
from classtune.stats import BoolArray

Notify = Callable[[str], None]

# Each sets the thresholds: who wishes for one lets go of the other that the bundle was trained with.
_RIVALS = {"cost": ("precision", "recall"), "precision": ("cost",), "recall": ("cost",)}


def as_trained(format: TableFormat, *folders: Path) -> TableFormat:
    """`of_bundles`, with those that lie in these folders. Raises BundleError where there is none."""
    return of_bundles(format, [read_record(folder) for folder in folders])


def of_bundles(format: TableFormat, records: Sequence[Mapping[str, Any]]) -> TableFormat:
    """The format with the columns that the last bundle was trained on, for tables that have them; what is named stays.
    Columns beside the text are those of all bundles, and the table must have them, and that of the pairs.

    Raises SettingsError for bundles of which one reads pairs and another does not, or of other columns.
    """
    columns = [columns_of(record) for record in records]
    beside = [*format.beside, *(name for one in columns for name in listed_names(one.get("with") or ""))]
    last, names = columns[-1], tuple(dict.fromkeys(beside))
    pairs = dict.fromkeys(one.get("pair") for one in columns)
    if len(pairs) > 1:
        read = " and ".join("texts alone" if pair is None else f"pairs with {pair!r}" for pair in pairs)
        raise SettingsError(f"The bundles read different things, {read} (--pair): no table can be given to both.")
    return replace(
        format,
        preferred_text=last.get("text"),
        preferred_label=last.get("label"),
        preferred_separator=last.get("label_separator"),
        preferred_label_columns=tuple(listed_names(last.get("label_columns") or "")),
        beside=names,
        pair=format.pair or last.get("pair"),
    )


@dataclass(frozen=True)
class Evaluation:
    """A bundle on the labelled rows of a table, by its name.

    learned: how many of the rows it learned from. unseen: figures of the others; None where there are none, or no such.
    under_wishes: what costs and class prior do, on rows that it did not learn from where there are some; None without
    such.
    """

    bundle: str
    name: str
    test: Figures
    decisions: Decisions
    learned: int = 0
    unseen: Figures | None = None
    under_wishes: UnderWishes | None = None

    def document(self) -> dict[str, Any]:
        """What ``evaluate --json`` prints."""
        return {
            "bundle": self.bundle,
            "data": {"name": self.name, "rows": self.test.rows},
            "test": self.test.document(),
            "learned": self.learned,
            "unseen": None if self.unseen is None else self.unseen.document(),
            "under_wishes": None if self.under_wishes is None else asdict(self.under_wishes),
            "decisions": self.decisions.record(),
        }


def evaluate_bundle(
    folder: Path,
    table: Table,
    wishes: Mapping[str, Any],
    *,
    runtime: str = "torch",
    device: str = "auto",
    notify: Notify,
    progress: Progress,
) -> Evaluation:
    """Judge a bundle on a labelled table. wishes: see `adjusted`; runtime, device: see `load_exported`.

    Rows that the bundle learned from are noted. Raises DataError for labels that it does not have.
    """
    predictor, bundle = load_exported(folder, runtime, device)
    truth = truth_of(table, bundle.labels, multi=bundle.decisions.multi)
    logits = predictor.logits(table.texts, places=table.places, progress=progress)
    decisions = adjusted(bundle, wishes, logits, notify)
    scores = decisions.probabilities(logits)
    figures = judge_answers(decisions, scores, truth)
    learned = learned_rows(folder, table.texts)
    if copies := copies_in_words(table.texts):
        notify(copies)
    unseen = None
    judging = np.ones_like(learned) if learned.all() else ~learned
    if learned.any():
        notify(learned_in_words(str(folder), learned))
        unseen = None if learned.all() else judge_answers(decisions, scores[~learned], truth[~learned])
    under_wishes = beside_plain(decisions, scores[judging], truth[judging])
    return Evaluation(str(folder), table.name, figures, decisions, int(learned.sum()), unseen, under_wishes)


def learned_in_words(bundle: str, learned: BoolArray) -> str:
    """learned [rows]: those that it learned from, one or more."""
    many = "each of the" if learned.all() else f"{int(learned.sum()):,} of the"
    return f"{bundle} learned from {many} {len(learned):,} rows: how it answers those says nothing of new texts."


def predict_table(
    folder: Path,
    table: Table,
    wishes: Mapping[str, Any],
    output: Path | None = None,
    *,
    force: bool = False,
    escape_formulas: bool = False,
    runtime: str = "torch",
    device: str = "auto",
    notify: Notify,
    progress: Progress,
) -> list[Ranked]:
    """Label and score of each text, highest first; written to ``output`` too, where there is one (`answer_files`).

    force: see `check_output`; escape_formulas: see `write_predictions`; wishes: see `adjusted`; runtime,
    device: see `load_exported`.
    Raises BundleError for the bundle or a file that cannot be written, DataError for texts that it cannot take.
    """
    if output is not None:
        check_output(output, table, force=force)
    predictor, bundle = load_exported(folder, runtime, device)
    logits = predictor.logits(table.texts, places=table.places, progress=progress)
    predictor.decisions = adjusted(bundle, wishes, logits, notify)
    predictions = predictor.ranked(predictor.decisions.probabilities(logits))
    if output is not None:
        write_predictions(output, table, predictions, bundle.labels, escape_formulas=escape_formulas, force=force)
    return predictions


def adjusted(bundle: Bundle, wishes: Mapping[str, Any], logits: NDArray[np.float64], notify: Notify) -> Decisions:
    """The bundle's decisions, or, where something else is wished for, new ones from its validation rows.

    wishes: fields of `DecisionSettings` that are told now; for the others the bundle's own settings stand, but for
    those that a new wish rules out. A ``deploy_prior`` of "estimate" is estimated from ``logits``, those of the texts
    at hand.
    Raises SettingsError for wishes that cannot be met, BundleError for a bundle without validation rows.
    """
    if not wishes:
        return bundle.decisions
    if "export" in bundle.record:
        raise BundleError(
            f"{bundle.folder}: an export answers as it was told when it was written: it holds no validation rows to "
            "decide anew by. Ask the bundle, or train it with that wish and export it again."
        )
    settings = bundle.record["settings"]
    plain = DecisionSettings().model_dump()
    rivals = [rival for wish, rivals in _RIVALS.items() if wishes.get(wish) for rival in rivals if rival not in wishes]
    asked = plain | {name: settings[name] for name in plain if name in settings}
    asked |= {rival: plain[rival] for rival in rivals} | dict(wishes)
    estimate = asked.get("deploy_prior") == "estimate"
    if estimate:
        asked["deploy_prior"] = None
    asked["calibration"] = bundle.decisions.calibration.method
    validation, truth = read_validation(bundle.folder)
    prior = bundle.decisions.prior
    if prior is None:
        raise BundleError(f"{bundle.folder}: the shares of its labels in training are unknown. Train it again.")
    trained_prior = np.array(prior.trained)

    def decided(deploy_prior: Mapping[str, float] | None) -> Decisions:
        return decide(
            validation,
            truth,
            bundle.labels,
            # Not checked here: `decide` names all that is wrong by its flag.
            DecisionSettings.model_construct(**{**asked, "deploy_prior": deploy_prior}),
            trained_prior=trained_prior,
            multi=bundle.decisions.multi,
            seed=settings["seed"],
            networks=bundle.record["networks"],
        )

    decisions = decided(asked["deploy_prior"])
    if estimate:
        estimated = estimate_prior(decisions.probabilities(logits), trained_prior, multi=decisions.multi)
        notify(f"{bundle.folder}: {estimated.sentence(bundle.labels, trained_prior)}")
        for note in estimated.notes:
            notify(note)
        decisions = decided(estimated.as_wish(bundle.labels, trained_prior, multi=decisions.multi))
        assert decisions.prior is not None
        prior = replace(decisions.prior, estimated=estimated.record(bundle.labels))
        decisions = replace(decisions, prior=prior)
    for note in decisions.notes:
        notify(note)
    return decisions


def truth_of(table: Table, labels: Sequence[str], *, multi: bool) -> NDArray[Any]:
    """Class numbers [rows], or with ``multi`` a matrix [rows, labels]. Raises DataError for unknown labels."""
    if problems := label_problems(table, labels, multi=multi):
        raise DataError(problems)
    sets = table.with_known(labels).row_labels
    if multi:
        return np.array([[label in row for label in labels] for row in sets], dtype=bool)
    index = {label: number for number, label in enumerate(labels)}
    return np.array([index[row[0]] for row in sets], dtype=np.int64)


def label_problems(table: Table, labels: Sequence[str], *, multi: bool) -> list[str]:
    """Why a bundle of these labels cannot be judged on the rows; of labels that reading refuses nothing is said."""
    if table.label_sets is not None and not multi:
        return [f"{table.name}: rows have several labels, and the bundle gives one."]
    problems = table.foreign_labels(labels, "is not one of the bundle's").problems()
    if problems and multi and table.label_sets is None:
        problems.append(f"{table.name}: has one label a text, and the bundle gives several. Pass --label-separator.")
    return problems
