from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from classtune.data.audit.audit import Audit, Finding, audit_rows
from classtune.data.audit.classes import recall_margin, rows_for_recall, spellings
from classtune.data.near import near_groups
from classtune.data.reading.tables import TableFormat, read_table
from classtune.data.splits import tutorial_split
from classtune.errors import DataError


def found(audit: Audit) -> dict[str, Finding]:
    return {finding.kind: finding for finding in audit.findings}


def varied(count: int, start: str = "") -> list[str]:
    """Texts that share nothing but how they start."""
    generator = np.random.default_rng(count)
    return [start + "".join(chr(97 + n) for n in generator.integers(0, 26, 30)) for _ in range(count)]


def test_copies_and_conflicts_are_counted_after_folding() -> None:
    texts = ["Win now", "win  NOW", "ｗｉｎ now", "hello", "bye", "bye"]
    audit = audit_rows(texts, ["spam", "spam", "ham", "ham", "ham", "ham"], [2, 3, 5, 6, 7, 8])
    assert (audit.rows, audit.classes, audit.duplicates, audit.conflicting) == (6, {"ham": 4, "spam": 2}, 3, 1)
    copies, conflicts = found(audit)["exact-duplicates"], found(audit)["conflicting-labels"]
    assert (copies.count, copies.share) == (3, 0.5)
    assert copies.examples[0] == {"line": 3, "text": "win NOW", "label": "spam", "other_line": 2, "copies": 3}
    assert (conflicts.count, conflicts.detail) == (3, {"texts": 1})
    assert conflicts.examples[0].items() >= {"line": 5, "label": "ham", "other_line": 2, "other_label": "spam"}.items()


def test_near_copies_are_rows_that_are_no_exact_copy() -> None:
    one, other = (
        "Please call 08712402972 as there is an urgent message",
        "please call 08712402973 as there is an urgent message",
    )
    audit = audit_rows([one, other, other, "x", "y"], ["a", "b", "b", "a", "b"])
    assert (audit.duplicates, audit.near_duplicates) == (1, 1)
    assert found(audit)["near-duplicates"].examples[0].items() >= {"line": 2, "other_line": 1, "copies": 2}.items()
    assert found(audit)["near-conflicts"].count == 3
    assert "conflicting-labels" not in found(audit)


def test_the_sms_messages(real: Callable[[str], Path]) -> None:
    table = read_table(real("sms_spam/SMSSpamCollection"), TableFormat(quoting=False))
    assert table.labels is not None
    audit = audit_rows(table.texts, table.labels, table.lines)
    assert (audit.rows, audit.classes) == (5574, {"ham": 4827, "spam": 747})
    assert (audit.duplicates, audit.conflicting, audit.near_duplicates) == (415, 0, 118)
    assert audit.lengths["characters"]["max"] == max(map(len, table.texts))
    kinds = [finding.kind for finding in audit.findings]
    assert kinds == ["exact-duplicates", "html-entities", "near-duplicates", "mojibake", "imbalance", "very-short"]
    for finding in audit.findings:
        assert 0 < len(finding.examples) <= 5
        for example in finding.examples:
            assert len(example["text"]) <= 200
    assert found(audit)["mojibake"].examples[0].items() >= {"line": 19, "label": "ham"}.items()
    assert "that\\x92s the way" in found(audit)["mojibake"].examples[0]["text"]
    assert "that’s the way" in found(audit)["mojibake"].examples[0]["mended"]


