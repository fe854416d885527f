"""A graph as the file of a runtime: ONNX or OpenVINO, in full or with weights of 8 bits."""

from __future__ import annotations

import ast
import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from classtune.export.graph import quiet_export
from classtune.inference.runtimes import INPUTS, OUTPUTS


def write_onnx(
    program: torch.export.ExportedProgram, path: Path, facts: dict[str, str], *, int8: bool, whole: Sequence[str]
) -> None:
    """Write a graph as ONNX. facts: what its metadata say; int8: weights of 8 bits, but for the layers ``whole``."""
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


def write_openvino(program: torch.export.ExportedProgram, path: Path, facts: dict[str, str], *, int8: bool) -> None:
    """As `write_onnx`, for OpenVINO; no layer stays whole."""
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
