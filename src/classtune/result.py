"""The result of a run: what ``train --json`` prints, classtune.json keeps a part of, and screen, report and card read.

Attributes are the keys of the JSON document, in its order. Knows what was found, not how.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from classtune.data.dataset import DataFacts
from classtune.judging.comparison import Comparison, in_words
from classtune.judging.copies import WithoutCopies
from classtune.judging.figures import CalibrationFacts, Figures
from classtune.judging.learning_curve import LearningCurve
from classtune.judging.paired import PairedAnswers, Verdict
from classtune.judging.under_wishes import UnderWishes

if TYPE_CHECKING:
    from classtune.config import Settings
    from classtune.decisions.decisions import Decisions
    from classtune.model.activations import TrunkFacts

# What a bundle's classtune.json keeps.
RECORDED = (
    "date",
    "chosen",
    "decisions",
    "networks",
    "keeps_texts",
    "data",
    "splits",
    "earlier",
    "cross_validation",
    "test",
    "baseline",
    "verdict",
    "trunk",
    "timing",
    "versions",
    "notes",
)


@dataclass(frozen=True)
class ChosenClassifier:
    """What ships. members: name → weight. losses: held-out log loss (nats) by candidate; None without such rows."""

    name: str
    members: dict[str, float]
    held_out_rows: int
    held_out_loss: float | None
    losses: dict[str, float | None]
    sentence: str

    @property
    def in_words(self) -> str:
        """Its name in sentences."""
        return in_words(self.name)


@dataclass(frozen=True)
class DepthFacts:
    """Blocks kept, of how many; the texts and tokens that chose, and the probes' curve (see training/depth.py)."""

    kept: int
    of: int
    texts: int
    tokens: int
    curve: list[dict[str, Any]]


@dataclass(frozen=True)
class TrainingFacts:
    """How a candidate was trained: one point an evaluation (see training/loop.py: History)."""

    candidate: str | None
    history: list[dict[str, Any]]
    best_epoch: int
    epochs: int
    stopped: str


@dataclass(frozen=True)
class Curves:
    """What the report draws. precision_recall: by label; risk_coverage: None where a text may have several labels."""

    precision_recall: dict[str, dict[str, list[float]]]
    risk_coverage: dict[str, list[float]] | None


@dataclass(frozen=True)
class Word:
    """A word of a text by its place, and how far it speaks for the answer (above 0) or against it, in log-odds."""

    word: str
    start: int
    end: int
    weight: float


@dataclass(frozen=True)
class Mistake:
    """A test row that got a wrong answer. words: empty for a text that is too long to be explained."""

    text: str
    truth: str
    label: str
    score: float
    words: list[Word] = field(default_factory=list)


@dataclass(frozen=True)
class EarlierVersion:
    """This version against the one before, on the rows that test both.

    bundle: where that one lies; test_texts: how many tested it. paired: None where none tests both. changed: rows that
    the two answer differently.
    """

    bundle: str
    test_texts: int
    shared_test_rows: int
    paired: PairedAnswers | None
    labels_of_one_only: dict[str, list[str]] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)
    changed: int = 0
    sentence: str = ""

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"paired": self.paired and self.paired.document()}


@dataclass(frozen=True)
class CrossValidation:
    """Figures of all rows, each judged by a classifier that did not learn from it; the accuracy of each fold, 0 … 1.

    under_wishes: what costs and class prior do on the same rows; None where nothing was told.
    """

    figures: Figures
    accuracies: list[float]
    sentence: str
    under_wishes: UnderWishes | None = None

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "figures": self.figures.document(),
            "accuracies": self.accuracies,
            "sentence": self.sentence,
            "under_wishes": self.under_wishes and asdict(self.under_wishes),
        }


@dataclass
class Result:
    """A run. What nothing was found of is None, or empty: without test rows, everything that they would say.

    bundle: the folder, once it is saved. date: when it was trained, as 2026-11-28, of UTC. networks: how many
    classifiers the held-out rows compared. metrics: the caller's own, by split and name; extensions: what the caller
    brought in place of a setting.
    """

    bundle: str | None
    date: str
    task: str
    data: DataFacts
    splits: dict[str, int]
    cross_validated: bool
    labels: list[str]
    chosen: ChosenClassifier
    networks: int
    earlier: EarlierVersion | None
    cross_validation: CrossValidation | None
    test: Figures | None
    baseline: Figures | None
    verdict: Verdict | None
    depth: DepthFacts | None
    trunk: TrunkFacts | None
    training: TrainingFacts | None
    decisions: Decisions
    comparison: Comparison | None
    copies: WithoutCopies | None
    calibration: CalibrationFacts | None
    curves: Curves | None
    learning_curve: LearningCurve | None
    mistakes: list[Mistake]
    settings: Settings
    versions: dict[str, str]
    notes: list[str]
    hugging_face: bool
    keeps_texts: bool
    extensions: dict[str, str]
    metrics: dict[str, dict[str, float | None]]
    under_wishes: UnderWishes | None
    timing: dict[str, float]

    def document(self) -> dict[str, Any]:
        """The JSON document."""
        own = {"decisions": self.decisions.record(), "settings": self.settings.model_dump()}
        parts: dict[str, Any] = {}
        for part in fields(self):
            parts[part.name] = own[part.name] if part.name in own else _plain(getattr(self, part.name))
            if part.name == "data":  # said twice, for those who read it there
                parts["audit"] = {key: parts["data"][key] for key in ("rows", "findings")}
            if part.name == "settings":
                parts |= {"cut_texts": self.data.cut or 0, "cut_tokens": self.data.cut_tokens or 0}
        return parts

    def record(self) -> dict[str, Any]:
        """What a bundle keeps of it."""
        document = self.document()
        return {"settings": document["settings"], **{key: document[key] for key in RECORDED}}

    def without_quotes(self) -> Result:
        """The same without what quotes rows of the table."""
        findings = [replace(finding, examples=[]) for finding in self.data.audit.findings]
        audit = replace(self.data.audit, findings=findings)
        return replace(self, data=replace(self.data, audit=audit), mistakes=[])


def _plain(value: Any) -> Any:
    """A part of the result as JSON has it."""
    if hasattr(value, "document"):
        return value.document()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return [_plain(one) for one in value] if isinstance(value, list) else value