def test_the_copies_of_the_tutorials_split(real: Callable[[str], Path]) -> None:
    """37 of its 300 test messages stand in training as they are, 51 when only letters are compared."""
    table = read_table(real("sms_spam/SMSSpamCollection"), TableFormat(quoting=True))
    assert table.labels is not None
    labels = table.labels
    splits = tutorial_split(table.texts, labels)

    def part(rows: Any) -> Any:
        return [table.texts[row] for row in rows], [labels[row] for row in rows], [table.lines[row] for row in rows]

    audit = audit_rows(*part(splits.train), parts={"test": part(splits.test)})
    leak, near = found(audit)["leak"], found(audit)["near-leak"]
    assert (leak.count, leak.share) == (40, 40 / 300)
    assert leak.detail == {"part": "test", "verbatim": 37, "same_letters": 51}
    assert (near.count, near.detail["same_letters"]) == (22, 11)
    assert audit.findings[:2] == [leak, near]  # nothing is worse
    texts = dict(zip(table.lines, table.texts, strict=True))
    for example in leak.examples:
        assert texts[example["line"]].casefold().split() == texts[example["other_line"]].casefold().split()
        assert example["part"] == "test"


def test_known_groups_give_the_same_findings(real: Callable[[str], Path]) -> None:
    lines = real("sms_spam/SMSSpamCollection").read_text(encoding="utf-8").splitlines()[:900]
    labels, texts = [line.partition("\t")[0] for line in lines], [line.partition("\t")[2] for line in lines]
    parts: Any = {"test": (texts[600:], labels[600:], None)}
    groups = near_groups(texts)
    audits = [audit_rows(texts[:600], labels[:600], parts=parts, groups=known) for known in (None, groups)]
    assert audits[0] == audits[1]
    assert "near-leak" in found(audits[0])


def test_label_names_that_are_one_name() -> None:
    names = {"Card arrival": 9, "card_arrival": 20, "card-arrival ": 1, "ｃard arrival": 2, "lost": 5}
    assert spellings(names) == dict.fromkeys(["Card arrival", "card-arrival ", "ｃard arrival"], "card_arrival")
    different = ["C", "C++", "C#", "A", "A-", "A+", "1.5", "1-5", "15", "-1", "1", "+", "-", "résumé", "resume", ""]
    assert spellings(dict.fromkeys(different, 1)) == {}
    audit = audit_rows(varied(13), ["ham"] * 9 + ["Ham", "HAM", "spam", "spam"])
    finding = found(audit)["label-spelling"]
    assert (finding.count, finding.detail) == (2, {"labels": 2})
    assert finding.examples[0].items() >= {"line": 10, "label": "Ham", "other_label": "ham", "rows": 1}.items()


def test_rare_labels_one_letter_off_a_common_one() -> None:
    labels = ["refund"] * 60 + ["refnd", "class 1", "class 2"] + ["class 3"] * 60 + ["other"] * 30
    finding = found(audit_rows(varied(len(labels)), labels))["label-typo"]
    assert [(example["label"], example["other_label"]) for example in finding.examples] == [("refnd", "refund")]


def test_empty_rows_are_told_apart_from_copies() -> None:
    audit = audit_rows(["", " ", "a text", "another", "third", "?"], ["x", "y", "", "x", "y", "x"])
    assert (audit.duplicates, audit.conflicting, audit.classes) == (0, 0, {"x": 3, "y": 2})
    assert [example["line"] for example in found(audit)["empty-text"].examples] == [1, 2]
    assert [example["line"] for example in found(audit)["empty-label"].examples] == [3]
    assert [example["line"] for example in found(audit)["very-short"].examples] == [6]


def test_one_text_that_is_much_of_the_table_and_classes_given_away_by_their_start() -> None:
    texts = varied(40, "Subject: re ") + varied(60) + ["no comment"] * 10
    findings = found(audit_rows(texts, ["mail"] * 40 + ["note"] * 70))
    assert findings["constant-text"].count == 10
    assert findings["giveaway"].count == 40
    assert "'mail' start with 'subject: re '" in findings["giveaway"].effect
    everywhere = audit_rows(varied(99, "Subject: re "), ["mail", "note", "note"] * 33)
    assert "giveaway" not in found(everywhere)


