"""What labelling tools export, as their manuals show it: several labels, several people, what was skipped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from written import pairs

from classtune.data.reading.columns import TableFormat
from classtune.data.reading.tables import read_table
from classtune.errors import DataError

Write = Callable[[str, bytes | str], Path]


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def studio(number: int, text: str, *annotations: dict[str, Any]) -> dict[str, Any]:
    """A task of Label Studio's JSON."""
    row: dict[str, Any] = {"id": number, "data": {"text": text}, "annotations": list(annotations), "drafts": []}
    row["predictions"] = [{"model_version": "v1", "score": 0.9, "result": result(["wrong"])}]
    return row | {
        "meta": {},
        "created_at": "2024-06-01T10:00:00Z",
        "inner_id": number,
        "total_annotations": 1,
        "project": 2,
    }


def annotation(choices: list[str], **more: Any) -> dict[str, Any]:
    return {
        "id": 7,
        "completed_by": 1,
        "result": result(choices),
        "was_cancelled": False,
        "ground_truth": False,
        **more,
    }


def result(choices: list[str]) -> list[dict[str, Any]]:
    part = {"id": "x", "from_name": "about", "to_name": "text", "origin": "manual"}
    chosen = [part | {"type": "choices", "value": {"choices": choices}}] if choices else []
    return [part | {"type": "rating", "from_name": "stars", "value": {"rating": 4}}, *chosen]


def test_label_studio_with_several_choices_and_skipped_tasks(write: Write) -> None:
    """A task that was skipped, or that nobody has seen, is no text without labels; one that was submitted empty is."""
    tasks = [
        studio(1, "charged twice, cannot sign in", annotation(["billing", "login"])),
        studio(2, "skipped", annotation([], was_cancelled=True)),
        studio(3, "where is it", annotation(["shipping"], was_cancelled=True), annotation(["shipping"])),
        studio(4, "not seen yet"),
        studio(5, "thank you", annotation([])),
    ]
    table = read_table(write("project.json", json.dumps(tasks)))
    assert table.texts == ["charged twice, cannot sign in", "where is it", "thank you"]
    assert table.label_sets == [("billing", "login"), ("shipping",), ()]
    assert table.lines == [1, 3, 5]
    assert "rows that nobody has answered are left out: 2." in table.notes
    assert len(read_table("project.json", labelled=False).texts) == 5
    with pytest.raises(DataError, match=r"no row has an answer\. .*rows that nobody has answered are left out: 1"):
        read_table(write("none.json", json.dumps(tasks[1:2])))


def test_label_studio_with_several_people(write: Write) -> None:
    """What most say; the one that is marked as the truth before all others."""
    tasks = [
        studio(1, "a", annotation(["billing"]), annotation(["login"]), annotation(["login"])),
        studio(2, "b", annotation(["billing"]), annotation(["login"])),
        studio(3, "c", annotation(["login"]), annotation(["login"]), annotation(["billing"], ground_truth=True)),
    ]
    table = read_table(write("project.json", json.dumps(tasks)))
    assert pairs(table) == [("a", "login"), ("b", "billing"), ("c", "billing")]
    assert "rows with answers of several people: 2. Read is what most say, else the first." in table.notes


def test_label_studio_s_short_form_with_ratings(write: Write) -> None:
    common = {"annotator": 1, "annotation_id": 3, "created_at": "2024-06-01T10:00:00Z", "lead_time": 2.5}
    rows = [
        {"text": "charged twice", "id": 1, "stars": [{"rating": 2}], "topic": "billing", **common},
        {
            "text": "cannot sign in",
            "id": 2,
            "stars": [{"rating": 5}],
            "topic": {"choices": ["login", "billing"]},
            **common,
        },
    ]
    table = read_table(write("min.json", json.dumps(rows)))
    assert table.label_sets == [("billing",), ("billing", "login")]
    assert pairs(read_table("min.json", TableFormat(label="stars"))) == [
        ("charged twice", "2"),
        ("cannot sign in", "5"),
    ]
    header = "text,id,stars,topic,annotator\n"
    cells = [
        'charged twice,1,"[{""rating"": 2}]",billing,1',
        'cannot,2,"[{""rating"": 5}]","{""choices"":[""login"",""billing""]}",1',
    ]
    table = read_table(write("min.csv", header + "\n".join(cells) + "\n"))
    assert table.label_sets == [("billing",), ("billing", "login")]


def argilla(text: str, *answers: tuple[str, Any], suggested: str = "wrong", **more: Any) -> dict[str, Any]:
    """A record of Argilla 2: (status, value) of each person."""
    responses = [{"value": value, "user_id": f"u{n}", "status": status} for n, (status, value) in enumerate(answers)]
    suggestions = {"about": {"value": suggested, "score": 0.9, "agent": "model"}}
    record: dict[str, Any] = {"id": text, "fields": {"text": text}, "metadata": {"source": "mail"}, "vectors": {}}
    return record | {"suggestions": suggestions, "responses": {"about": responses} if answers else {}, **more}


