"""What stands on the page and which of `actions` each control calls, as Gradio's blocks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from classtune.errors import ClasstuneError
from classtune.server.page import html as wording
from classtune.server.page.actions import Page

TITLE = "Text classifier"
# Uploads and downloads are looked through once in ten minutes and deleted when an hour old.
KEPT_SECONDS = (600, 3600)
# For screen readers: what appears here is read out.
_ANNOUNCED = "element.setAttribute('aria-live', 'polite')"
# The address that this page was asked by, in the place of the word; again where another classifier is chosen.
_FILL_ADDRESS = """
const address = location.origin + location.pathname.replace(/\\/page\\/?$/, "");
const fill = () => {
  for (const code of element.querySelectorAll(".ct-code code")) {
    code.textContent = code.textContent.replace("ADDRESS", address);
  }
};
fill();
watch("value", fill);
"""
_SHOW_ANSWER = "() => { document.querySelector('.ct-answer')?.scrollIntoView({ block: 'nearest' }); }"


def lay_out(page: Page) -> Any:
    """The page as Gradio's blocks."""
    import gradio as gr

    def problems_of(error: ClasstuneError) -> str:
        return wording.message_html(str(error).splitlines())

    def hidden() -> dict[Any, Any]:
        """No downloads."""
        return dict.fromkeys(downloads.values(), gr.update(visible=False))

    def opened(name: str) -> dict[Any, Any]:
        """The page for a bundle, before anything was asked."""
        predictor = page.bundle(name).predictor
        multi, labels = predictor.decisions.multi, predictor.labels
        choices = gr.Dropdown(choices=labels, value=[] if multi else None, multiselect=multi)
        called, called_second = page.labels(name)
        return {
            heading: page.heading(name),
            text: gr.update(label=called),
            second: gr.update(label=called_second, visible=page.pair(name) is not None, value=""),
            code: page.code(name),
            examples: gr.Dataset(samples=page.examples(name)),
            report: page.report_frame(name),
            right: choices,
            **dict.fromkeys((answer, why, table), ""),
            judged: gr.update(visible=False),
            **hidden(),
        }

    def asked_now(name: str, text: str, second: str) -> Iterator[dict[Any, Any]]:
        try:
            shown, remembered = page.classify(name, text, second)
        except ClasstuneError as error:
            yield {answer: problems_of(error), why: "", judged: gr.update(visible=False)}
            return
        answered = bool(remembered["answer"])
        yield {
            answer: shown,
            why: wording.note_html("Looking for the words that made the difference …"),
            asked: remembered,
            judged: gr.update(visible=page.feedback is not None),
            question: wording.question_html(answered),
            verdict: gr.update(visible=answered),
            choice: gr.update(visible=not answered),
            right: [] if remembered["multi"] else None,
        }
        yield {why: page.why(remembered)}

    def looked(name: str, file: str | None) -> dict[Any, Any]:
        """The lists of a file's columns."""
        found = page.columns(name, file)
        return {
            column: gr.update(choices=found.texts, value=found.text, visible=bool(found.texts)),
            pair: gr.update(choices=found.pairs, value=found.pair, visible=bool(found.pairs)),
            told: found.told,
            table: found.problem,
            **hidden(),
        }

    def file_now(
        name: str,
        file: str | None,
        column: str | None,
        pair: str | None,
        bar: Any = gr.Progress(),  # noqa: B008
    ) -> dict[Any, Any]:
        with tempfile.TemporaryDirectory() as folder:
            try:
                shown, paths = page.classify_file(
                    name, file, column, Path(folder), lambda _, done, total: bar((done, total), unit="texts"), pair
                )
            except ClasstuneError as error:
                return {table: problems_of(error), **hidden()}
            offered = {
                button: gr.update(value=button.move_resource_to_block_cache(path), visible=True)
                for path in paths
                for button in [downloads[path.suffix]]
            }
        return {table: shown, **hidden(), **offered}

    def kept(remembered: dict[str, Any], labels: Sequence[str]) -> dict[Any, Any]:
        try:
            thanks = page.keep(remembered, labels)
        except ClasstuneError as error:
            return {question: problems_of(error)}
        return {question: thanks, **dict.fromkeys((verdict, choice), gr.update(visible=False))}

    def chosen(remembered: dict[str, Any], labels: str | list[str] | None) -> dict[Any, Any]:
        return kept(remembered, labels if isinstance(labels, list) else [labels] if labels else [])

    names = [shown.name for shown in page.bundles]
    first = names[0]
    labels = page.bundle(first).predictor.labels
    multi = page.bundle(first).predictor.decisions.multi
    called, called_second = page.labels(first)
    said: dict[str, Any] = {"elem_classes": "ct-page", "js_on_load": _ANNOUNCED}
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    # One after the other: a page that opens for another classifier would wipe away an answer that came meanwhile.
    in_turn = {**quiet, "concurrency_id": "classifier", "concurrency_limit": 1}
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=KEPT_SECONDS) as blocks:
        asked = gr.State(None)
        heading = gr.HTML(page.heading(first), elem_classes="ct-page")
        bundle = gr.Dropdown(names, value=first, label="Classifier", visible=len(names) > 1, filterable=False)
        with gr.Tab("One text"):
            box: dict[str, Any] = {"placeholder": "Type or paste a text here", "lines": 1, "max_lines": 12}
            text = gr.Textbox(label=called, autofocus=True, **box)
            second = gr.Textbox(label=called_second, visible=page.pair(first) is not None, **box)
            go = gr.Button("Classify", variant="primary")
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
            examples = gr.Dataset(
                components=[text], samples=page.examples(first), label="Or try one of these", elem_classes="ct-examples"
            )
        with gr.Tab("A file"):
            file = gr.File(label="A table of texts: CSV, Excel, JSON lines, Parquet", height=140)
            column = gr.Dropdown([], label="Column with the texts", visible=False)
            pair = gr.Dropdown([], label="Column with the second texts", visible=False)
            told = gr.HTML(**said)
            go_file = gr.Button("Classify the file", variant="primary")
            table = gr.HTML(**said)
            with gr.Row():
                downloads = {
                    suffix: gr.DownloadButton(f"Download as {kind}", visible=False)
                    for suffix, kind in ((".xlsx", "Excel"), (".csv", "CSV"), (".jsonl", "JSON lines"))
                }
        with gr.Tab("Report"):
            report = gr.HTML(page.report_frame(first), elem_classes="ct-page")
        code = gr.HTML(page.code(first), elem_classes="ct-page", js_on_load=_FILL_ADDRESS)

        answers = [answer, why, asked, judged, question, verdict, choice, right]
        asks: dict[str, Any] = {"fn": asked_now, "inputs": [bundle, text, second], "outputs": answers, **in_turn}
        gr.on([text.submit, second.submit, go.click], trigger_mode="always_last", **asks).then(None, js=_SHOW_ANSWER)
        examples.click(
            lambda name, sample: page.boxes(name, sample[0]), [bundle, examples], [text, second], **quiet
        ).then(**asks).then(None, js=_SHOW_ANSWER)
        yes.click(
            lambda remembered: kept(remembered, remembered["answer"]), asked, [question, verdict, choice], **quiet
        )
        no.click(lambda: {choice: gr.update(visible=True)}, None, [choice], **quiet)
        keep.click(chosen, [asked, right], [question, verdict, choice], **quiet)
        go_file.click(file_now, [bundle, file, column, pair], [table, *downloads.values()], api_visibility="private")
        looks: dict[str, Any] = {
            "fn": looked,
            "inputs": [bundle, file],
            "outputs": [column, pair, told, table, *downloads.values()],
            **quiet,
        }
        file.change(**looks)
        shown = [heading, text, second, examples, report, right, answer, why, table, judged, code, *downloads.values()]
        bundle.change(opened, bundle, shown, **in_turn).then(**looks)
    return blocks
