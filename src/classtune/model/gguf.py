"""A GGUF file as a Hugging Face folder, converted once.

transformers would parse the file anew for configuration, tokenizer and weights.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from transformers import AutoModel, AutoTokenizer

from classtune.files import replacing
from classtune.sources import cache_home


def converted(file: Path) -> Path:
    """The folder that holds the model of a GGUF file as float32 safetensors, made in the cache at first use."""
    status = file.stat()
    key = hashlib.sha256(f"{file.resolve()} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()[:16]
    target = cache_home() / "converted" / f"{file.stem}-{key}"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.exists():
            with replacing(target) as scratch:
                scratch.mkdir()
                _convert(file, scratch)
    return target


def _convert(file: Path, folder: Path) -> None:
    place: dict[str, Any] = {"gguf_file": file.name}
    tokenizer = AutoTokenizer.from_pretrained(str(file.parent), **place)
    model = AutoModel.from_pretrained(str(file.parent), dtype=torch.float32, **place)
    # The weights are plain floats by now, but transformers still calls the model quantised and will not save it.
    model.hf_quantizer = None
    model.is_quantized = False
    model.config.__dict__.pop("quantization_config", None)
    model.config._name_or_path = ""  # a title of the file's maker, not a place
    tokenizer.save_pretrained(str(folder))
    model.save_pretrained(str(folder))