def test_argilla_s_records_with_suggestions_and_several_people(write: Write) -> None:
    records = [
        argilla("a", ("submitted", "billing"), ("submitted", "login"), ("submitted", "login"), status="completed"),
        argilla("b", ("discarded", None), ("submitted", "billing"), status="completed"),
        argilla("c", status="pending"),
        argilla("d", ("draft", "login"), status="pending"),
    ]
    table = read_table(write("records.json", json.dumps(records)))
    assert pairs(table) == [("a", "login"), ("b", "billing")]
    assert "rows that nobody has answered are left out: 2." in table.notes
    several = [argilla("a", ("submitted", ["x", "y"]), ("submitted", ["y", "x"]), ("submitted", ["z"])), argilla("c")]
    assert read_table(write("several.json", json.dumps(several))).label_sets == [("x", "y")]
    flat = {"text": "a", "about.suggestion": "wrong", "about.suggestion.score": 0.5, "about.responses": ["p", "q", "q"]}
    flat |= {"about.responses.users": ["1", "2", "3"], "about.responses.status": ["submitted"] * 3}
    waiting = {"text": "b", "about.suggestion": "wrong", "about.responses": None, "about.responses.status": None}
    table = read_table(write("flat.jsonl", lines(flat, waiting)))
    assert pairs(table) == [("a", "q")]


def test_prodigy_s_accept_lists(write: Write) -> None:
    options = [{"id": name, "text": name} for name in ("billing", "login", "shipping")]
    common = {"options": options, "_input_hash": 1, "_task_hash": 2, "_view_id": "choice", "_timestamp": 1700000000}
    rows = [
        {"text": "charged twice, cannot sign in", "accept": ["billing", "login"], "answer": "accept", **common},
        {"text": "later", "accept": ["shipping"], "answer": "ignore", **common},
        {"text": "thank you", "accept": [], "answer": "accept", **common},
        {"text": "no", "accept": ["shipping"], "answer": "reject", **common},
    ]
    table = read_table(write("prodigy.jsonl", lines(*rows)))
    assert table.texts == ["charged twice, cannot sign in", "thank you"]
    assert table.label_sets == [("billing", "login"), ()]
    assert len(table.notes) == 2


def test_doccano_s_lines_with_cats_of_several_labels(write: Write) -> None:
    rows = [
        {"id": 1, "text": "a", "cats": {"billing": 1.0, "login": 1.0, "shipping": 0.0}},
        {"id": 2, "text": "b", "cats": {"billing": True, "login": False, "shipping": None}},
        {"id": 3, "text": "c", "cats": {"billing": "no", "login": 0, "shipping": 0}},
    ]
    assert read_table(write("cats.jsonl", lines(*rows))).label_sets == [("billing", "login"), ("billing",), ()]


def test_texts_that_doccano_s_users_have_not_labelled_are_said(write: Write) -> None:
    """An empty list may be an answer, or none yet: it is said, and can be told."""
    rows = [
        {"id": n, "text": text, "label": label, "Comments": []}
        for n, (text, label) in enumerate([("a", ["billing"]), ("b", []), ("c", ["login"])])
    ]
    table = read_table(write("doccano.jsonl", lines(*rows)))
    assert table.label_sets == [("billing",), (), ("login",)]
    assert "1 row without a label, and none with several" in table.notes[-1]
    table = read_table("doccano.jsonl", TableFormat(drop_unlabelled=True))
    assert (pairs(table), table.label_sets) == ([("a", "billing"), ("c", "login")], None)


def test_google_sheets_csv(write: Write) -> None:
    """A byte order mark, Windows' line ends, a column that is empty, a cell of two lines."""
    content = '\ufefftext,label,\r\n"charged twice,\nagain",billing,\r\ncannot sign in,login,\r\n'
    table = read_table(write("sheet.csv", content.encode()))
    assert pairs(table) == [("charged twice,\nagain", "billing"), ("cannot sign in", "login")]
    assert table.lines == [2, 4]


@pytest.mark.parametrize(
    "row",
    [
        {"text": "a", "label": "b", "answer": "accept"},
        {"data": {"text": "a"}, "annotations": [annotation(["b"])]},
        argilla("a", ("submitted", "b")),
        {"text": "a", "cats": {"b": 1}},
    ],
)
def test_a_row_far_down_that_is_of_another_kind_is_said_in_words(write: Write, row: dict[str, Any]) -> None:
    path = write("t.jsonl", lines(*[row] * 150, {"text": "other", "label": "c"}))
    problems = []
    try:
        assert len(read_table(path).texts) == 151
    except DataError as error:
        problems = error.problems
    assert all("t.jsonl" in problem for problem in problems)