def test_blanks_that_nobody_sees_and_that_tell_a_label() -> None:
    labels = ["irony", "other"] * 40
    told = [text + "  " * (label == "irony") for text, label in zip(varied(80), labels, strict=True)]
    finding = found(audit_rows(told, labels))["telling-blanks"]
    assert finding.count == 40
    assert "100.0 % of the texts of 'irony' end in two blanks or more, 0.0 % of the others" in finding.effect
    everywhere = [text + "  " for text in varied(80)]
    assert "telling-blanks" not in found(audit_rows(everywhere, labels))
    by_chance = [text + "  " * (row % 3 == 0) for row, text in enumerate(varied(80))]
    assert "telling-blanks" not in found(audit_rows(by_chance, labels))


def test_damage_and_other_scripts() -> None:
    texts = ["CafÃ©", "A &amp; B", "line<br>break", "zero\u200bwidth", "lost \ufffd letter", "Привет мир", *varied(20)]
    findings = found(audit_rows(texts, None))
    lines = {kind: [example["line"] for example in finding.examples] for kind, finding in findings.items()}
    assert lines == {
        "mojibake": [1],
        "html-entities": [2],
        "html-tags": [3],
        "control-characters": [4],
        "lost-characters": [5],
        "language-mix": [6],
    }
    assert findings["language-mix"].detail["scripts"] == {"Latin": 25, "Cyrillic": 1}


def test_damage_far_into_a_text_is_shown() -> None:
    example = found(audit_rows(["word " * 100 + "cafÃ© and more", *varied(3)], None))["mojibake"].examples[0]
    assert example["text"].endswith("word cafÃ© and more")
    assert example["mended"].endswith("word café and more")
    assert example["text"].startswith("…")


def test_texts_beyond_the_models_limit() -> None:
    audit = audit_rows(varied(4), None, token_lengths=np.array([5, 30, 10, 20]), limit=10)
    finding = found(audit)["too-long"]
    assert [example["line"] for example in finding.examples] == [2, 4]
    assert finding.detail == {"tokens_lost": 30}
    assert "60.0 % of these texts would not be read" in finding.effect
    assert "--set max_tokens=10" in finding.advice
    assert audit.lengths["tokens"] == {"median": 15, "p95": 28, "max": 30}


def test_rare_classes_and_classes_too_small_to_judge() -> None:
    labels = ["much"] * 200 + ["some"] * 20 + ["rare"] * 10
    audit = audit_rows(varied(230), labels)
    findings = found(audit)
    assert [example["label"] for example in findings["imbalance"].examples] == ["rare", "some"]
    assert findings["imbalance"].detail == {"ratio": 20}
    assert [example["label"] for example in findings["few-rows"].examples] == ["rare", "some"]
    assert findings["few-rows"].count == 2
    assert "'rare' has about 2 test rows" in findings["few-rows"].effect
    test: Any = (varied(80), ["much", "rare"] * 40, None)  # a given part: its own rows count
    given = found(audit_rows(varied(230), labels, parts={"test": test}))
    assert [example["label"] for example in given["few-rows"].examples] == ["some"]


@pytest.mark.parametrize("rows", [10, 40, 200])
def test_the_margin_of_a_recall_is_scipys(rows: int) -> None:
    interval = binomtest(round(0.9 * rows), rows).proportion_ci(method="wilson")
    assert recall_margin(rows) == pytest.approx((interval.high - interval.low) / 2, rel=1e-6)
    assert recall_margin(rows_for_recall(0.1)) <= 0.1 < recall_margin(rows_for_recall(0.1) - 1)


def test_rows_with_several_labels() -> None:
    sets = [["joy", "love"], ["love", "joy"], ["anger"], [], ["Joy"]]
    audit = audit_rows(["a text", "A text", "a text", "b", "c"], None, label_sets=sets)
    assert audit.classes == {"joy": 2, "love": 2, "anger": 1, "Joy": 1}
    assert found(audit)["conflicting-labels"].examples[0]["label"] == "anger"
    assert found(audit)["label-spelling"].examples[0]["label"] == "Joy"
    assert "empty-label" not in found(audit)  # none of the labels may be meant


