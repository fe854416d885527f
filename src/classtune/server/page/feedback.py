"""What people say of the answers, kept in a local file of JSON lines that ``classtune train`` reads as a table."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from classtune.data.reading.cells import is_blank, parts_of
from classtune.data.reading.columns import listed_names
from classtune.errors import BundleError, DataError, did_you_mean, writing

LOCK_SECONDS = 10


def add_feedback(
    path: Path,
    text: str,
    right: Sequence[str],
    *,
    answer: Sequence[str],
    labels: Sequence[str],
    multi: bool = False,
    bundle: str = "",
    columns: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Append one text with its right label or, with ``multi``, any number of labels; gives the line as written.

    answer: the labels that the classifier gave, none where it gave no answer. labels: all that the classifier has.
    columns: of the classifier's own table (`classtune.bundle.columns_of`): a pair is written as it stands there.
    Several processes may write at once. The file and its folder are made where they are missing.
    Raises DataError for an empty text or labels that the classifier does not have, BundleError where the file cannot be
    written.
    """
    problems = [
        f"feedback: the label {label!r} is not one of the classifier's. {did_you_mean(label, labels)}"
        for label in right
        if label not in labels
    ]
    if is_blank(text):
        problems.append("feedback: the text is empty. Send the text that was classified.")
    if not multi and len(right) != 1:
        problems.append(f"feedback: {len(right)} labels, and a text has one here. Choose one.")
    if problems:
        raise DataError(problems)
    columns = columns or {}
    told = {
        "label": list(right) if multi else right[0],
        "answer": list(answer) if multi else (answer[0] if answer else None),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "bundle": bundle,
    }
    line = _columns_of(text, columns)
    # Columns that `train --add` reads: what is told has other names, and `label` is read where the labels' own is not.
    read = {*line, columns.get("pair"), *listed_names(columns.get("with") or ""), *{columns.get("label")} - {"label"}}
    line |= {f"{key} (feedback)" if key in read else key: value for key, value in told.items()}
    try:
        data = (json.dumps(line, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:
        raise DataError("feedback: the text holds half a character. Send it whole.") from None
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(path.with_name(f".{path.name}.lock"), timeout=LOCK_SECONDS), path.open("ab+") as file:
                if _is_cut_short(file):
                    data = b"\n" + data
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except Timeout as error:
            raise BundleError(f"{path}: another program has held it for {LOCK_SECONDS} s. Try again.") from error
    return line


def _columns_of(text: str, columns: Mapping[str, Any]) -> dict[str, Any]:
    """The text under its column's name; both texts of a pair."""
    parts = [part for _, part in parts_of(text)]
    if len(parts) == 1:
        return {"text": text}
    return {str(columns.get("text") or "text"): parts[0], str(columns["pair"]): parts[1]}


def _is_cut_short(file: Any) -> bool:
    """Whether an earlier writer was stopped in the middle of its line; a line of our own then starts a new one."""
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) != b"\n")
