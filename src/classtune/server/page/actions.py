"""What happens when the page is used: answers, reasons, tables, reports, feedback. Knows no Gradio.

What is said in words is in html.py, and what stands on the page in layout.py.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from classtune.bundle import columns_of, read_held_out
from classtune.config import Progress
from classtune.data.reading.cells import as_pair, is_blank, paired, parts_of
from classtune.errors import ClasstuneError, DataError
from classtune.explain.explanations import explain
from classtune.explain.neighbours import Neighbours
from classtune.explain.words import words_of
from classtune.inference.answer_files import too_much_for_excel, write_predictions
from classtune.inference.own_thread import on_own_thread
from classtune.inference.predictor import Predictor, answer_of
from classtune.server.page import html as wording
from classtune.server.page.feedback import add_feedback
from classtune.server.page.uploads import FileColumns, offered_columns, read_rows

MOST_CHARACTERS = 50_000
MOST_ROWS = 20_000
# Of texts to try: characters of one, and how many are scored, of which the surest of each label is shown.
_LONGEST_EXAMPLE, _SCORED_EXAMPLES = 120, 60
# Each word is left out once to explain a text: a long text would hold the server up.
MOST_EXPLAINED_WORDS = 200
# The report holds no script; this keeps it so even if one got in.
_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; sandbox allow-popups"


class PageBundle(Protocol):
    """A bundle that the page offers."""

    @property
    def name(self) -> str:
        """What it is called; no two alike."""

    @property
    def folder(self) -> Path:
        """Where it lies."""

    @property
    def predictor(self) -> Predictor:
        """Its labels and decisions, and what `classtune.explain` looks into."""

    @property
    def record(self) -> dict[str, Any]:
        """Its classtune.json."""

    @property
    def neighbours(self) -> Neighbours | None:
        """Its training texts, if it holds them."""

    def probabilities(
        self, texts: Sequence[str], *, places: Sequence[str], progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """Probabilities [texts, labels]; see `classtune.inference.predictor.Predictor.probabilities`."""


def _nobody(*_: object) -> None:
    """Nobody counts."""


class Page:
    """The bundles that are offered, and what is done with them. feedback, judged: see `mount_page` in app.py."""

    def __init__(
        self, bundles: Iterable[PageBundle], feedback: Path | None, judged: Callable[[str, bool], object] = _nobody
    ) -> None:
        self.bundles = bundles
        self.feedback = feedback
        self.judged = judged

    def bundle(self, name: str) -> PageBundle:
        """The bundle of a name; DataError where it is no longer served."""
        for shown in self.bundles:
            if shown.name == name:
                return shown
        raise DataError(f"{name}: is no longer served here. Load this page again.")

    def heading(self, name: str) -> str:
        shown = self.bundle(name)
        return wording.heading(
            shown.predictor.labels, multi=shown.predictor.decisions.multi, columns=columns_of(shown.record)
        )

    def pair(self, name: str) -> str | None:
        """What the second texts of a bundle are called; None where it reads texts alone."""
        pair: str | None = columns_of(self.bundle(name).record).get("pair")
        return pair

    def labels(self, name: str) -> tuple[str, str]:
        """What the boxes of the text and of its pair are called."""
        return wording.box_labels(columns_of(self.bundle(name).record))

    def boxes(self, name: str, sample: str) -> tuple[str, str]:
        """An example as what stands in the two boxes; the second is empty for a bundle that reads texts alone."""
        if self.pair(name) is None:
            return sample, ""
        (_, first), (_, second) = parts_of(as_pair(sample))
        return first, second

    def examples(self, name: str) -> list[list[str]]:
        """One row a text to try: of the held-out texts that a bundle keeps the surest of each label."""
        shown = self.bundle(name)
        held_out = [text for text in read_held_out(shown.folder) if len(text) <= _LONGEST_EXAMPLE][:_SCORED_EXAMPLES]
        scored = shown.record.get("golden", [])
        if held_out:
            scores = on_own_thread(lambda: shown.predictor.probabilities(held_out))
            scored = [{"text": text, "scores": row} for text, row in zip(held_out, scores.tolist(), strict=True)]
        near = shown.neighbours
        training = list(zip(near.texts, near.labels, strict=True)) if near else []
        texts = wording.example_texts(shown.predictor.labels, scored, training)
        return [[text] for text in texts]

    def code(self, name: str) -> str:
        first = next(iter(self.bundles)).name
        return wording.code_html(
            self.bundle(name).predictor.labels, pairs=self.pair(name) is not None, model=None if name == first else name
        )

    def report_frame(self, name: str) -> str:
        shown = self.bundle(name)
        if not (shown.folder / "report.html").is_file():
            return wording.note_html("This classifier came without a report.")
        place = html.escape(f"report/{quote(name, safe='')}")  # below this page, wherever a proxy puts it
        return (
            f'<p><a href="{place}" target="_blank" rel="noopener">Open the report in a page of its own</a></p>'
            f'<iframe class="ct-report" src="{place}" title="Report of {html.escape(name)}" loading="lazy"></iframe>'
        )

    def report(self, name: str) -> Any:
        """The report of a bundle, or a line that there is none."""
        from fastapi.responses import FileResponse, HTMLResponse

        file = next((shown.folder / "report.html" for shown in self.bundles if shown.name == name), None)
        if file is None or not file.is_file():
            return HTMLResponse("<!doctype html><title>No report</title><p>There is no report.</p>", status_code=404)
        return FileResponse(file, media_type="text/html", headers={"Content-Security-Policy": _REPORT_POLICY})

    def classify(self, name: str, text: str, second: str = "") -> tuple[str, dict[str, Any]]:
        """The answer in words, and what is remembered of it. second: the other text of a pair.

        Raises DataError for texts that are not taken.
        """
        if is_blank(text):
            raise DataError("There is no text yet. Type one, or choose an example.")
        if self.pair(name) is not None:
            if is_blank(second):
                raise DataError("There is no second text yet. This classifier reads two texts together.")
            text = paired(text, second)
        if len(text) > MOST_CHARACTERS:
            raise DataError(
                f"The text has {len(text):,} characters, and this box takes {MOST_CHARACTERS:,}. Send it as a file."
            )
        shown = self.bundle(name)
        predictor = shown.predictor
        (ranked,) = predictor.ranked(shown.probabilities([text], places=["Your text"]))
        return wording.answer_html(ranked, predictor.decisions, wording.quality(shown.record)), {
            "bundle": name,
            "text": text,
            "answer": answer_of(ranked),
            "multi": predictor.decisions.multi,
        }

    def why(self, asked: dict[str, Any]) -> str:
        """The words that made an answer, or why they cannot be shown."""
        shown = self.bundle(asked["bundle"])
        if not shown.predictor.explainable:
            return wording.note_html("Which words made the answer is shown by the bundle, not by an export of it.")
        if len(words_of(asked["text"])) > MOST_EXPLAINED_WORDS:
            return wording.note_html(
                f"Which words made the answer is shown for texts of up to {MOST_EXPLAINED_WORDS} words."
            )
        label = asked["answer"][0] if asked["answer"] else None
        try:
            explained = on_own_thread(
                lambda: explain(shown.predictor, asked["text"], label=label, neighbours=shown.neighbours)
            )
        except ClasstuneError as error:
            return wording.message_html(str(error).splitlines())
        return wording.explanation_html(explained)

    def columns(self, name: str, file: str | None) -> FileColumns:
        """What can be chosen of an uploaded file; nothing before there is one."""
        if file is None:
            return FileColumns()
        try:
            return offered_columns(file, self.bundle(name).record)
        except DataError as error:
            return FileColumns(problem=wording.message_html(error.problems))

    def classify_file(
        self, name: str, file: str | None, column: str | None, folder: Path, progress: Progress, pair: str | None = None
    ) -> tuple[str, list[Path]]:
        """A table's answers in words, and written into ``folder``; as .xlsx only where it fits. Raises DataError.

        column, pair: where its texts and their pairs are; None: as the bundle's own table had them.
        """
        if file is None:
            raise DataError("There is no file yet. Choose one above.")
        table = read_rows(file, self.bundle(name).record, text=column, pair=pair)
        if len(table.texts) > MOST_ROWS:
            raise DataError(
                f"{table.name}: {len(table.texts):,} rows, and this page takes {MOST_ROWS:,}. "
                "Use `classtune predict` for more."
            )
        shown = self.bundle(name)
        predictor = shown.predictor
        predictions = predictor.ranked(shown.probabilities(table.texts, places=table.places, progress=progress))
        suffixes = [".xlsx", ".csv", ".jsonl"] if not too_much_for_excel(table) else [".csv", ".jsonl"]
        paths = [folder / f"{Path(file).stem}-labels{suffix}" for suffix in suffixes]
        for path in paths:
            write_predictions(path, table, predictions, predictor.labels, escape_formulas=True, force=True)
        return wording.table_html(table.texts, predictions, left_out=table.dropped.get("empty", 0)), paths

    def keep(self, asked: dict[str, Any], right: Sequence[str]) -> str:
        """Write down what was right. Raises DataError or BundleError."""
        assert self.feedback is not None
        shown = self.bundle(asked["bundle"])
        path = feedback_file(self.feedback, shown.name, len(list(self.bundles)))
        add_feedback(
            path,
            asked["text"],
            right,
            answer=asked["answer"],
            labels=shown.predictor.labels,
            multi=asked["multi"],
            bundle=shown.name,
            columns=columns_of(shown.record),
        )
        self.judged(shown.name, set(right) == set(asked["answer"]))
        return wording.note_html(f"Thank you. Kept in {path.name}, to train on.")


def feedback_file(feedback: Path, name: str, bundles: int) -> Path:
    """Where a bundle's feedback goes: labels of several bundles in one file could not be trained on."""
    return feedback if bundles == 1 else feedback.with_stem(f"{feedback.stem}-{quote(name, safe=' ')}")
