"""The page beside the API: try a text, label a file, read the report, say what was right. Made with Gradio (extra ui).

Nothing on it is fetched from anywhere but this server. What it says in words is in wording.py.
"""

from __future__ import annotations

import html
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from classtune.config import Progress
from classtune.data.columns import TableFormat
from classtune.data.tables import read_table
from classtune.errors import ClasstuneError, DataError, UserError
from classtune.judging.attributions import words_of
from classtune.judging.explanations import explain
from classtune.judging.neighbours import Neighbours
from classtune.serving.page import wording
from classtune.serving.page.feedback import add_feedback
from classtune.serving.passing import passing
from classtune.serving.predictor import Predictor, answer_of
from classtune.serving.tables import write_predictions

if TYPE_CHECKING:
    from fastapi import FastAPI

MOST_CHARACTERS = 50_000
MOST_ROWS = 20_000
MOST_BYTES = "50mb"
# Each word is left out once to explain a text: a long text would hold the server up.
MOST_EXPLAINED_WORDS = 200
# Uploads and downloads are looked through once in ten minutes and deleted when an hour old.
KEPT_SECONDS = (600, 3600)
TITLE = "Text classifier"
# For screen readers: what appears here is read out.
_ANNOUNCED = "element.setAttribute('aria-live', 'polite')"
# The report holds no script; this keeps it so even if one got in.
_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; sandbox allow-popups"


class Shown(Protocol):
    """A bundle that the page offers."""

    @property
    def name(self) -> str:
        """What it is called; no two alike."""

    @property
    def folder(self) -> Path:
        """Where it lies."""

    @property
    def predictor(self) -> Predictor:
        """What scores texts; without a ``network`` (other runtimes) answers are not explained."""

    @property
    def record(self) -> dict[str, Any]:
        """Its classtune.json."""

    @property
    def neighbours(self) -> Neighbours | None:
        """Its training texts, if it holds them."""


def mount_page(app: FastAPI, served: Iterable[Shown], *, path: str = "/", feedback: Path | None) -> FastAPI:
    """Add the page to ``app`` at ``path``, and the reports below it. Call it after all other routes are there.

    served: gone through anew for each answer, so that it may come to hold other versions.
    feedback: file of JSON lines that gets what people say was right (a file for each bundle where there are several,
    see `feedback_file`); None: they are not asked.
    Raises UserError without Gradio.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported
    try:
        import gradio
    except ModuleNotFoundError as error:
        raise UserError('the page needs Gradio. Install it: pip install "classtune[ui]"') from error

    page = _Page(served, feedback)
    app.add_api_route(f"{path.rstrip('/')}/report/{{name}}", page.report, include_in_schema=False)
    system = ["system-ui", "sans-serif"]
    theme = gradio.themes.Default(primary_hue="blue", font=system, font_mono=["ui-monospace", "monospace"])
    # Gradio's own blue is too light for white letters and for links.
    theme.set(
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        color_accent="*primary_600",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
    )
    gradio.mount_gradio_app(
        app,
        _layout(page),
        path=path,
        footer_links=[],
        run_history=False,  # would keep texts in the browser
        show_error=False,
        max_file_size=MOST_BYTES,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        theme=theme,
        css_paths=Path(__file__).with_name("page.css"),
    )
    return app


def feedback_file(feedback: Path, name: str, bundles: int) -> Path:
    """Where a bundle's feedback goes: labels of several bundles in one file could not be trained on."""
    return feedback if bundles == 1 else feedback.with_stem(f"{feedback.stem}-{quote(name, safe=' ')}")


# What errors tell people at a command line to do, and what they do here.
_HERE = (
    (re.compile(r"(Choose|Name it) with --text NAME\b.*"), "Write its name into the box above."),
    (re.compile(r" \(--text\)"), ""),
)


