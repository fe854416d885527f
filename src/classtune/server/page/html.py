"""What the page says: answers, reasons and tables in plain words, as HTML in which everything is escaped.

Knows predictions and records, not Gradio.
"""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from classtune.data.reading.columns import listed_names
from classtune.decisions.decisions import Decisions
from classtune.errors import counted
from classtune.explain.explanations import as_html
from classtune.inference.predictor import Ranked, answer_of

SHOWN_BARS = 8
SHOWN_ROWS = 20
SHOWN_TEXT = 300  # characters of a text in a table or list
NAMED_LABELS = 4
EXAMPLES = 6
# As a share of the whole: what the tints may miss before the page says so.
ROUGH = 0.2


def listed(names: Sequence[str], last: str = " and ") -> str:
    """``a, b and c``."""
    return last.join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def heading(labels: Sequence[str], *, multi: bool, columns: Mapping[str, Any] | None = None) -> str:
    """What this page is for, as its one heading and a line below it. columns: those of the bundle's table."""
    columns = columns or {}
    what = "pair of texts" if columns.get("pair") else "text"
    few = len(labels) <= NAMED_LABELS and sum(map(len, labels)) <= 60
    named = listed(labels, " or ")
    if not few:
        asked = f"Which of {len(labels):,} labels {'fit' if multi else 'fits'} your {what}?"
    elif multi:
        asked = f"Which of these fit your {what}: {named}?"
    else:
        asked = f"Is your {what} {named}?"
    lead = (
        f"Type or paste {'both texts' if columns.get('pair') else 'a text'} and press Enter. You see the answer, how "
        "sure it is, and which words made the difference. Texts are read on this server and go nowhere else."
    )
    if beside := listed_names(columns.get("with") or ""):
        lead += f" What is typed here is read without {listed(beside)}; a file can hold them."
    return f'<h1 class="ct-heading">{html.escape(asked)}</h1><p class="ct-lead">{html.escape(lead)}</p>'


def box_labels(columns: Mapping[str, Any]) -> tuple[str, str]:
    """What the boxes of a text and of its pair are called."""
    if not columns.get("pair"):
        return "Your text", "Second text"
    return f"First text ({columns.get('text') or 'text'})", f"Second text ({columns['pair']})"


def columns_html(expected: Mapping[str, Any], there: Sequence[str]) -> str:
    """Which columns a bundle reads beside a plain text, and which of them a file lacks; "" for a bundle of texts alone.

    expected: see `classtune.bundle.columns_of`. there: the file's columns.
    """
    text, pair = expected.get("text") or "", expected.get("pair")
    joined = listed_names(text) if "," in text and text not in there else []  # a column's own name may have commas
    beside = listed_names(expected.get("with") or "")
    reads = [f"{listed(joined)} joined as the text"] if joined else []
    reads += [f"{pair} as the second text"] if pair else []
    reads += [f"{listed(beside)} beside the {'texts' if pair else 'text'}"] if beside else []
    if not reads:
        return ""
    lacking = [name for name in (*joined, *([pair] if pair else []), *beside) if name not in there]
    found = "This file has all of these columns."
    if lacking:
        todo = "add it, with empty cells if need be" if {*lacking} <= {*beside} else "choose another above, or add it"
        found = f"This file has no column {listed(lacking, ' or ')}: {todo}."
    return note_html(f"This classifier reads {listed(reads, ', and ')}. {found}")


def example_texts(
    labels: Sequence[str], golden: Sequence[Mapping[str, Any]], training: Sequence[tuple[str, str]] = ()
) -> list[str]:
    """A text for each of the first labels to try: of texts with their scores (held-out ones, or a record's golden
    texts), else of short training texts (text, label)."""
    scored = [(entry["text"], entry["scores"]) for entry in golden]
    examples: list[str] = []
    for number, label in enumerate(labels[:EXAMPLES]):
        alike = [(scores[number], text) for text, scores in scored if max(scores) == scores[number]]
        if alike:
            examples.append(max(alike)[1])
        else:
            examples += [text for text, its in training if its == label and 20 <= len(text) <= 120][:1]
    return list(dict.fromkeys(examples)) or [text for text, _ in scored[:2]]


