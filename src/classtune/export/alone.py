"""Of a blend its main network alone, as a classifier of its own: another runtime takes one graph.

What is lost by that is measured on texts and told, never hidden in the check of the export, which compares the export
with this network alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from classtune.bundle import Bundle
from classtune.decisions.calibration import Calibration
from classtune.decisions.decisions import Decisions
from classtune.errors import BundleError, counted
from classtune.inference.predictor import Predictor

# Of a blend's record: figures and decisions that are the blend's and not its main network's.
_OF_THE_BLEND = ("test", "baseline", "networks", "decisions")


@dataclass(frozen=True)
class Alone:
    """What an export is made of. blend: what it was taken from; None where the whole classifier is one network."""

    predictor: Predictor
    bundle: Bundle
    blend: Predictor | None = None

    @property
    def name(self) -> str:
        """What the export is compared with."""
        return "the bundle" if self.blend is None else f"{self.bundle.record['classifier']} alone"

    def lost(self, texts: Sequence[str], texts_are: str) -> dict[str, Any] | None:
        """How far the answers on the texts are from the blend's; None where there was no blend.

        Labels are those that each gives by its own thresholds, as if none were withheld.
        """
        if self.blend is None:
            return None
        expected, alone = (one.probabilities(texts) for one in (self.blend, self.predictor))
        answers = replace(self.blend.decisions, abstention=None).answers(expected)
        changed = (answers != self.bundle.decisions.answers(alone)).any(axis=1)
        return {
            "network": self.bundle.record["classifier"],
            "texts": len(texts),
            "texts_are": texts_are,
            "changed_labels": int(changed.sum()),
            "changed_share": float(changed.mean()),
            "largest_difference": float(np.abs(expected - alone).max()),
        }


def refuse_without_network(folder: Path, record: dict[str, Any]) -> None:
    """Raise BundleError for a classifier that has no network."""
    members = record.get("members")
    if members is not None and not any(member["kind"] == "network" for member in members):
        raise BundleError(
            f"{folder}: holds no network ({record['classifier']} alone) that another runtime could take; "
            "`classtune train --keep NAME`, with the name of a candidate that is a network, ships one."
        )


def main_network(predictor: Predictor, bundle: Bundle) -> Alone:
    """A classifier of one network as it is; of a blend its main network, with the calibration that it has there.

    The shares of the labels in the field stay; thresholds and withheld answers were chosen for the blend, and go.
    """
    if len(bundle.members) == 1:
        return Alone(predictor, bundle)
    member = next(one for one in bundle.members if one.model is bundle.main)
    multi = bundle.decisions.multi
    own = replace(
        Decisions.plain(bundle.labels, multi),
        calibration=Calibration("temperature", multi, scale=(member.weight.scale,)),
        prior=bundle.decisions.prior,
    )
    record = {key: value for key, value in bundle.record.items() if key not in _OF_THE_BLEND}
    record |= {"classifier": member.name, "test": None, "baseline": None}
    record |= {"hugging_face": bundle.network.is_hugging_face}
    if member.settings is not None:
        record["settings"] = member.settings.model_dump()
    alone = replace(bundle, record=record, decisions=own, members=[member])
    return Alone(Predictor(bundle.network, bundle.labels, own), alone, predictor)


def sentence(lost: dict[str, Any]) -> str:
    """What `Alone.lost` found, for people."""
    return (
        f"This classifier is a blend, and the export holds its main network alone, {lost['network']}: of "
        f"{counted(lost['texts'], 'text')} ({lost['texts_are']}), {100 * lost['changed_share']:.1f} % get another "
        f"label than the blend gives, and scores differ from the blend's by at most {lost['largest_difference']:.2g}. "
        "Thresholds and withheld answers, where there are any, stay with the blend."
    )