class _Page:
    """What happens when the page is used; `_layout` is what stands on it."""

    def __init__(self, served: Iterable[Shown], feedback: Path | None) -> None:
        self.served = served
        self.feedback = feedback

    def bundle(self, name: str) -> Shown:
        """The bundle of a name; DataError where it is no longer served."""
        for shown in self.served:
            if shown.name == name:
                return shown
        raise DataError(f"{name}: is no longer served here. Load this page again.")

    def heading(self, name: str) -> str:
        shown = self.bundle(name)
        return wording.heading(shown.predictor.labels, multi=shown.predictor.decisions.multi)

    def examples(self, name: str) -> list[list[str]]:
        """One row a text to try."""
        shown = self.bundle(name)
        near = shown.neighbours
        training = list(zip(near.texts, near.labels, strict=True)) if near else []
        texts = wording.example_texts(shown.predictor.labels, shown.record.get("golden", []), training)
        return [[text] for text in texts]

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

        found = next((shown.folder / "report.html" for shown in self.served if shown.name == name), None)
        if found is None or not found.is_file():
            return HTMLResponse("<!doctype html><title>No report</title><p>There is no report.</p>", status_code=404)
        return FileResponse(found, media_type="text/html", headers={"Content-Security-Policy": _REPORT_POLICY})

    def classify(self, name: str, text: str) -> tuple[str, dict[str, Any]]:
        """The answer in words, and what is remembered of it. Raises DataError for texts that are not taken."""
        if not text.strip():
            raise DataError("There is no text yet. Type one, or choose an example.")
        if len(text) > MOST_CHARACTERS:
            raise DataError(
                f"The text has {len(text):,} characters, and this box takes {MOST_CHARACTERS:,}. Send it as a file."
            )
        predictor = self.bundle(name).predictor
        (ranked,) = predictor.ranked(predictor.probabilities([text], places=["Your text"]))
        return wording.answer_html(ranked, predictor.decisions), {
            "bundle": name,
            "text": text,
            "answer": answer_of(ranked),
            "multi": predictor.decisions.multi,
        }

    def why(self, asked: dict[str, Any]) -> str:
        """The words that made an answer."""
        shown = self.bundle(asked["bundle"])
        if getattr(shown.predictor, "network", None) is None:
            return wording.note_html("This server cannot show which words made the answer.")
        if len(words_of(asked["text"])) > MOST_EXPLAINED_WORDS:
            return wording.note_html(
                f"Which words made the answer is shown for texts of up to {MOST_EXPLAINED_WORDS} words."
            )
        label = asked["answer"][0] if asked["answer"] else None
        explained = passing(lambda: explain(shown.predictor, asked["text"], label=label, neighbours=shown.neighbours))
        return wording.explanation_html(explained)

    def classify_file(
        self, name: str, file: str | None, column: str, folder: Path, progress: Progress
    ) -> tuple[str, list[Path]]:
        """A table's answers in words, and written into ``folder`` as .csv and .jsonl. Raises DataError."""
        if file is None:
            raise DataError("There is no file yet. Choose one above.")
        try:
            table = read_table(file, TableFormat(text=column.strip() or None, drop_empty=True), labelled=False)
        except DataError as error:
            problems = [problem.replace(file, Path(file).name) for problem in error.problems]
            for flag, here in _HERE:
                problems = [flag.sub(here, problem) for problem in problems]
            raise DataError(problems) from error
        table = replace(table, name=Path(file).name)  # where it lies on this server is nobody's business
        if len(table.texts) > MOST_ROWS:
            raise DataError(
                f"{table.name}: {len(table.texts):,} rows, and this page takes {MOST_ROWS:,}. "
                "Use `classtune predict` for more."
            )
        predictor = self.bundle(name).predictor
        predictions = predictor.ranked(predictor.probabilities(table.texts, places=table.places, progress=progress))
        paths = [folder / f"{Path(file).stem}-labels{suffix}" for suffix in (".csv", ".jsonl")]
        for path in paths:
            write_predictions(path, table.texts, predictions, predictor.labels)
        return wording.table_html(table.texts, predictions, left_out=table.dropped.get("empty", 0)), paths

    def keep(self, asked: dict[str, Any], right: Sequence[str]) -> str:
        """Write down what was right. Raises DataError or BundleError."""
        assert self.feedback is not None
        shown = self.bundle(asked["bundle"])
        path = feedback_file(self.feedback, shown.name, len(list(self.served)))
        add_feedback(
            path,
            asked["text"],
            right,
            answer=asked["answer"],
            labels=shown.predictor.labels,
            multi=asked["multi"],
            bundle=shown.name,
        )
        return wording.note_html(f"Thank you. Kept in {path.name}, to train on.")


