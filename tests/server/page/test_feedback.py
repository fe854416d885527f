"""Feedback: a file that people, and several servers at once, add to, and that training reads."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from classtune.data.reading.cells import paired, parts_of
from classtune.data.reading.columns import TableFormat
from classtune.data.reading.tables import read_table
from classtune.errors import BundleError, DataError
from classtune.server.page import feedback
from classtune.server.page.feedback import add_feedback

LABELS = ["ham", "spam"]
ODD = 'a "quoted" line\nand a second,\u2028a third; tab\t<b>€</b> 😀'


def test_what_is_kept_is_a_table_that_training_reads(tmp_path: Path) -> None:
    file = tmp_path / "new" / "feedback.jsonl"
    add_feedback(file, ODD, ["spam"], answer=["ham"], labels=LABELS, bundle="sms")
    add_feedback(file, "see you", ["ham"], answer=[], labels=LABELS)
    table = read_table(file)
    assert (table.texts, table.labels) == ([ODD, "see you"], ["spam", "ham"])
    first, second = map(json.loads, file.read_text(encoding="utf-8").split("\n")[:2])
    assert (first["answer"], first["bundle"], second["answer"]) == ("ham", "sms", None)
    assert abs((datetime.now(UTC) - datetime.fromisoformat(first["time"])).total_seconds()) < 60


def test_several_labels_stay_several_and_none_stays_none(tmp_path: Path) -> None:
    file = tmp_path / "feedback.jsonl"
    told: dict[str, Any] = {"answer": ["joy"], "labels": ["joy", "fear, too"], "multi": True}
    add_feedback(file, "first", ["joy", "fear, too"], **told)
    add_feedback(file, "second", [], **told)
    assert read_table(file).label_sets == [("fear, too", "joy"), ()]


def test_what_was_answered_is_no_right_label_where_the_labels_are_called_answers(tmp_path: Path) -> None:
    file = tmp_path / "feedback.jsonl"
    columns = {"text": "question", "label": "answer"}
    add_feedback(file, "is it open?", ["spam"], answer=["ham"], labels=LABELS, columns=columns)
    assert read_table(file, TableFormat(preferred_text="question", preferred_label="answer")).labels == ["spam"]


@pytest.mark.parametrize("second", ["answer", "text", "time"])
def test_a_pair_is_kept_as_two_texts_whatever_its_columns_are_called(tmp_path: Path, second: str) -> None:
    """As `train --add` reads it: what the classifier answered is no second text."""
    file = tmp_path / "feedback.jsonl"
    columns = {"text": "question", "label": "label", "pair": second, "with": "bundle"}
    text = paired("is it open?\n\nnow?", "yes")
    add_feedback(file, text, ["spam"], answer=["ham"], labels=LABELS, bundle="sms", columns=columns)
    format = TableFormat(
        preferred_text="question", preferred_label="label", pair=second, beside=("bundle",), may_lack=True
    )
    table = read_table(file, format)
    assert [part for _, part in parts_of(table.texts[0])] == ["is it open?\n\nnow?", "yes"]
    assert table.labels == ["spam"]
    assert table.beside == ()


def test_what_is_wrong_is_said_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    file = tmp_path / "feedback.jsonl"
    with pytest.raises(DataError) as caught:
        add_feedback(file, " ", ["spma", "x"], answer=[], labels=LABELS)
    said = str(caught.value)
    assert "'spma' is not one of the classifier's. Did you mean 'spam'?" in said
    assert "the text is empty" in said
    assert "2 labels" in said
    with pytest.raises(DataError, match="half a character"):
        add_feedback(file, "\ud83d", ["spam"], answer=[], labels=LABELS)
    assert not file.exists()


def test_a_line_that_was_cut_short_spoils_no_other(tmp_path: Path) -> None:
    file = tmp_path / "feedback.jsonl"
    file.write_text('{"text": "cut sh', encoding="utf-8")
    add_feedback(file, "whole", ["ham"], answer=["ham"], labels=LABELS)
    assert json.loads(file.read_text(encoding="utf-8").split("\n")[1])["text"] == "whole"


def test_writers_in_several_processes_lose_and_mix_nothing(tmp_path: Path) -> None:
    file = tmp_path / "feedback.jsonl"
    program = (
        "import sys; from pathlib import Path; from classtune.server.page.feedback import add_feedback\n"
        "for i in range(40): add_feedback(Path(sys.argv[1]), sys.argv[2] * 3000 + str(i), ['ham'], "
        "answer=[], labels=['ham'])"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(file), letter]) for letter in "ab"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    texts = [json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines()]
    assert sorted(texts) == sorted(letter * 3000 + str(i) for letter in "ab" for i in range(40))


def test_a_file_that_cannot_be_written_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(BundleError, match="cannot be written"):
        add_feedback(tmp_path / "file" / "feedback.jsonl", "text", ["ham"], answer=[], labels=LABELS)
    monkeypatch.setattr(feedback, "LOCK_SECONDS", 0)
    file = tmp_path / "feedback.jsonl"
    with FileLock(tmp_path / ".feedback.jsonl.lock"), pytest.raises(BundleError, match="another program"):
        add_feedback(file, "text", ["ham"], answer=[], labels=LABELS)
