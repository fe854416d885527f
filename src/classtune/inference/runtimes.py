"""A bundle in another runtime: what `classtune export` wrote, behind the same predictor and the same token path.

Only the forward pass is another's. Texts become tokens, windows one text and logits answers as in `predictor.py`, so
that everything that takes a predictor (tables, the server, the page) takes one of these too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from classtune.bundle import Bundle, check_files, check_golden, decisions_of, read_record
from classtune.errors import BundleError, SettingsError, did_you_mean, reading, require
from classtune.inference.predictor import Predictor, load_predictor
from classtune.model.backbone import quiet_transformers
from classtune.model.batches import Batch
from classtune.model.network import Network
from classtune.model.pairs import encoder_of, plain_ids
from classtune.model.processor import processor
from classtune.model.tokens import TextEncoder, TokenRules

Array = NDArray[Any]
# Token ids, mask and, where the graph takes them, token types, int64 [texts, tokens], and the name of an output → that
# output, float [texts, labels].
Run = Callable[[Sequence[Array], str], Array]

# What goes into an exported graph (the types of tokens only where a model of pairs reads them), and what comes out.
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUTS = ("logits", "probabilities")
RUNTIMES = ("torch", "onnx", "openvino")
# Runtime and precision → the graph's file: where transformers.js and Optimum look for it.
FILES = {
    ("onnx", "fp32"): "onnx/model.onnx",
    ("onnx", "int8"): "onnx/model_quantized.onnx",
    ("openvino", "fp32"): "model.xml",
    ("openvino", "int8"): "model.xml",
}
_EARLIER = {"onnx": "model.onnx", "openvino": "model.xml"}  # of exports whose record names none
PACKAGES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino", "nncf")}


class ExportedNetwork(Network):
    """A network whose forward pass another runtime does: for answering alone, it has no parts.

    output: which of the graph's outputs is given as logits.
    """

    in_parts = False

    def __init__(self, run: Run, encoder: TextEncoder, output: str = OUTPUTS[0]) -> None:
        self.encoder = encoder
        self.notes = []
        self._forward = _Forward(run, encoder, output)

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def tail(self, start: int | None, *, frozen: bool = False) -> nn.Module:
        return self._forward


class _Forward(nn.Module):
    def __init__(self, run: Run, encoder: TextEncoder, output: str) -> None:
        super().__init__()
        self.run, self.output = run, output
        self.needs_mask, self.types = encoder.needs_mask, encoder.types

    def forward(self, batch: Batch) -> Tensor:
        mask = batch.mask
        if mask is None and self.needs_mask:  # nothing is padded
            mask = torch.ones_like(batch.values)
        elif mask is None:  # a decoder, which is not told of padding; the graph pools what the mask covers
            mask = torch.arange(batch.values.shape[1]) <= batch.last[:, None]
        ids, types = plain_ids(batch.values)
        inputs = [ids, mask.long(), *([torch.zeros_like(ids) if types is None else types] if self.types else [])]
        return torch.from_numpy(self.run([values.numpy() for values in inputs], self.output))


def load_exported(folder: Path, runtime: str = "torch", device: str = "auto") -> tuple[Predictor, Bundle]:
    """What `load_predictor` gives, with the forward pass in ``runtime``, one of RUNTIMES; golden texts are checked.

    folder: what `classtune export` wrote for this runtime; for "torch" a bundle. It holds no validation rows, so its
    decisions can be used but not taken anew. device: where torch runs; the others run on the processor.
    Raises BundleError for a folder that was not exported for this runtime or was changed, SettingsError for an unknown
    runtime or device, UserError where the runtime is not installed.
    """
    if runtime not in RUNTIMES:
        raise SettingsError(f"--runtime {runtime}: is unknown. {did_you_mean(runtime, RUNTIMES)}")
    if runtime == "torch":
        return load_predictor(folder, device=device)
    if device not in ("auto", "cpu"):
        raise SettingsError(f"--device {device}: the runtime {runtime} runs on the processor. Leave one of them out.")
    record = read_record(folder)
    export = record.get("export") or {}
    file = export.get("file", _EARLIER[runtime])
    if export.get("to") != runtime or file not in record["sha256"]:
        raise BundleError(
            f"{folder}: holds no export for {runtime}. Run `classtune export {folder} --to {runtime} -o OUT` on the "
            "bundle, and name OUT."
        )
    require(f"--runtime {runtime}", runtime, *PACKAGES[runtime])
    check_files(folder, record, verify=True)
    with reading(folder, "the export", "Export it again."):
        types = export.get("token_types", False)
        encoder = exported_encoder(folder, record["tokens"], needs_mask=export["needs_mask"], types=types)
        network = ExportedNetwork(start(folder / file, runtime), encoder)
        labels = [str(label) for label in record["labels"]]
    bundle = Bundle(folder, network, labels, record, decisions_of(folder, record))
    predictor = Predictor(network, labels, bundle.decisions)
    try:
        check_golden(bundle, predictor.probabilities([entry["text"] for entry in record["golden"]]).tolist())
    except BundleError as error:
        raise _with_processors(error, export) from None
    return predictor, bundle


def _with_processors(error: BundleError, export: dict[str, Any]) -> BundleError:
    """The error of golden texts that score otherwise, with the processors where an export was made on another one."""
    there, here = (export.get("check") or {}).get("processor"), processor()
    if not there or there == here:
        return error
    lost, gained = (
        ", ".join(sorted({*one["instructions"]} - {*other["instructions"]})) or "nothing"
        for one, other in ((there, here), (here, there))
    )
    return BundleError(
        f"{error} It was checked on another processor ({there['name']}; this is {here['name']}; it had {lost} that "
        f"this one lacks, and lacked {gained}). Export the bundle again on this processor, or without 8-bit weights."
    )


def exported_encoder(folder: Path, rules: dict[str, Any], *, needs_mask: bool, types: bool) -> TextEncoder:
    """The token path of training over the tokenizer of an export."""
    from transformers import AutoTokenizer

    with quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    return encoder_of(tokenizer, TokenRules(**rules), needs_mask=needs_mask, types=types)


def start(path: Path, runtime: str) -> Run:
    """The forward pass of an export's graph, safe under threads, on as many processor threads as torch has here."""
    return {"onnx": _onnx, "openvino": _openvino}[runtime](path)


def _onnx(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(inputs: Sequence[Array], output: str) -> Array:
        return np.asarray(session.run([output], dict(zip(INPUTS, inputs, strict=False)))[0])

    return run


def _openvino(path: Path) -> Run:
    import openvino

    # On processors that could, OpenVINO would round to 16 bits unasked.
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    mine = threading.local()  # a request serves one thread at a time

    def run(inputs: Sequence[Array], output: str) -> Array:
        if not hasattr(mine, "request"):
            mine.request = compiled.create_infer_request()
        # Copied: the request writes its next answer over this one.
        return np.array(mine.request.infer(dict(zip(INPUTS, inputs, strict=False)))[output])

    return run