def _layout(page: _Page) -> Any:
    """The page as Gradio's blocks."""
    import gradio as gr

    def told(error: ClasstuneError) -> str:
        return wording.message_html(str(error).splitlines())

    def opened(name: str) -> dict[Any, Any]:
        """The page for a bundle, before anything was asked."""
        predictor = page.bundle(name).predictor
        multi, labels = predictor.decisions.multi, predictor.labels
        choices = gr.Dropdown(choices=labels, value=[] if multi else None, multiselect=multi)
        return {
            heading: page.heading(name),
            examples: gr.Dataset(samples=page.examples(name)),
            report: page.report_frame(name),
            right: choices,
            **dict.fromkeys((answer, why, table), ""),
            **dict.fromkeys((judged, *downloads), gr.update(visible=False)),
        }

    def asked_now(name: str, text: str) -> Iterator[dict[Any, Any]]:
        try:
            shown, remembered = page.classify(name, text)
        except ClasstuneError as error:
            yield {answer: told(error), why: "", judged: gr.update(visible=False)}
            return
        given = bool(remembered["answer"])
        yield {
            answer: shown,
            why: wording.note_html("Looking for the words that made the difference …"),
            asked: remembered,
            judged: gr.update(visible=page.feedback is not None),
            question: wording.question_html(given),
            verdict: gr.update(visible=given),
            choice: gr.update(visible=not given),
            right: [] if remembered["multi"] else None,
        }
        try:
            yield {why: page.why(remembered)}
        except ClasstuneError as error:
            yield {why: told(error)}

    def file_now(name: str, file: str | None, column: str, bar: Any = gr.Progress()) -> dict[Any, Any]:  # noqa: B008
        with tempfile.TemporaryDirectory() as folder:
            try:
                shown, paths = page.classify_file(
                    name, file, column, Path(folder), lambda _, done, total: bar((done, total), unit="texts")
                )
            except ClasstuneError as error:
                return {table: told(error), **dict.fromkeys(downloads, gr.update(visible=False))}
            kept = [button.move_resource_to_block_cache(path) for button, path in zip(downloads, paths, strict=True)]
        return {
            table: shown,
            **{button: gr.update(value=path, visible=True) for button, path in zip(downloads, kept, strict=True)},
        }

    def kept(remembered: dict[str, Any], labels: Sequence[str]) -> dict[Any, Any]:
        try:
            thanks = page.keep(remembered, labels)
        except ClasstuneError as error:
            return {question: told(error)}
        return {question: thanks, **dict.fromkeys((verdict, choice), gr.update(visible=False))}

    def chosen(remembered: dict[str, Any], labels: str | list[str] | None) -> dict[Any, Any]:
        return kept(remembered, labels if isinstance(labels, list) else [labels] if labels else [])

    names = [shown.name for shown in page.served]
    first = names[0]
    labels = page.bundle(first).predictor.labels
    multi = page.bundle(first).predictor.decisions.multi
    said: dict[str, Any] = {"elem_classes": "ct-page", "js_on_load": _ANNOUNCED}
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=KEPT_SECONDS) as blocks:
        asked = gr.State(None)
        heading = gr.HTML(page.heading(first), elem_classes="ct-page")
        bundle = gr.Dropdown(names, value=first, label="Classifier", visible=len(names) > 1, filterable=False)
        with gr.Tab("One text"):
            text = gr.Textbox(
                label="Your text", placeholder="Type or paste a text here", lines=1, max_lines=12, autofocus=True
            )
            go = gr.Button("Classify", variant="primary")
            examples = gr.Dataset(
                components=[text], samples=page.examples(first), label="Or try one of these", elem_classes="ct-examples"
            )
            answer = gr.HTML(**said)
            with gr.Column(visible=False, elem_classes="ct-judged") as judged:
                question = gr.HTML(**said)
                with gr.Row() as verdict:
                    yes = gr.Button("Yes", size="sm", min_width=80)
                    no = gr.Button("No", size="sm", min_width=80)
                with gr.Row(visible=False, equal_height=True) as choice:
                    right = gr.Dropdown(labels, value=[] if multi else None, multiselect=multi, label="The right label")
                    keep = gr.Button("Keep this", size="sm", min_width=80)
            why = gr.HTML(**said)
        with gr.Tab("A file"):
            file = gr.File(label="A table of texts: CSV, Excel, JSON lines, Parquet", height=140)
            column = gr.Textbox(
                label="Column with the texts", placeholder="Leave empty to have it found", lines=1, max_lines=1
            )
            go_file = gr.Button("Classify the file", variant="primary")
            table = gr.HTML(**said)
            with gr.Row():
                downloads = [
                    gr.DownloadButton(f"Download as {kind}", visible=False)
                    for kind in ("CSV (for Excel)", "JSON lines")
                ]
        with gr.Tab("Report"):
            report = gr.HTML(page.report_frame(first), elem_classes="ct-page")

        answers = [answer, why, asked, judged, question, verdict, choice, right]
        gr.on([text.submit, go.click], asked_now, [bundle, text], answers, trigger_mode="always_last", **quiet)
        examples.click(lambda sample: sample[0], examples, text, **quiet).then(
            asked_now, [bundle, text], answers, **quiet
        )
        yes.click(
            lambda remembered: kept(remembered, remembered["answer"]), asked, [question, verdict, choice], **quiet
        )
        no.click(lambda: {choice: gr.update(visible=True)}, None, [choice], **quiet)
        keep.click(chosen, [asked, right], [question, verdict, choice], **quiet)
        gr.on(
            [go_file.click, column.submit],
            file_now,
            [bundle, file, column],
            [table, *downloads],
            api_visibility="private",
        )
        bundle.change(
            opened, bundle, [heading, examples, report, right, answer, why, table, judged, *downloads], **quiet
        )
    return blocks