def quality(record: Mapping[str, Any]) -> str:
    """How good the classifier is, in one sentence; "" where its record does not say."""
    test = record.get("test") or {}
    if "accuracy" not in test or not test.get("rows"):
        return ""
    low, high = (100 * bound for bound in test.get("accuracy_ci95") or (test["accuracy"],) * 2)
    sentence = (
        f"How good is it? On {test['rows']:,} test texts that it had not seen, {100 * test['accuracy']:.0f} % of its "
        f"answers were right (95 % interval: {low:.0f} to {high:.0f} %)."
    )
    return sentence.replace(" %", "\u00a0%")


def code_html(labels: Sequence[str], *, pairs: bool = False, model: str | None = None) -> str:
    """How to ask from code: curl, Python and JavaScript, to copy. Its address is filled in by the browser.

    model: the bundle's name, where a question that names none asks another: those clients cannot name it.
    """
    one = html.escape(labels[0])
    sent = '["a text", "its pair"]' if pairs else '"a text"'
    text = r"a text\n\nits pair" if pairs else "a text"  # those clients send one string a text
    named = "" if model is None else f', "model": {json.dumps(model)}'
    body = f'{{"inputs": {sent}{named}}}'.replace("'", "\\u0027")  # within the shell's quotes
    snippets = {
        "curl": f"curl ADDRESS/predict -H 'Content-Type: application/json' -d '{body}'",
        "Python": "from huggingface_hub import InferenceClient\n\n"
        f'InferenceClient("ADDRESS").text_classification("{text}")',
        "JavaScript": 'import { InferenceClient } from "@huggingface/inference";\n\n'
        f'await new InferenceClient().textClassification({{ endpointUrl: "ADDRESS", inputs: "{text}" }});',
    }
    if model is not None:
        snippets = {"curl": snippets["curl"]}
    blocks = "".join(
        f"<h2>{name}</h2><pre class='ct-code'><code>{html.escape(code)}</code></pre>" for name, code in snippets.items()
    )
    return (
        f"<details><summary>Use from code</summary>{blocks}<p>Each answer is a list of labels, such as {one}, with "
        "their scores, highest first. Where the server requires an API key, send it as <code>Authorization: Bearer KEY"
        "</code> (<code>token</code> or <code>accessToken</code> of the clients). All requests are described in "
        "<code>/openapi.json</code>.</p></details>"
    )


def answer_html(ranked: Ranked, decisions: Decisions, quality: str = "") -> str:
    """The answer, or that there is none and why, above a bar for each of the likeliest labels.

    quality: how good the classifier is, said below.
    """
    answer = answer_of(ranked)
    scores = {entry["label"]: entry["score"] for entry in ranked}
    parts = []
    if answer and decisions.multi:
        parts += [f'<p class="ct-answer"><strong>{html.escape(", ".join(answer))}</strong></p>']
    elif answer:
        sure = f'<span class="ct-sure">{percent(scores[answer[0]])} sure</span>'
        parts += [f'<p class="ct-answer"><strong>{html.escape(answer[0])}</strong> {sure}</p>']
    else:
        parts += ['<p class="ct-answer"><strong>No answer</strong></p>']
        parts += [f"<p>{html.escape(_why_none(ranked, decisions))}</p>"]
    parts += ['<ul class="ct-bars" aria-label="How likely each label is">']
    parts += [_bar(entry, entry["label"] in answer) for entry in ranked[:SHOWN_BARS]]
    parts += ["</ul>"]
    if len(ranked) > SHOWN_BARS:
        rest = "".join(_bar(entry, entry["label"] in answer) for entry in ranked[SHOWN_BARS:])
        count = len(ranked) - SHOWN_BARS
        parts += [f'<details><summary>{count:,} less likely labels</summary><ul class="ct-bars">{rest}</ul></details>']
    if quality:
        parts += [f'<p class="ct-note">{html.escape(quality)}</p>']
    return "".join(parts)


def _why_none(ranked: Ranked, decisions: Decisions) -> str:
    best = f"{ranked[0]['label']} ({percent(ranked[0]['score'])})"
    if decisions.multi:
        return f"None of the labels is likely enough. The likeliest is {best}."
    abstention = decisions.abstention
    if abstention is None or abstention.threshold is None:
        return f"No label is likely enough to be given. The likeliest is {best}."
    kept = f", so that at most {100 * abstention.max_error:g} in 100 answers are wrong" if abstention.promised else ""
    return (
        f"The likeliest label is {best}. This classifier answers only when it is at least "
        f"{100 * abstention.threshold:.3g} % sure{kept}. A person should look at this text."
    )


