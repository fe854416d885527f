"""A bundle written for another runtime, and checked against the bundle text by text before it is put in place.

``onnx`` and ``openvino``: the graph of `graph.py` with what `inference/runtimes.py` needs to answer with it. ``hf``: a
plain Hugging Face folder, where the classifier can be written as one. Of a blend its main network goes (`alone.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from classtune.bundle import (
    EXPORTED,
    Bundle,
    check_target,
    columns_of,
    new_bundle,
    put_record,
    read_record,
)
from classtune.data.reading.tables import Table
from classtune.decisions.decisions import Decisions
from classtune.errors import BundleError, SettingsError, did_you_mean, require
from classtune.export import alone
from classtune.export.check import compare, let_pass, texts_to_check
from classtune.export.folding import without_folded
from classtune.export.formats import write_onnx, write_openvino
from classtune.export.graph import ClassifierGraph, exported, layers_with_outliers
from classtune.export.hugging_face import as_hugging_face, hugging_face_logits
from classtune.files import claimed
from classtune.inference.predictor import Predictor, load_predictor
from classtune.inference.runtimes import FILES, OUTPUTS, PACKAGES, ExportedNetwork, exported_encoder, start
from classtune.model.backbone import quiet_transformers
from classtune.model.processor import processor
from classtune.model.tokens import TextEncoder

Notify = Callable[[str], None]

FORMATS = ("onnx", "openvino", "hf")
# Of the weights of an int8 ONNX export, the share that stays whole, and how many texts choose which.
SHARE_KEPT_WHOLE, SAMPLES = 0.05, 16
# What an export's record keeps of the bundle's: how to answer and how well; nothing that quotes a text.
_KEPT = {
    *("schema_version", "labels", "classifier", "settings", "pooling", "depth", "tokens", "hugging_face"),
    *("decisions", "networks", "test", "baseline", "versions"),
}


def export_bundle(
    folder: Path,
    to: str,
    output: Path,
    *,
    int8: bool = False,
    data: Table | None = None,
    force: bool = False,
    notify: Notify,
) -> dict[str, Any]:
    """Write the bundle for another runtime to the folder ``output``; says what was written and how well it agrees.

    to: one of FORMATS. int8: weights of 8 bits. data: texts that the two are compared on, best ones that the bundle was
    not trained on; None: such texts that the bundle keeps, or else its golden texts.
    force: replace an export that stands in ``output``, and write one even where it changes labels.
    Raises SettingsError for what cannot be had together, BundleError for folders that cannot be read or written,
    ClasstuneError where the export changes too many labels (see `let_pass`), UserError for a runtime that is absent.
    """
    if to not in FORMATS:
        raise SettingsError(f"--to {to}: is unknown. {did_you_mean(to, FORMATS)}")
    if int8 and to == "hf":
        raise SettingsError("--int8 with --to hf: Hugging Face folders keep full weights. Choose onnx or openvino.")
    target, source = output.resolve(), folder.resolve()
    if target == source or target in source.parents or source in target.parents:
        raise BundleError(f"-o {output}: is the bundle, or lies around or in it. Name another folder.")
    check_target(output, force=force)
    alone.refuse_without_network(folder, read_record(folder))
    if to != "hf":
        require(f"--to {to}", to, *PACKAGES[to])
    of = alone.main_network(*load_predictor(folder))
    predictor, bundle = of.predictor, of.bundle
    texts, texts_are = texts_to_check(bundle, data)
    lost = of.lost(texts, texts_are)
    if lost is not None:
        notify(alone.sentence(lost))
    with claimed(output, notify), new_bundle(output, force=force) as scratch:
        if to == "hf":
            check = _write_hugging_face(scratch, predictor, bundle, texts, notify)
        else:
            check = _write_graph(scratch, to, predictor, bundle, texts, int8=int8)
        check |= {"texts_are": texts_are, "processor": processor()}
        precision = "int8" if int8 else "fp32"
        let_pass(check, output, of.name, precision, force=force, notify=notify)
        if to == "hf":
            put_record(scratch, {"to": "hf", "check": check, "lost": lost}, EXPORTED)
        else:
            _write_record(scratch, to, bundle, precision, check, lost)
    files = {
        path.relative_to(target).as_posix(): path.stat().st_size for path in sorted(target.rglob("*")) if path.is_file()
    }
    return {"bundle": str(folder), "to": to, "precision": precision, "output": str(output), "files": files} | {
        "check": check,
        "lost": lost,
    }


def _write_graph(
    folder: Path, to: str, predictor: Predictor, bundle: Bundle, texts: list[str], *, int8: bool
) -> dict[str, Any]:
    """Write graph, tokenizer and configuration, and compare with the bundle."""
    network, decisions = bundle.network, bundle.decisions
    facts = {"labels": json.dumps(bundle.labels, ensure_ascii=False), "multi": str(decisions.multi).lower()}
    facts |= {"producer": "classtune", "longest_text": str(network.encoder.rules.limit)}
    graph, path = ClassifierGraph(network, decisions), folder / FILES[to, "int8" if int8 else "fp32"]
    path.parent.mkdir(exist_ok=True)
    if to == "openvino":
        write_openvino(exported(graph), path, facts, int8=int8)
    else:
        samples = network.encoder.pieces(texts[:SAMPLES]).ids
        whole = layers_with_outliers(graph, samples, SHARE_KEPT_WHOLE) if int8 else []
        write_onnx(exported(graph), path, facts, int8=int8, whole=whole)
    with quiet_transformers():
        network.encoder.tokenizer.save_pretrained(str(folder))
        network.classifier.config.save_pretrained(str(folder))
    encoder = _encoder(folder, bundle)
    run, left = start(path, to), _left(bundle)
    expected, answers = predictor.probabilities(texts), replace(decisions, abstention=None).answers
    ours = Predictor(ExportedNetwork(run, encoder), bundle.labels, left).probabilities(texts)
    check = compare(expected, ours, answers)
    # What others read of the graph. A text of many windows has probabilities only after its logits are averaged.
    pieces = encoder.pieces(texts)
    short = np.flatnonzero(np.bincount(pieces.of_text, minlength=len(texts)) == 1)
    direct = Predictor(ExportedNetwork(run, encoder, OUTPUTS[1]), bundle.labels, decisions)
    inside = compare(expected[short], direct.logits([texts[row] for row in short]), answers)
    return check | {
        key: max(check[key], inside[key]) for key in ("changed_labels", "changed_share", "largest_difference")
    }


def _encoder(folder: Path, bundle: Bundle) -> TextEncoder:
    """The token path of the bundle over the tokenizer that was written."""
    own = bundle.network.encoder
    return exported_encoder(folder, bundle.record["tokens"], needs_mask=own.needs_mask, types=own.types)


def _left(bundle: Bundle) -> Decisions:
    """What is left to do to the logits of the bundle's graph."""
    decisions = bundle.decisions
    windows = bundle.network.encoder.rules.windows
    return decisions if decisions.calibration.curves and windows else without_folded(decisions, prior=True)


