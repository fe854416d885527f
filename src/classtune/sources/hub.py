"""Models of the Hugging Face Hub, in the Hub client's own cache, shared with the user's other programs.

``HF_HOME`` moves that cache. Only configuration, tokenizer and safetensors are fetched, never a pickle.
"""

from __future__ import annotations

import json
import os
import shlex
from functools import partial
from pathlib import Path

from classtune.errors import SourceError
from classtune.sources.pinned import Notify
from classtune.sources.registry import Hub

WANTED = ("*.json", "*.safetensors", "*.txt", "*.model")  # *.txt: vocabulary and merges
UNWANTED = ("*/*", "consolidated*")  # other formats' folders, and Mistral's second copy of its weights


def fetch_from_hub(hub: Hub, notify: Notify, offline: bool) -> Path:
    """The snapshot's folder; the Hub is asked only for what is not in its cache. Raises SourceError."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    snapshot = partial(
        snapshot_download, hub.repo_id, revision=hub.revision, allow_patterns=[*WANTED], ignore_patterns=[*UNWANTED]
    )
    try:
        folder = Path(snapshot(local_files_only=True))
    except HFValidationError:
        raise SourceError(f"{hub.repo_id!r} is not a Hub id. Write owner/name.") from None
    except LocalEntryNotFoundError as error:  # another program's partial snapshot may hold all that is needed
        folder = Path(getattr(error, "snapshot_path", None) or os.devnull)
    if _is_complete(folder):
        return folder
    include = " ".join(f"--include '{pattern}'" for pattern in WANTED)
    revision = f" --revision {shlex.quote(hub.revision)}" if hub.revision else ""
    command = f"hf download {shlex.quote(hub.repo_id)}{revision} {include}"
    if offline:
        raise SourceError(f"{hub.repo_id}: not in the Hub's cache, and fetching is off. With a network, run: {command}")
    notify(f"fetching {hub.repo_id} from the Hugging Face Hub")
    try:
        folder = Path(snapshot())
    except GatedRepoError:
        raise SourceError(
            f"{hub.repo_id}: its terms are not accepted yet. Accept them on its Hub page, then run: hf auth login"
        ) from None
    except RepositoryNotFoundError:
        raise SourceError(
            f"{hub.repo_id}: the Hub has no such public model. Check the id, or run: hf auth login"
        ) from None
    except Exception as error:  # the client raises its own errors, those of its HTTP library, and OSError
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise SourceError(
            f"{hub.repo_id}: the Hub could not give it ({reason}). Try again, or run: {command}"
        ) from error
    if not _is_complete(folder, tokenizer=False):
        raise SourceError(
            f"{hub.repo_id}: the Hub's copy lacks config.json or weights as *.safetensors; pickled weights "
            "(*.bin, *.pt) are never read. Choose a model with safetensors."
        )
    return folder


def _is_complete(folder: Path, *, tokenizer: bool = True) -> bool:
    """Whether a snapshot holds a configuration, every shard of the weights, and a tokenizer."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, LookupError):
            return False
        weights = all((folder / shard).is_file() for shard in shards)
    else:
        weights = any(folder.glob("*.safetensors"))
    tokens = not tokenizer or any(any(folder.glob(pattern)) for pattern in ("tokenizer*", "vocab*", "*.model"))
    return (folder / "config.json").is_file() and weights and tokens
