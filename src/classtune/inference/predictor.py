"""A bundle as something that answers: its members put together, and proved on its golden texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from classtune.bundle import Bundle, Member, check_golden, load_bundle
from classtune.candidates.columns import ColumnsModel
from classtune.candidates.lexical_model import LexicalModel
from classtune.decisions.decisions import Decisions
from classtune.errors import UserError
from classtune.inference.blend import BlendPredictor
from classtune.inference.scoring import Items, Predictor, Ranked, TooLong
from classtune.model.device import device_of
from classtune.model.network import Network

__all__ = [
    "Items",
    "Predictor",
    "Ranked",
    "TooLong",
    "answer_columns",
    "answer_of",
    "label_and_score",
    "load_predictor",
    "predictor_of",
    "single_network",
]


def load_predictor(folder: Path, *, device: str = "cpu", verify: bool = True) -> tuple[Predictor, Bundle]:
    """Load a bundle and prove on its golden texts that it scores as it did.

    device: see `classtune.model.device.device_of`. Raises BundleError, and SettingsError for the device.
    """
    bundle = load_bundle(folder, device=device_of(device), verify=verify)
    predictor = predictor_of(bundle.members, bundle.labels, bundle.decisions)
    golden = [entry["text"] for entry in bundle.record.get("golden", [])]
    if golden and verify:
        check_golden(bundle, predictor.probabilities(golden).tolist())
    return predictor, bundle


def predictor_of(members: Sequence[Member], labels: list[str], decisions: Decisions) -> Predictor:
    """What answers: one network by itself, or several members, the main network first among its like."""
    models = [(_answering(one.model, labels, decisions), one.weight) for one in members]
    if len(models) == 1 and isinstance(models[0][0], Predictor):
        return models[0][0]
    return BlendPredictor(models, labels, decisions)


def single_network(predictor: Predictor) -> Network:
    """The one network that answers. Raises UserError where something else does, or more than one."""
    network = getattr(predictor, "network", None)
    if not isinstance(network, Network):
        raise UserError("This classifier is no single network, so it has no states to give as features.")
    return network


def _answering(
    model: Network | LexicalModel | ColumnsModel, labels: list[str], decisions: Decisions
) -> Predictor | LexicalModel | ColumnsModel:
    return Predictor(model, labels, decisions) if isinstance(model, Network) else model


def answer_columns(labels: Sequence[str]) -> list[str]:
    """What a table's columns of an answer are called: the answer, its score, and the score of each label."""
    return ["label", "score", *(f"score:{label}" for label in labels)]


def label_and_score(ranked: Ranked) -> tuple[str, float]:
    """The answer as a table has it: its labels, parted by ", ", and the score of the first; "" where it is withheld."""
    labels = answer_of(ranked)
    scores = {entry["label"]: entry["score"] for entry in ranked}
    return ", ".join(labels), scores[labels[0]] if labels else ranked[0]["score"]


def answer_of(ranked: Ranked) -> list[str]:
    """The labels that a text is given: one, or several, or none where the classifier withholds its answer."""
    if ranked and "answer" in ranked[0]:
        return [entry["label"] for entry in ranked if entry["answer"]]
    return [entry["label"] for entry in ranked[:1]]
