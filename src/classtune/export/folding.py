"""Calibration as part of a network: the factor and the summand of each logit, folded into the weights that make it.

Then whoever reads the logits (`transformers.pipeline`, ONNX Runtime, transformers.js) gets classtune's probabilities by
softmax, or by a sigmoid a label. Curves (``isotonic``) are neither, and cannot be folded into weights.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from classtune.decisions.decisions import Decisions, Prior
from classtune.model.network import Network
from classtune.stats import FloatArray, Floats, ratio

_IMPOSSIBLE = -1e4  # logit of a label whose share in the field is 0


def factors(decisions: Decisions, *, prior: bool) -> tuple[Floats, Floats]:
    """Scale (k,) and bias (k,): softmax (or sigmoids) of ``logits * scale + bias`` are the decisions' probabilities.

    prior: the correction for the shares of the field too, else calibration alone. Not for calibration by curves.
    """
    calibration, labels = decisions.calibration, len(decisions.labels)
    scale, bias = (np.broadcast_to(np.array(value), labels).copy() for value in (calibration.scale, calibration.bias))
    if prior and decisions.prior is not None and decisions.prior.deployed != decisions.prior.trained:
        trained, deployed = np.array(decisions.prior.trained), np.array(decisions.prior.deployed)
        with np.errstate(divide="ignore"):
            shift = np.log(ratio(deployed, trained))
            if decisions.multi:
                shift = shift - np.log(ratio(1 - deployed, 1 - trained))
        bias += np.nan_to_num(shift, nan=_IMPOSSIBLE).clip(_IMPOSSIBLE, -_IMPOSSIBLE)
    return scale, bias


def without_folded(decisions: Decisions, *, prior: bool) -> Decisions:
    """What is left to do to logits that carry the calibration (and, with ``prior``, the shares of the field)."""
    calibration = decisions.calibration
    if calibration.method != "none":
        folded = {"method": calibration.method, "scale": list(calibration.scale), "bias": list(calibration.bias)}
        calibration = replace(calibration, method="none", scale=(1.0,), bias=(0.0,), curves=(), folded=folded)
    shares = decisions.prior
    if prior and shares is not None:  # the probabilities speak of the field now
        shares = Prior(shares.deployed, shares.deployed)
    return replace(decisions, calibration=calibration, prior=shares)


@torch.no_grad()
def fold_calibration(network: Network, decisions: Decisions, *, prior: bool = False) -> Decisions:
    """Fold the calibration into the head of the network, in place; gives the decisions that are left.

    prior: the correction for the shares of the field too, where the head has a bias. Where nothing can be folded
    (curves; biases for a head that has none; an architecture that classtune does not know) the decisions come back as
    they are and the network stays as it is. Rows of logits that were made before are brought along by `folded_logits`.
    """
    output = _output(network)
    if output is None or decisions.calibration.curves:
        return decisions
    scale, bias = factors(decisions, prior=prior)
    if output.bias is None and prior and bias.any():
        prior, (scale, bias) = False, factors(decisions, prior=False)
    if output.bias is None and bias.any():
        return decisions
    output.weight.copy_(output.weight.double() * torch.from_numpy(scale).to(output.weight.device)[:, None])
    if output.bias is not None:
        scales, summands = (torch.from_numpy(value).to(output.bias.device) for value in (scale, bias))
        output.bias.copy_(output.bias.double() * scales + summands)
    return without_folded(decisions, prior=prior)


def folded_logits(decisions: Decisions, logits: FloatArray) -> Floats:
    """Logits (n, k) of the network before `fold_calibration`, as it gives them since; by the decisions it gave.

    For a fold without ``prior``.
    """
    folded = decisions.calibration.folded
    if folded is None:
        return np.asarray(logits, dtype=np.float64)
    return np.asarray(np.asarray(logits, dtype=np.float64) * np.array(folded["scale"]) + np.array(folded["bias"]))


def _output(network: Network) -> nn.Linear | None:
    """The layer whose outputs are the logits."""
    if network.family is None:
        return None
    layers = [module for module in network.head.modules() if isinstance(module, nn.Linear)]
    return layers[-1] if layers and layers[-1].out_features == network.labels else None
