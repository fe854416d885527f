"""The probe as a candidate: a backbone with the solution of a linear classifier as its head."""

from __future__ import annotations

from typing import Any

import torch

from classtune.candidates.backbone import Backbone, Learned
from classtune.candidates.folds import HeldOut
from classtune.model.head import has_bias, start_head
from classtune.stats import Floats
from classtune.training.loop import History, Rows
from classtune.training.probe import Probe, fit_probe


def learn_probe(backbone: Backbone, held_out: HeldOut) -> Learned:
    """Judge it on held-out rows, and put it into the head."""
    weights = backbone.weights
    with weights.restored():
        probes = []

        def judged(learn: Rows, judge: Rows) -> Floats:
            probes.append(probe_of(backbone, learn))
            return probes[-1].logits(backbone.features(judge))

        logits = held_out.collect(judged, len(backbone.material.labels), held_out.folds)
        final = probes[-1] if held_out.final_is_judged else probe_of(backbone, held_out.final)
        start_from(backbone, final)
        test = backbone.of_head(backbone.features(backbone.material.splits.test))
        return Learned(weights.changed(), logits, test, History())


def probe_of(backbone: Backbone, rows: Rows) -> Probe:
    """A probe that learned from these rows; its strength is chosen once, on the training rows."""
    truth, groups, weights = backbone.material.truth, backbone.material.groups, backbone.material.weights_of
    options: dict[str, Any] = {
        "classes": len(backbone.material.labels),
        "seed": backbone.settings.seed,
        "bias": has_bias(backbone.network.head),
        "balanced": backbone.settings.class_weights == "balanced",
    }
    if backbone.strength is None:
        few = backbone.taught
        chosen = fit_probe(backbone.features(few), truth[few], groups=groups[few], weights=weights(few), **options)
        backbone.strength = chosen.strength
    rows = backbone.taught_of(rows)
    return fit_probe(backbone.features(rows), truth[rows], strength=backbone.strength, weights=weights(rows), **options)


def start_from(backbone: Backbone, probe: Probe, share: float = 1.0) -> None:
    """Put a probe, or a share of it, into the head."""
    states = torch.from_numpy(backbone.features(backbone.taught))
    start_head(
        backbone.network.head, torch.from_numpy(share * probe.weight), torch.from_numpy(share * probe.bias), states
    )