def _bar(entry: Mapping[str, Any], chosen: bool) -> str:
    width = f"{100 * entry['score']:.1f}"
    return (
        f'<li class="{"ct-given" if chosen else "ct-other"}">'
        f'<span class="ct-label">{html.escape(entry["label"])}</span>'
        f'<span class="ct-track" aria-hidden="true"><span class="ct-fill" style="width: {width}%"></span></span>'
        f'<span class="ct-value">{percent(entry["score"])}</span></li>'
    )


def percent(score: float) -> str:
    """A probability for people: never quite 0 or 100 %."""
    if score > 0.99:
        return "over 99 %"
    return "under 1 %" if score < 0.01 else f"{100 * score:.0f} %"


def explanation_html(explanation: dict[str, Any]) -> str:
    """The tinted text with its key, and the training texts most like it."""
    label = html.escape(explanation["label"])
    parts = [
        f"<h2>Which words speak for {label}</h2>",
        f'<p class="ct-text">{as_html(explanation)}</p>',
        f'<p class="ct-key"><span class="ct-for">Blue, underlined</span>: for {label}. '
        f'<span class="ct-against">Orange, dotted</span>: against it. The stronger the colour, the more.</p>',
    ]
    gap = explanation["completeness_gap"]  # only where one network alone answers
    if gap is not None and gap > ROUGH:
        parts += ['<p class="ct-note">The colours are only a rough guide for this text.</p>']
    if explanation["neighbours"]:
        parts += ['<h2>Most similar training texts</h2><ul class="ct-near">']
        parts += [
            f'<li><span class="ct-tag">{html.escape(near["label"] or "no label")}</span> '
            f"{html.escape(short(near['text']))}</li>"
            for near in explanation["neighbours"]
        ]
        parts += ["</ul>"]
    return "".join(parts)


def question_html(answered: bool) -> str:
    """What is asked below an answer, or where there was none."""
    return f"<h2>{'Was this right?' if answered else 'Do you know the right label?'}</h2>"


def table_html(texts: Sequence[str], predictions: Sequence[Ranked], *, left_out: int = 0) -> str:
    """How many texts each answer was given to, and the first of them in a table. left_out: rows without a text."""
    answers = [", ".join(answer_of(ranked)) or "no answer" for ranked in predictions]
    counts = ", ".join(f"{html.escape(answer)} {count:,}" for answer, count in Counter(answers).most_common(20))
    rows = [
        f'<tr><td class="ct-cell">{html.escape(short(text))}</td><td>{html.escape(answer)}</td>'
        f'<td class="ct-number">{percent(_score(ranked))}</td></tr>'
        for text, answer, ranked in list(zip(texts, answers, predictions, strict=True))[:SHOWN_ROWS]
    ]
    shown = f"The first {len(rows)} of {len(texts):,}" if len(rows) < len(texts) else "All texts"
    missing = f" Left out, because they have no text: {left_out:,}." if left_out else ""
    return (
        f"<p><strong>{counted(len(texts), 'text')}:</strong> {counts}.{missing}</p>"
        f'<table class="ct-table"><caption>{shown}; the download holds everything.</caption><thead><tr>'
        '<th scope="col">Text</th><th scope="col">Label</th><th scope="col">Sure</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _score(ranked: Ranked) -> float:
    answer = answer_of(ranked)
    return float(next((entry["score"] for entry in ranked if entry["label"] in answer), ranked[0]["score"]))


def message_html(problems: Sequence[str]) -> str:
    """What went wrong, said at once to those who cannot see it too."""
    lines = "".join(f"<p>{html.escape(problem)}</p>" for problem in problems)
    return f'<div class="ct-problem" role="alert">{lines}</div>'


def note_html(sentence: str) -> str:
    """A quiet line."""
    return f'<p class="ct-note">{html.escape(sentence)}</p>'


def short(text: str) -> str:
    """At most SHOWN_TEXT characters, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_TEXT else line[: SHOWN_TEXT - 1] + "…"
