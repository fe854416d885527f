from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from classtune.data.audit import audit_rows
from classtune.data.tables import TableFormat, read_table


def test_copies_and_conflicts_are_counted_after_folding() -> None:
    texts = ["Win now", "win  NOW", "ｗｉｎ now", "hello", "bye", "bye"]
    assert audit_rows(texts, ["spam", "spam", "ham", "ham", "ham", "ham"]) == {
        "rows": 6,
        "classes": {"ham": 4, "spam": 2},
        "duplicates": 3,
        "conflicting": 1,
    }


def test_the_sms_messages(real: Callable[[str], Path]) -> None:
    table = read_table(real("sms_spam/SMSSpamCollection"), TableFormat(quoting=False))
    assert table.labels is not None
    audit = audit_rows(table.texts, table.labels)
    assert audit == {"rows": 5574, "classes": {"ham": 4827, "spam": 747}, "duplicates": 415, "conflicting": 0}