def test_the_document_is_json_and_findings_from_elsewhere_find_their_place() -> None:
    audit = audit_rows(["a a", "a a", "Cafe &amp;", "b"], ["x", "y", "x", "y"])
    audit.add([Finding("label-errors", 3, 0.9, [{"line": 1, "text": "a a"}], "effect", "advice")])
    document = json.loads(json.dumps(audit.document()))
    assert [finding["kind"] for finding in document["findings"]][:4] == [
        "label-errors",
        "conflicting-labels",
        "exact-duplicates",
        "html-entities",
    ]
    assert document.keys() == {"rows", "classes", "duplicates", "conflicting", "near_duplicates", "lengths", "findings"}
    for finding in document["findings"]:
        assert finding.keys() == {"kind", "count", "share", "examples", "effect", "advice", "detail"}


def test_no_rows_and_sound_rows_give_no_findings() -> None:
    assert audit_rows([], []).document().items() >= {"rows": 0, "duplicates": 0, "findings": []}.items()
    assert audit_rows(varied(400), ["a", "b"] * 200).findings == []


def test_unequal_columns_are_all_reported() -> None:
    parts: Any = {"test": (["a"], ["x", "y"], None)}
    with pytest.raises(DataError) as caught:
        audit_rows(["a", "b"], ["x"], [1, 2, 3], parts=parts)
    assert caught.value.problems == [
        "audit of the rows: 2 texts and 1 labels. Give one a text.",
        "audit of the rows: 2 texts and 3 lines. Give one a text.",
        "audit of test: 1 texts and 2 labels. Give one a text.",
    ]
    with pytest.raises(DataError, match="1 groups and 2 texts"):
        audit_rows(["a", "b"], None, groups=np.array([0]))


def test_memory_grows_by_a_bounded_amount_a_row() -> None:
    """A million rows in 2 GB: each may cost 2,000 bytes. A label on each row its own is the worst."""
    texts = varied(6000)
    audit_rows(texts[:10], texts[:10])
    tracemalloc.start()
    audit_rows(texts[:3000], texts[:3000])
    small = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    audit_rows(texts, texts)
    large = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert large - small < 3000 * 8000


def test_labels_that_only_training_or_only_a_part_has() -> None:
    labels = ["ask", "buy", "buy", "chat"] * 25
    test: Any = (varied(8, "later "), ["ask", "ask", "ask", "bye", "bye", "bye", "chat", "wow"], range(2, 10))
    findings = found(audit_rows(varied(100), labels, parts={"test": test}))
    unknown, missing = findings["unknown-labels"], findings["missing-labels"]
    assert (unknown.count, unknown.share) == (4, 0.5)
    assert unknown.detail == {"part": "test", "labels": {"bye": 3, "wow": 1}}
    assert "No training row has 'bye' (3 test rows), 'wow' (1 test row)." in unknown.effect
    assert [(one["line"], one["label"], one["rows"]) for one in unknown.examples] == [(5, "bye", 3), (9, "wow", 1)]
    assert (missing.count, missing.share) == (1, 1 / 3)
    assert missing.detail == {"part": "test", "labels": {"buy": 50}}
    assert "No test row has 'buy' (50 training rows): how well they are answered is not measured." in missing.effect
    same: Any = (varied(3, "later "), ["ask", "buy", "chat"], None)
    audit = audit_rows(varied(100), labels, parts={"test": same})
    assert not {"unknown-labels", "missing-labels"} & found(audit).keys()


def test_labels_of_parts_with_several_labels_a_row() -> None:
    sets, of_test = [["a", "b"], ["b"], []] * 30, [["b", "c"], [], ["b"]]
    part: Any = (varied(3, "later "), ["b, c", "", "b"], None, of_test)
    findings = found(audit_rows(varied(90), None, label_sets=sets, parts={"test": part}))
    assert findings["unknown-labels"].detail["labels"] == {"c": 1}
    assert findings["missing-labels"].detail["labels"] == {"a": 30}