def _write_hugging_face(
    folder: Path, predictor: Predictor, bundle: Bundle, texts: list[str], notify: Notify
) -> dict[str, Any]:
    """Write the Hugging Face folder and compare it with the bundle as transformers alone reads it."""
    logits = predictor.logits(texts)
    classifier, notes = as_hugging_face(bundle.network)
    with quiet_transformers():
        classifier.save_pretrained(str(folder))
        bundle.network.encoder.tokenizer.save_pretrained(str(folder))
    plain = Decisions.plain(bundle.labels, bundle.decisions.multi)
    if lacking := bundle.decisions.not_in_weights:
        notes.append(f"Hugging Face's form has no {lacking}: its scores are the network's own.")
    for note in notes:
        notify(note)
    rules = bundle.network.encoder.rules
    rows, theirs = hugging_face_logits(folder, texts, rules.limit, pairs=rules.pairs)
    return compare(plain.probabilities(logits[rows]), plain.probabilities(theirs), plain.answers)


def _write_record(
    folder: Path, to: str, bundle: Bundle, precision: str, check: dict[str, Any], lost: dict[str, Any] | None
) -> None:
    """classtune.json of an export, with the golden texts' scores as the export itself gives them."""
    encoder, columns = _encoder(folder, bundle), columns_of(bundle.record)
    left, file = _left(bundle), FILES[to, precision]
    predictor = Predictor(ExportedNetwork(start(folder / file, to), encoder), bundle.labels, left)
    golden: Sequence[str] = [entry["text"] for entry in bundle.record["golden"]]
    scores = predictor.probabilities(golden).tolist()
    record = {key: value for key, value in bundle.record.items() if key in _KEPT} | {
        "export": {
            "to": to,
            "file": file,
            "precision": precision,
            "needs_mask": encoder.needs_mask,
            "token_types": encoder.types,
            "columns": {name: column for name, column in columns.items() if name != "with"},  # a network reads none
            # What softmax (or sigmoids) of the graph's logits are: curves follow the averaged windows of a text.
            "logits": "not calibrated; the probabilities are" if left.calibration.curves else "calibrated",
            "check": check,
            "lost": lost,
        },
        "decisions": left.record(),
        "golden": [{"text": text, "scores": row} for text, row in zip(golden, scores, strict=True)],
    }
    put_record(folder, record)
