"""A bundle written for another runtime, and checked against the bundle text by text before it is put in place.

``onnx`` and ``openvino``: the graph of `graph.py` with what `runtimes.py` needs to answer with it. ``hf``: a plain
Hugging Face folder, where the classifier can be written as one. Of a blend its main network goes (`alone.py`).
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from classtune.bundle import (
    EXPORTED,
    Bundle,
    check_target,
    columns_of,
    new_bundle,
    put_record,
    read_held_out,
    read_record,
)
from classtune.data.reading.tables import Table
from classtune.decisions.decisions import Decisions
from classtune.errors import BundleError, ClasstuneError, SettingsError, did_you_mean, require
from classtune.explain.neighbours import Neighbours
from classtune.export import alone
from classtune.export.folding import without_folded
from classtune.export.graph import (
    ClassifierGraph,
    exported,
    layers_with_outliers,
    quiet_export,
)
from classtune.export.hugging_face import as_hugging_face, hugging_face_logits
from classtune.files import claimed
from classtune.inference.predictor import Predictor, load_predictor
from classtune.inference.runtimes import FILES, INPUTS, OUTPUTS, PACKAGES, ExportedNetwork, exported_encoder, start
from classtune.model.backbone import quiet_transformers
from classtune.model.processor import processor
from classtune.model.tokens import TextEncoder

Floats = NDArray[np.float64]
Notify = Callable[[str], None]

FORMATS = ("onnx", "openvino", "hf")
# Share of the labels that an export may change.
MOST_CHANGED = {"fp32": 0.0, "int8": 0.005}
CHECKED_TEXTS = 1000
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
    ClasstuneError where the export changes more labels than MOST_CHANGED, UserError for a runtime that is absent.
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
    texts, texts_are = _texts_to_check(bundle, data)
    lost = of.lost(texts, texts_are)
    if lost is not None:
        notify(alone.sentence(lost))
    with claimed(output, notify), new_bundle(output, force=force) as scratch:
        if to == "hf":
            check = _write_hugging_face(scratch, predictor, bundle, texts, notify)
        else:
            check = _write_graph(scratch, to, predictor, bundle, texts, int8=int8)
        check |= {"texts_are": texts_are, "processor": processor()}
        notify(_sentence(check, of.name))
        precision = "int8" if int8 else "fp32"
        if check["changed_share"] > MOST_CHANGED[precision]:
            _refuse(output, check, precision, force, notify)
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


def _texts_to_check(bundle: Bundle, data: Table | None) -> tuple[list[str], str]:
    """At most CHECKED_TEXTS different texts, evenly from all, and what they are."""
    if data is not None:
        candidates, texts_are = list(data.texts), data.name
    elif held_out := read_held_out(bundle.folder):
        candidates, texts_are = held_out, "held-out texts of the bundle"
    elif neighbours := Neighbours.load(bundle.folder):  # of an earlier classtune
        candidates, texts_are = neighbours.texts, "training texts of the bundle"
    else:
        candidates, texts_are = [entry["text"] for entry in bundle.record["golden"]], "golden texts of the bundle"
    candidates = list(dict.fromkeys(candidates))
    count = min(len(candidates), CHECKED_TEXTS)
    return [candidates[place * len(candidates) // count] for place in range(count)], texts_are


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
        _write_openvino(exported(graph), path, facts, int8=int8)
    else:
        samples = network.encoder.pieces(texts[:SAMPLES]).ids
        whole = layers_with_outliers(graph, samples, SHARE_KEPT_WHOLE) if int8 else []
        _write_onnx(exported(graph), path, facts, int8=int8, whole=whole)
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


def compare(expected: Floats, scores: Floats, answers: Callable[[Floats], NDArray[np.bool_]]) -> dict[str, Any]:
    """How two tables of scores [texts, labels] agree. A score that is no number counts as another label."""
    broken = ~np.isfinite(scores).all(axis=1)
    changed = (answers(expected) != answers(np.nan_to_num(scores))).any(axis=1) | broken
    return {
        "texts": len(expected),
        "changed_labels": int(changed.sum()),
        "changed_share": float(changed.mean()) if len(expected) else 0.0,
        "largest_difference": float(np.abs(expected - scores).max()) if len(expected) else 0.0,
    }


def _sentence(check: dict[str, Any], of: str) -> str:
    return (
        f"compared with {of} on {check['texts']:,} texts ({check['texts_are']}): "
        f"{check['changed_labels']:,} labels differ, scores by at most {check['largest_difference']:.2g}"
    )


def _refuse(output: Path, check: dict[str, Any], precision: str, force: bool, notify: Notify) -> None:
    changed = (
        f"{output}: the {precision} export changes the label of {check['changed_labels']:,} of {check['texts']:,} "
        f"texts ({100 * check['changed_share']:.1f} %; at most {100 * MOST_CHANGED[precision]:g} % are let pass)."
    )
    if not force:
        way = "Export without --int8" if precision == "int8" else "Report it"
        raise ClasstuneError(f"{changed} {way}, or pass --force to write it all the same.")
    notify(f"{changed} Written all the same.")


def _write_onnx(
    program: torch.export.ExportedProgram, path: Path, facts: dict[str, str], *, int8: bool, whole: Sequence[str]
) -> None:
    """whole: layers that keep their weights in 32 bits."""
    import onnx

    first = path.with_name("fp32.onnx") if int8 else path
    with quiet_export():
        converted: Any = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            input_names=INPUTS[: len(program.graph_signature.user_inputs)],
            output_names=OUTPUTS,
            external_data=False,
        )
        converted.model.metadata_props.update(facts)
        converted.save(str(first), external_data=False)
        if int8:
            from onnxruntime.quantization import QuantType, quantize_dynamic

            kept = [
                node.name
                for node in converted.model.graph
                if set(whole) & set(ast.literal_eval(node.metadata_props.get("pkg.torch.onnx.name_scopes", "[]")))
            ]
            # 7 bits: a processor without VNNI adds products of 8 bits in pairs, in 16 bits, which 8 by 8 overflow.
            quantize_dynamic(
                str(first),
                str(path),
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
                nodes_to_exclude=kept,
            )
            first.unlink()
    onnx.checker.check_model(str(path))


def _write_openvino(program: torch.export.ExportedProgram, path: Path, facts: dict[str, str], *, int8: bool) -> None:
    import openvino

    # nncf draws progress bars on standard output, which is for results.
    with quiet_export(), contextlib.redirect_stdout(io.StringIO()):
        model = openvino.convert_model(program)
        for ports, names in ((model.inputs, INPUTS[: len(model.inputs)]), (model.outputs, OUTPUTS)):
            for port, name in zip(ports, names, strict=True):
                port.get_tensor().set_names({name})
        if int8:
            import nncf

            # Rotary frequencies, which older transformers multiply so, are no weights: 8 bits move every position.
            frequencies = nncf.IgnoredScope(patterns=[r"bmm.*"], validate=False)
            model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM, ignored_scope=frequencies)
            # Else inputs are rounded to 8 bits too, on processors with VNNI alone.
            model.set_rt_info("0", ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"])
        for name, value in facts.items():
            model.set_rt_info(value, ["classtune", name])
        openvino.save_model(model, str(path), compress_to_fp16=False)


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
    if bundle.decisions != plain:
        notes.append(
            "Hugging Face keeps no calibration, thresholds or withheld answers: its scores are the network's own."
        )
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
            # Of pairs where both texts stand in a table; of others nothing that names the table's columns.
            **({"columns": {key: columns[key] for key in ("text", "pair")}} if "pair" in columns else {}),
            # What softmax (or sigmoids) of the graph's logits are: curves follow the averaged windows of a text.
            "logits": "not calibrated; the probabilities are" if left.calibration.curves else "calibrated",
            "check": check,
            "lost": lost,
        },
        "decisions": left.record(),
        "golden": [{"text": text, "scores": row} for text, row in zip(golden, scores, strict=True)],
    }
    put_record(folder, record)
