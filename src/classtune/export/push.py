"""A bundle on the Hugging Face Hub, without the texts that it keeps unless they are asked for.

What is left out is left out of ``classtune.json`` too, so that what arrives there loads and verifies like any bundle.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from classtune.bundle import (
    CARD,
    HELD_OUT,
    REPORT,
    ROWS,
    TEXTS,
    VALIDATION,
    put_record,
    read_record,
    without_quotes,
)
from classtune.errors import ClasstuneError, SettingsError, reading
from classtune.explain.neighbours import TEXTS as NEIGHBOURS
from classtune.explain.neighbours import VECTORS
from classtune.files import check_regular, inside, sha256

# What is left out beside the folder texts/: what validation rows scored, hashes of texts (who knows a text can ask
# whether it was there), and of bundles of an earlier schema texts,
# vectors of training texts (from which these can be guessed) and the report, which quotes mistakes and findings.
_LEFT_OUT = {VALIDATION, ROWS}
_LEFT_OUT_BEFORE_3 = {VALIDATION, NEIGHBOURS, VECTORS, HELD_OUT, REPORT}
_NAME = r"\w(?:[\w.-]*\w)?"
_REPOSITORY = re.compile(rf"(?!.*(?:--|\.\.)){_NAME}/{_NAME}", re.ASCII)  # the Hub's own rules


def push_bundle(
    folder: Path,
    repository: str,
    *,
    public: bool = False,
    with_texts: bool = False,
    dry_run: bool = False,
    notify: Callable[[str], None],
    api: Any = None,
) -> dict[str, Any]:
    """Upload a bundle to ``repository`` (``owner/name``) in one commit; a new repository is private unless ``public``.

    with_texts: also what holds or quotes texts of the table, and what validation rows scored.
    dry_run: only say what would be uploaded; nothing is sent. api: stands in for huggingface_hub's HfApi.
    Gives ``{"repository", "files": {name: bytes}, "left_out", "dry_run", "url"}``; url is None in a dry run.
    Raises SettingsError for a name that is none, BundleError for a folder that is no bundle, ClasstuneError where the
    Hub refuses or cannot be reached.
    """
    if not _REPOSITORY.fullmatch(repository):
        raise SettingsError(f"{repository!r}: is no name of a repository. Write OWNER/NAME.")
    with tempfile.TemporaryDirectory() as scratch:
        left_out = _stage(folder, Path(scratch), with_texts=with_texts)
        paths = [path for path in sorted(Path(scratch).rglob("*")) if path.is_file()]
        files = {path.relative_to(scratch).as_posix(): path.stat().st_size for path in paths}
        for name, size in files.items():
            notify(f"{size / 1e6:10.2f} MB  {name}")
        if left_out:
            notify(
                f"left out, because they hold or tell of texts of the table: {', '.join(left_out)}. "
                "--with-texts uploads them."
            )
        url = None if dry_run else _upload(Path(scratch), repository, public, api)
    return {"repository": repository, "files": files, "left_out": left_out, "dry_run": dry_run, "url": url}


def _stage(folder: Path, scratch: Path, *, with_texts: bool) -> list[str]:
    """Lay out in ``scratch`` what is to be uploaded; the names of the files that are left out."""
    record = read_record(folder)
    quoting = _LEFT_OUT_BEFORE_3 if int(record["schema_version"]) < 3 else _LEFT_OUT
    left_out = [name for name in record["sha256"] if name in quoting or name.startswith(f"{TEXTS}/")]
    left_out = [] if with_texts else left_out
    kept = [name for name in record["sha256"] if name not in left_out]
    for name in kept:
        source = inside(folder, name)
        with reading(source, advice="Restore it first."):
            check_regular(source)
        if sha256(source) != record["sha256"][name]:
            raise ClasstuneError(f"{source}: is missing or was changed since it was written. Restore it first.")
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / name).symlink_to(source.resolve())
    record = _without_places(record)
    if with_texts:
        put_record(scratch, record)
        return left_out
    if CARD in kept:
        card = (scratch / CARD).read_text(encoding="utf-8")
        (scratch / CARD).unlink()
        without = [line for line in card.split("\n") if not line.startswith("This folder holds ")]
        (scratch / CARD).write_text("\n".join(without), encoding="utf-8", newline="\n")
    put_record(scratch, {**without_quotes(record), "keeps_texts": False})
    return left_out


def _without_places(record: dict[str, Any]) -> dict[str, Any]:
    """The record with the names of its table and of the version before, and without the folders that they lie in."""
    told = [(record.get("data") or {}).get("name"), (record.get("earlier") or {}).get("bundle")]
    places = {place: Path(place).name for place in told if place and Path(place).name != place}
    return {**record, **{key: _named(record[key], places) for key in ("data", "earlier", "notes") if key in record}}


def _named(value: Any, places: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {_named(key, places): _named(inner, places) for key, inner in value.items()}
    if isinstance(value, list):
        return [_named(inner, places) for inner in value]
    if isinstance(value, str):
        for place, name in places.items():
            value = value.replace(place, name)
    return value


def _upload(folder: Path, repository: str, public: bool, api: Any) -> str:
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import LocalTokenNotFoundError

    nobody = f"{repository}: nobody is logged in. Run `hf auth login`, or set HF_TOKEN."
    if api is None and get_token() is None:  # the client asks all the same, and is only told "unauthorized"
        raise ClasstuneError(nobody)
    api = api or HfApi(library_name="classtune")
    try:
        api.create_repo(repository, private=not public, exist_ok=True)
        api.upload_folder(
            repo_id=repository, folder_path=str(folder), commit_message="A classifier made with classtune"
        )
    except LocalTokenNotFoundError as error:
        raise ClasstuneError(nobody) from error
    except Exception as error:  # the client raises its own errors, those of its HTTP library, and Python's
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ClasstuneError(f"{repository}: was not uploaded ({reason}). Check the name and the token.") from error
    return f"{str(getattr(api, 'endpoint', '')).rstrip('/')}/{repository}"
