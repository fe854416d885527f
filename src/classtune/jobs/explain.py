"""Why a bundle answers as it does: the words that made the answer and the training texts nearest to the text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from classtune.data.reading.cells import paired
from classtune.data.reading.columns import TableFormat
from classtune.errors import SettingsError
from classtune.explain.explanations import as_html, explain
from classtune.explain.neighbours import Neighbours
from classtune.files import check_file, new_file
from classtune.inference.predictor import load_predictor
from classtune.inference.tables import as_trained

_PAGE = '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Why this label</title>\n<p>{}</p>\n</html>\n'


def explain_text(
    folder: Path,
    text: str,
    label: str | None = None,
    page: Path | None = None,
    *,
    pair: str | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """The explanation of one text's label (None: the most probable); written to ``page`` as HTML too, if told.

    pair: the second text, for a bundle of pairs; None: what stands after the text's first blank line.
    force: the page may take the place of a file.
    Raises BundleError, DataError for a text that the bundle cannot take, SettingsError for a label it does not have.
    """
    if page is not None:
        check_file(page, force=force, flag="--html")
    predictor, bundle = load_predictor(folder)
    if pair is not None:
        if not as_trained(TableFormat(), folder).pair:
            raise SettingsError(f"--pair: {folder} was trained on texts alone. Leave it out.")
        text = paired(text, pair)
    explanation = explain(predictor, text, label=label, neighbours=Neighbours.load(bundle.folder))
    if page is not None:
        with new_file(page, force=force) as scratch:
            scratch.write_text(_PAGE.format(as_html(explanation)), encoding="utf-8")
    return explanation
